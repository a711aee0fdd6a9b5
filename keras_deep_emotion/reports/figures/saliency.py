"""Figures of saliency maps: maps, occlusions, attended regions, mistakes, mean maps."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from keras_deep_emotion.files import read_json
from keras_deep_emotion.reports.figures.canvas import save_figure
from keras_deep_emotion.runs import Run

HEAT = "magma"  # even in print and to the colour-blind


def draw_saliency(folder: str | Path) -> list[Path]:
    """Draw saliency.png, occlusions.png and attended.png from a folder's saliency.npz.

    Returns the paths written: no attended.png without a transformer, none without the file.
    """
    run = Run(folder)
    maps = read_maps(run / Run.SALIENCY_MAPS)
    if maps is None:
        return []
    truths, answers = class_names(maps)
    faces = maps["image"][..., None]
    figures = {
        Run.SALIENCY: saliency_figure(faces, maps["saliency"], maps["decisive"], truths, answers),
        Run.OCCLUSIONS: occlusions_figure(occluded_rows(maps, truths, answers)),
    }
    if "theta" in maps:
        titles = [truth or answer for truth, answer in zip(truths, answers, strict=True)]
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
    truths, answers = class_names(maps)
    sure = maps["probabilities"].max(axis=1)
    figure = saliency_figure(
        maps["image"][..., None],
        maps["saliency"],
        maps["decisive"],
        truths,
        [f"{answer} {probability:.0%}" for answer, probability in zip(answers, sure, strict=True)],
        "changes\nthe answer",
    )
    return [save_figure(figure, run / Run.MISTAKES)]


def draw_mean_saliency(folder: str | Path) -> list[Path]:
    """Draw mean_saliency.png from mean_saliency.npz; return the path written, if any."""
    run = Run(folder)
    maps = read_maps(run / Run.MEAN_MAPS)
    if maps is None or not len(maps["classes"]):
        (run / Run.MEAN_SALIENCY).unlink(missing_ok=True)  # of an earlier benchmark
        return []
    regions = read_json(run / Run.FAITHFULNESS)["regions"]
    figure = mean_maps_figure(maps["classes"].tolist(), maps["faces"], maps["maps"], regions)
    return [save_figure(figure, run / Run.MEAN_SALIENCY)]


def read_maps(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays of an .npz file; None if it does not exist."""
    if not path.is_file():
        return None
    with np.load(path) as file:
        return dict(file)


def class_names(maps: dict[str, np.ndarray]) -> tuple[list[str | None], list[str]]:
    """(true class names, None where unknown; predicted class names) of explained images."""
    classes = maps["classes"]
    answers = classes[maps["probabilities"].argmax(axis=1)].tolist()
    truths = classes[maps["label"]].tolist() if "label" in maps else [None] * len(answers)
    return truths, answers


def occluded_rows(maps, truths, answers):
    """`OccludedFace`s of the explained images."""
    rows = []
    for i, windows in enumerate(maps["window"]):
        places = [tuple(window) for window in windows if window[0] >= 0]
        rows.append(
            OccludedFace(
                face=maps["image"][i],
                truth=truths[i],
                answer=answers[i],
                occluded=maps["occluded"][i, : len(places)],
                answers=[maps["classes"][maps["answer"][i][place]] for place in places],
                lost=[float(maps["lost"][i][place]) for place in places],
            )
        )
    return rows


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


def mean_maps_figure(classes, faces, maps, regions):
    """Draw the mean map of each predicted class over the mean face of that class.

    Args:
        classes: Names of the classes.
        faces: (classes, height, width) mean faces, grey levels 0..255.
        maps: (classes, height, width) mean maps.
        regions: Where they lie, see `faithfulness.mean_maps`, by class name.

    Returns:
        The figure: one column a class; all maps have one scale.
    """
    figure = Figure(figsize=(1.75 * len(classes) + 0.3, 2.75), layout="constrained")
    top = maps.max()
    columns = figure.subplots(1, len(classes), squeeze=False)[0]
    for axes, name, face, heat in zip(columns, classes, faces, maps, strict=True):
        region = regions[name]
        axes.imshow(face, cmap="gray", vmin=0, vmax=255)
        axes.imshow(heat, cmap=HEAT, vmin=0, vmax=top, alpha=0.75 * np.clip(heat / top, 0, 1))
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(
            f"{region['faces']:,} face{'s' * (region['faces'] != 1)}\n"
            f"upper third {region['upper']:.0%}\nmiddle {region['middle']:.0%}\n"
            f"lower {region['lower']:.0%}\nrim {region['rim']:.0%}",
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
