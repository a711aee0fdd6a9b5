"""Annotated predictions: boxes and labels in a picture."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

# Color-blind safe (Okabe & Ito, 2008), one a class, in the order of the labels.
COLORS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#7f7f7f", "#0072b2", "#56b4e9")
MIN_WIDTH = 240  # pixels; a label is legible


def annotate(
    image: Image.Image,
    faces: Sequence | None,
    probabilities: np.ndarray,
    labels: Sequence[str],
    tracks: Sequence[int] | None = None,
) -> Image.Image:
    """Draw faces and their predictions into an RGB picture, enlarged up to `MIN_WIDTH`.

    `faces` has a `Face` of each prediction, `probabilities` is (faces, classes); without faces, the
    picture is one crop, labeled in its corner. `tracks` are the numbers of people in a video.
    """
    scale = max(1, -(-MIN_WIDTH // image.width))
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    line = max(2, round(max(image.size) / 400))
    boxes = [None] if faces is None else [face.box * scale for face in faces]
    numbers = [""] * len(boxes) if tracks is None else [f"{number}: " for number in tracks]
    predictions = list(zip(boxes, probabilities, numbers, strict=True))
    # Labels lie above all boxes, that of the largest face on top.
    for box, row, _ in predictions:
        if box is not None:
            corners = [round(corner) for corner in (*box[:2], *(box[:2] + box[2:]))]
            draw.rectangle(corners, outline=class_color(row), width=line)
    for box, row, number in reversed(predictions):
        text = f"{number}{labels[row.argmax()]} {100 * row.max():.0f} %"
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
