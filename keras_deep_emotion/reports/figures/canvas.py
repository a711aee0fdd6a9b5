"""Saving matplotlib figures. They are made without pyplot: no global state, no screen."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_deep_emotion.files import atomic_write


def save_figure(figure: Figure, path: Path, dpi: int = 120, **options) -> Path:
    """Write a figure as PNG, whole or not at all; return `path`."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, **options)
    return path


def figure_pixels(figure: Figure) -> np.ndarray:
    """Draw a figure into memory: (height, width, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
