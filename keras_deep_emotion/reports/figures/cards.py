"""Figures whose letters can be read in a card of TensorBoard, about 340 pixels wide."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_deep_emotion.reports.figures.canvas import TITLE, show_face
from keras_deep_emotion.reports.figures.saliency import HEAT, attended_corners
from keras_deep_emotion.reports.text import plain_percent

WIDTH, DPI, COLUMNS = 3.5, 200, 4  # inches at 96 pixels; sharp if the card is enlarged


def confusion_card(report: dict[str, Any]) -> Figure:
    """Draw the shares of the rows of a confusion matrix, from a `classification_report`."""
    confusion, classes = np.array(report["confusion"]), report["classes"]
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(WIDTH, WIDTH), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.5 else "black"
        text = f"{100 * share:.0f}" if share else ""
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color=color)
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=9)
    axes.set_yticks(range(len(classes)), classes, fontsize=9)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("true", fontsize=9)
    title = f"% of each row; accuracy {plain_percent(report['accuracy'])}"
    axes.set_title(title, **TITLE | {"fontsize": 9})
    return figure


def faces_card(
    faces: np.ndarray,
    titles: list[str],
    maps: np.ndarray | None = None,
    theta: np.ndarray | None = None,
) -> Figure:
    """Draw (count, height, width, 1) grey levels 0..255, four a row, below their titles.

    `maps` are saliency maps (count, height, width) to draw over the faces, each up to its own
    maximum; `theta` the (count, 6) transforms of `SpatialTransformer` whose regions are outlined.
    """
    rows = -(-len(faces) // COLUMNS)
    height = rows * (0.87 + 0.17 * (1 + titles[0].count("\n")))
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    places = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for axes in places[len(faces) :]:
        axes.axis("off")
    corners = None if theta is None else attended_corners(theta, faces.shape[1:3])
    for i, (axes, title) in enumerate(zip(places, titles, strict=False)):
        show_face(axes, faces[i, ..., 0])
        axes.set_title(title, fontsize=8.5, pad=3)
        if maps is not None:
            heat = np.nan_to_num(maps[i])  # NaN if the network has diverged
            top = max(float(heat.max()), 1e-6)
            opacity = 0.75 * np.clip(heat / top, 0, 1)
            axes.imshow(heat, cmap=HEAT, vmin=0, vmax=top, alpha=opacity)
        if corners is not None:
            limits = axes.get_xlim(), axes.get_ylim()
            outline = corners[i][[0, 1, 2, 3, 0]].T
            axes.plot(*outline, color="black", linewidth=2)
            axes.plot(*outline, color="orange", linewidth=1)
            # As many pixels beyond the image as keep most regions whole.
            axes.set(xlim=np.add(limits[0], (-4, 4)), ylim=np.add(limits[1], (4, -4)))
    return figure
