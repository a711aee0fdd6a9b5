"""The paper's results beside ours: every data set that is at hand, every protocol, one table.

Each part is a run folder of its own below one folder: what is done is not done again, what was
stopped goes on.
"""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from keras_deep_emotion.building import build
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data import built_dataset
from keras_deep_emotion.datasets import (
    DATASETS,
    differences_from_paper,
    parse_dataset,
    tfds_config,
)
from keras_deep_emotion.evaluation import wilson_interval
from keras_deep_emotion.files import written_whole
from keras_deep_emotion.report import save_reproduction
from keras_deep_emotion.runs import is_finished
from keras_deep_emotion.training import fit, fit_folds, resume

# Data set to the paper's table of its accuracy and figure of its confusion matrix.
IN_THE_PAPER = {
    "fer2013": ("I", "8"),
    "ferg": ("II", "9"),
    "jaffe": ("III", "10"),
    "ck_plus": ("IV", None),
}
COLUMNS = ("data set", "protocol", "the paper", "ours", "95 % interval", "test faces", "note")


def parts_of(datasets):
    """What there is to train.

    Args:
        datasets: names, or name/variant; a name alone stands for its default labels, and of
            FER-2013 for both.

    Returns:
        List of (name/variant or name, protocol). Protocol `deduplicated` is none of its own: the
        runs of `paper` are judged on those faces too.

    Raises:
        ValueError: there is no such data set, or it is one of your own that is not named.
    """
    parts = []
    for text in datasets:
        name, variant = parse_dataset(text)
        dataset = DATASETS[name]
        if dataset.named_by_source and variant is None:
            raise ValueError(
                "Pictures of your own are trained on by: python cli.py fit --dataset folder "
                "--source DIR"
            )
        variants = [variant]
        if "/" not in text and dataset.splits_in_one and not dataset.named_by_source:
            variants = list(dataset.variants)
        for one in variants:
            for protocol in dataset.protocols:
                if protocol != "deduplicated":
                    parts.append((f"{name}/{one}" if one else name, protocol))
    return parts


def reproduce(
    datasets,
    output,
    recipe="best",
    sources=None,
    data_dir=None,
    seeds=1,
    announce=lambda text: None,
    **changes,
):
    """Build what is missing, train and judge every protocol, and write the table.

    Args:
        datasets: names, or name/variant.
        output: folder of the runs and of `reproduction.md`, `.csv` and `.png`; what it holds of
            an earlier call is used.
        recipe: of `config.RECIPES`.
        sources: {name: folder or archive} of data sets to be built.
        data_dir: where the data sets are built, None for TFDS's own place.
        seeds: how many runs of each part, of one seed after the other; the table has their mean,
            the confusion matrix is of the first.
        announce: called with a line of text before each part.
        changes: settings other than the recipe's, such as `epochs`.

    Returns:
        DataFrame of `COLUMNS`, one row a part and judgement; a data set that is not at hand has a
        row that says so.

    Raises:
        ValueError: there is no such data set, or no such setting, or `seeds` is below 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be 1 or more. Received: {seeds}")
    output = Path(output)
    parts = parts_of(datasets)
    TrainConfig.from_recipe(recipe, **changes)  # refuse before hours of training
    rows, figures = [], []
    for dataset, protocol in parts:
        name, variant = parse_dataset(dataset)
        announce(f"{dataset}, protocol {protocol}")
        try:
            available(dataset, protocol, (sources or {}).get(name), data_dir)
        except FileNotFoundError as error:
            announce(f"  not at hand: {error}")
            rows.append(row(dataset, protocol, [], f"not at hand: {DATASETS[name].obtain}"))
            continue
        run_dir = output / f"{dataset.replace('/', '-')}-{protocol}-{recipe}"
        config = TrainConfig.from_recipe(recipe, dataset=dataset, protocol=protocol, **changes)
        reports = []
        for run_config, folder in seeded(config, run_dir, seeds):
            if seeds > 1:
                announce(f"  seed {run_config.seed}")
            reports.append(finished_run(run_config, folder, data_dir))
        judged = [report.get("pooled", report) for report in reports]
        note = ""
        if protocol == "subjects":
            note = folds_note(reports)
        rows.append(row(dataset, protocol, judged, note))
        if all("deduplicated" in report for report in reports):
            rows.append(
                row(dataset, "deduplicated", [report["deduplicated"] for report in reports])
            )
        title = figure_title(dataset, protocol)
        if seeds > 1:
            title += f", seed {config.seed}"
        figures.append((title, judged[0]))
    table = pd.DataFrame(rows, columns=COLUMNS)
    output.mkdir(parents=True, exist_ok=True)
    with written_whole(output / "reproduction.csv") as aside:
        table.to_csv(aside, index=False)
    with written_whole(output / "reproduction.md") as aside:
        aside.write_text(as_markdown(table, recipe, changes))
    save_reproduction(table, figures, output / "reproduction.png")
    return table


def seeded(config, run_dir, seeds):
    """The settings and the folder of each run of a part: `run_dir`, `run_dir`-seed1, ..."""
    yield config, run_dir
    for seed in range(config.seed + 1, config.seed + seeds):
        yield (
            dataclasses.replace(config, seed=seed),
            run_dir.with_name(f"{run_dir.name}-seed{seed}"),
        )


def figure_title(dataset, protocol):
    """What a confusion matrix is of, and the paper's figure of the same faces, if there is one."""
    name, _ = parse_dataset(dataset)
    figure = IN_THE_PAPER.get(name, (None, None))[1]
    # The paper's figure 8 is of FER+'s labels (README).
    same = protocol == "paper" and dataset != "fer2013/original"
    title = f"{dataset}, protocol {protocol}"
    return title + (f" (the paper's figure {figure})" if figure and same else "")


