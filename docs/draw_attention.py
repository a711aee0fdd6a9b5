"""Draw docs/attention.png, the frames attended on a turning face: `python docs/draw_attention.py`.

The face is that of `draw_saliency`: Eileen Collins, by NASA, in the public domain.
"""

from pathlib import Path

from draw_saliency import read_faces
from matplotlib.figure import Figure
from matplotlib.patches import Polygon

from keras_deep_emotion import load
from keras_deep_emotion.evaluation.changes import warp
from keras_deep_emotion.reports.figures.canvas import save_figure
from keras_deep_emotion.reports.figures.saliency import attended_corners

DEGREES = (0, 15, 30, 45, 60)
MODELS = {
    "ferplus-paper": "the paper's network",
    "ferplus": "recipe best,\nno alignment",
    "ferplus-camera": "the same,\nwith alignment",
}


def draw() -> Figure:
    """A row for each of the shipped weights, a column for each turn."""
    face = read_faces()[0]
    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    grid = figure.subplots(len(MODELS), len(DEGREES))
    for (name, title), row in zip(MODELS.items(), grid, strict=True):
        model = load(name)
        upright = model.prepare(face)[..., 0]
        for axes, degrees in zip(row, DEGREES, strict=True):
            turned = warp(upright[None], degrees=float(degrees))
            theta, _ = model.attend(list(turned[..., None]))
            axes.imshow(turned[0], cmap="gray", vmin=0, vmax=255)
            (corners,) = attended_corners(theta, turned.shape[1:])
            axes.add_patch(Polygon(corners, fill=False, edgecolor="white", linewidth=3.5))
            axes.add_patch(Polygon(corners, fill=False, edgecolor="#d95f02", linewidth=2))
            axes.plot(*corners[:2].T, color="#1b6fb5", linewidth=3)  # the frame's upper side
            axes.set(xticks=[], yticks=[], xlim=(-9, 56), ylim=(56, -9))
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(f"{name}\n{title}", fontsize=8.5)
    for axes, degrees in zip(grid[0], DEGREES, strict=True):
        axes.set_title("upright" if degrees == 0 else f"turned by {degrees}°", fontsize=9)
    return figure


if __name__ == "__main__":
    save_figure(draw(), Path(__file__).with_name("attention.png"), dpi=150)
