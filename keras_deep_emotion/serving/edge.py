"""Edge formats: a model as one file for LiteRT or ONNX, verified before it appears.

The file holds what an application needs beside the network: the labels and `about`, JSON with the
side, order and range of the image. LiteRT models hold both as files of a ZIP archive behind the
model, as TensorFlow Lite's metadata do (`unzip -p MODEL.tflite labels.txt`); ONNX models as
metadata properties. `export_edge` writes the same as .json beside the file.
"""

import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion import __version__
from keras_deep_emotion.exports import LITERT_ABOUT, LITERT_LABELS, check_format
from keras_deep_emotion.files import atomic_write, quiet_stderr, temporary_folder, write_json
from keras_deep_emotion.inference.array_predictors import LiteRTPredictor, ONNXPredictor
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.saliency.networks import to_grey_levels

LARGE = 256  # ours: constants of fewer numbers are not stored as float16


class Bound(NamedTuple):
    """What a model's predictions may differ from Keras's by.

    Attributes:
        agreement: Least share of faces with the same emotion.
        mean: Largest mean difference of a probability.
    """

    agreement: float
    mean: float


# Ours. A face whose two best emotions are as probable as each other may change with any rounding.
BOUNDS = {
    "none": Bound(0.99, 1e-4),
    "float16": Bound(0.98, 2e-3),
    "dynamic": Bound(0.95, 2e-2),
}


def describe(model: keras.Model, labels: list[str], **others: Any) -> dict[str, Any]:
    """What an application must know of a model's input and output, as JSON."""
    return {
        "project": f"keras-deep-emotion {__version__}",
        "input": {
            "name": "image",
            "shape": ["batch", *model.input.shape[1:]],
            "type": "float32",
            "range": [0, 255],
            "meaning": "grey levels of a cropped face, 0.299 R + 0.587 G + 0.114 B",
        },
        "output": {"name": "probabilities", "shape": ["batch", model.output.shape[1]]},
        "labels": labels,
        **others,
    }


def write_litert(
    model: keras.Model, path: str | Path, labels: list[str], quantize: str = "none", **about: Any
) -> None:
    """Write a model as a .tflite file: `image` (batch, size, size, 1) to `probabilities`.

    The signature `attend` of a model with a spatial transformer gives `theta` (batch, 6) and
    `attended` (batch, size, size), the transformed image in grey levels 0..255.

    Args:
        model: From grey levels 0..255 to probabilities.
        path: The file.
        labels: Class names.
        quantize: How weights are stored: "none" is float32, "float16", or "dynamic", 8 bits where
            the convolutions and dense layers compute with 8 bits too.
        about: More to say in `about`.

    Raises:
        ValueError: If there is no such quantization.
    """
    check_format("litert", quantize)
    folded = fold_batch_normalization(model)
    image = tf.TensorSpec((None, *model.input.shape[1:]), tf.float32, name="image")
    archive = keras.export.ExportArchive()
    archive.track(folded)
    archive.add_endpoint(
        "serving_default",
        lambda image: {"probabilities": folded(image, training=False)},
        input_signature=[image],
    )
    signatures = ["serving_default"]
    if any(layer.name == "attended" for layer in folded.layers):
        signatures.append("attend")
        outputs = [folded.get_layer(name).output for name in ("theta", "attended")]
        transformer = keras.Model(folded.input, outputs)

        def attend(image):
            theta, attended = transformer(image, training=False)
            return {"theta": theta, "attended": to_grey_levels(attended)}

        archive.add_endpoint("attend", attend, input_signature=[image])
    place = tempfile.gettempdir()
    with temporary_folder(place, "deep-emotion-export-") as folder, quiet_stderr():
        archive.write_out(str(folder), verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signatures)
        if quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)
        with zipfile.ZipFile(temporary, "a") as appended:
            appended.writestr(LITERT_LABELS, "".join(f"{label}\n" for label in labels))
            about = describe(model, labels, quantize=quantize, **about)
            appended.writestr(LITERT_ABOUT, json.dumps(about))


