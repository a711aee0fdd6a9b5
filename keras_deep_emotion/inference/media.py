"""From paths to answers: pictures are read, faces are found, and a model is asked about each."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from keras_deep_emotion.images.faces import Face, crop, smallest_face
from keras_deep_emotion.images.inputs import encode_png, read_crop
from keras_deep_emotion.images.reading import UnreadableImage, is_video, open_photo, read_frames

BATCH = 64


CROP_LIKE = 128  # ours, pixels: so small a picture without a face is taken for a crop of one


class ImageResult(NamedTuple):
    """What is said of one picture: a photo, a crop or a frame of a video.

    Attributes:
        file: its path.
        faces: list of `faces.Face`, the largest first; None where the whole picture is the face.
        probabilities: (faces, classes) float32; one row where the whole picture is the face.
        image: the picture, RGB and upright, or None of a crop.
        frame: number in the video, from 0, or None.
        seconds: time in the video, or None.
        error: why there is no answer, one clause, or None. After an error in a video its other
            answers stand.
    """

    file: Path
    faces: list[Face] | None = None
    probabilities: np.ndarray | None = None
    image: Image.Image | None = None
    frame: int | None = None
    seconds: float | None = None
    error: str | None = None


def predict_media(model, found, detector=None, smallest=None, every=10):
    """Answer for files, folders, patterns and videos; a bad one does not stop the rest.

    Args:
        model: `predict.Model`.
        found: what `photos.find_files` yields.
        detector: `faces.Detector`, or None where each picture is the crop of one face.
        smallest: side of the smallest face to look for, pixels, or None for the detector's own.
        every: of a video, take each so many-th frame.

    Yields:
        `Answer`, one a picture, in order. A frame without a face has no faces; only a video or
        photo without any is an error.
    """

    def is_crop(one):
        path, error = one
        return detector is None and error is None and not is_video(path)

    for crops, group in itertools.groupby(found, is_crop):
        if crops:  # many in one batch
            yield from predict_crops(model, [path for path, _ in group])
            continue
        for path, error in group:
            if error is not None:
                yield ImageResult(path, error=error)
            elif is_video(path):
                yield from predict_video(model, path, detector, smallest, every)
            else:
                yield predict_photo(model, path, detector, smallest)


def predict_crops(model, files, batch_size=BATCH):
    """Predict image files of cropped faces, many in a batch.

    Args:
        model: A predictor.
        files: Images in any format that `images.open_photo` reads.
        batch_size: Files at once.

    Yields:
        An `ImageResult` for each file, in order; a bad file does not stop the others.
    """
    files = [Path(file) for file in files]
    for start in range(0, len(files), batch_size):
        batch = files[start : start + batch_size]
        contents = [read_crop(file) for file in batch]
        good = [content for content, error in contents if error is None]
        rows = iter(model.predict_bytes(good) if good else ())
        for file, (_, error) in zip(batch, contents, strict=True):
            row = None if error else next(rows)
            if row is not None and not row.any():
                row, error = None, "the server cannot read the image"
            yield ImageResult(file, probabilities=None if error else row[None], error=error)


def predict_photo(model, path, detector, smallest=None):
    """`Answer` for the faces of a photo."""
    try:
        image = open_photo(path)
    except UnreadableImage as error:
        return ImageResult(path, error=str(error))
    found, probabilities = predict_faces(model, image, detector, smallest)
    if not found:
        return ImageResult(path, image=image, error=no_face_message(image.size, smallest))
    return ImageResult(path, found, probabilities, image)


def predict_video(model, path, detector=None, smallest=None, every=10):
    """`Answer` for each of the frames of a video that are looked at."""
    frames, seen = 0, False
    try:
        for number, seconds, image in read_frames(path, every):
            frames += 1
            found, probabilities = predict_faces(model, image, detector, smallest)
            seen = seen or len(probabilities) > 0
            yield ImageResult(path, found, probabilities, image, number, seconds)
    except UnreadableImage as error:
        yield ImageResult(path, error=str(error))
        return
    if not seen:
        looked = f"the {frames} frames that were looked at" if frames > 1 else "its one frame"
        yield ImageResult(path, error=f"no face is found in {looked}")


def predict_faces(model, image, detector=None, smallest=None):
    """What a model says of the faces in a picture.

    Args:
        model: `predict.Model`.
        image: RGB `PIL.Image`, upright.
        detector: `faces.Detector`, or None where the picture is the crop of one face.
        smallest: as `answer_files` takes it.

    Returns:
        (list of `faces.Face`, or None without a detector; (faces, classes) float32).
    """
    found = None if detector is None else detector.find(image, smallest)
    crops = [image] if found is None else [crop(image, face) for face in found]
    answers = [
        model.predict_bytes([encode_png(one) for one in crops[start : start + BATCH]])
        for start in range(0, len(crops), BATCH)
    ]
    return found, np.concatenate(answers or [np.zeros((0, len(model.labels)), np.float32)])


def no_face_message(size, smallest=None):
    """Why a photo of a (width, height) gives no answer, and what to do."""
    if max(size) <= CROP_LIKE:
        width, height = size
        return (
            f"no face is found in its {width} x {height} pixels; if it is the crop of a face "
            "already: --faces none"
        )
    least = smallest or smallest_face(size)
    return (
        f"no face is found, of {least:.0f} pixels or more; --smallest sets the size, and if it is "
        "the crop of a face already: --faces none"
    )
