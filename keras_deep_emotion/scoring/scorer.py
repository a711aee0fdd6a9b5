"""Predictions of an export for image files, for the workers of a job."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from apache_beam.utils.shared import Shared

from keras_deep_emotion.exports import LABELS, damaged, newest_version
from keras_deep_emotion.files import parse_labels, plain_path
from keras_deep_emotion.scoring import storage

# The signature that answers, and its outputs, for crops and for photos.
SIGNATURES = {
    "none": ("predict_bytes", ("valid", "probabilities")),
    "find": ("photo_bytes", ("valid", "probabilities", "faces", "boxes")),
}
_SHARED = Shared()


def find_version(path: str) -> str:
    """Folder of an export's version, of the newest for a folder of versions; local or a URL."""
    gfile = tf.io.gfile
    try:
        if gfile.exists(storage.join(path, "saved_model.pb")):
            return path
        if gfile.exists(storage.join(path, "config.json")):
            raise FileNotFoundError(
                f"{path} is a run; `keras-deep-emotion export {path}` makes an export of it to "
                "name."
            )
        names = [name.rstrip("/") for name in gfile.listdir(path)] if gfile.isdir(path) else []
    except tf.errors.OpError as error:
        raise FileNotFoundError(f"{path} cannot be read: {error.message}.") from None
    newest = newest_version(
        name for name in names if gfile.exists(storage.join(path, name, "saved_model.pb"))
    )
    if newest is None:
        raise FileNotFoundError(
            f"{path} is not an export (no saved_model.pb); `keras-deep-emotion export RUN` makes "
            "one."
        )
    return storage.join(path, newest)


class Answer(NamedTuple):
    """What an export predicts for a face."""

    label: str
    probabilities: np.ndarray  # (classes,) float32
    box: list[int] | None = None  # x, y, width and height in pixels; None for a crop


class Scorer:
    """A signature of an export, and its `labels`; `faces` is one of `SIGNATURES`."""

    def __init__(self, path: str, faces: str = "none"):
        self._name, self._outputs = SIGNATURES[faces]
        try:
            with plain_path(path) as plain:
                self._saved_model = tf.saved_model.load(plain)
            if self._name not in self._saved_model.signatures:
                raise ValueError(f"it has no signature {self._name!r}")
            with tf.io.gfile.GFile(storage.join(path, *LABELS.split("/"))) as file:
                self.labels = parse_labels(file.read(), LABELS)
            outputs = self._run([b""])  # here, not in a worker
            if outputs["probabilities"].shape[-1] != len(self.labels):
                raise ValueError(f"it has no probability for each of {len(self.labels)} labels")
        except Exception as error:  # of any type: TensorFlow has many
            raise damaged(path, error) from error

    def __call__(self, images: list[bytes]) -> list[list[Answer] | None]:
        """Predict image files: the faces of each, one for a crop; None for a damaged file."""
        rows = zip(*self._run(images).values(), strict=True)
        return [self._answers(*rest) if valid else None for valid, *rest in rows]

    def _answers(self, probabilities, count=None, boxes=None):
        if count is None:
            return [Answer(self.labels[probabilities.argmax()], probabilities)]
        return [
            Answer(self.labels[row.argmax()], row, [round(float(side)) for side in box])
            for row, box in zip(probabilities[:count], boxes[:count], strict=True)
        ]

    def _run(self, images):
        # Looked up each time: a signature alone does not keep its variables alive.
        signature = self._saved_model.signatures[self._name]
        outputs = signature(image_bytes=tf.constant(images, tf.string))
        return {name: outputs[name].numpy() for name in self._outputs}


def shared_scorer(path: str, faces: str) -> Scorer:
    """The scorer of an export, loaded once in each process and shared by its threads."""
    return _SHARED.acquire(lambda: Scorer(path, faces), f"{path} {faces}")
