"""Figures of saliency maps: maps, occlusions, attended regions, mistakes, mean maps."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from keras_deep_emotion.reports.figures.canvas import save_figure, show_face
from keras_deep_emotion.runs import EXPLAIN, Run, read_arrays

HEAT = "magma"  # perceptually uniform
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
    truths, predictions = class_names(maps)
    faces = maps["image"][..., None]
    masks = maps["saliency"], maps["decisive"]
    figures = {
        Run.SALIENCY: saliency_figure(faces, *masks, truths, predictions),
        Run.OCCLUSIONS: occlusions_figure(occluded_faces(maps, truths, predictions)),
    }
    if "theta" in maps:
        titles = [truth or name for truth, name in zip(truths, predictions, strict=True)]
        figures[Run.ATTENDED] = attended_figure(
            faces, maps["theta"], maps["attended"][..., None], titles
        )
    return [save_figure(figure, run / name) for name, figure in figures.items()]


def draw_mistakes(folder: str | Path) -> list[Path]:
    """Draw mistakes.png from a folder's mistakes.npz; return the path written, if any."""
    run = Run(folder)
    maps = read_maps(run / Run.MISTAKE_MAPS)
    if maps is None:
        return []
    truths, predictions = class_names(maps)
    confidence = maps["probabilities"].max(axis=1)
    answers = [f"{name} {share:.0%}" for name, share in zip(predictions, confidence, strict=True)]
    faces, masks = maps["image"][..., None], (maps["saliency"], maps["decisive"])
    figure = saliency_figure(faces, *masks, truths, answers, "changes\nthe prediction")
    return [save_figure(figure, run / Run.MISTAKES)]


def draw_mean_saliency(folder: str | Path) -> list[Path]:
    """Draw mean_saliency.png from mean_saliency.npz; return the path written, if any."""
    run = Run(folder)
    path, remedy = run / Run.MEAN_MAPS, f"{EXPLAIN} --score"
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
    maps = read_arrays(path, EXPLAIN, **MAP_AXES)
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
        raise ValueError(f"{path} is damaged: {part}. {EXPLAIN}")
    return maps


def class_names(maps: dict[str, np.ndarray]) -> tuple[list[str | None], list[str]]:
    """(true class names, None where unknown; predicted class names) of explained images."""
    classes = maps["classes"]
    predictions = classes[maps["probabilities"].argmax(axis=1)].tolist()
    truths = classes[maps["label"]].tolist() if "label" in maps else [None] * len(predictions)
    return truths, predictions


class OccludedFace(NamedTuple):
    """A face with regions hidden: a row of `occlusions_figure`."""

    face: np.ndarray  # (height, width) grey levels 0..255
    truth: str | None  # name of the true class
    answer: str  # name of the class predicted for the whole face
    occluded: np.ndarray  # (count, height, width), the face with one region hidden in each
    answers: list[str]  # names of the classes predicted for those
    lost: list[float]  # probability that the explained class loses, -1..1


def occluded_faces(maps: dict[str, np.ndarray], truths, predictions) -> list[OccludedFace]:
    """The rows of `occlusions_figure` for explained images."""
    rows = []
    for i, windows in enumerate(maps["window"]):
        row, column = windows[windows[:, 0] >= 0].T
        occluded, lost = maps["occluded"][i, : len(row)], maps["lost"][i, row, column].tolist()
        answers = maps["classes"][maps["answer"][i, row, column]].tolist()
        face = maps["image"][i], truths[i], predictions[i]
        rows.append(OccludedFace(*face, occluded, answers, lost))
    return rows


