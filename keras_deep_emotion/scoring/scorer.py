"""Predictions of an export for image files, for the workers of a job."""

import numpy as np
import tensorflow as tf
from apache_beam.utils.shared import Shared

from keras_deep_emotion.exports import LABELS, damaged, newest_version
from keras_deep_emotion.files import parse_labels, plain_path
from keras_deep_emotion.scoring import storage

SIGNATURE = "predict_bytes"
OUTPUTS = ("class_name", "probabilities", "valid")
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


class Scorer:
    """The signature `predict_bytes` of an export, and its `labels`."""

    def __init__(self, path: str):
        try:
            with plain_path(path) as plain:
                self._saved_model = tf.saved_model.load(plain)
            if SIGNATURE not in self._saved_model.signatures:
                raise ValueError(f"it has no signature {SIGNATURE!r}")
            with tf.io.gfile.GFile(storage.join(path, *LABELS.split("/"))) as file:
                self.labels = parse_labels(file.read(), LABELS)
            outputs = self._run([b""])  # here, not in a worker
            if outputs["probabilities"].shape != (1, len(self.labels)):
                raise ValueError(f"it has no probability for each of {len(self.labels)} labels")
        except Exception as error:  # of any type: TensorFlow has many
            raise damaged(path, error) from error

    def __call__(self, images: list[bytes]) -> list[tuple[str, np.ndarray] | None]:
        """Predict image files: for each (label, (classes,) float32); None for a damaged file."""
        outputs = self._run(images)
        rows = zip(*(outputs[name] for name in OUTPUTS), strict=True)
        return [(label.decode(), row) if valid else None for label, row, valid in rows]

    def _run(self, images):
        # Looked up each time: a signature alone does not keep its variables alive.
        signature = self._saved_model.signatures[SIGNATURE]
        outputs = signature(image_bytes=tf.constant(images, tf.string))
        return {name: outputs[name].numpy() for name in OUTPUTS}


def shared_scorer(path: str) -> Scorer:
    """The scorer of an export, loaded once in each process and shared by its threads."""
    return _SHARED.acquire(lambda: Scorer(path), path)
