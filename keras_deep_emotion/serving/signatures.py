"""The signatures of an export, as graph code: the public contract of exports/README.md.

Invalid rows (bytes that are not a whole JPEG or PNG, or an image that is too large; gray levels
below 0, above 255 or NaN) are marked, and the others are classified: the server batches requests of
several clients, and an error would fail them all. In an invalid row `valid` is false, probabilities
(scores) and saliency are 0, `class_id` is -1 and `class_name` is empty.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_deep_emotion.images.graph import decode_untrusted, prepare_face
from keras_deep_emotion.saliency.occlusion import occlusion_saliency


class Signatures:
    """The signatures of a model from (batch, size, size, 1) to (batch, classes) probabilities."""

    def __init__(self, model: keras.Model, labels: list[str]):
        self.model, self.labels = model, labels
        self.shape = (model.input.shape[1], model.input.shape[1], 1)

    def functions(self) -> dict[str, tuple[Callable, list[tf.TensorSpec]]]:
        """The function and input specification of each signature, `serving_default` first."""
        image = [tf.TensorSpec((None, *self.shape), tf.float32, name="image")]
        files = [tf.TensorSpec((None,), tf.string, name="image_bytes")]
        inputs = [tf.TensorSpec((None,), tf.string, name="inputs")]
        decode = self._decode
        return {
            "serving_default": (lambda image: self._predict(*self._check(image)), image),
            "predict_bytes": (lambda image_bytes: self._predict(*decode(image_bytes)), files),
            "saliency": (lambda image: self._explain(*self._check(image)), image),
            "saliency_bytes": (lambda image_bytes: self._explain(*decode(image_bytes)), files),
            "classify": (self.classify, inputs),
        }

    def classify(self, inputs):
        """Classify tf.Examples, for the server's Classify, which sends nothing else."""
        outputs = self._predict(*self._decode(inputs, example_bytes))
        classes = tf.tile(tf.constant([self.labels]), (tf.shape(inputs)[0], 1))
        return {"classes": classes, "scores": outputs["probabilities"]}

    def _check(self, image):
        """Images with invalid rows zeroed, and which rows are valid."""
        # The server does not check shapes; without this a reshape fails later, less clearly.
        image = tf.ensure_shape(image, (None, *self.shape))
        # False for NaN too. The input is float32 because REST turns 256 into 0 if it is uint8.
        valid = tf.reduce_all((image >= 0) & (image <= 255), axis=(1, 2, 3))
        return tf.where(valid[:, None, None, None], image, 0), valid

    def _decode(self, rows, file_of_row=lambda row: row):
        """Images of encoded rows, zeros if decoding fails, and which rows are valid.

        A graph has no `try`, but a tf.data pipeline of one element has, and it runs in any graph.
        """

        def decode(row):
            return prepare_face(decode_untrusted(file_of_row(row)), self.shape[0]), True

        def decode_or_zeros(row):
            tried = tf.data.Dataset.from_tensors(row).map(decode).ignore_errors(log_warning=False)
            zeros = tf.data.Dataset.from_tensors((tf.zeros(self.shape), False))
            image, valid = tried.concatenate(zeros).take(1).get_single_element()
            return tf.ensure_shape(image, self.shape), valid

        rows = tf.ensure_shape(rows, (None,))
        types = (tf.TensorSpec(self.shape, tf.float32), tf.TensorSpec((), tf.bool))
        # Few at a time: each row may be an image of the largest size.
        return tf.map_fn(decode_or_zeros, rows, parallel_iterations=4, fn_output_signature=types)

    def _probabilities(self, images):
        # TensorFlow's fused convolutions fail on an empty batch: add a blank image to it.
        count = tf.shape(images)[0]
        blank = tf.cast(count == 0, tf.int32)
        padded = tf.pad(images, [[0, blank], [0, 0], [0, 0], [0, 0]])
        return self.model(padded, training=False)[:count]

    def _outputs(self, probabilities, valid):
        class_id = tf.argmax(probabilities, axis=1)
        return {
            "probabilities": tf.where(valid[:, None], probabilities, 0),
            "class_id": tf.where(valid, class_id, -1),
            "class_name": tf.where(valid, tf.gather(tf.constant(self.labels), class_id), ""),
            "valid": valid,
        }

    def _predict(self, images, valid):
        return self._outputs(self._probabilities(images), valid)

    def _explain(self, images, valid):
        maps = occlusion_saliency(self._probabilities, images)
        return {
            **self._outputs(maps.probabilities, valid),
            "saliency": tf.where(valid[:, None, None], maps.saliency, 0),
            "decisive": valid[:, None, None] & maps.decisive,
        }


def example_bytes(row):
    """The feature `image_bytes` of a serialized tf.Example."""
    feature = {"image_bytes": tf.io.FixedLenFeature((), tf.string)}
    return tf.io.parse_single_example(row, feature)["image_bytes"]
