"""history.csv: how accuracy and loss went over the epochs, and which epoch is kept."""

import io

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from keras_deep_emotion.reports.embedding import SCREEN_DPI, data_uri, embedded
from keras_deep_emotion.reports.text import number, percent
from keras_deep_emotion.runs import best_epoch

# Blue and vermilion of Okabe and Ito: told apart by every reader, and in grey by their lightness.
VALIDATION = {"color": "#0072b2", "linestyle": "-", "marker": "o"}


TRAINING = {"color": "#d55e00", "linestyle": "--", "marker": "s"}


def training_facts(history):
    """Epochs done, the kept one and faces a second, of history.csv."""
    kept = best_epoch(history)
    speed = history.get("images_per_second")
    return {
        "epochs": len(history),
        "kept": None if kept is None else int(kept["epoch"]),
        "val_accuracy": None if kept is None else float(kept["val_accuracy"]),
        "speed": None if speed is None else float(speed.median()),
    }


def curves_figure(history, name):
    """Draw how a number went over the epochs, in training and on validation.

    Args:
        history: DataFrame with `epoch` and the columns `name` and `val_<name>`.
        name: "accuracy" or "loss".

    Returns:
        The figure, small: its letters can be read on a phone.
    """
    figure = Figure(figsize=(4.2, 3.1), layout="constrained")
    axes = figure.subplots()
    few = len(history) <= 12
    for label, column, style in (
        ("validation", f"val_{name}", VALIDATION),
        ("training", name, TRAINING),
    ):
        style = {**style, "marker": style["marker"] if few else None, "markersize": 4}
        axes.plot(history["epoch"], history[column], label=label, linewidth=1.8, **style)
    kept = best_epoch(history)
    if kept is not None:
        label = f"kept: epoch {kept['epoch']:.0f}"
        axes.axvline(kept["epoch"], color="0.35", linestyle=":", linewidth=1.2)
        axes.plot(
            kept["epoch"],
            kept[f"val_{name}"],
            marker="*",
            markersize=13,
            color="black",
            markeredgecolor="white",
            linestyle="none",
            label=label,
            zorder=5,
        )
    axes.set_xlabel("epoch")
    axes.set_title(name, loc="left", fontsize=11, fontweight="bold")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    if name == "accuracy":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(fontsize=9, frameon=False)
    return figure


def curves(history):
    """Accuracy and loss over the epochs, as `picture` gives pictures."""
    found = []
    for name in ("accuracy", "loss"):
        figure = curves_figure(history, name)
        file = io.BytesIO()
        # No date and fixed ids: the same run gives the same page.
        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure.savefig(file, format="svg", metadata={"Date": None})
        first, last = history.iloc[0], history.iloc[-1]
        show = percent if name == "accuracy" else number
        kept = best_epoch(history)
        alt = (
            f"Curves of {name} over {len(history)} epoch{'s' if len(history) > 1 else ''}. "
            f"Validation goes from {show(first[f'val_{name}'])} to {show(last[f'val_{name}'])}, "
            f"training from {show(first[name])} to {show(last[name])}."
        )
        if kept is not None:
            alt += (
                f" Kept is epoch {kept['epoch']:.0f}, with {show(kept[f'val_{name}'])} on "
                "validation."
            )
        width, height = (round(side * SCREEN_DPI) for side in figure.get_size_inches())
        found.append(embedded(data_uri("image/svg+xml", file.getvalue()), width, height, alt))
    return found
