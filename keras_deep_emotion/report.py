"""Pictures of what a run found: the confusion matrix, where the model looks.

Figures are made without pyplot, so that nothing global is touched and no screen is needed.
"""

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

# Colour-blind safe and even in print: dark is much (matplotlib's own `cividis`, `magma`).
COUNTS = "Blues"
HEAT = "magma"


def save_confusion_matrix(report, path):
    """Draw a confusion matrix as the paper's figures 8 to 10: rows are the true classes.

    Args:
        report: what `evaluation.evaluate` returns.
        path: PNG to write.
    """
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    draw_confusion_matrix(figure.subplots(), report, f"{report['dataset']}, {report['split']}")
    figure.savefig(path, dpi=150)


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


def save_reproduction(table, figures, path):
    """Draw a table of results and the confusion matrices that belong to it.

    Args:
        table: DataFrame of text, as from `reproduction.reproduce`.
        figures: list of (title, what `evaluation.evaluate` returns).
        path: PNG to write.
    """
    across = 2
    down = -(-len(figures) // across)
    text_height = 0.9 + 0.34 * len(table)
    figure = Figure(figsize=(13.5, text_height + 6.4 * down), layout="constrained")
    parts = figure.subfigures(
        1 + bool(down), 1, height_ratios=[text_height, 6.4 * down][: 1 + bool(down)], squeeze=False
    )
    axes = parts[0, 0].subplots()
    axes.axis("off")
    axes.set_title("The paper's results and ours: accuracy on the test split, percent", loc="left")
    # A long note goes below its row's width: the page of Markdown has it whole.
    cells = [
        [str(cell)[:58] + ("..." if len(str(cell)) > 58 else "") for cell in row]
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
    figure.savefig(path, dpi=110)


def save_saliency(faces, saliency, decisive, truths, answers, path):
    """Draw faces with where the model looks, like the paper's figure 12: one row a face.

    Columns: the face; the probability lost when a region is hidden, laid over it; the regions
    whose hiding changes the answer, the rest darkened.

    Args:
        faces: (count, height, width, 1) grey levels 0..255.
        saliency: (count, height, width) probability lost, -1..1.
        decisive: (count, height, width) bool.
        truths: (count,) names of the true classes, or None for each unknown.
        answers: (count,) text, what the model says of each.
        path: PNG to write.
    """
    count = len(faces)
    figure = Figure(figsize=(6.0, 0.9 + 1.75 * count), layout="constrained")
    grid = figure.subplots(count, 3, squeeze=False)
    grid[0, 0].set_title("face", fontsize=10)
    grid[0, 1].set_title("probability lost\nwhen hidden", fontsize=10)
    grid[0, 2].set_title("hiding it changes\nthe answer", fontsize=10)
    # One scale for all, so that a face on which nothing matters looks like one.
    top = max(float(np.max(saliency)), 0.05)
    for row in range(count):
        plain, heat, mask = grid[row]
        face = np.asarray(faces[row])[..., 0]
        for axes in grid[row]:
            axes.imshow(face, cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
        # The more a region matters, the less it is seen through: the rest stays a face.
        strength = np.clip(saliency[row] / top, 0, 1)
        heat.imshow(saliency[row], cmap=HEAT, vmin=0, vmax=top, alpha=0.75 * strength)
        dark = np.zeros((*face.shape, 4))
        dark[..., 3] = np.where(decisive[row], 0.0, 0.8)
        mask.imshow(dark)
        label = answers[row] if truths[row] is None else f"{truths[row]}\n→ {answers[row]}"
        plain.set_ylabel(label, fontsize=9)
    # Its own solid colours: the last map's would be as transparent as that map.
    scale = ScalarMappable(Normalize(0, top), HEAT)
    figure.colorbar(scale, ax=grid[-1, 1], location="bottom", fraction=0.06, pad=0.04)
    figure.savefig(path, dpi=120)


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
    figure.savefig(path, dpi=100, bbox_inches="tight")
