"""Figures of saliency maps: maps, occlusions, attended regions, mistakes, mean maps."""

from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from keras_deep_emotion.reports.figures.canvas import save_figure, show_face
from keras_deep_emotion.reports.text import decisive_text, maximum_text
from keras_deep_emotion.runs import Run, read_arrays, to_rewrite

HEAT = "magma"  # perceptually uniform
# Without its darkest part, which does not show on dark skin.
COLORS = ListedColormap(matplotlib.colormaps[HEAT](np.linspace(0.3, 1, 256)))
SCALES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)  # upper ends, probability
FINE = 8  # points of an outline along the side of a pixel
MANY = 0.25  # ours: fraction of squares, or of the face, above which the square itself decides
MANY_TEXT = (
    "Many squares change the answer, wherever they lie: the maps may show the square, not the "
    "face.\nTry explain --filling blur, or fit --cutout 0.5."
)
COLUMN_TITLE = {"fontsize": 10}  # of the columns of a grid of faces
# Arrays of saliency.npz and mistakes.npz, with their number of axes.
MAP_AXES = {
    **{"name": 1, "classes": 1, "probabilities": 2, "image": 3, "saliency": 3, "decisive": 3},
    **{"lost": 3, "answer": 3, "window": 3, "occluded": 4},
}


def draw_saliency(folder: str | Path) -> list[Path]:
    """Draw saliency.png, occlusions.png and attended.png from a folder's saliency.npz.

    Returns the paths written: no attended.png without a transformer, none without the file.
    """
    run = Run(folder)
    maps = read_maps(run / Run.SALIENCY_MAPS)
    if maps is None:
        return []
    figures = {
        Run.SALIENCY: saliency_figure(*explained(maps)),
        Run.OCCLUSIONS: occlusions_figure(occluded_faces(maps)),
    }
    if "theta" in maps:
        truths, predictions = class_names(maps)
        titles = [truth or name for truth, name in zip(truths, predictions, strict=True)]
        faces, attended = maps["image"][..., None], maps["attended"][..., None]
        figures[Run.ATTENDED] = attended_figure(faces, maps["theta"], attended, titles)
    return [save_figure(figure, run / name) for name, figure in figures.items()]


def draw_mistakes(folder: str | Path) -> list[Path]:
    """Draw mistakes.png from a folder's mistakes.npz; return the path written, if any."""
    run = Run(folder)
    maps = read_maps(run / Run.MISTAKE_MAPS)
    if maps is None:
        return []
    return [save_figure(saliency_figure(*explained(maps)), run / Run.MISTAKES)]


def draw_mean_saliency(folder: str | Path) -> list[Path]:
    """Draw mean_saliency.png from mean_saliency.npz; return the path written, if any."""
    run = Run(folder)
    path, remedy = run / Run.MEAN_MAPS, to_rewrite(run, "explain --score")
    maps, scores = read_arrays(path, remedy, classes=1), run.faithfulness
    if not maps or not scores or not len(maps["classes"]):
        (run / Run.MEAN_SALIENCY).unlink(missing_ok=True)  # of an earlier benchmark
        return []
    maps = read_arrays(path, remedy, classes=1, maps=3, faces=3)
    classes, regions = maps["classes"].tolist(), scores.get("regions", {})
    if {*classes} != {*regions} or not len(classes) == len(maps["faces"]) == len(maps["maps"]):
        raise ValueError(f"{path} is not of {Run.FAITHFULNESS}. {remedy}")
    figure = mean_maps_figure(classes, maps["faces"], maps["maps"], regions)
    return [save_figure(figure, run / Run.MEAN_SALIENCY)]


