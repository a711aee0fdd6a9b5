"""Pictures of cropped faces in, probabilities of the emotions out, from a run or an export."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_deep_emotion.data import (
    JPEG_START,
    MOST_PIXELS,
    PNG_START,
    decode,
    decode_bounded,
    prepare,
    sides,
)
from keras_deep_emotion.model import without_normalisation
from keras_deep_emotion.runs import open_run


class Prediction(NamedTuple):
    """What a model says of one file.

    Attributes:
        file: its path.
        probabilities: (classes,) float32, or None where the file could not be read.
        error: why not, one clause, or None.
    """

    file: Path
    probabilities: np.ndarray | None
    error: str | None


class Model:
    """A trained model, whatever it was opened from.

    Attributes:
        labels: names of the classes, in the order of the probabilities.
        size: side of the faces, pixels; None of a server, which takes files alone.
        classify: graph code from (batch, size, size, 1) float32 tensors of grey levels 0..255 to
            (batch, classes) probabilities; None of a server.
        predict_bytes: a list of JPEG or PNG files to the same; a row of 0 where one is unreadable.
        keras: the `keras.Model`, or None of an export, which has no layers to look at.
    """

    def __init__(self, labels, size, classify, predict_bytes, keras=None):
        self.labels = labels
        self.size = size
        self.classify = classify
        self.predict_bytes = predict_bytes
        self.keras = keras

    def predict_files(self, files, batch_size=64):
        """Predict image files of cropped faces.

        Args:
            files: paths of JPEG or PNG files.
            batch_size: files at once.

        Yields:
            `Prediction`, one a file, in order; a bad file does not stop the rest.
        """
        files = [Path(file) for file in files]
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            contents = [read_image_file(file) for file in batch]
            good = [content for content, error in contents if error is None]
            answers = iter(self.predict_bytes(good) if good else ())
            for file, (_, error) in zip(batch, contents, strict=True):
                found = None if error else next(answers)
                if found is not None and not found.any():
                    found, error = None, "the server cannot read the image"
                yield Prediction(file, found, error)


def read_image_file(file):
    """Read an image file and see that it can be decoded.

    Args:
        file: path.

    Returns:
        (bytes, None), or (None, why not).
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        return None, error.strerror.lower()
    if not content:
        return None, "the file is empty"
    if not content.startswith((JPEG_START, PNG_START)):
        return None, "not a JPEG or PNG image"
    try:
        height, width = sides(content).numpy()
        if height * width > MOST_PIXELS:
            return None, f"{width} x {height} pixels are too many: crop the face, or shrink it"
        decode_bounded(content)
    except tf.errors.InvalidArgumentError:
        return None, "the image is damaged"
    return content, None


def load(path):
    """Open a run folder or an export.

    Args:
        path: a folder that `fit` made, a version's folder that `export` made, or the folder of
            versions (the highest is taken).

    Returns:
        `Model`.

    Raises:
        FileNotFoundError: the folder is neither.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no folder; name a run or an export.")
    if (path / "config.json").exists():
        return load_run(path)
    if not (path / "saved_model.pb").exists():
        versions = [entry for entry in path.iterdir() if (entry / "saved_model.pb").exists()]
        versions = [entry for entry in versions if entry.name.isdecimal()]
        if not versions:
            raise FileNotFoundError(
                f"{path} is neither a run (no config.json) nor an export (no saved_model.pb); "
                "`python cli.py fit` makes the one, `python cli.py export RUN` the other."
            )
        path = max(versions, key=lambda entry: int(entry.name))
    return load_export(path)


def load_run(path):
    """`Model` of a run folder."""
    config, model, labels = open_run(path)
    fast = without_normalisation(model)

    def predict_bytes(contents):
        faces = [prepare(decode(content), config.image_size) for content in contents]
        return fast.predict_on_batch(tf.stack(faces))

    def classify(faces):
        return fast(faces, training=False)

    return Model(labels, config.image_size, classify, predict_bytes, model)


def load_export(path):
    """`Model` of one version of an export."""
    saved = tf.saved_model.load(str(path))

    def predict_bytes(contents):
        # Looked up in `saved` each time: the signature alone would let its variables be freed.
        signature = saved.signatures["predict_bytes"]
        return signature(image_bytes=tf.constant(contents))["probabilities"].numpy()

    def classify(faces):
        return saved.signatures["serving_default"](image=faces)["probabilities"]

    labels = (Path(path) / "assets" / "labels.txt").read_text().split()
    _, inputs = saved.signatures["serving_default"].structured_input_signature
    return Model(labels, inputs["image"].shape[1], classify, predict_bytes)
