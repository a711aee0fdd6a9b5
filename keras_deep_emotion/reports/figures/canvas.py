"""What all figures share: colors, the style of titles, and saving."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_deep_emotion.files import atomic_write

# Color-blind safe (Okabe & Ito, 2008).
BLUE, VERMILION = "#0072b2", "#d55e00"
TITLE = {"loc": "left", "fontsize": 11}  # of `Axes.set_title`


def save_figure(figure: Figure, path: str | Path, dpi: int = 120, **options) -> Path:
    """Write a figure to a PNG file by `files.atomic_write`; return its path."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, **options)
    return Path(path)


def figure_pixels(figure: Figure) -> np.ndarray:
    """Draw a figure into memory: (height, width, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def show_face(axes, image: np.ndarray) -> None:
    """Draw (height, width) grey levels 0..255 without ticks."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
