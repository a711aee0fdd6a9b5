"""Learning curves, from history.csv."""

import io
import math
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from keras_deep_emotion.reports.embedding import SCREEN_DPI, embed
from keras_deep_emotion.reports.figures.canvas import BLUE, TITLE, VERMILION
from keras_deep_emotion.reports.text import number, percent
from keras_deep_emotion.runs import best_epoch

VALIDATION = {"color": BLUE, "linestyle": "-", "marker": "o"}
TRAINING = {"color": VERMILION, "linestyle": "--", "marker": "s"}


def training_summary(history: pd.DataFrame) -> dict[str, Any]:
    """Number of epochs, best epoch with its validation accuracy, and median faces per second."""
    best, speed = best_epoch(history), history.get("images_per_second")
    return {
        "epochs": len(history),
        "best_epoch": None if best is None else int(best["epoch"]),
        "val_accuracy": None if best is None else float(best["val_accuracy"]),
        "speed": None if speed is None else float(speed.median()),
    }


def curves_figure(history: pd.DataFrame, metric: str) -> Figure:
    """Draw "accuracy" or "loss" over the epochs of `Run.history`, in training and validation.

    The figure is small enough to be legible on a phone.
    """
    figure = Figure(figsize=(4.2, 3.1), layout="constrained")
    axes = figure.subplots()
    style = {"markersize": 4, "linewidth": 1.8} | ({} if len(history) <= 12 else {"marker": None})
    epochs = history["epoch"]
    axes.plot(epochs, history[f"val_{metric}"], label="validation", **{**VALIDATION, **style})
    axes.plot(epochs, history[metric], label="training", **{**TRAINING, **style})
    best = best_epoch(history)
    if best is not None:
        axes.axvline(best["epoch"], color="0.35", linestyle=":", linewidth=1.2)
        axes.plot(
            best["epoch"], best[f"val_{metric}"], label=f"best: epoch {best['epoch']:.0f}",
            linestyle="none", marker="*", markersize=13, color="black", markeredgecolor="white",
            zorder=5,
        )  # fmt: skip
    axes.set_xlabel("epoch")
    axes.set_title(metric, **TITLE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(fontsize=9, frameon=False)
    return figure


def curves_text(history: pd.DataFrame, metric: str) -> str:
    """Learning curves in words."""
    form = percent if metric == "accuracy" else number
    first, last, best = history.iloc[0], history.iloc[-1], best_epoch(history)
    validation = f"val_{metric}"
    text = (
        f"Curves of {metric} over {len(history)} epoch{'s' * (len(history) > 1)}. "
        f"Validation goes from {form(first[validation])} to {form(last[validation])}, "
        f"training from {form(first[metric])} to {form(last[metric])}."
    )
    if best is None:
        return text
    return f"{text} Best epoch on validation: {best['epoch']:.0f}, with {form(best[validation])}."


def embed_curves(history: pd.DataFrame) -> list[tuple[dict[str, Any], str]]:
    """Curves of accuracy and loss for the page: `embedding.embed` and text of each."""
    pictures = []
    for metric in ("accuracy", "loss"):
        picture = embed_drawing(curves_figure(history, metric), metric)
        pictures.append((picture, curves_text(history, metric)))
    return pictures


def embed_drawing(figure: Figure, name: str) -> dict[str, Any]:
    """A figure for the page, as SVG: the result of `embedding.embed`."""
    file = io.BytesIO()
    # Without a date and with fixed ids, the same run has the same page.
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    width, height = (round(side * SCREEN_DPI) for side in figure.get_size_inches())
    return embed("image/svg+xml", file.getvalue(), width, height)


def balance_figure(points: list[dict[str, Any]]) -> Figure:
    """Draw accuracy, balanced accuracy and each recall of `operating_points` over the balance."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    balance = [one["balance"] for one in points]
    styles = {"accuracy": TRAINING, "balanced_accuracy": VALIDATION}
    for name, style in styles.items():
        values = [100 * one[name] for one in points]
        label = name.replace("_", " ")
        axes.plot(balance, values, label=label, **style, markersize=4, linewidth=2.2, zorder=3)
    curves = {name: [one["recall"][name] for one in points] for name in points[-1]["recall"]}
    curves = {name: values for name, values in curves.items() if None not in values}
    low = min([50.0, *(100 * value for values in curves.values() for value in values)]) - 3
    step, place = 0.055 * (104 - low), math.inf  # names must not overlap
    for name, values in sorted(curves.items(), key=lambda item: -item[1][-1]):
        axes.plot(balance, [100 * value for value in values], color="0.6", linewidth=1)
        place = min(100 * values[-1], place - step)
        axes.text(balance[-1] + 0.02, place, name, fontsize=8, color="0.35", va="center")
    axes.set(xlabel="balance", ylabel="%", xticks=balance, xlim=(-0.03, 1.25), ylim=(low, 104))
    axes.set_title("recall of each emotion (grey) and the mean of all faces", **TITLE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False, loc="lower right")
    return figure
