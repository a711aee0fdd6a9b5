"""Pictures of what a run found: the confusion matrix, where the model looks.

Figures are made without pyplot, so that nothing global is touched and no screen is needed.
"""

import textwrap

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
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
    figure = confusion_figure(report, f"{report['dataset']}, {report['split']}")
    figure.savefig(path, dpi=150)


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
    figure.savefig(path, dpi=110)


def save_saliency(faces, saliency, decisive, truths, answers, path):
    """Write the picture of `saliency_figure`, a PNG."""
    saliency_figure(faces, saliency, decisive, truths, answers).savefig(path, dpi=120)


def saliency_figure(faces, saliency, decisive, truths, answers):
    """Draw faces with where the model looks, like the paper's figure 12: one row a face.

    Columns: the face; the probability lost when a region is hidden, laid over it; the regions
    whose hiding changes the answer, the rest darkened.

    Args:
        faces: (count, height, width, 1) grey levels 0..255.
        saliency: (count, height, width) probability lost, -1..1.
        decisive: (count, height, width) bool.
        truths: (count,) names of the true classes, or None for each unknown.
        answers: (count,) text, what the model says of each.

    Returns:
        The figure.
    """
    count = len(faces)
    saliency = np.nan_to_num(saliency)  # of a network that has diverged, nothing is lost
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
    return figure


def attended_corners(theta, size):
    """Corners of the regions that transforms look at, in pixels of the image.

    Args:
        theta: (count, 6) as `SpatialTransformer` takes it.
        size: (height, width) of the image.

    Returns:
        (count, 4, 2) float: x, y of what becomes the top left, top right, bottom right and bottom
        left of the attended image; 0 is the centre of the first pixel.
    """
    # Both in [-1, 1] from centre of first to centre of last pixel.
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], np.float64)
    places = np.einsum("nij,kj->nki", np.reshape(theta, (-1, 2, 3)), corners)
    height, width = size
    return (places + 1) / 2 * np.array([width - 1, height - 1])


def attended_figure(faces, theta, attended, truths):
    """Draw faces with the region that the transformer attends to, and what it makes of it.

    Args:
        faces: (count, height, width, 1) grey levels 0..255.
        theta: (count, 6) transforms.
        attended: (count, height, width, 1) grey levels 0..255, the warped faces.
        truths: (count,) names of the true classes.

    Returns:
        The figure: one column a face.
    """
    count = len(faces)
    figure = Figure(figsize=(1.5 * count + 0.6, 3.5), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False)
    height, width = faces.shape[1:3]
    corners = attended_corners(theta, (height, width))
    # A region may reach beyond the face. One frame for all, so that faces and regions compare; of
    # a network that has diverged, the face's.
    reach = np.nan_to_num(corners).reshape(-1, 2)
    left, top = np.minimum(reach.min(axis=0), 0) - 0.06 * width
    right, bottom = np.maximum(reach.max(axis=0), [width - 1, height - 1]) + 0.06 * width
    for column, name in enumerate(truths):
        whole, crop = grid[:, column]
        whole.imshow(faces[column, ..., 0], cmap="gray", vmin=0, vmax=255)
        # Closed, by its first corner again; two colours, so that it shows on dark and light.
        box = corners[column][[0, 1, 2, 3, 0]].T
        whole.plot(*box, color="black", linewidth=3)
        whole.plot(*box, color="orange", linewidth=1.5)
        whole.set_xlim(left, right)
        whole.set_ylim(bottom, top)
        whole.set_facecolor("0.85")
        whole.set_title(name, fontsize=10)
        crop.imshow(attended[column, ..., 0], cmap="gray", vmin=0, vmax=255)
        for axes in (whole, crop):
            axes.set_xticks([])
            axes.set_yticks([])
    grid[0, 0].set_ylabel("face and region", fontsize=9)
    grid[1, 0].set_ylabel("what is seen of it", fontsize=9)
    return figure


def figure_pixels(figure):
    """Draw a figure into memory.

    Returns:
        (height, width, 3) uint8.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


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
