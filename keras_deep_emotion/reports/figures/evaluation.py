"""Figures of an evaluation: confusion matrix and reliability diagram."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_deep_emotion.evaluation.statistics import wilson_interval
from keras_deep_emotion.reports.figures.canvas import BLUE, TITLE, save_figure
from keras_deep_emotion.reports.text import interval_text, plain_percent
from keras_deep_emotion.runs import Run


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


def confusion_figure(report: dict[str, Any], title: str) -> Figure:
    """A figure of one confusion matrix; arguments as in `draw_confusion_matrix`."""
    figure = Figure(figsize=(5.2, 5.1), layout="constrained")
    draw_confusion_matrix(figure.subplots(), report, title)
    return figure


def draw_confusion_matrix(axes: Axes, report: dict[str, Any], title: str) -> None:
    """Draw the confusion matrix of a `classification_report`: counts and their share of the row.

    Below `title` are accuracy, interval and number of faces.
    """
    confusion, classes = np.array(report["confusion"]), report["classes"]
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(confusion):
        share = shares[row, column]
        text = f"{count:,}\n{plain_percent(share, 0)}" if count else "0"
        color = "white" if share > 0.5 else "black" if count else "0.6"
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=color)
    axes.set_xticks(range(len(classes)), classes, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true")
    scores = f"accuracy {interval_text(report['accuracy'], report['accuracy_interval'])}"
    axes.set_title(f"{title}\n{scores}, {report['faces']:,} faces", **TITLE)


def reliability_figure(report: dict[str, Any], title: str) -> Figure:
    """Draw the reliability diagram of a `classification_report` (Guo et al., 2017).

    Above, the accuracy of each bin of `calibration` with its 95 % Wilson interval, at the mean
    probability of the bin; a calibrated model lies on the diagonal. Below, the number of faces.
    Below `title` are the calibration error and number of faces.
    """
    bins = report["calibration"]["bins"]
    keys = ("low", "high", "faces", "probability", "accuracy")
    low, high, faces, probability, accuracy = (np.array([one[key] for one in bins]) for key in keys)
    hits = np.round(accuracy * faces).astype(int)
    bounds = np.transpose([wilson_interval(*one) for one in zip(hits, faces, strict=True)])
    figure = Figure(figsize=(5.2, 5.1), layout="constrained")
    curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    diagonal = "calibrated (below: overconfident)"
    curve.plot([0, 1], [0, 1], color="0.5", linestyle="--", label=diagonal)
    curve.errorbar(
        probability, accuracy, np.abs(bounds - accuracy), color=BLUE, marker="o", markersize=5,
        linewidth=1.5, elinewidth=1, capsize=3, label="this model, with 95 % intervals",
    )  # fmt: skip
    curve.set(ylim=(-0.02, 1.02), ylabel="accuracy")
    # Outside the axes, where no interval can cross it.
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    error = f"expected calibration error {report['calibration']['error']:.3f}"
    curve.set_title(f"{title}\n{error}, {report['faces']:,} faces", **TITLE)
    bars = counts.bar(low, faces, high - low, align="edge", color="0.75", edgecolor="white")
    counts.bar_label(bars, [f"{count:,}" for count in faces], fontsize=7, padding=1)
    counts.set_ylim(0, 1.2 * faces.max())  # room for the labels
    counts.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    counts.set(xlabel="probability of the predicted class", ylabel="faces")
    for axes in (curve, counts):
        axes.set_xlim(-0.02, 1.02)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
