"""The face in a frame of CK+, from its 68 landmarks."""

import re
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders.ck_plus.native import find_files
from tfds_builders.sources import Source

LANDMARKS = re.compile(r"(S\d{1,9})_(\d{1,9})_(\d{1,9})_landmarks\.txt", re.IGNORECASE)
POINTS = 68
FAR = 1e5  # pixels; frames have 640 x 490
# ours: shares of the longer side of the landmarks. A tenth, so that jaw and ears are not cut;
# above, three tenths: the topmost landmarks are the brows, and a frown shows on the forehead.
MARGIN = 0.1
MARGIN_ABOVE = 0.3


def read_landmarks(
    sources: Sequence[Source], frames: set[tuple[str, int]]
) -> dict[tuple[str, int], np.ndarray]:
    """Read the landmark files of frames, given as (name of the sequence, number).

    Returns (68, 2) float64 x and y, in pixels of the image, of each frame that has a file.
    """
    landmarks = {}
    for source in sources:
        paths = {}
        for path, *frame in find_files(source.names, LANDMARKS):
            paths.setdefault(tuple(frame), path)
        frame_of = {paths[frame]: frame for frame in paths.keys() & (frames - landmarks.keys())}
        for path, content in source.read(frame_of):
            landmarks[frame_of[path]] = _parse(content, path)
    return landmarks


def face_box(points: np.ndarray, height: int, width: int, name: str) -> tfds.features.BBox:
    """The square around the landmarks and the forehead, clipped to the image.

    A square, because the network's input is one: other boxes would stretch the face. `points` are
    (68, 2) x and y, in pixels of the image that is called `name`. Raises ValueError if the square
    contains no pixel of the image.
    """
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    longer = max(right - left, bottom - top)
    left, right = left - MARGIN * longer, right + MARGIN * longer
    top, bottom = top - MARGIN_ABOVE * longer, bottom + MARGIN * longer
    missing = (bottom - top) - (right - left)
    if missing > 0:
        left, right = left - missing / 2, right + missing / 2
    else:
        top, bottom = top + missing / 2, bottom - missing / 2
    left, right = np.clip((left, right), 0, width)
    top, bottom = np.clip((top, bottom), 0, height)
    if right - left < 1 or bottom - top < 1:
        raise ValueError(
            f"The landmarks of {name} enclose no pixel of its {width} x {height}; obtain "
            "Landmarks.zip again."
        )
    return tfds.features.BBox(
        *map(float, (top / height, left / width, bottom / height, right / width))
    )


def _parse(content, path):
    """(68, 2) float64 of a landmark file."""
    lines = content.decode("ascii", errors="replace").splitlines()
    lines = [line.split() for line in lines if line.strip()]
    if len(lines) != POINTS:
        raise ValueError(
            f"{path} must have {POINTS} lines, x and y of each landmark. Found: {len(lines)}; "
            "obtain Landmarks.zip again."
        )
    try:
        points = np.array(lines, dtype=np.float64).reshape(POINTS, 2)
    except ValueError:  # a word, or lines without two numbers
        points = np.array(np.nan)
    if not (np.abs(points) < FAR).all():  # NaN too
        raise ValueError(
            f"{path} must hold two numbers a line, x and y in pixels; get Landmarks.zip again."
        )
    return points
