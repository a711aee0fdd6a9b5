"""Pictures of what a run found: the confusion matrix, where the model looks.

Figures are made without pyplot, so that nothing global is touched and no screen is needed.
"""

import textwrap
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_deep_emotion.evaluation import wilson_interval

# Colour-blind safe and even in print: dark is much (matplotlib's own `cividis`, `magma`).
COUNTS = "Blues"
HEAT = "magma"
CURVE = "#0072b2"  # blue of Okabe and Ito's colour-blind safe palette


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


def save_reliability(report, path):
    """Write the picture of `reliability_figure`, a PNG.

    Args:
        report: what `runs.judge` returns.
        path: PNG to write.
    """
    figure = reliability_figure(report, f"{report['dataset']}, {report['split']}")
    figure.savefig(path, dpi=150)


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


def saliency_figure(faces, saliency, decisive, truths, answers, effect=None):
    """Draw faces with where the model looks, like the paper's figure 12: one row a face.

    Columns: the face; the probability lost when a region is hidden, laid over it; the regions
    whose hiding changes the answer (makes it wrong, where the truth is known), the rest darkened.

    Args:
        faces: (count, height, width, 1) grey levels 0..255.
        saliency: (count, height, width) probability lost, -1..1.
        decisive: (count, height, width) bool.
        truths: (count,) names of the true classes, or None for each unknown.
        answers: (count,) text, what the model says of each.
        effect: what hiding the regions of the last column does, for its title; None for the
            answer becoming wrong where truths are known, else for its changing.

    Returns:
        The figure.
    """
    count = len(faces)
    saliency = np.nan_to_num(saliency)  # of a network that has diverged, nothing is lost
    figure = Figure(figsize=(6.0, 0.9 + 1.95 * count), layout="constrained")
    grid = figure.subplots(count, 3, squeeze=False)
    known = "makes\nthe answer wrong" if truths[0] is not None else "changes\nthe answer"
    effect = effect or known
    for axes, title in zip(
        grid[0], ("face", "probability lost\nwhen hidden", f"hiding it {effect}"), strict=True
    ):
        axes.set_title(title, fontsize=10)
    for row in range(count):
        plain, heat, mask = grid[row]
        face = np.asarray(faces[row])[..., 0]
        for axes in grid[row]:
            axes.imshow(face, cmap="gray", vmin=0, vmax=255)
            axes.set_xticks([])
            axes.set_yticks([])
        # Each face has its own scale, or all but the least sure answers would look like nothing;
        # the figure below says how much the scale is.
        top = max(float(saliency[row].max()), 1e-6)
        # The more a region matters, the less it is seen through: the rest stays a face.
        strength = np.clip(saliency[row] / top, 0, 1)
        heat.imshow(saliency[row], cmap=HEAT, vmin=0, vmax=top, alpha=0.75 * strength)
        heat.set_xlabel(f"at most {100 * top:.2g} points", fontsize=8)
        dark = np.zeros((*face.shape, 4))
        dark[..., 3] = np.where(decisive[row], 0.0, 0.8)
        mask.imshow(dark)
        share = float(np.mean(decisive[row]))
        # Rounded within 1 and 99: 100 % is said of all of the face alone.
        some = f"{min(max(share, 0.01), 0.99):.0%} of the face"
        mask.set_xlabel({0.0: "nowhere", 1.0: "everywhere"}.get(share, some), fontsize=8)
        label = answers[row] if truths[row] is None else f"{truths[row]}\n→ {answers[row]}"
        plain.set_ylabel(label, fontsize=9)
    # Its own solid colours: the last map's would be as transparent as that map.
    scale = ScalarMappable(Normalize(0, 1), HEAT)
    bar = figure.colorbar(scale, ax=grid, location="bottom", shrink=0.3, aspect=12, pad=0.01)
    bar.set_ticks([0, 1], labels=["none", "the face's most"])
    bar.ax.tick_params(labelsize=8)
    return figure


def mean_maps_figure(faces, found):
    """Draw what the maps of each class have in common, over the mean face of that class.

    Args:
        faces: {name: (height, width)} mean face of each class, grey levels 0..255.
        found: {name: dict}, as from `faithfulness.mean_maps`.

    Returns:
        The figure: one column a class; all maps have one scale.
    """
    figure = Figure(figsize=(1.75 * len(found) + 0.3, 2.75), layout="constrained")
    top = max(one["map"].max() for one in found.values())
    for axes, (name, one) in zip(
        figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True
    ):
        axes.imshow(faces[name], cmap="gray", vmin=0, vmax=255)
        strength = np.clip(one["map"] / top, 0, 1)
        axes.imshow(one["map"], cmap=HEAT, vmin=0, vmax=top, alpha=0.75 * strength)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(
            f"{one['faces']:,} face{'s' * (one['faces'] != 1)}\nupper third {one['upper']:.0%}\n"
            f"middle {one['middle']:.0%}\nlower {one['lower']:.0%}\nrim {one['rim']:.0%}",
            fontsize=8,
        )
    return figure


class OccludedFace(NamedTuple):
    """A face and what hiding regions of it does: a row of `occlusions_figure`.

    Attributes:
        face: (height, width) grey levels 0..255.
        truth: name of the true class, or None.
        answer: what the model says of the whole face.
        occluded: (count, height, width), the face with one region hidden in each.
        answers: (count,) what the model says of those.
        lost: (count,) the probability that the watched class loses, -1..1.
    """

    face: np.ndarray
    truth: str | None
    answer: str
    occluded: np.ndarray
    answers: list
    lost: list


def occlusions_figure(rows):
    """Draw faces with their most telling occlusions, like the paper's figure 11.

    Args:
        rows: list of `OccludedFace`.

    Returns:
        The figure: one row a face, the whole face first; where hiding a region changes the answer,
        the new one stands below in bold, with a frame.
    """
    across = 1 + max(len(row.answers) for row in rows)
    figure = Figure(figsize=(1.12 * across + 0.5, 1.55 * len(rows) + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), across, squeeze=False)
    for places, row in zip(grid, rows, strict=True):
        for axes in places:
            axes.set_xticks([])
            axes.set_yticks([])
        for axes in places[1 + len(row.answers) :]:
            axes.axis("off")
        places[0].imshow(row.face, cmap="gray", vmin=0, vmax=255)
        places[0].set_ylabel(row.truth or "", fontsize=9)
        places[0].set_xlabel(row.answer, fontsize=8)
        for axes, face, answer, lost in zip(
            places[1:], row.occluded, row.answers, row.lost, strict=False
        ):
            axes.imshow(face, cmap="gray", vmin=0, vmax=255)
            changed = answer != row.answer
            axes.set_xlabel(
                f"{answer}\n{points(lost)}",
                fontsize=8,
                fontweight="bold" if changed else "normal",
            )
            for spine in axes.spines.values():
                spine.set_color("tab:orange" if changed else "0.7")
                spine.set_linewidth(2.5 if changed else 0.8)
    grid[0, 0].set_title("whole face", fontsize=9)
    title = grid[0, 1].set_title("regions hidden, the most telling first", fontsize=9, loc="left")
    title.set_in_layout(False)  # it runs over its column's edge
    return figure


def points(lost):
    """A probability lost, in whole percentage points, as text."""
    rounded = round(100 * lost)
    return f"{-rounded:+d} points".replace("-", "\N{MINUS SIGN}") if rounded else "unchanged"


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
