"""Figure of robustness: accuracy against the size of each change."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from keras_deep_emotion.reports.figures.canvas import BLUE, TITLE, save_figure
from keras_deep_emotion.reports.text import plain_percent
from keras_deep_emotion.runs import Run

COLUMNS = 4


def draw_robustness(folder: str | Path) -> list[Path]:
    """Draw robustness.png from a folder's robustness.json; return its path, none without it."""
    run = Run(folder)
    report = run.robustness
    if report is None:
        return []
    return [save_figure(robustness_figure(report), run / Run.ROBUSTNESS_FIGURE, dpi=150)]


def robustness_figure(report: dict[str, Any]) -> Figure:
    """A panel for each change of `evaluation.evaluate_robustness`, with 95 % intervals."""
    changes = list(report["changes"].values())
    rows = -(-len(changes) // COLUMNS)
    figure = Figure(figsize=(9.6, 2.15 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).flatten()
    for axes, change in zip(panels, changes, strict=False):
        points = [(one["level"], one["accuracy"], *one["interval"]) for one in change["levels"]]
        points.append((change["clean_level"], *[report["clean"]] * 3))
        level, accuracy, low, high = zip(*sorted(points), strict=True)
        axes.axhline(report["clean"], color="0.6", linewidth=1, linestyle="--")
        axes.fill_between(level, low, high, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(level, accuracy, color=BLUE, marker="o", markersize=3.5, linewidth=1.5)
        axes.plot(change["clean_level"], report["clean"], color="black", marker="*", markersize=9)
        axes.set_title(change["title"], loc="left", fontsize=10)
        axes.set_xlabel(change["unit"], fontsize=9)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.92")
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f} %"))
    for axes in panels[len(changes) :]:
        axes.remove()
    figure.suptitle(
        f"{report['dataset']}, {report['split']}: accuracy under changes\n"
        f"unchanged {plain_percent(report['clean'])} (star, dashed), mean of all changes and "
        f"levels {plain_percent(report['mean'])}, {report['faces']:,} faces",
        x=0.01, ha="left", fontsize=TITLE["fontsize"],
    )  # fmt: skip
    return figure
