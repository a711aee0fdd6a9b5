"""Sheets: faces of a data set, and the results of a reproduction."""

import textwrap

import numpy as np
from matplotlib.figure import Figure

from keras_deep_emotion.reports.figures.canvas import save_figure
from keras_deep_emotion.reports.figures.evaluation import draw_confusion_matrix


def save_reproduction(table, figures, path):
    """Draw a table of results and the confusion matrices that belong to it.

    Args:
        table: DataFrame of text, as from `reproduction.reproduce`.
        figures: list of (title, what `evaluation.evaluate` returns).
        path: PNG to write.
    """
    across = 2
    down = -(-len(figures) // across)
    text_height = 0.7 + 0.22 * len(table)
    figure = Figure(figsize=(13.5, text_height + 6.4 * down), layout="constrained")
    parts = figure.subfigures(
        1 + bool(down), 1, height_ratios=[text_height, 6.4 * down][: 1 + bool(down)], squeeze=False
    )
    axes = parts[0, 0].subplots()
    axes.axis("off")
    axes.set_title("The paper's results and ours: accuracy on the test split, percent", loc="left")
    # As much of a note as there is room for: the page of Markdown has it whole.
    cells = [
        [textwrap.shorten(str(cell), 96, placeholder=" ...") for cell in row]
        for row in table.itertuples(index=False)
    ]
    drawn = axes.table(
        cells, colLabels=list(table.columns), loc="upper left", cellLoc="left", edges="horizontal"
    )
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(9)
    drawn.auto_set_column_width(list(range(len(table.columns))))
    if down:
        grid = parts[1, 0].subplots(down, across, squeeze=False)
        for place in grid.flat[len(figures) :]:
            place.axis("off")
        for place, (title, judged) in zip(grid.flat, figures, strict=False):
            draw_confusion_matrix(place, judged, title)
    save_figure(figure, path, dpi=110)


def save_contact_sheet(samples, classes, path):
    """Draw faces in rows of one emotion each.

    Args:
        samples: (emotions, per_class, height, width) grey levels 0..255; black where there are too
            few.
        classes: (emotions,) names.
        path: PNG to write.
    """
    emotions, per_class = samples.shape[:2]
    figure = Figure(figsize=(1.0 * per_class, 1.02 * emotions))
    for axes, faces, name in zip(figure.subplots(emotions, 1), samples, classes, strict=True):
        axes.imshow(np.concatenate(list(faces), axis=1), cmap="gray", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    save_figure(figure, path, dpi=100, bbox_inches="tight")
