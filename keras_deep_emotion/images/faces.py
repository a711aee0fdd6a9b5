"""Detect the faces in a photo, and crop them like the training images.

Detector: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks" (2016), from the package `mtcnn`, which includes its weights.
"""

import importlib.util
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

MIN_FACE = 20  # pixels; where the detector's image pyramid starts
MAX_SIDE = 1280  # ours: larger photos are shrunk to it, for speed (benchmarks/photos.py)
# Ours. Folds of cloth score up to 0.91 in scikit-image's astronaut, enlarged. Of FER-2013's images,
# which show little but the face, 84 % have a face at mtcnn's own 0.8, and 80 % at this.
MIN_SCORE = 0.93
# How FER-2013 crops its faces, measured by benchmarks/crop_margin.py: the side of the square in
# geometric means of the box's width and height, and the distance of its center below the middle of
# the eyes, in sides.
SIDE = 1.10
BELOW_EYES = 0.114
MAX_CROP = 240  # ours, pixels: five times the network's input


class Face(NamedTuple):
    """A face in a photo. Coordinates are pixels from the photo's upper left corner.

    Attributes:
        box: (4,) x, y, width and height; it may extend beyond the photo.
        score: Confidence of the detector, 0 to 1.
        eyes: (2, 2) x and y of the eyes; first the one further left in an upright photo.
        mouth: (2, 2) x and y of the corners of the mouth, in the same order.
    """

    box: np.ndarray
    score: float
    eyes: np.ndarray
    mouth: np.ndarray


class Detector:
    """Face detector; raises ModuleNotFoundError if the package `mtcnn` is not installed."""

    def __init__(self):
        if importlib.util.find_spec("mtcnn") is None:
            raise ModuleNotFoundError(
                "Faces are detected by the package mtcnn, which is not installed: "
                "pip install 'keras-deep-emotion[faces]'; or, if the images are crops of faces "
                "already: --faces none."
            )
        from mtcnn import MTCNN

        self._mtcnn = MTCNN()
        # Build the networks now, not at the first photo.
        for stage, side in zip(self._mtcnn.stages, (12, 24, 48), strict=True):
            stage.model(np.zeros((1, side, side, 3), np.float32))

    def find(self, photo: Image.Image, smallest: float | None = None) -> list[Face]:
        """Detect the faces in a photo, RGB and upright; the largest comes first.

        `smallest` is the side of the smallest face to detect, pixels; None for `smallest_face`. The
        photo is shrunk until such a face is `MIN_FACE` pixels wide.
        """
        scale = max(1, (smallest or smallest_face(photo.size)) / MIN_FACE)
        if scale > 1:
            size = [max(1, round(side / scale)) for side in photo.size]
            photo = photo.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
        rows = self._mtcnn.detect_faces(
            np.asarray(photo, np.float32),  # else mtcnn computes in float64, twice as long
            fit_to_image=False,
            box_format="xyxy",
            output_type="numpy",
        )
        faces = []
        for row in rows:
            x1, y1, x2, y2, score = row[1:6]
            points = np.stack([row[6:11], row[11:16]], axis=1) * scale  # eyes, nose, mouth
            box = np.array([x1, y1, x2 - x1, y2 - y1]) * scale
            if score >= MIN_SCORE:
                faces.append(Face(box, float(score), points[:2], points[3:]))
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])


def smallest_face(size: tuple[int, int]) -> float:
    """Side of the smallest face that is detected by default in a photo of (width, height)."""
    return MIN_FACE * max(1, max(size) / MAX_SIDE)


def crop(photo: Image.Image, face: Face, side: float = SIDE, upright: bool = True) -> Image.Image:
    """Crop a face as FER-2013's faces are cropped: a square, turned until the eyes are level.

    Args:
        photo: The photo, in mode L, RGB or RGBA.
        face: A face in it.
        side: Side of the square, in geometric means of the box's width and height.
        upright: Whether to turn the face.

    Returns:
        Square image in the photo's mode, at most `MAX_CROP` pixels wide. Beyond the photo its edge
        is repeated.
    """
    side = max(1.0, side * math.sqrt(face.box[2] * face.box[3]))
    between_eyes = face.eyes[1] - face.eyes[0]
    angle = math.atan2(between_eyes[1], between_eyes[0]) if upright else 0.0
    cosine, sine = math.cos(angle), math.sin(angle)
    down = np.array([-sine, cosine])  # from the eyes to the chin
    center = face.eyes.mean(axis=0) + BELOW_EYES * side * down

    # The part of the photo that the turned square covers, with a margin for the interpolation.
    reach = (abs(cosine) + abs(sine)) * side / 2 + 2
    start = np.floor(center - reach).astype(int)
    part = _crop_region(photo, start, np.ceil(center + reach).astype(int))
    width = max(1, min(round(side), MAX_CROP))
    scale = max(1, int(side / width))  # `transform` below skips pixels when it shrinks
    part = part.reduce(scale) if scale > 1 else part
    step = side / width / scale
    right, below = step * cosine, step * sine
    x, y = (center - start) / scale - np.array([right - below, below + right]) * width / 2
    return part.transform(
        (width, width),
        Image.Transform.AFFINE,
        (right, -below, x, below, right, y),
        Image.Resampling.BICUBIC,
    )


def _crop_region(photo, start, end):
    """The part of a photo between two corners (x, y); beyond the photo its edge is repeated."""
    columns, rows = (np.arange(start[i], end[i]).clip(0, photo.size[i] - 1) for i in range(2))
    inside = photo.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
    return Image.fromarray(np.asarray(inside)[np.ix_(rows - rows[0], columns - columns[0])])
