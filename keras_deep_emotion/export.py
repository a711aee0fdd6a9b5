"""A SavedModel that TensorFlow Serving loads as it is: signatures, verification, atomic versions.

Signatures (names and shapes are a public contract, see exports/README.md):

- `serving_default`: `image` (batch, size, size, 1) float32, grey levels 0..255 -> `probabilities`
  (batch, classes) float32, `class_id` (batch,) int64, `class_name` (batch,) string.
- `predict_bytes`: `image_bytes` (batch,) string, JPEG or PNG files -> the same, and `valid`
  (batch,) bool: false where the bytes are neither; its other outputs then mean nothing.
- `saliency`: `image` -> what `serving_default` gives, `saliency` (batch, size, size) float32, the
  probability of the answer that is lost where a region is hidden, and `decisive` (batch, size,
  size) bool, where hiding it changes the answer.
- `saliency_bytes`: `image_bytes` -> what `saliency` gives, and `valid`.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion.data import JPEG_START, PNG_START, decode, prepare
from keras_deep_emotion.model import without_normalisation
from keras_deep_emotion.runs import open_run
from keras_deep_emotion.saliency import occlusion_saliency
from keras_deep_emotion.verify_export import call_apart


def make_endpoints(model, labels):
    """The signatures as plain functions of tensors.

    Args:
        model: Keras model from (batch, size, size, 1) grey levels to (batch, classes)
            probabilities.
        labels: names of the classes, in order.

    Returns:
        {name: (function, [input TensorSpec])}, `serving_default` first.
    """
    size = model.input.shape[1]
    shape = (size, size, 1)

    def probabilities(images):
        # TensorFlow's fused convolutions fail on an empty batch: it runs with a blank face.
        count = tf.shape(images)[0]
        blank = tf.cast(count == 0, tf.int32)
        padded = tf.pad(images, [[0, blank], [0, 0], [0, 0], [0, 0]])
        return model(padded, training=False)[:count]

    def answers(found):
        class_id = tf.argmax(found, axis=1)
        return {
            "probabilities": found,
            "class_id": class_id,
            "class_name": tf.gather(tf.constant(labels), class_id),
        }

    def explained(images):
        found = occlusion_saliency(probabilities, images)
        return {
            **answers(found.probabilities),
            "saliency": found.saliency,
            "decisive": found.decisive,
        }

    def checked(image):
        # The server does not check shapes; a clear refusal beats a failed reshape further down.
        image = tf.ensure_shape(image, (None, *shape))
        # Written so that NaN fails too. REST turns 256 into 0 where the input is uint8: float32.
        good = tf.debugging.Assert(
            tf.reduce_all((image >= 0) & (image <= 255)),
            ["image must hold grey levels from 0 to 255"],
        )
        with tf.control_dependencies([good]):
            return tf.identity(image)

    def decoded(image_bytes):
        image_bytes = tf.ensure_shape(image_bytes, (None,))

        def starts(magic):
            return tf.strings.substr(image_bytes, 0, len(magic)) == magic

        valid = starts(JPEG_START) | starts(PNG_START)
        # The server batches requests of several clients: bytes that fail to decode would fail all.
        readable = tf.where(valid, image_bytes, tf.io.encode_png(tf.zeros(shape, tf.uint8)))
        images = tf.map_fn(
            lambda one: prepare(decode(one), size),
            readable,
            fn_output_signature=tf.TensorSpec(shape, tf.float32),
        )
        return images, valid

    def serving_default(image):
        return answers(probabilities(checked(image)))

    def predict_bytes(image_bytes):
        images, valid = decoded(image_bytes)
        return {**answers(probabilities(images)), "valid": valid}

    def saliency(image):
        return explained(checked(image))

    def saliency_bytes(image_bytes):
        images, valid = decoded(image_bytes)
        return {**explained(images), "valid": valid}

    faces = [tf.TensorSpec((None, *shape), tf.float32, name="image")]
    files = [tf.TensorSpec((None,), tf.string, name="image_bytes")]
    return {
        "serving_default": (serving_default, faces),
        "predict_bytes": (predict_bytes, files),
        "saliency": (saliency, faces),
        "saliency_bytes": (saliency_bytes, files),
    }


def write_saved_model(model, labels, path):
    """Write a SavedModel with the signatures of `make_endpoints`.

    Args:
        model: Keras model from faces to probabilities.
        labels: names of the classes.
        path: folder to make.
    """
    archive = keras.export.ExportArchive()  # without track(model), or each variable comes twice
    for name, (function, signature) in make_endpoints(model, labels).items():
        archive.add_endpoint(
            name, tf.function(function, input_signature=signature, autograph=False)
        )
    archive.write_out(str(path), verbose=False)
    assets = Path(path) / "assets"
    assets.mkdir(exist_ok=True)
    (assets / "labels.txt").write_text("".join(f"{label}\n" for label in labels))


def check_export(model, labels, path):
    """Open an export as the server would and hold its answers to the model's.

    Args:
        model: the Keras model that was exported.
        labels: names of its classes.
        path: the SavedModel's folder.

    Raises:
        ValueError: the C loader refuses it, or an answer differs.
    """
    size = model.input.shape[1]
    random = np.random.default_rng(0)
    faces = random.integers(0, 256, (3, size, size, 1)).astype(np.uint8)
    files = [tf.io.encode_png(face).numpy() for face in faces]
    expected = model.predict_on_batch(faces.astype(np.float32))
    maps = occlusion_saliency(
        lambda images: model(images, training=False), tf.constant(faces, tf.float32)
    )
    levels, contents = {"image": faces.astype(np.float32)}, {"image_bytes": np.array(files, object)}
    for signature, inputs in (
        ("serving_default", levels),
        ("predict_bytes", contents),
        ("saliency", levels),
        ("saliency_bytes", contents),
    ):
        got = call_apart(path, signature, inputs)
        if "saliency" in got and np.abs(got["saliency"] - maps.saliency.numpy()).max() > 1e-4:
            raise ValueError(f"The export's {signature} differs in its maps from the model's.")
        difference = float(np.abs(got["probabilities"] - expected).max())
        if difference > 1e-4:
            raise ValueError(
                f"The export's {signature} differs from the model by {difference:.2g} in "
                "probability; nothing was put in place."
            )
        names = [labels[i] for i in got["class_id"]]
        if [name.decode() for name in got["class_name"]] != names:
            raise ValueError(f"The export's {signature} names classes wrongly: {names}.")


def next_version(folder):
    """One more than the highest number among the folder's versions; 1 for the first."""
    folder = Path(folder)
    numbers = [int(entry.name) for entry in folder.glob("*") if entry.name.isdecimal()]
    return max(numbers, default=0) + 1


