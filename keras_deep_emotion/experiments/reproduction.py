"""Reproduce the paper: train on every available data set and protocol, and compare the results.

All runs are in one output folder: finished runs are reused, interrupted ones resumed.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.building import build_dataset
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.statistics import wilson_interval
from keras_deep_emotion.experiments.folds import finished_report, fit_folds
from keras_deep_emotion.files import atomic_write, refuse_links, write_text
from keras_deep_emotion.reports.figures.sheets import save_reproduction
from keras_deep_emotion.runs import Run

# The paper's table with the accuracy, and its figure with the confusion matrix, by data set.
IN_THE_PAPER = {
    "fer2013": ("I", "8"),
    "ferg": ("II", "9"),
    "jaffe": ("III", "10"),
    "ck_plus": ("IV", None),
}
COLUMNS = ("data set", "protocol", "the paper", "ours", "95 % interval", "test faces", "note")


def tasks_of(datasets: list[str]) -> list[Task]:
    """A task for each variant and protocol of the data sets, see `reproduce`.

    Without a variant, a name means the default one, or both of FER-2013. Protocol "deduplicated"
    has no task: runs of protocol "standard" are evaluated on those images too.
    """
    tasks = []
    for text in datasets:
        task = Task.parse(text)
        info, variants = task.info, (task.variant,)
        if info.named_by_source and task.variant is None:
            raise ValueError(
                "To train on your own images: keras-deep-emotion fit --dataset folder --source DIR"
            )
        if "/" not in text and info.splits_in_one and not info.named_by_source:
            variants = info.variants
        protocols = [protocol for protocol in info.protocols if protocol != "deduplicated"]
        tasks += [
            Task(task.name, variant, protocol) for variant in variants for protocol in protocols
        ]
    return tasks


def reproduce(
    datasets: list[str],
    output: str | Path,
    recipe: str = "best",
    sources: dict[str, Path] | None = None,
    data_dir: str | Path | None = None,
    seeds: int = 1,
    announce: Callable[[str], None] = lambda text: None,
    **changes: Any,
) -> pd.DataFrame:
    """Build missing data sets, train and evaluate every protocol, and write the table.

    Args:
        datasets: `name` or `name/variant`.
        output: Folder of `reproduction.md`, `.csv`, `.png` and the runs; those in it are reused.
        recipe: A key of `config.RECIPES`.
        sources: Folders or archives to build data sets from, by data set.
        data_dir: As in `data.open_dataset`.
        seeds: Number of runs of each task, with consecutive seeds. The table has their mean; the
            confusion matrix is of the first.
        announce: Called with a line of text before each task.
        changes: Settings that differ from the recipe's, such as `epochs`.

    Returns the table, with `COLUMNS` and one row an evaluation or an unavailable data set. Raises
    ValueError for a wrong data set, setting or `seeds`, or runs in `output` with other settings.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be 1 or more. Received: {seeds}")
    output, tasks = Path(output), tasks_of(datasets)
    TrainConfig.from_recipe(recipe, **changes)  # raises before hours of training
    refuse_links(output)
    rows, figures = [], []
    for task in tasks:
        announce(f"{task.dataset}, protocol {task.protocol}")
        source = (sources or {}).get(task.name)
        try:
            if source is not None or not task.info.source:
                list(build_dataset(f"{task.name}/{task.tfds_config}", source, data_dir))
            open_dataset(task, data_dir)
        except FileNotFoundError as error:
            announce(f"  not available: {error}")
            rows.append(table_row(task, [], f"not available: {task.info.obtain}"))
            continue
        own = {"dataset": task.dataset, "protocol": task.protocol}
        config = TrainConfig.from_recipe(recipe, **own, **changes)
        folder = output / f"{task.dataset.replace('/', '-')}-{task.protocol}-{recipe}"
        reports = []
        for seed in range(config.seed, config.seed + seeds):
            if seeds > 1:
                announce(f"  seed {seed}")
            suffix = f"-seed{seed}" if seed > config.seed else ""
            run = Run(folder.with_name(folder.name + suffix))
            reports.append(report_of(dataclasses.replace(config, seed=seed), run, data_dir))
        rows += rows_of(task, reports)
        title = figure_title(task) + (f", seed {config.seed}" if seeds > 1 else "")
        figures.append((title, reports[0].get("pooled", reports[0])))
    table = pd.DataFrame(rows, columns=COLUMNS)
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / "reproduction.csv") as temporary:
        table.to_csv(temporary, index=False)
    write_text(output / "reproduction.md", as_markdown(table, recipe, changes))
    save_reproduction(table, figures, output / "reproduction.png")
    return table


