"""Faces of a photo: found by MTCNN, and cut out as the faces were that the models are trained on.

Detector: Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks" (2016), in the package `mtcnn`, which brings its weights.
"""

import importlib.util
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

SMALLEST = 20  # pixels; what the detector's own pyramid of sizes begins with


LONGEST = 1280  # ours: a longer side is shrunk to it, for the time (benchmarks/photos.py)


# Ours. Folds of cloth reach 0.91 in scikit-image's astronaut, enlarged; of FER-2013's pictures,
# which show little but the face, 84 % have one by mtcnn's own 0.8, 80 % by this.
LEAST_SCORE = 0.93


# How FER-2013's pictures lie about their faces, measured by benchmarks/crop_margin.py: the side of
# the square, in geometric means of the box's width and height, and how far below the middle of the
# eyes its centre lies, in sides.
SIDE = 1.10


BELOW_EYES = 0.114


MOST_SIDE = 240  # ours, pixels: five times what the network sees


class Face(NamedTuple):
    """A face in a photo; all in its pixels, from the upper left corner.

    Attributes:
        box: (4,) x, y, width and height; it may reach beyond the photo.
        score: how sure the detector is, 0 to 1.
        eyes: (2, 2) x and y of the eyes, the one further left in an upright photo first.
        mouth: (2, 2) of the corners of the mouth, the same.
    """

    box: np.ndarray
    score: float
    eyes: np.ndarray
    mouth: np.ndarray


class Detector:
    """Finds faces.

    Raises:
        ModuleNotFoundError: the package `mtcnn` is not installed.
    """

    def __init__(self):
        if importlib.util.find_spec("mtcnn") is None:
            raise ModuleNotFoundError(
                "Faces are found by the package mtcnn, which is not installed: "
                "pip install 'keras-deep-emotion[faces]'; or, if the pictures are crops of faces "
                "already: --faces none."
            )
        from mtcnn import MTCNN

        self.mtcnn = MTCNN()
        # What a network does once for all, it does here and not with the first photo.
        for stage, side in zip(self.mtcnn.stages, (12, 24, 48), strict=True):
            stage.model(np.zeros((1, side, side, 3), np.float32))

    def find(self, photo, smallest=None):
        """Find the faces of a photo.

        Args:
            photo: RGB `PIL.Image`, upright.
            smallest: side of the smallest face that is looked for, pixels; the photo is shrunk
                until that is `SMALLEST`. None for `smallest_face`.

        Returns:
            List of `Face`, the largest first.
        """
        shrink = max(1, (smallest or smallest_face(photo.size)) / SMALLEST)
        if shrink > 1:
            size = [max(1, round(side / shrink)) for side in photo.size]
            photo = photo.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
        # float32, or mtcnn computes in float64, at twice the time.
        pixels = np.asarray(photo, np.float32)
        rows = self.mtcnn.detect_faces(
            pixels, fit_to_image=False, box_format="xyxy", output_type="numpy"
        )
        found = []
        for row in rows:
            x1, y1, x2, y2, score = row[1:6]
            points = np.stack([row[6:11], row[11:16]], axis=1) * shrink  # eyes, nose, mouth
            box = np.array([x1, y1, x2 - x1, y2 - y1]) * shrink
            if score >= LEAST_SCORE:
                found.append(Face(box, float(score), points[:2], points[3:]))
        return sorted(found, key=lambda face: -face.box[2] * face.box[3])


def smallest_face(size):
    """Side of the smallest face that is looked for in a photo of this (width, height), pixels."""
    return SMALLEST * max(1, max(size) / LONGEST)


def crop(photo, face, side=SIDE, upright=True):
    """Cut a face out as FER-2013's are cut: a square about it, turned until the eyes are level.

    Args:
        photo: `PIL.Image` in which the face was found.
        face: `Face`.
        side: of the square, in geometric means of the box's width and height.
        upright: turn it.

    Returns:
        Square `PIL.Image` in the photo's mode, at most `MOST_SIDE` pixels wide. What lies beyond
        the photo repeats its edge.
    """
    side = max(1.0, side * math.sqrt(face.box[2] * face.box[3]))
    across = face.eyes[1] - face.eyes[0]
    angle = math.atan2(across[1], across[0]) if upright else 0.0
    cosine, sine = math.cos(angle), math.sin(angle)
    down = np.array([-sine, cosine])  # the face's own
    centre = face.eyes.mean(axis=0) + BELOW_EYES * side * down

    # The part of the photo that the turned square touches, a little more for the interpolation.
    reach = (abs(cosine) + abs(sine)) * side / 2 + 2
    start = np.floor(centre - reach).astype(int)
    part = crop_region(photo, start, np.ceil(centre + reach).astype(int))
    width = max(1, min(round(side), MOST_SIDE))
    shrink = max(1, int(side / width))  # the transform below skips pixels where it shrinks
    part = part.reduce(shrink) if shrink > 1 else part
    step = side / width / shrink
    right, below = step * cosine, step * sine
    x, y = (centre - start) / shrink - np.array([right - below, below + right]) * width / 2
    return part.transform(
        (width, width),
        Image.Transform.AFFINE,
        (right, -below, x, below, right, y),
        Image.Resampling.BICUBIC,
    )


def crop_region(photo, start, end):
    """The part of a photo from (x, y) to (x, y); what lies beyond the photo repeats its edge."""
    inside = np.clip([start, end], 0, photo.size)
    if (inside[0] >= inside[1]).any():  # no pixel of the photo: the nearest ones
        inside[0] = np.minimum(inside[0], np.array(photo.size) - 1)
        inside[1] = inside[0] + 1
    pixels = np.asarray(photo.crop((*inside[0].tolist(), *inside[1].tolist())))
    before, after = inside[0] - start, end - inside[1]
    around = [(max(0, before[axis]), max(0, after[axis])) for axis in (1, 0)]
    pixels = np.pad(pixels, around + [(0, 0)] * (pixels.ndim - 2), mode="edge")
    return Image.fromarray(pixels)
