"""Figures of an evaluation: confusion matrix and reliability diagram."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_deep_emotion.evaluation.statistics import wilson_interval
from keras_deep_emotion.reports.figures.canvas import save_figure
from keras_deep_emotion.runs import Run

# Colour-blind safe and even in print: dark is much (matplotlib's own `cividis`, `magma`).
COUNTS = "Blues"


CURVE = "#0072b2"  # blue of Okabe and Ito's colour-blind safe palette


def draw_evaluation(folder: str | Path) -> list[Path]:
    """Draw confusion_matrix.png and reliability.png from a folder's report.json.

    Returns the paths written; none without a report.
    """
    run = Run(folder)
    report = run.report
    if report is None:
        return []
    title = f"{report['dataset']}, {report['split']}"
    return [
        save_figure(confusion_figure(report, title), run / Run.CONFUSION_MATRIX, dpi=150),
        save_figure(reliability_figure(report, title), run / Run.RELIABILITY, dpi=150),
    ]


def confusion_figure(report, title):
    """The figure of one confusion matrix; arguments as in `draw_confusion_matrix`."""
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    draw_confusion_matrix(figure.subplots(), report, title)
    return figure


def draw_confusion_matrix(axes, report, title):
    """Draw a confusion matrix into a part of a figure.

    Args:
        axes: of matplotlib.
        report: what `evaluation.evaluate` returns.
        title: accuracy, interval and number of faces are added to it.
    """
    confusion = np.array(report["confusion"])
    classes = report["classes"]
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap=COUNTS, vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        axes.text(
            column,
            row,
            f"{count:,}\n{shares[row, column]:.0%}" if count else "0",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if shares[row, column] > 0.5 else "black" if count else "0.6",
        )
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    low, high = report["accuracy_interval"]
    axes.set_title(
        f"{title}: {report['accuracy']:.1%} ({low:.1%} to {high:.1%}) of {report['faces']:,}",
        fontsize=10,
    )


def reliability_figure(report, title=""):
    """Draw a reliability curve (Guo et al., 2017): whether answers are right as often as sure.

    Above, for each bin of the answers' probabilities, the share that are right with its 95 %
    interval (Wilson), at their mean probability; a calibrated model lies on the diagonal. Below,
    how many faces each bin holds.

    Args:
        report: what `evaluation.evaluate` returns.
        title: of what; the calibration error and the number of faces are added to it.

    Returns:
        The figure.
    """
    calibration = report["calibration"]
    bins = calibration["bins"]
    sure = np.array([one["probability"] for one in bins])
    right = np.array([one["accuracy"] for one in bins])
    faces = np.array([one["faces"] for one in bins])
    bounds = [
        wilson_interval(round(share * count), count)
        for share, count in zip(right.tolist(), faces.tolist(), strict=True)
    ]
    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    diagonal = "as sure as right (below: too sure; above: not sure enough)"
    curve.plot([0, 1], [0, 1], color="0.5", linestyle="--", label=diagonal)
    # An interval holds its share, but for the last digits of a float.
    spread = np.abs(np.array(bounds).T - right)
    curve.errorbar(
        sure, right, spread, color=CURVE, marker="o", markersize=5, linewidth=1.5,
        elinewidth=1, capsize=3, label="this model, with 95 % intervals",
    )  # fmt: skip
    curve.set_ylim(-0.02, 1.02)
    curve.set_ylabel("share of answers that are right")
    # Beside the curve, for its intervals may reach anywhere.
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    curve.set_title(
        f"{title}\ncalibration error (ECE) {calibration['error']:.3f}, "
        f"{report['faces']:,} faces".strip(),
        fontsize=10,
    )
    low = np.array([one["low"] for one in bins])
    high = np.array([one["high"] for one in bins])
    bars = counts.bar(low, faces, high - low, align="edge", color="0.75", edgecolor="white")
    counts.bar_label(bars, [f"{count:,}" for count in faces], fontsize=7, padding=1)
    counts.set_ylim(0, 1.2 * faces.max())  # room for the numbers
    counts.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    counts.set_ylabel("faces")
    counts.set_xlabel("probability that the model gives its answer")
    for axes in (curve, counts):
        axes.set_xlim(-0.02, 1.02)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
