"""Requests that the server runs before it serves a model, so that the first client need not wait.

The server reads `assets.extra/tf_serving_warmup_requests` of a version, a TFRecord file of at most
1,000 PredictionLogs (tensorflow.org/tfx/serving/saved_model_warmup).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from keras_deep_emotion.exports import WARMUP
from keras_deep_emotion.files import plain_path
from keras_deep_emotion.serving.contract import CONTRACT

# Ours: signature and batch size of each request. Kernels are prepared for each size.
REQUESTS = (
    ("serving_default", 1),
    ("serving_default", 16),
    ("predict_bytes", 1),
    ("predict_bytes", 16),
    ("saliency", 1),
    ("saliency_bytes", 1),
    ("classify", 1),
    ("photo_bytes", 1),
)


def batch_inputs(signature: str, images: np.ndarray, files: list[bytes]) -> dict[str, np.ndarray]:
    """Images, or the same as files, as the inputs of a signature."""
    (key,) = CONTRACT[signature][0]
    if key == "image":
        return {key: images.astype(np.float32)}
    if key == "inputs":
        examples = [tf.train.Example() for _ in files]
        for example, file in zip(examples, files, strict=True):
            example.features.feature["image_bytes"].bytes_list.value.append(file)
        files = [example.SerializeToString() for example in examples]
    return {key: np.array(files, object)}


def write_warmup(path: Path, expected: dict[str, np.ndarray], model: str) -> None:
    """Write requests for images of an export's expected outputs into its version's folder."""
    (path / WARMUP).parent.mkdir(exist_ok=True)
    image, content = expected["image"][0], expected["files"][0].item()
    with tf.io.TFRecordWriter(str(path / WARMUP)) as writer:
        for signature, count in REQUESTS:
            if signature == "photo_bytes":
                if "photo_files" not in expected:
                    continue
                content = expected["photo_files"][0].item()
            inputs = batch_inputs(signature, np.stack([image] * count), [content] * count)
            log = PredictionLog()
            if signature == "classify":
                request = log.classify_log.request
                examples = map(tf.train.Example.FromString, inputs["inputs"])
                request.input.example_list.examples.extend(examples)
            else:
                request = log.predict_log.request
                for key, array in inputs.items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
            request.model_spec.name, request.model_spec.signature_name = model, signature
            writer.write(log.SerializeToString())


def read_warmup(file: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield the signature and the inputs of each warm-up request."""
    try:
        with plain_path(file) as plain:
            records = list(tf.data.TFRecordDataset(plain).as_numpy_iterator())
        logs = [PredictionLog.FromString(record) for record in records]
    except (tf.errors.OpError, DecodeError) as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    for log in logs:
        kind = log.WhichOneof("log_type")
        if kind not in ("predict_log", "classify_log"):
            raise ValueError(f"{file} has a record of type {kind}, not Predict or Classify.")
        request = getattr(log, kind).request
        if kind == "predict_log":
            inputs = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
        else:
            examples = request.input.example_list.examples
            inputs = {"inputs": np.array([one.SerializeToString() for one in examples], object)}
        yield request.model_spec.signature_name, inputs