def export_run(run_dir, name=None, parent="exports"):
    """Export a run's model as the next version under `<parent>/<name>/`.

    Written aside, opened by the C loader, its answers compared with the model's, and only then
    renamed into place: a server that polls the folder never sees half of one.

    Args:
        run_dir: a folder that `fit` made.
        name: the model's name to clients, None for the run's data set (`/` becomes `_`).
        parent: folder of all exports.

    Returns:
        Path of the version's folder.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: the name is none, or the export was not as it must be; nothing was put in place.
    """
    config, model, labels = open_run(run_dir)
    name = name or config.dataset.replace("/", "_")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):  # it becomes a folder, and part of an URL
        raise ValueError(f"A model's name has letters, digits, _ and - only. Received: {name!r}")
    folder = Path(parent) / name
    folder.mkdir(parents=True, exist_ok=True)
    # No number: the server takes only those for versions.
    aside = Path(tempfile.mkdtemp(prefix="partial-", dir=folder))
    try:
        saved = aside / "model"
        write_saved_model(without_normalisation(model), labels, saved)
        shutil.copy(Path(run_dir) / "config.json", saved / "assets")
        check_export(model, labels, saved)
        while True:
            version = folder / str(next_version(folder))
            try:
                os.rename(saved, version)
                return version
            except OSError:
                if not version.exists():  # else another export took the number: try the next
                    raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
