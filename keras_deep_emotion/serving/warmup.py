"""Requests that the server plays to a model before it serves: the first client need not wait.

The server reads `assets.extra/tf_serving_warmup_requests` of a version, a TFRecord file of
PredictionLogs, at most 1,000 (tensorflow.org/tfx/serving/saved_model_warmup).
"""

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from keras_deep_emotion.serving.verification import WARMUP_FILE

# Ours: faces a request. Kernels are made ready for each size of batch; maps make their own.
BATCHES = {
    "serving_default": (1, 16),
    "predict_bytes": (1, 16),
    "saliency": (1,),
    "saliency_bytes": (1,),
    "classify": (1,),
}


def warmup_logs(face, name):
    """Yield a `PredictionLog` for each signature and size of batch.

    Args:
        face: (size, size, 1) uint8 grey levels.
        name: the model's name to clients.
    """
    file = tf.io.encode_png(face).numpy()
    for signature, counts in BATCHES.items():
        for count in counts:
            log = PredictionLog()
            if signature == "classify":
                request = log.classify_log.request
                for _ in range(count):
                    example = request.input.example_list.examples.add()
                    example.features.feature["image_bytes"].bytes_list.value.append(file)
            else:
                request = log.predict_log.request
                if signature.endswith("bytes"):
                    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([file] * count))
                else:
                    faces = tf.repeat(tf.cast(face, tf.float32)[None], count, axis=0)
                    request.inputs["image"].CopyFrom(tf.make_tensor_proto(faces))
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            yield log


def write_warmup(path, face, name):
    """Write the warm-up requests into an export.

    Args:
        path: the SavedModel's folder.
        face: (size, size, 1) uint8 grey levels.
        name: the model's name to clients.
    """
    file = Path(path) / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for log in warmup_logs(face, name):
            writer.write(log.SerializeToString())
