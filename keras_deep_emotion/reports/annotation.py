"""What was found, for the eye: boxes and labels in a picture, emotions over a video's time.

Figures are made without pyplot, as in `report`.
"""

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageColor, ImageDraw, ImageFont

from keras_deep_emotion.files import atomic_write, printable_path

# Colour-blind safe (Okabe & Ito, 2008), one a class, in the order of the labels.
COLORS = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#7f7f7f", "#0072b2", "#56b4e9")


def annotate(image, faces, probabilities, labels):
    """Draw boxes and answers into a picture.

    Args:
        image: RGB `PIL.Image`.
        faces: list of `faces.Face`, or None: the label stands in the corner, without a box.
        probabilities: (faces, classes).
        labels: names of the classes.

    Returns:
        RGB `PIL.Image`, at least 240 pixels wide so that a label can be read.
    """
    scale = max(1, -(-240 // image.width))
    image = image.resize((image.width * scale, image.height * scale), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    thick = max(2, round(max(image.size) / 400))
    boxes = [None] if faces is None else [face.box * scale for face in faces]
    pairs = list(zip(boxes, probabilities, strict=True))
    # Boxes first: none is drawn over a label; the largest face's label lies on top.
    for box, row in pairs:
        if box is not None:
            corners = [*box[:2], *(box[:2] + box[2:])]
            draw.rectangle([round(one) for one in corners], outline=class_color(row), width=thick)
    for box, row in reversed(pairs):
        text = f"{labels[row.argmax()]} {row.max():.0%}"
        width = image.width if box is None else box[2]
        font = ImageFont.load_default(size=float(np.clip(width / 7, 11, max(image.size) / 25)))
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        wide, high = right - left + 2 * thick, bottom - top + 2 * thick
        x, y = (0, 0) if box is None else (box[0], box[1] - high)
        x = min(max(0, x), max(0, image.width - wide))
        y = 0 if y < 0 else y
        draw.rectangle([x, y, x + wide, y + high], fill=class_color(row))
        draw.text((x + thick - left, y + thick - top), text, fill=text_color(row), font=font)
    return image


def class_color(row):
    """Of the class that has the highest probability."""
    return COLORS[row.argmax() % len(COLORS)]


def text_color(row):
    """Black or white, whichever is read better on `colour`: by its luma."""
    red, green, blue = ImageColor.getrgb(class_color(row))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 110 else "white"


def save_timeline(answers, labels, path):
    """Draw the emotions of a video over its time, of the largest face in each frame.

    Args:
        answers: `answers.Answer` of each frame; where one has no faces, the lines break.
        labels: names of the classes.
        path: PNG file.
    """
    times = np.array([answer.seconds for answer in answers])
    nothing = np.full(len(labels), np.nan)
    rows = np.array([[*answer.probabilities, nothing][0] for answer in answers])
    most = max(len(answer.probabilities) for answer in answers)
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for i, label in enumerate(labels):
        axes.plot(times, rows[:, i], color=COLORS[i % len(COLORS)], label=label, marker=".", lw=1.6)
    axes.set(xlabel="time, seconds", ylabel="probability", ylim=(-0.02, 1.02))
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    which = "" if most < 2 else f", of the largest of up to {most} faces in a frame"
    # A name with two $ is no formula.
    title = f"{printable_path(answers[0].file.name)}{which}"
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    with atomic_write(path) as aside:
        figure.savefig(aside, format="png", dpi=120)
