"""Crops of faces in, probabilities of the emotions out, by a run, an export or a server."""

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from keras_deep_emotion.crops import as_faces, as_file, as_list, read_crop
from keras_deep_emotion.data import decode, prepare
from keras_deep_emotion.model import without_normalisation
from keras_deep_emotion.runs import open_run
from keras_deep_emotion.saliency import Saliency, occlusion_saliency, window_starts


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
        explain_bytes: of a server: a list of JPEG or PNG files to `saliency.Saliency` of arrays; a
            row of 0 where one is unreadable. None of others.
    """

    def __init__(self, labels, size, classify, predict_bytes, keras=None, explain_bytes=None):
        self.labels = labels
        self.size = size
        self.classify = classify
        self.predict_bytes = predict_bytes
        self.keras = keras
        self.explain_bytes = explain_bytes
        self.looks = {}  # ways of explaining, compiled: see `explain`

    def predict_files(self, files, batch_size=64):
        """Predict image files of cropped faces.

        Args:
            files: paths of pictures, in any format that `photos.open_photo` reads.
            batch_size: files at once.

        Yields:
            `Prediction`, one a file, in order; a bad file does not stop the rest.
        """
        files = [Path(file) for file in files]
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            contents = [read_crop(file) for file in batch]
            good = [content for content, error in contents if error is None]
            answers = iter(self.predict_bytes(good) if good else ())
            for file, (_, error) in zip(batch, contents, strict=True):
                found = None if error else next(answers)
                if found is not None and not found.any():
                    found, error = None, "the server cannot read the image"
                yield Prediction(file, found, error)

    def predict(self, images, batch_size=256):
        """Predict crops of faces.

        Args:
            images: (batch, size, size, 1) array or tensor of grey levels 0..255, or a list of
                crops of any size: paths, `PIL.Image`s, arrays or tensors (height, width) or
                (height, width, channels) of levels 0..255, mixed if you like. A server gets files:
                levels are rounded to whole ones.
            batch_size: faces at once.

        Returns:
            (batch, classes) float32 probabilities, in the order of `labels`.

        Raises:
            ValueError: an image is none; the message says which and why.
        """
        if self.classify is None:
            files = [as_file(image, place) for place, image in enumerate(as_list(images))]
            parts = [
                self.predict_bytes(files[start : start + batch_size])
                for start in range(0, len(files), batch_size)
            ]
        else:
            faces = as_faces(images, self.size)
            parts = [
                np.asarray(self.classify(faces[start : start + batch_size]), np.float32)
                for start in range(0, len(faces), batch_size)
            ]
        return np.concatenate(parts or [np.zeros((0, len(self.labels)), np.float32)])

    def explain(self, images, window=8, stride=2, filling="zero"):
        """Find where the model looks on crops of faces, as `saliency.occlusion_saliency`.

        Args:
            images: as `predict` takes them, one or more.
            window: side of the hidden square, pixels of the size that the network sees.
            stride: step between windows, pixels, at most the window.
            filling: what hidden pixels become: "zero" is black, "mean", "blur"
                (`saliency.filled`). A server knows only the defaults of all three, which its
                export was made with.

        Returns:
            `saliency.Saliency` of arrays: probabilities (batch, classes) float32, class_id
            (batch,) int64, saliency (batch, size, size) float32, decisive (batch, size, size) bool.

        Raises:
            ValueError: an image is none, or window, stride or filling do not fit.
        """
        if not len(as_list(images)):
            raise ValueError("images must hold one image or more. Received: none")
        way = (window, stride, filling)
        if self.classify is None:
            if way != (8, 2, "zero"):
                raise ValueError(
                    "A server's maps are made with window=8, stride=2, filling='zero'. Received: "
                    f"{window}, {stride}, {filling!r}; load the run or the export itself."
                )
            return self.explain_bytes([as_file(image, i) for i, image in enumerate(images)])
        window_starts(self.size, window, stride)
        if way not in self.looks:
            self.looks[way] = tf.function(
                functools.partial(
                    occlusion_saliency,
                    self.classify,
                    window=window,
                    stride=stride,
                    filling=filling,
                ),
                input_signature=[tf.TensorSpec((None, self.size, self.size, 1), tf.float32)],
                autograph=False,
            )
        faces = as_faces(images, self.size)
        return Saliency(*(part.numpy() for part in self.looks[way](tf.constant(faces))))


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

    # What it does once for all, it does here and not with the first face.
    fast.predict_on_batch(tf.zeros((1, *model.input.shape[1:])))

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