def write_onnx(
    model: keras.Model, path: str | Path, labels: list[str], quantize: str = "none", **about: Any
) -> None:
    """As `write_litert`, as an .onnx file. ModuleNotFoundError is raised if ONNX is missing."""
    check_format("onnx", quantize)
    import onnx

    folded = fold_batch_normalization(model)
    folded(np.zeros((1, *model.input.shape[1:]), np.float32))  # Keras exports what was called
    with atomic_write(path) as temporary, quiet_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tf2onnx, about NumPy
        folded.export(str(temporary), format="onnx", verbose=False)
        if quantize == "dynamic":
            from onnxruntime.quantization import QuantType, quantize_dynamic

            # Signed weights take three times as long in convolutions.
            quantize_dynamic(temporary, temporary, weight_type=QuantType.QUInt8)
        content = onnx.load(temporary)
        if quantize == "float16":
            store_float16(content.graph)
        name_tensors(content.graph)
        about = json.dumps(describe(model, labels, quantize=quantize, **about))
        onnx.helper.set_model_props(content, {"labels": "\n".join(labels), "about": about})
        onnx.checker.check_model(content)
        onnx.save(content, temporary)


def name_tensors(graph) -> None:
    """Name input, output and batch of an ONNX graph as LiteRT models have them."""
    (image,), (output,) = graph.input, graph.output
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = {image.name: "image", output.name: "probabilities"}.get(name, name)
    image.name, output.name = "image", "probabilities"
    for tensor in (image, output):
        tensor.type.tensor_type.shape.dim[0].dim_param = "batch"


def store_float16(graph) -> None:
    """Store the large constants of an ONNX graph as float16, cast to float32 where they are used.

    Everything is computed in float32: the sampling positions need it.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for constant in graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.dtype == np.float32 and values.size >= LARGE:
            name = constant.name
            constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


class EdgeFormat(NamedTuple):
    """What writes and what opens the files of a format."""

    write: Callable[..., None]
    open: Callable


EDGE_FORMATS = {
    "litert": EdgeFormat(write_litert, LiteRTPredictor),
    "onnx": EdgeFormat(write_onnx, ONNXPredictor),
}


def verify_edge(got: np.ndarray, expected: np.ndarray, quantize: str) -> str:
    """Compare probabilities with Keras's, both (faces, classes); return a sentence.

    Raises ValueError if they differ by more than `BOUNDS`.
    """
    bound = BOUNDS[quantize]
    agreement = float(np.mean(got.argmax(axis=1) == expected.argmax(axis=1)))
    difference = np.abs(got - expected)
    line = (
        f"the same emotion for {100 * agreement:.1f} % of {len(got)} faces (bound: "
        f"{100 * bound.agreement:.0f} %), "
        f"probabilities differ by {difference.mean():.1g} on average (bound: {bound.mean:g}), by "
        f"{difference.max():.1g} at most"
    )
    if not (agreement >= bound.agreement and difference.mean() <= bound.mean):  # or NaN
        raise ValueError(f"Predictions differ from Keras's: {line}. Nothing was exported.")
    return line


def export_edge(
    model: keras.Model,
    labels: list[str],
    path: str | Path,
    format: str,
    faces: np.ndarray,
    quantize: str = "none",
    **about: Any,
) -> str:
    """Write a model in an edge format and verify it; return how its predictions differ.

    What the file says of itself is written to a .json file beside it too, for applications that
    read it more easily.

    Args:
        model: From grey levels 0..255 to probabilities.
        labels: Class names.
        path: The file; it appears, or is replaced, once it is verified.
        format: Of `EDGE_FORMATS`.
        faces: (count, size, size, 1) float32 grey levels 0..255, to compare predictions with.
        quantize: As in `write_litert`.
        about: More to say in `about`.

    Raises:
        ValueError: If predictions differ from Keras's by more than `BOUNDS`, or an argument is
            wrong.
        ModuleNotFoundError: If the packages of the format are not installed.
    """
    check_format(format, quantize)
    chosen, path = EDGE_FORMATS[format], Path(path)
    with temporary_folder(path.parent, "partial-") as folder:
        chosen.write(model, folder / path.name, labels, quantize, **about)
        got = chosen.open(folder / path.name).classify(faces)
        line = verify_edge(got, model.predict(faces, batch_size=64, verbose=0), quantize)
        os.replace(folder / path.name, path)
    about = describe(model, labels, quantize=quantize, **about)
    write_json(path.with_suffix(".json"), about)
    return line
