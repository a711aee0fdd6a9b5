"""Explain a model's predictions: saliency maps, most important windows, attended regions.

`reports` draws the results like the paper's figures 11 and 12. In NumPy: any predictor will do.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_deep_emotion.files import atomic_write
from keras_deep_emotion.images.faces import Detector, crop
from keras_deep_emotion.images.inputs import load_pixels
from keras_deep_emotion.images.preprocessing import prepare_face
from keras_deep_emotion.images.reading import UnreadableImage, open_photo
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.windows import (
    DEFAULT_WINDOWS,
    Windows,
    fill_by_windows,
    gather_windows,
    occlude_by_windows,
    window_starts,
)

TOP_WINDOWS = 9  # the paper, figure 11


class Explanation(NamedTuple):
    """Explanations of images, arrays with one entry an image.

    Attributes:
        probabilities: (count, classes) float32.
        class_id: (count,) int64, the explained class.
        saliency, decisive: (count, size, size), see `windows.SaliencyMaps`.
        lost, answer: (count, rows, columns), see `windows.Occlusions`.
        theta: (count, 6) float32 transforms; None without a transformer.
        attended: (count, size, size) float32 grey levels 0..255, the transformed images, or None.
    """

    probabilities: np.ndarray
    class_id: np.ndarray
    saliency: np.ndarray
    decisive: np.ndarray
    lost: np.ndarray
    answer: np.ndarray
    theta: np.ndarray | None
    attended: np.ndarray | None


def explain_faces(
    model: Any,
    images: np.ndarray,
    class_id: np.ndarray | None = None,
    windows: Windows = DEFAULT_WINDOWS,
) -> Explanation:
    """Explain the predictions for (count, size, size, 1) images of grey levels 0..255.

    Args:
        model: An object with `predict_prepared` and `attend`: a predictor of `inference`, or a
            `networks.Network`.
        images: The images, float32.
        class_id: (count,) integers, the class to explain; None for the predicted class.
        windows: Which windows are hidden, and how.

    Raises:
        ValueError: If windows do not fit the images.
    """
    occlusions = occlude_by_windows(model.predict_prepared, images, class_id, windows)
    maps = gather_windows(occlusions, images.shape[1], windows)
    theta, attended = model.attend(images)
    return Explanation(**{**occlusions._asdict(), **maps._asdict()}, theta=theta, attended=attended)


def top_windows(lost: np.ndarray, count: int = TOP_WINDOWS) -> list[tuple[int, int]]:
    """(row, column) of at most `count` windows, the highest probability lost first.

    Adjacent windows are nearly the same: of those less than a sixth of the grid apart in both
    directions, only the first is kept.
    """
    rows, columns = lost.shape
    chosen: list[tuple[int, int]] = []
    for place in np.argsort(-lost, axis=None, kind="stable").tolist():
        row, column = divmod(place, columns)
        near = (abs(row - y) < rows / 6 and abs(column - x) < columns / 6 for y, x in chosen)
        if len(chosen) < count and not any(near):
            chosen.append((row, column))
    return chosen


def occluded_faces(image, filled, places, window: int, stride: int) -> np.ndarray:
    """One (size, size) image with the window at each (row, column) hidden: (places, size, size)."""
    starts = window_starts(len(image), window, stride)
    faces = np.repeat(np.asarray(image)[None], len(places), axis=0)
    for face, place in zip(faces, places, strict=True):
        hidden = tuple(slice(starts[i], starts[i] + window) for i in place)
        face[hidden] = filled[hidden]
    return faces


def save_explanation(
    path, model, images, names, truth=None, class_id=None, windows=DEFAULT_WINDOWS
) -> Path:
    """Explain images, arguments as in `explain_faces`, and save what `reports` draws as .npz.

    The arrays are those of `Explanation`, `name`, `classes`, `image` (count, size, size), `label`
    (the true classes, if known), and of the `top_windows` `window` (count, 9, 2) rows and columns
    (-1 where there are fewer) and `occluded` (count, 9, size, size), the images with them hidden.
    """
    explanation = explain_faces(model, images, class_id, windows)
    window, stride, _ = windows
    filled = fill_by_windows(images, windows)[..., 0]
    images = images[..., 0]
    places = np.full((len(images), TOP_WINDOWS, 2), -1)
    occluded = np.zeros((len(images), TOP_WINDOWS, *images.shape[1:]), np.float32)
    for i, lost in enumerate(explanation.lost):
        top = top_windows(lost)
        places[i, : len(top)] = top
        occluded[i, : len(top)] = occluded_faces(images[i], filled[i], top, window, stride)
    arrays = {key: value for key, value in explanation._asdict().items() if value is not None}
    if truth is not None:
        arrays["label"] = truth
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays |= {"name": names, "classes": model.labels, "image": images}
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, window=places, occluded=occluded, **arrays)
    return path


def explain_files(
    model: Any,
    files: list[str | Path],
    output: str | Path,
    windows: Windows = DEFAULT_WINDOWS,
    detector: Detector | None = None,
) -> tuple[Path, list[tuple[Path, str]]]:
    """Explain the predictions for the faces in image files; write saliency.npz to `output`.

    Files may have any format that `images.open_photo` reads. Without a detector each is the crop of
    one face. Returns the path of the file and a list of (file, reason): what cannot be read, and
    photos without a face.

    Raises:
        ValueError: If windows do not fit the images, or no file could be read.
    """
    window_starts(model.size, *windows[:2])
    names, images, unreadable = [], [], []
    for file in files:
        try:
            crops = [load_pixels(file)] if detector is None else _found_crops(file, detector)
            images += [prepare_face(crop, model.size) for crop in crops]
            names += [
                str(file) if len(crops) == 1 else f"{file}, face {i}"
                for i in range(1, len(crops) + 1)
            ]
        except UnreadableImage as error:
            unreadable.append((Path(file), str(error)))
    if not names:
        raise ValueError("; ".join(f"{file}: {error}" for file, error in unreadable) + ".")
    path = Run(output) / Run.SALIENCY_MAPS
    return save_explanation(path, model, np.stack(images), names, windows=windows), unreadable


def _found_crops(file, detector):
    photo = open_photo(file)
    crops = [np.asarray(crop(photo, face)) for face in detector.find(photo)]
    if not crops:
        raise UnreadableImage(
            f"no face is found in its {photo.width} x {photo.height} pixels; if it is the crop of "
            "a face already: --faces none"
        )
    return crops
