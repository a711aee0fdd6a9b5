"""A run's model in the format of LiteRT, for `predict` without TensorFlow, and for phones."""

import tempfile
from pathlib import Path

import keras
import tensorflow as tf

from keras_deep_emotion.files import atomic_write, quiet_stderr
from keras_deep_emotion.models.folding import fold_batch_normalization

QUANTIZATIONS = ("none", "float16", "dynamic")


def write_litert(model: keras.Model, path: str | Path, quantize: str = "dynamic") -> None:
    """Write a model as a .tflite file: `image` (batch, size, size, 1) to `probabilities`.

    Args:
        model: From grey levels 0..255 to probabilities.
        path: The file.
        quantize: How weights are stored: "none" is float32, "float16", or "dynamic", 8 bits where
            the convolutions and dense layers compute with 8 bits too.

    Raises:
        ValueError: If there is no such quantization.
    """
    if quantize not in QUANTIZATIONS:
        known = ", ".join(QUANTIZATIONS)
        raise ValueError(f"quantize must be one of {known}. Received: {quantize!r}")
    folded = fold_batch_normalization(model)
    image = tf.TensorSpec((None, *model.input.shape[1:]), tf.float32, name="image")
    archive = keras.export.ExportArchive()
    archive.track(folded)
    archive.add_endpoint(
        "serving_default",
        lambda image: {"probabilities": folded(image, training=False)},
        input_signature=[image],
    )
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, ["serving_default"])
        if quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
