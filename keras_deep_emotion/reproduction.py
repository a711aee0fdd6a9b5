"""The paper's results beside ours: every data set that is at hand, every protocol, one table.

Each part is a run folder of its own below one folder: what is done is not done again, what was
stopped goes on.
"""

import json
from pathlib import Path

import pandas as pd

from keras_deep_emotion import report as reports
from keras_deep_emotion.building import build
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data import built_dataset
from keras_deep_emotion.datasets import DATASETS, parse_dataset, tfds_config
from keras_deep_emotion.files import written_whole
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
        ValueError: there is no such data set.
    """
    parts = []
    for text in datasets:
        name, variant = parse_dataset(text)
        dataset = DATASETS[name]
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
        announce: called with a line of text before each part.
        changes: settings other than the recipe's, such as `epochs`.

    Returns:
        DataFrame of `COLUMNS`, one row a part and judgement; a data set that is not at hand has a
        row that says so.

    Raises:
        ValueError: there is no such data set, or no such setting.
    """
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
            rows.append(row(dataset, protocol, None, f"not at hand: {DATASETS[name].obtain}"))
            continue
        run_dir = output / f"{dataset.replace('/', '-')}-{protocol}-{recipe}"
        config = TrainConfig.from_recipe(recipe, dataset=dataset, protocol=protocol, **changes)
        report = finished_run(config, run_dir, data_dir)
        folds = protocol == "subjects"
        if folds:
            note = f"mean of {len(report['accuracies'])} folds {100 * report['mean']:.2f}, "
            note += f"spread {100 * report['spread']:.2f}; the accuracy is of all folds' faces"
        else:
            note = ""
        judged = report["pooled"] if folds else report
        rows.append(row(dataset, protocol, judged, note))
        if "deduplicated" in report:
            rows.append(row(dataset, "deduplicated", report["deduplicated"], ""))
        figures.append((figure_title(dataset, protocol), judged))
    table = pd.DataFrame(rows, columns=COLUMNS)
    output.mkdir(parents=True, exist_ok=True)
    with written_whole(output / "reproduction.csv") as aside:
        table.to_csv(aside, index=False)
    with written_whole(output / "reproduction.md") as aside:
        aside.write_text(as_markdown(table, recipe, changes))
    reports.save_reproduction(table, figures, output / "reproduction.png")
    return table


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
        return (fit_folds if config.protocol == "subjects" else fit)(config, run_dir, data_dir)
    if TrainConfig.from_json(run_dir / "config.json") != config:
        raise ValueError(f"{run_dir} is a run with other settings: name another --output.")
    for done in ("folds.json", "report.json"):
        if (run_dir / done).is_file():
            return json.loads((run_dir / done).read_text())
    return resume(run_dir, data_dir)


def row(dataset, protocol, judged, note):
    """One row of the table; `judged` as `evaluation.evaluate` returns it, or None."""
    name, _ = parse_dataset(dataset)
    paper = DATASETS[name].paper_accuracy
    table, _ = IN_THE_PAPER.get(name, (None, None))
    # The paper does not say what people it tested on: its numbers are of its own splits.
    theirs = f"{paper:.2f} (table {table})" if paper and protocol == "paper" else "-"
    if theirs != "-" and dataset == "fer2013/original":
        note = f"{note + '; ' if note else ''}the paper's number is of FER+'s labels"
    if judged is None:
        return (dataset, protocol, theirs, "-", "-", "-", note)
    low, high = judged["accuracy_interval"]
    return (
        dataset,
        protocol,
        theirs,
        f"{100 * judged['accuracy']:.2f}",
        f"{100 * low:.2f} to {100 * high:.2f}",
        f"{judged['faces']:,}",
        note,
    )


def as_markdown(table, recipe, changes):
    """The table as a page of Markdown."""
    settings = "".join(f", {name} {value}" for name, value in changes.items())
    lines = [
        "# The paper's results and ours",
        "",
        f"Recipe `{recipe}`{settings}. Accuracy on the test split, percent, of the epoch that was",
        "best on validation; intervals: Wilson.",
        "",
        "| " + " | ".join(table.columns) + " |",
        "|" + "---|" * len(table.columns),
        *("| " + " | ".join(map(str, values)) + " |" for values in table.itertuples(index=False)),
    ]
    return "\n".join(lines) + "\n"
