"""Draw docs/saliency.png, two real faces and their maps: `python docs/draw_saliency.py`.

The photos come with scikit-image and matplotlib, and are in the public domain: Eileen Collins (born
1956) by NASA, Grace Hopper (1906-1992) by the US Navy.
"""

from pathlib import Path

import matplotlib.cbook
import numpy as np
import skimage.data
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from keras_deep_emotion import load
from keras_deep_emotion.images import Detector
from keras_deep_emotion.images.faces import crop
from keras_deep_emotion.reports.figures.canvas import save_figure
from keras_deep_emotion.reports.figures.saliency import COLORS, draw_map, face_grid, scale_top
from keras_deep_emotion.saliency import Windows, explain_faces

WINDOWS = Windows(16, 2, "blur")  # a third of the side: less than that changes little
PHOTOS = ("Photos: NASA, US Navy", "public domain")


def read_faces() -> list[Image.Image]:
    """The crops of both faces, in color."""
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    photos = [Image.fromarray(skimage.data.astronaut()), Image.open(hopper).convert("RGB")]
    detector = Detector()
    return [crop(photo, detector.find(photo)[0]) for photo in photos]


def draw() -> Figure:
    """One row a face: its crop with the answer, and its map."""
    faces, model = read_faces(), load("ferplus")
    found = explain_faces(model, np.stack([model.prepare(face) for face in faces]), None, WINDOWS)
    top, end = scale_top(found.saliency), model.size - 0.5
    figure, grid = face_grid(len(faces), 2, 1.93, (0.08, 0.46), (0.03, 0.03, 0.03, 0.86))
    for i, (face, (plain, heat)) in enumerate(zip(faces, grid, strict=True)):
        for axes, picture in ((plain, face), (heat, face.convert("L").convert("RGB"))):
            axes.imshow(np.asarray(picture), extent=(-0.5, end, end, -0.5))
            axes.axis("off")
        draw_map(heat, found.saliency[i], found.decisive[i], top)
        best, changed = found.class_id[i], found.answer[i][found.answer[i] != found.class_id[i]]
        answer = f"{model.labels[best]}, {100 * found.probabilities[i, best]:.0f} %"
        instead = model.labels[np.bincount(changed).argmax()] if len(changed) else "the same"
        for axes, text, weight in (
            (plain, answer, "bold"),
            (heat, f"hidden there: {instead}", "normal"),
        ):
            axes.text(
                0, -0.035, text, transform=axes.transAxes, va="top", fontsize=10.5, weight=weight
            )
    width, height = figure.get_size_inches()
    bar = figure.add_axes((2.04 / width, 0.32 / height, 1.93 / width, 0.1 / height))
    scale = ScalarMappable(Normalize(0, 100 * top), COLORS)
    figure.colorbar(scale, cax=bar, orientation="horizontal", ticks=[0, 50 * top, 100 * top])
    bar.tick_params(labelsize=8, length=2, pad=1)
    bar.set_title("points lost where a square is hidden", fontsize=7.5, loc="left", pad=3)
    bar.get_xticklabels()[0].set_ha("left")
    bar.get_xticklabels()[-1].set_ha("right")
    figure.text(0.03 / width, 0.1 / height, "\n".join(PHOTOS), fontsize=7.5, color="0.35")
    return figure


if __name__ == "__main__":
    save_figure(draw(), Path(__file__).with_name("saliency.png"), dpi=200)
