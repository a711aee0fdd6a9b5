"""Sheets: faces of a data set, and the results of a reproduction."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from keras_deep_emotion.reports.figures.canvas import TITLE, save_figure, show_face
from keras_deep_emotion.reports.figures.evaluation import draw_confusion_matrix

COLUMNS = 2  # confusion matrices in a row
CELL_LENGTH = 96  # characters; longer notes are in reproduction.md


def save_reproduction(table: pd.DataFrame, matrices: list[tuple], path: str | Path) -> None:
    """Draw a table of results above confusion matrices, as PNG.

    `table` is that of `reproduction.reproduce`; `matrices` are the title and the
    `metrics.classification_report` of each confusion matrix.
    """
    rows = -(-len(matrices) // COLUMNS)
    heights = [0.7 + 0.22 * len(table), 6.4 * rows][: 1 + bool(rows)]  # inches
    figure = Figure(figsize=(13.5, sum(heights)), layout="constrained")
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    axes = parts[0].subplots()
    axes.axis("off")
    axes.set_title("The paper's results and ours: accuracy on the test split, percent", **TITLE)
    cells = [
        [textwrap.shorten(str(cell), CELL_LENGTH, placeholder=" ...") for cell in row]
        for row in table.itertuples(index=False)
    ]
    drawn = axes.table(
        cells, colLabels=list(table.columns), loc="upper left", cellLoc="left", edges="horizontal"
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    drawn.auto_set_column_width(list(range(len(table.columns))))
    if matrices:
        grid = parts[1].subplots(rows, COLUMNS, squeeze=False).flat
        for place in grid[len(matrices) :]:
            place.axis("off")
        for place, (title, report) in zip(grid, matrices, strict=False):
            draw_confusion_matrix(place, report, title)
    save_figure(figure, path, dpi=110)


def save_contact_sheet(samples: np.ndarray, classes: list[str], path: str | Path) -> None:
    """Draw faces in one row for each class, as PNG.

    Samples are (classes, per_class, height, width) grey levels 0..255; black if there are too few.
    """
    rows, per_class = samples.shape[:2]
    figure = Figure(figsize=(1.0 * per_class, 1.02 * rows))
    for axes, faces, name in zip(figure.subplots(rows, 1), samples, classes, strict=True):
        show_face(axes, np.concatenate(list(faces), axis=1))
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    save_figure(figure, path, dpi=100, bbox_inches="tight")