def saliency_figure(
    faces: np.ndarray,
    saliency: np.ndarray,
    decisive: np.ndarray,
    truths: list[str | None],
    answers: list[str],
    effect: str | None = None,
) -> Figure:
    """Draw saliency maps like the paper's figure 12, one row a face.

    Columns: the face, (height, width, 1) grey levels 0..255; the saliency map, -1..1, over the
    face; the regions whose occlusion changes the prediction, with the rest darkened. Truths are
    None where unknown. `effect` says what hiding these regions does, for the title; None to make
    the prediction wrong, or change it if the truth is unknown.
    """
    saliency = np.nan_to_num(saliency)  # NaN if the network has diverged
    figure = Figure(figsize=(6.0, 0.9 + 1.95 * len(faces)), layout="constrained")
    grid = figure.subplots(len(faces), 3, squeeze=False)
    known = truths[0] is not None
    effect = effect or ("makes the\nprediction wrong" if known else "changes\nthe prediction")
    titles = ("face", "probability lost\nwhen hidden", f"hiding it {effect}")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, **COLUMN_TITLE)
    for row, (plain, heat, mask) in enumerate(grid):
        face = np.asarray(faces[row])[..., 0]
        for axes in (plain, heat, mask):
            show_face(axes, face)
        # Each face has its own scale, printed below it: else only uncertain predictions would show.
        top = max(float(saliency[row].max()), 1e-6)
        opacity = 0.75 * np.clip(saliency[row] / top, 0, 1)
        heat.imshow(saliency[row], cmap=HEAT, vmin=0, vmax=top, alpha=opacity)
        heat.set_xlabel(maximum_text(top), fontsize=8)
        shade = np.zeros((*face.shape, 4))
        shade[..., 3] = np.where(decisive[row], 0.0, 0.8)
        mask.imshow(shade)
        mask.set_xlabel(area_text(float(np.mean(decisive[row]))), fontsize=8)
        label = answers[row] if truths[row] is None else f"{truths[row]}\n→ {answers[row]}"
        plain.set_ylabel(label, fontsize=9)
    # A mappable of its own: that of the last map would be transparent.
    scale = ScalarMappable(Normalize(0, 1), HEAT)
    bar = figure.colorbar(scale, ax=grid, location="bottom", shrink=0.3, aspect=12, pad=0.01)
    bar.set_ticks([0, 1], labels=["none", "the face's maximum"])
    bar.ax.tick_params(labelsize=8)
    return figure


def maximum_text(lost: float) -> str:
    """The largest loss of probability in a map, in percentage points.

    >>> maximum_text(0.995), maximum_text(0.3), maximum_text(0.0123)
    ('at most 100 points', 'at most 30 points', 'at most 1.2 points')
    """
    points = 100 * lost
    return f"at most {points:{'.0f' if points >= 10 else '.2g'}} points"


def area_text(share: float) -> str:
    """A share of the face; only exact ones are called nowhere and everywhere."""
    some = f"{min(max(share, 0.01), 0.99):.0%} of the face"
    return {0.0: "nowhere", 1.0: "everywhere"}.get(share, some)


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
        axes.imshow(heat, cmap=HEAT, vmin=0, vmax=top, alpha=0.75 * np.clip(heat / top, 0, 1))
        axes.set_title(name, **COLUMN_TITLE)
        axes.set_xlabel(
            f"{region['faces']:,} face{'s' * (region['faces'] != 1)}\n"
            f"upper third {region['upper']:.0%}\nmiddle {region['middle']:.0%}\n"
            f"lower {region['lower']:.0%}\nrim {region['rim']:.0%}",
            fontsize=8,
        )
    return figure


def occlusions_figure(rows: list[OccludedFace]) -> Figure:
    """Draw the most important occlusions like the paper's figure 11, one row a face.

    The whole face comes first. Where hiding a region changes the prediction, it is framed and the
    new prediction is bold.
    """
    columns = 1 + max(len(row.answers) for row in rows)
    figure = Figure(figsize=(1.12 * columns + 0.5, 1.55 * len(rows) + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for places, row in zip(grid, rows, strict=True):
        for axes in places[1 + len(row.answers) :]:
            axes.axis("off")
        show_face(places[0], row.face)
        places[0].set_ylabel(row.truth or "", fontsize=9)
        places[0].set_xlabel(row.answer, fontsize=8)
        occluded = zip(places[1:], row.occluded, row.answers, row.lost, strict=False)
        for axes, face, answer, lost in occluded:
            show_face(axes, face)
            changed = answer != row.answer
            weight = "bold" if changed else "normal"
            axes.set_xlabel(f"{answer}\n{points_text(lost)}", fontsize=8, fontweight=weight)
            spines = axes.spines[:]
            spines.set_color("tab:orange" if changed else "0.7")
            spines.set_linewidth(2.5 if changed else 0.8)
    grid[0, 0].set_title("whole face", **COLUMN_TITLE)
    grid[0, 1].text(
        0, 1.08, "regions hidden, the most important first", transform=grid[0, 1].transAxes,
        in_layout=False, **COLUMN_TITLE,  # it is wider than its column
    )  # fmt: skip
    return figure


def points_text(lost: float) -> str:
    """The change of a probability that loses `lost`, in whole percentage points."""
    rounded = round(100 * lost)
    return f"{-rounded:+d} points".replace("-", "\N{MINUS SIGN}") if rounded else "unchanged"


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
