"""The signatures of an export, as graph code: the public contract of exports/README.md.

Invalid rows (bytes that are not a whole JPEG or PNG, or an image that is too large; gray levels
below 0, above 255, from 0 to 1, or NaN) are marked, and the others are classified: the server
batches requests of several clients, and an error would fail them all. In an invalid row `valid` is
false, probabilities (scores) and saliency are 0, `class_id` is -1 and `class_name` is empty; a
photo has no faces.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from keras_deep_emotion.images.graph import decode_untrusted, prepare_face
from keras_deep_emotion.images.graph_faces import crop, detect_faces
from keras_deep_emotion.saliency.occlusion import occlusion_saliency
from keras_deep_emotion.serving.contract import MOST_FACES, PHOTOS


class Signatures:
    """The signatures of a model from (batch, size, size, 1) to (batch, classes) probabilities.

    `detector` is that of `models.yunet`; without it there is no `photo_bytes`.
    """

    def __init__(self, model: keras.Model, labels: list[str], detector: keras.Model | None = None):
        self.model, self.labels, self.detector = model, labels, detector
        self.shape = (model.input.shape[1], model.input.shape[1], 1)
        # Functions, to be traced once for all signatures.
        image = tf.TensorSpec((None, *self.shape), tf.float32)
        self._probabilities = tf.function(self._predict_padded, [image], autograph=False)

    def functions(self) -> dict[str, tuple[Callable, list[tf.TensorSpec]]]:
        """The function and input specification of each signature, `serving_default` first."""
        image = [tf.TensorSpec((None, *self.shape), tf.float32, name="image")]
        files = [tf.TensorSpec((None,), tf.string, name="image_bytes")]
        inputs = [tf.TensorSpec((None,), tf.string, name="inputs")]
        decode = self._decode
        photos = {"photo_bytes": (self.analyze, files)} if self.detector else {}
        return {
            "serving_default": (lambda image: self._predict(*self._check(image)), image),
            "predict_bytes": (lambda image_bytes: self._predict(*decode(image_bytes)), files),
            "saliency": (lambda image: self._explain(*self._check(image)), image),
            "saliency_bytes": (lambda image_bytes: self._explain(*decode(image_bytes)), files),
            "classify": (self.classify, inputs),
            **photos,
        }

    def classify(self, inputs):
        """Classify tf.Examples, for the server's Classify, which sends nothing else."""
        outputs = self._predict(*self._decode(inputs, example_bytes))
        classes = tf.tile(tf.constant([self.labels]), (tf.shape(inputs)[0], 1))
        return {"classes": classes, "scores": outputs["probabilities"]}

    def analyze(self, image_bytes):
        """Find the faces in photos and predict each; one photo after the other, for memory."""

        def analyze_photo(file):
            image, valid = try_or(
                decode_untrusted, file, tf.zeros((1, 1, 3), tf.uint8), (None, None, 3)
            )
            boxes, landmarks = detect_faces(self.detector, image, MOST_FACES)
            crops = tf.map_fn(
                lambda face: prepare_face(crop(image, *face), self.shape[0]),
                (boxes, landmarks),
                fn_output_signature=tf.TensorSpec(self.shape, tf.float32),
            )
            count = tf.shape(boxes)[0]
            parts = {
                "boxes": boxes,
                "landmarks": landmarks,
                "probabilities": self._probabilities(crops),
            }
            rows = {key: _pad_rows(part, MOST_FACES - count) for key, part in parts.items()}
            return {"faces": count, **rows, "valid": valid}

        classes = {"classes": len(self.labels)}
        specs = {
            key: tf.TensorSpec([classes.get(side, side) for side in shape], dtype)
            for key, (dtype, shape) in PHOTOS.items()
        }
        return tf.map_fn(
            analyze_photo,
            tf.ensure_shape(image_bytes, (None,)),
            parallel_iterations=1,
            fn_output_signature=specs,
        )

    def _check(self, image):
        """Images with invalid rows zeroed, and which rows are valid."""
        # The server does not check shapes; without this a reshape fails later, less clearly.
        image = tf.ensure_shape(image, (None, *self.shape))
        # The rule of `images.levels`; levels up to 1 are probably fractions. False for NaN too. The
        # input is float32 because REST turns 256 into 0 if it is uint8.
        high = tf.reduce_max(image, axis=(1, 2, 3))
        valid = tf.reduce_all((image >= 0) & (image <= 255), axis=(1, 2, 3))
        valid &= (high > 1) | (high == 0)
        return tf.where(valid[:, None, None, None], image, 0), valid

    def _decode(self, rows, file_of_row=lambda row: row):
        """Images of encoded rows, zeros if decoding fails, and which rows are valid."""
        image = tf.TensorSpec(self.shape, tf.float32)

        def decode(row):
            return prepare_face(decode_untrusted(file_of_row(row)), self.shape[0])

        # Few at a time: each row may be an image of the largest size.
        return tf.map_fn(
            lambda row: try_or(decode, row, tf.zeros(self.shape), self.shape),
            tf.ensure_shape(rows, (None,)),
            parallel_iterations=4,
            fn_output_signature=(image, tf.TensorSpec((), tf.bool)),
        )

    def _predict_padded(self, images):
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


def try_or(function, row, otherwise, shape):
    """A function of a row, or `otherwise` if it fails, of a shape; and whether it succeeded.

    A graph has no `try`, but a tf.data pipeline of one element has, and it runs in any graph.
    """

    def succeed(row):
        return function(row), True

    tried = tf.data.Dataset.from_tensors(row).map(succeed).ignore_errors(log_warning=False)
    other = tf.data.Dataset.from_tensors((otherwise, False))
    value, valid = tried.concatenate(other).take(1).get_single_element()
    return tf.ensure_shape(value, shape), valid


def _pad_rows(rows, count):
    return tf.pad(rows, [[0, count], *[[0, 0]] * (len(rows.shape) - 1)])


def example_bytes(row):
    """The feature `image_bytes` of a serialized tf.Example."""
    feature = {"image_bytes": tf.io.FixedLenFeature((), tf.string)}
    return tf.io.parse_single_example(row, feature)["image_bytes"]