def figure_title(task: Task) -> str:
    """Title of a confusion matrix, with the paper's figure for the same images and labels."""
    title = f"{task.dataset}, protocol {task.protocol}"
    figure = IN_THE_PAPER.get(task.name, (None, None))[1]
    # The paper's figure 8 has FER+'s labels.
    if figure and task.protocol == "standard" and task.dataset != "fer2013/original":
        title += f" (the paper's figure {figure})"
    return title


def report_of(config: TrainConfig, run: Run, data_dir: str | Path | None) -> dict:
    """The report of a run, or of a run for each fold, after starting or resuming it if needed."""
    started = run.has(Run.CONFIG)
    if started and run.config != config:
        raise ValueError(f"{run} is a run with other settings: name another --output.")
    if folds := run.folds:
        return folds
    if config.protocol == "subjects":
        return fit_folds(config, run.path, data_dir, resumed=started)
    return finished_report(config, run, data_dir)


def rows_of(task: Task, reports: list[dict]) -> list[tuple]:
    """The rows of a task: all its test images, and those without duplicates if evaluated."""
    note = folds_note(reports) if task.protocol == "subjects" else ""
    rows = [table_row(task, [report.get("pooled", report) for report in reports], note)]
    if all("deduplicated" in report for report in reports):
        unique = dataclasses.replace(task, protocol="deduplicated")
        rows.append(table_row(unique, [report["deduplicated"] for report in reports]))
    return rows


def folds_note(reports: list[dict]) -> str:
    """A note on results of `fit_folds`."""
    mean, spread = (100 * np.mean([one[key] for one in reports]) for key in ("mean", "spread"))
    folds = len(reports[0]["accuracies"])
    return f"mean of {folds} folds {mean:.2f}, spread {spread:.2f}; the accuracy is over all faces"


def table_row(task: Task, reports: list[dict], note: str = "") -> tuple:
    """One row of the table, from the `classification_report` of each seed; empty if unavailable.

    The interval of the mean accuracy covers the choice of test images, not of the seed.
    """
    paper, notes = "-", [note] if note else []
    if task.info.paper_accuracy and task.protocol == "standard":
        paper = f"{task.info.paper_accuracy:.2f} (table {IN_THE_PAPER[task.name][0]})"
        notes += task.differences_from_paper
    if not reports:
        return (task.dataset, task.protocol, paper, "-", "-", "-", "; ".join(notes))
    accuracies = np.array([report["accuracy"] for report in reports])
    if len(reports) > 1:
        each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
        spread = 100 * accuracies.std(ddof=1)
        notes.insert(0, f"mean of {len(reports)} seeds ({each}), spread {spread:.2f}")
    faces = reports[0]["faces"]
    low, high = wilson_interval(round(accuracies.mean() * faces), faces)
    cells = f"{100 * accuracies.mean():.2f}", f"{100 * low:.2f} to {100 * high:.2f}", f"{faces:,}"
    return (task.dataset, task.protocol, paper, *cells, "; ".join(notes))


def as_markdown(table: pd.DataFrame, recipe: str, changes: dict) -> str:
    """The table as a Markdown page."""
    settings = "".join(f", {name} {value}" for name, value in changes.items())
    titles, *rows = (
        f"| {' | '.join(map(str, cells))} |\n" for cells in (table.columns, *table.to_numpy())
    )
    return (
        "# The paper's results and ours\n\n"
        f"Recipe `{recipe}`{settings}. Test accuracy, percent, of the best epoch on validation.\n"
        "Wilson intervals: they cover the choice of test faces, not of the seed.\n\n"
        f"{titles}|{'---|' * len(table.columns)}\n{''.join(rows)}"
    )