def read_maps(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays that `saliency.save_explanation` wrote, checked; None if there is no file."""
    remedy = to_rewrite(path.parent, "explain")
    maps = read_arrays(path, remedy, **MAP_AXES)
    if maps is None:
        return None
    count, classes = len(maps["name"]), len(maps["classes"])
    grid, size = maps["lost"].shape[1:], maps["image"].shape[1:]
    windows = len(maps["window"][0]) if count else 0
    shapes = {
        **{"probabilities": (classes,), "lost": grid, "answer": grid, "window": (windows, 2)},
        **dict.fromkeys(("image", "saliency", "decisive"), size),
        **{"occluded": (windows, *size), "theta": (6,), "attended": size, "label": ()},
    }
    wrong = [
        name
        for name, shape in shapes.items()
        if name in maps
        and (maps[name].shape != (count, *shape) or maps[name].dtype.kind not in "fiub")
    ]
    indices = [maps[name] for name in ("answer", "label") if name in maps]
    ranges = [(0 <= one).all() and (one < classes).all() for one in indices] if not wrong else []
    if wrong or not count or not all(ranges) or (maps["window"] >= min(grid)).any():
        part = f"{wrong[0]} has another shape" if wrong else "a number is out of range"
        raise ValueError(f"{path} is damaged: {part}. {remedy}")
    return maps


def class_names(maps: dict[str, np.ndarray]) -> tuple[list[str | None], list[str]]:
    """(true class names, None where unknown; predicted class names) of explained images."""
    classes = maps["classes"]
    predictions = classes[maps["probabilities"].argmax(axis=1)].tolist()
    truths = classes[maps["label"]].tolist() if "label" in maps else [None] * len(predictions)
    return truths, predictions


def explained(maps: dict[str, np.ndarray]) -> tuple:
    """The arguments of `saliency_figure` for explained images.

    Images whose truth is unknown have the name of their file instead.
    """
    truths, predictions = class_names(maps)
    titles = [
        truth or Path(str(name)).name for truth, name in zip(truths, maps["name"], strict=True)
    ]
    shares = maps["probabilities"].max(axis=1)
    answers = [
        f"{name} {100 * share:.0f} %" for name, share in zip(predictions, shares, strict=True)
    ]
    return maps["image"][..., None], maps["saliency"], maps["decisive"], titles, answers


class OccludedFace(NamedTuple):
    """A face with regions hidden: a row of `occlusions_figure`."""

    face: np.ndarray  # (height, width) grey levels 0..255
    truth: str | None  # name of the true class
    answer: str  # name of the class predicted for the whole face
    occluded: np.ndarray  # (count, height, width), the face with one region hidden in each
    answers: list[str]  # names of the classes predicted for those
    lost: list[float]  # probability that the explained class loses, -1..1
    changing: float  # fraction of all squares that change the answer
    are_more: bool  # whether regions that change little are left out


def occluded_faces(maps: dict[str, np.ndarray]) -> list[OccludedFace]:
    """The rows of `occlusions_figure` for explained images.

    Only squares are shown that change the answer, or its probability by a point.
    """
    rows = []
    truths, predictions = class_names(maps)
    predicted = maps["probabilities"].argmax(axis=1)
    for i, windows in enumerate(maps["window"]):
        row, column = windows[windows[:, 0] >= 0].T
        lost, answer = maps["lost"][i, row, column], maps["answer"][i, row, column]
        shown = (np.round(100 * lost) >= 1) | (answer != predicted[i])
        answers = maps["classes"][answer[shown]].tolist()
        occluded = maps["occluded"][i, : len(row)][shown], answers, lost[shown].tolist()
        changing = float(np.mean(maps["answer"][i] != predicted[i]))
        face = maps["image"][i], truths[i], predictions[i]
        rows.append(OccludedFace(*face, *occluded, changing, not shown.all()))
    return rows


def face_grid(rows: int, columns: int, side: float, gaps, margins) -> tuple[Figure, np.ndarray]:
    """A figure with a (rows, columns) grid of square axes, and the axes; all sizes in inches.

    `gaps` are those between columns and between rows; `margins` left, right, top and bottom.
    """
    left, right, top, bottom = margins
    width = left + right + columns * side + (columns - 1) * gaps[0]
    height = top + bottom + rows * side + (rows - 1) * gaps[1]
    figure = Figure(figsize=(width, height))
    places = {"left": left / width, "right": 1 - right / width, "wspace": gaps[0] / side}
    places |= {"top": 1 - top / height, "bottom": bottom / height, "hspace": gaps[1] / side}
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw=places)


def scale_top(saliency: np.ndarray) -> float:
    """The probability at the upper end of the scale that all maps of a figure share.

    It is 10 points or more: smaller changes must not glow.

    >>> scale_top(np.array([0.0007])), scale_top(np.array([0.23, 0.01]))
    (0.1, 0.4)
    """
    most = float(np.max(saliency, initial=0))
    return next((top for top in SCALES if most <= top), 1.0)


def draw_map(axes, saliency: np.ndarray, decisive: np.ndarray, top: float) -> None:
    """Draw a saliency map, 0 to `top`, over a face, and outline the decisive region.

    Both are (height, width).
    """
    height, width = saliency.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)  # also of a face with more pixels
    strength = np.clip(saliency / top, 0, 1)
    axes.imshow(
        strength,
        cmap=COLORS,
        vmin=0,
        vmax=1,
        alpha=0.85 * strength**0.5,
        extent=extent,
        interpolation="bilinear",
    )
    if not decisive.any() or decisive.all():
        return
    # Along the edges of pixels, and closed at the edge of the image.
    fine = np.pad(np.kron(decisive, np.ones((FINE, FINE))), 1)
    y, x = ((np.arange(side) - 0.5) / FINE - 0.5 for side in fine.shape)
    for color, line in (("black", 2.6), ("white", 1.3)):  # shows on dark and on light pixels
        axes.contour(x, y, fine, levels=[0.5], colors=color, linewidths=line)


def saliency_figure(
    faces: np.ndarray,
    saliency: np.ndarray,
    decisive: np.ndarray,
    titles: list[str],
    answers: list[str],
) -> Figure:
    """Draw saliency maps like the paper's figure 12: a face, and beside it its map.

    Faces are (count, height, width, 1) grey levels 0..255. All maps, -1..1, have one scale. The
    region whose occlusion changes the prediction is outlined. Titles are names of the true classes
    or of files.
    """
    saliency = np.nan_to_num(saliency)  # NaN if the network has diverged
    count, top = len(faces), scale_top(saliency)
    pairs = 1 if count == 1 else 2  # in a row
    rows = -(-count // pairs)
    shows_squares = float(np.mean(decisive)) > MANY
    margins = (0.1, 0.1, 0.45, 1.0 + 0.45 * shows_squares)
    figure, grid = face_grid(rows, 2 * pairs, 1.7, (0.12, 0.5), margins)
    places = grid.reshape(-1, 2)
    for (plain, heat), face, one, mask, title, answer in zip(
        places, faces, saliency, decisive, titles, answers, strict=False
    ):
        for axes in (plain, heat):
            show_face(axes, np.asarray(face)[..., 0])
        draw_map(heat, one, mask, top)
        plain.set_xlabel(f"{shorten(title)}\n→ {answer}", fontsize=8)
        heat.set_xlabel(f"{maximum_text(float(one.max()))}\n{decisive_text(mask)}", fontsize=8)
    for axes in places[count:].flat:
        axes.axis("off")
    width, height = figure.get_size_inches()
    text = "What hiding a square takes from the probability;" + (" " if pairs == 2 else "\n")
    text += "outlined where it changes the answer"
    figure.text(0.1 / width, 1 - 0.1 / height, text, va="top", fontsize=9)
    low = 0.45 * shows_squares
    bar = figure.add_axes((0.1 / width, (0.42 + low) / height, 1.7 / width, 0.12 / height))
    # A mappable of its own: that of the last map would be transparent.
    scale = ScalarMappable(Normalize(0, 100 * top), COLORS)
    figure.colorbar(scale, cax=bar, orientation="horizontal", ticks=[0, 50 * top, 100 * top])
    bar.tick_params(labelsize=8)
    bar.set_xlabel("points lost, of 100", fontsize=8, labelpad=1)
    if shows_squares:
        figure.text(0.1 / width, 0.08 / height, MANY_TEXT, fontsize=8)
    return figure


def shorten(text: str, longest: int = 28) -> str:
    """A name that fits below a face.

    >>> shorten("IMG_20250713_101112_a_long_name.jpeg")
    'IMG_20250713_…ong_name.jpeg'
    """
    half = longest // 2 - 1
    return text if len(text) <= longest else f"{text[:half]}…{text[-half:]}"


def mean_maps_figure(classes: list[str], faces, maps, regions: dict[str, dict]) -> Figure:
    """Draw the mean map of each predicted class over the mean face, one column a class.

    Faces and maps are (classes, height, width); `regions` are those of `faithfulness.mean_maps`.
    """
    figure = Figure(figsize=(1.75 * len(classes) + 0.3, 2.75), layout="constrained")
    top = maps.max()
    columns = figure.subplots(1, len(classes), squeeze=False)[0]
    for axes, name, face, heat in zip(columns, classes, faces, maps, strict=True):
        region = regions[name]
        show_face(axes, face)
        axes.imshow(heat, cmap=COLORS, vmin=0, vmax=top, alpha=0.75 * np.clip(heat / top, 0, 1))
        axes.set_title(name, **COLUMN_TITLE)
        axes.set_xlabel(
            f"{region['faces']:,} face{'s' * (region['faces'] != 1)}\n"
            f"upper third {100 * region['upper']:.0f} %\nmiddle {100 * region['middle']:.0f} %\n"
            f"lower {100 * region['lower']:.0f} %\nrim {100 * region['rim']:.0f} %",
            fontsize=8,
        )
    return figure


def occlusions_figure(rows: list[OccludedFace]) -> Figure:
    """Draw the most important occlusions like the paper's figure 11, one row a face.

    The whole face comes first. Where hiding a region changes the prediction, it is framed and the
    new prediction is bold.
    """
    most = max(len(row.answers) for row in rows)
    columns = 1 + max(most, 3)  # room for a sentence
    shows_squares = np.mean([row.changing for row in rows]) > MANY
    margins = (0.3, 0.1, 0.3, 0.55 + 0.4 * shows_squares)
    figure, grid = face_grid(len(rows), columns, 1.06, (0.1, 0.62), margins)
    for places, row in zip(grid, rows, strict=True):
        show_face(places[0], row.face)
        places[0].set_ylabel(row.truth or "", fontsize=9)
        places[0].set_xlabel(f"{row.answer}\n{changing_text(row.changing)}", fontsize=8)
        occluded = zip(places[1:], row.occluded, row.answers, row.lost, strict=False)
        for axes, face, answer, lost in occluded:
            show_face(axes, face)
            outline_difference(axes, face, row.face)
            changed = answer != row.answer
            weight = "bold" if changed else "normal"
            axes.set_xlabel(f"{answer}\n{points_text(lost)}", fontsize=8, fontweight=weight)
            spines = axes.spines[:]
            spines.set_color("tab:orange" if changed else "0.7")
            spines.set_linewidth(2.5 if changed else 0.8)
        rest = places[1 + len(row.answers) :]
        for axes in rest:
            axes.axis("off")
        if len(rest) and row.are_more:
            some = "squares elsewhere\ntake less\nthan a point"
            text = some if row.answers else "no square takes as much as a point"
            rest[0].text(0, 0.5, text, fontsize=8, color="0.35", transform=rest[0].transAxes)
    width, height = figure.get_size_inches()
    titles = ("whole face", "squares hidden, the most important first")
    for axes, text in zip(grid[0], titles, strict=False):
        axes.text(0, 1.07, text, transform=axes.transAxes, **COLUMN_TITLE)
    if shows_squares:
        figure.text(0.1 / width, 0.08 / height, MANY_TEXT, fontsize=8)
    return figure


def outline_difference(axes, face: np.ndarray, whole: np.ndarray) -> None:
    """Outline where a face differs from the whole one, both (height, width)."""
    y, x = np.nonzero(face != whole)
    if len(y):
        corner, size = (x.min() - 0.5, y.min() - 0.5), (np.ptp(x) + 1, np.ptp(y) + 1)
        axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=0.8))


def changing_text(share: float) -> str:
    r"""Which fraction of all squares changes the answer.

    >>> changing_text(0), changing_text(0.001), changing_text(1)
    ('no square\nchanges it', '1 % of squares\nchange it', 'any square\nchanges it')
    """
    if share in (0, 1):
        return f"{'any' if share else 'no'} square\nchanges it"
    return f"{100 * min(max(share, 0.01), 0.99):.0f} % of squares\nchange it"


def points_text(lost: float) -> str:
    """The change of a probability that loses `lost`, in whole percentage points.

    >>> points_text(0.25), points_text(-0.01), points_text(0)
    ('−25 points', '+1 point', '0 points')
    """
    points = -round(100 * lost)
    number = f"{points:+d}".replace("-", "\N{MINUS SIGN}") if points else "0"
    return f"{number} point{'s' * (abs(points) != 1)}"


def attended_corners(theta: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Corners of the regions that the (count, 6) transforms of `SpatialTransformer` attend to.

    `size` is (height, width) of the images. Returns (count, 4, 2) float, x and y in pixels of the
    top left, top right, bottom right and bottom left corner; 0 is the center of the first pixel.
    """
    # In the transform's coordinates, -1 and 1 are the centers of the first and last pixel.
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], np.float64)
    places = np.einsum("nij,kj->nki", np.reshape(theta, (-1, 2, 3)), corners)
    return (places + 1) / 2 * (np.array(size[::-1]) - 1)


