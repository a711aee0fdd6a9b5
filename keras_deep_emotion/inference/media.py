"""Predict the faces in photos, folders of images and videos."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_deep_emotion.images.faces import Detector, Face, crop, smallest_face
from keras_deep_emotion.images.finding import FoundFile, is_video
from keras_deep_emotion.images.reading import UnreadableImage, open_photo
from keras_deep_emotion.images.videos import read_frames
from keras_deep_emotion.inference.predictor import Predictor
from keras_deep_emotion.inference.tracking import Tracker

BATCH = 64  # crops
CROP_LIKE = 128  # ours, pixels: an image this small without a face is probably the crop of one


class ImageResult(NamedTuple):
    """Prediction for an image: a photo, a crop or a frame of a video.

    Attributes:
        file: Path of the image or video.
        faces: Faces, the largest first; None if the whole image is one face.
        probabilities: (faces, classes) float32; one row if the whole image is one face.
        image: The image, RGB and upright; None for a crop.
        frame: Number of the frame, from 0; None if not of a video.
        seconds: Time of the frame; None if not of a video.
        tracks: Number of the person that each face belongs to, see `tracking`; None if not of a
            video.
        error: Reason why there is no prediction, one clause, or None. After the error of a video,
            the results of its earlier frames remain valid.
    """

    file: Path
    faces: list[Face] | None = None
    probabilities: np.ndarray | None = None
    image: Image.Image | None = None
    frame: int | None = None
    seconds: float | None = None
    tracks: list[int] | None = None
    error: str | None = None


def predict_media(
    model: Predictor,
    files: Iterable[FoundFile],
    detector: Detector | None = None,
    smallest: float | None = None,
    every: int = 10,
    smooth: float = 0.0,
) -> Iterator[ImageResult]:
    """Predict the faces in images and videos; a bad file does not stop the others.

    Yields a result for each image or frame, in order. A photo or video without any face has an
    error; a frame without a face has no faces.

    Args:
        model: A predictor.
        files: What `images.find_files` yields.
        detector: Detector of faces; None if each image is the crop of one face.
        smallest: Side of the smallest face to detect, pixels; None for the detector's default.
        every: Predict every N-th frame of a video.
        smooth: As in `tracking.Tracker`.
    """

    def is_crop(item):
        return detector is None and item.error is None and not is_video(item.path)

    for are_crops, group in itertools.groupby(files, is_crop):
        if are_crops:
            yield from predict_crops(model, [item.path for item in group])
            continue
        for path, error, _ in group:
            if error is not None:
                yield ImageResult(path, error=error)
            elif is_video(path):
                yield from _predict_video(model, path, detector, smallest, every, smooth)
            else:
                yield _predict_photo(model, path, detector, smallest)


def predict_crops(
    model: Predictor, files: Iterable[str | Path], batch_size: int = BATCH
) -> Iterator[ImageResult]:
    """Predict image files of cropped faces, in any format that `images.open_photo` reads.

    Yields a result for each file, in order; a bad file does not stop the others.
    """
    files = [Path(file) for file in files]
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        prepared, errors = [], []
        for file in batch:
            try:
                prepared.append(model.prepare(file))
                errors.append(None)
            except UnreadableImage as error:
                errors.append(str(error))
        rows = iter(model.predict_prepared(prepared) if prepared else ())
        for file, error in zip(batch, errors, strict=True):
            row = None if error else next(rows)[None]
            if row is not None and not row.any():  # only of a server
                row, error = None, "the model cannot read the image"
            yield ImageResult(file, probabilities=row, error=error)


def _predict_photo(model, path, detector, smallest):
    try:
        image = open_photo(path)
    except UnreadableImage as error:
        return ImageResult(path, error=str(error))
    faces, probabilities = predict_faces(model, image, detector, smallest)
    if not faces:
        return ImageResult(path, image=image, error=_no_face_message(image.size, smallest))
    return ImageResult(path, faces, probabilities, image)


def _predict_video(model, path, detector, smallest, every, smooth):
    frames, faces_seen, tracker = 0, False, Tracker(smooth)
    try:
        for number, seconds, image in read_frames(path, every):
            frames += 1
            faces, probabilities = predict_faces(model, image, detector, smallest, turn=False)
            faces_seen = faces_seen or len(probabilities) > 0
            # Without a detector each frame is the crop of one and the same face.
            boxes = [(0, 0, 1, 1)] if faces is None else [face.box for face in faces]
            tracks, probabilities = tracker.update(np.array(boxes), probabilities, seconds)
            yield ImageResult(path, faces, probabilities, image, number, seconds, tracks)
    except UnreadableImage as error:
        yield ImageResult(path, error=str(error))
        return
    if not faces_seen:
        where = f"the {frames} frames that were examined" if frames > 1 else "its one frame"
        yield ImageResult(path, error=f"no face is found in {where}")


def predict_faces(
    model: Predictor,
    image: Image.Image,
    detector: Detector | None = None,
    smallest: float | None = None,
    turn: bool = True,
) -> tuple[list[Face] | None, np.ndarray]:
    """Predict the faces in an image, RGB and upright; other arguments as `predict_media`.

    `turn` is an argument of `Detector.find`.

    Returns the faces, the largest first (None without a detector), and (faces, classes) float32
    probabilities.
    """
    faces = None if detector is None else detector.find(image, smallest, turn)
    crops = [image] if faces is None else [crop(image, face) for face in faces]
    return faces, model.predict(crops)


def _no_face_message(size, smallest):
    reason = f" in its {size[0]} x {size[1]} pixels;"
    if max(size) > CROP_LIKE:
        least = smallest or smallest_face(size)
        reason = f", of {least:.0f} pixels or more; --smallest sets the size, and"
    return f"no face is found{reason} if it is the crop of a face already: --faces none"
