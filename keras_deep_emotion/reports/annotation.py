"""Annotated predictions: boxes and labels in a picture, curves of a video."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageColor, ImageDraw, ImageFont

from keras_deep_emotion.files import printable_path
from keras_deep_emotion.reports.figures.canvas import TITLE, save_figure

# Color-blind safe (Okabe & Ito, 2008), one a class, in the order of the labels.
COLORS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#7f7f7f", "#0072b2", "#56b4e9")
MIN_WIDTH = 240  # pixels; a label is legible


def annotate(
    image: Image.Image, faces: Sequence | None, probabilities: np.ndarray, labels: Sequence[str]
) -> Image.Image:
    """Draw faces and their predictions into an RGB picture, enlarged up to `MIN_WIDTH`.

    `faces` has a `Face` of each prediction, `probabilities` is (faces, classes); without faces, the
    picture is one crop, labeled in its corner.
    """
    scale = max(1, -(-MIN_WIDTH // image.width))
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    line = max(2, round(max(image.size) / 400))
    boxes = [None] if faces is None else [face.box * scale for face in faces]
    predictions = list(zip(boxes, probabilities, strict=True))
    # Labels lie above all boxes, that of the largest face on top.
    for box, row in predictions:
        if box is not None:
            corners = [round(corner) for corner in (*box[:2], *(box[:2] + box[2:]))]
            draw.rectangle(corners, outline=class_color(row), width=line)
    for box, row in reversed(predictions):
        text = f"{labels[row.argmax()]} {row.max():.0%}"
        face_width = image.width if box is None else box[2]
        font = ImageFont.load_default(size=float(np.clip(face_width / 7, 11, max(image.size) / 25)))
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * line, bottom - top + 2 * line
        x, y = (0, 0) if box is None else (box[0], box[1] - height)
        x, y = min(max(0, x), max(0, image.width - width)), max(0, y)
        draw.rectangle([x, y, x + width, y + height], fill=class_color(row))
        draw.text((x + line - left, y + line - top), text, fill=text_color(row), font=font)
    return image


def class_color(probabilities: np.ndarray) -> str:
    """Color of the predicted class."""
    return COLORS[probabilities.argmax() % len(COLORS)]


def text_color(probabilities: np.ndarray) -> str:
    """Black or white, whichever is more legible on the class color, by its luma."""
    red, green, blue = ImageColor.getrgb(class_color(probabilities))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "white"


def save_timeline(results: Sequence[Any], labels: Sequence[str], path: str | Path) -> None:
    """Draw the probabilities of the largest face in each frame of a video over time, as PNG.

    `results` are the `ImageResult` of each frame; curves break at frames without a face.
    """
    times = np.array([result.seconds for result in results])
    no_face = np.full(len(labels), np.nan)
    curves = np.array([[*result.probabilities, no_face][0] for result in results])
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for i, label in enumerate(labels):
        color = COLORS[i % len(COLORS)]
        axes.plot(times, curves[:, i], color=color, label=label, marker=".", lw=1.6)
    axes.set(xlabel="time, seconds", ylabel="probability", ylim=(-0.02, 1.02))
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    most = max(len(result.probabilities) for result in results)
    which = "" if most < 2 else f", largest of up to {most} faces in a frame"
    title = f"{printable_path(results[0].file.name)}{which}"
    axes.set_title(title, parse_math=False, **TITLE)  # a name may have two dollar signs
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    save_figure(figure, path)