def attended_figure(faces, theta, attended, truths: list[str]) -> Figure:
    """Draw faces with the region that the transformer attends to, above the transformed images.

    Faces and transformed images are (count, height, width, 1) grey levels 0..255; `theta` is
    (count, 6); `truths` are the titles of the columns.
    """
    count = len(faces)
    figure = Figure(figsize=(1.5 * count + 0.6, 3.5), layout="constrained")
    grid = figure.subplots(2, count, squeeze=False)
    height, width = faces.shape[1:3]
    corners = attended_corners(theta, (height, width))
    # All faces have the same limits, wide enough for regions that reach beyond the image. NaN if
    # the network has diverged.
    reach = np.nan_to_num(corners).reshape(-1, 2)
    left, top = np.minimum(reach.min(axis=0), 0) - 0.06 * width
    right, bottom = np.maximum(reach.max(axis=0), [width - 1, height - 1]) + 0.06 * width
    for column, name in enumerate(truths):
        whole, transformed = grid[:, column]
        show_face(whole, faces[column, ..., 0])
        outline = corners[column][[0, 1, 2, 3, 0]].T
        # Two colors show on dark and on light pixels.
        whole.plot(*outline, color="black", linewidth=3)
        whole.plot(*outline, color="orange", linewidth=1.5)
        whole.set(xlim=(left, right), ylim=(bottom, top), facecolor="0.85")
        whole.set_title(name, **COLUMN_TITLE)
        show_face(transformed, attended[column, ..., 0])
    grid[0, 0].set_ylabel("attended region", fontsize=9)
    grid[1, 0].set_ylabel("transformed", fontsize=9)
    return figure