def available(dataset, protocol, source, data_dir):
    """Build a data set if it is not.

    Raises:
        FileNotFoundError: it is not built, and there is nothing to build it from.
    """
    name, variant = parse_dataset(dataset)
    if source is not None or name == "toon_faces":
        list(build(f"{name}/{tfds_config(name, variant, protocol)}", source, data_dir))
    built_dataset(dataset, protocol, data_dir)


def finished_run(config, run_dir, data_dir):
    """The report of a run: read if it is there, else the run is taken up, or begun.

    Raises:
        ValueError: the run in `run_dir` has other settings.
    """
    if not (run_dir / "config.json").is_file():
        keras.backend.clear_session()  # or the networks of all runs before stay in memory
        return (fit_folds if config.protocol == "subjects" else fit)(config, run_dir, data_dir)
    if TrainConfig.from_json(run_dir / "config.json") != config:
        raise ValueError(f"{run_dir} is a run with other settings: name another --output.")
    if (run_dir / "folds.json").is_file():
        return json.loads((run_dir / "folds.json").read_text())
    if is_finished(run_dir):
        return json.loads((run_dir / "report.json").read_text())
    keras.backend.clear_session()
    return resume(run_dir, data_dir)


def folds_note(reports):
    """What is to be said of runs of all folds, as `training.fit_folds` returns them."""
    folds = len(reports[0]["accuracies"])
    mean = 100 * np.mean([report["mean"] for report in reports])
    spread = 100 * np.mean([report["spread"] for report in reports])
    return (
        f"mean of {folds} folds {mean:.2f}, spread {spread:.2f}; the accuracy is of all folds' "
        "faces"
    )


def row(dataset, protocol, judged, note=""):
    """One row of the table.

    Args:
        dataset: name or name/variant.
        protocol: how it is split.
        judged: list, of each seed's run what `evaluation.evaluate` returns; empty for none. The
            interval is of the mean accuracy on so many faces: of the faces' chance, not the seed's.
        note: text.
    """
    name, _ = parse_dataset(dataset)
    paper = DATASETS[name].paper_accuracy
    table, _ = IN_THE_PAPER.get(name, (None, None))
    # The paper does not say what people it tested on: its numbers are of its own splits.
    theirs = f"{paper:.2f} (table {table})" if paper and protocol == "paper" else "-"
    notes = [note] if note else []
    if theirs != "-":
        notes += differences_from_paper(dataset, protocol)
    if not judged:
        return (dataset, protocol, theirs, "-", "-", "-", "; ".join(notes))
    accuracies = np.array([one["accuracy"] for one in judged])
    if len(judged) > 1:
        each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
        spread = 100 * accuracies.std(ddof=1)
        notes.insert(0, f"mean of {len(judged)} seeds ({each}), spread {spread:.2f}")
    faces = judged[0]["faces"]
    low, high = wilson_interval(accuracies.mean() * faces, faces)
    return (
        dataset,
        protocol,
        theirs,
        f"{100 * accuracies.mean():.2f}",
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{faces:,}",
        "; ".join(notes),
    )


def as_markdown(table, recipe, changes):
    """The table as a page of Markdown."""
    settings = "".join(f", {name} {value}" for name, value in changes.items())
    lines = [
        "# The paper's results and ours",
        "",
        f"Recipe `{recipe}`{settings}. Accuracy on the test split, percent, of the epoch that was",
        "best on validation; intervals: Wilson, of the chance that lies in the faces alone.",
        "",
        "| " + " | ".join(table.columns) + " |",
        "|" + "---|" * len(table.columns),
        *("| " + " | ".join(map(str, values)) + " |" for values in table.itertuples(index=False)),
    ]
    return "\n".join(lines) + "\n"
