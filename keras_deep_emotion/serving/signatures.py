"""What an export answers: its signatures, as graph code. No file is touched here.

The names and shapes are a public contract (exports/README.md):

- `serving_default`: `image` (batch, size, size, 1) float32, grey levels 0..255 -> `probabilities`
  (batch, classes) float32, `class_id` (batch,) int64, `class_name` (batch,) string, and `valid`
  (batch,) bool.
- `predict_bytes`: `image_bytes` (batch,) string, JPEG or PNG files -> the same.
- `saliency`: `image` -> the same, `saliency` (batch, size, size) float32, the probability of the
  answer that is lost where a region is hidden, and `decisive` (batch, size, size) bool, where
  hiding it changes the answer.
- `saliency_bytes`: `image_bytes` -> the same.
- `classify`: `inputs` (batch,) string, serialized tf.Examples with a feature `image_bytes` ->
  `classes` (batch, classes) string, `scores` (batch, classes) float32. It is what the server's own
  Classify and :classify call, which feed Examples and nothing else.

A row that cannot be judged (bytes that are no whole image, or an image that is too large; levels
below 0, above 255 or not a number) is marked, and the rows beside it are answered: the server puts
requests of several clients into one batch, and a failure would be everybody's. A marked row has
`valid` false, probabilities (scores) and saliency of 0, `class_id` -1 and an empty `class_name`.
"""

import tensorflow as tf

from keras_deep_emotion.images.preprocessing import decode_untrusted, prepare_face
from keras_deep_emotion.saliency.occlusion import occlusion_saliency


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

    def answers(found, valid):
        class_id = tf.argmax(found, axis=1)
        return {
            "probabilities": tf.where(valid[:, None], found, 0),
            "class_id": tf.where(valid, class_id, -1),
            "class_name": tf.where(valid, tf.gather(tf.constant(labels), class_id), ""),
            "valid": valid,
        }

    def predicted(images, valid):
        return answers(probabilities(images), valid)

    def explained(images, valid):
        found = occlusion_saliency(probabilities, images)
        return {
            **answers(found.probabilities, valid),
            "saliency": tf.where(valid[:, None, None], found.saliency, 0),
            "decisive": valid[:, None, None] & found.decisive,
        }

    def checked(image):
        # The server does not check shapes; a clear refusal beats a failed reshape further down.
        image = tf.ensure_shape(image, (None, *shape))
        # Written so that NaN fails too. REST turns 256 into 0 where the input is uint8: float32.
        valid = tf.reduce_all((image >= 0) & (image <= 255), axis=(1, 2, 3))
        return tf.where(valid[:, None, None, None], image, 0), valid

    def decoded(rows, image_bytes=lambda row: row):
        """The faces of rows, each of which `image_bytes` turns into a file."""
        return map_or_mark(
            lambda row: prepare_face(decode_untrusted(image_bytes(row)), size),
            tf.ensure_shape(rows, (None,)),
            tf.TensorSpec(shape, tf.float32),
        )

    def of_example(row):
        feature = {"image_bytes": tf.io.FixedLenFeature((), tf.string)}
        return tf.io.parse_single_example(row, feature)["image_bytes"]

    def serving_default(image):
        return predicted(*checked(image))

    def predict_bytes(image_bytes):
        return predicted(*decoded(image_bytes))

    def saliency(image):
        return explained(*checked(image))

    def saliency_bytes(image_bytes):
        return explained(*decoded(image_bytes))

    def classify(inputs):
        found = predicted(*decoded(inputs, of_example))
        names = tf.tile(tf.constant([labels]), (tf.shape(inputs)[0], 1))
        return {"classes": names, "scores": found["probabilities"]}

    faces = [tf.TensorSpec((None, *shape), tf.float32, name="image")]
    files = [tf.TensorSpec((None,), tf.string, name="image_bytes")]
    rows = [tf.TensorSpec((None,), tf.string, name="inputs")]
    return {
        "serving_default": (serving_default, faces),
        "predict_bytes": (predict_bytes, files),
        "saliency": (saliency, faces),
        "saliency_bytes": (saliency_bytes, files),
        "classify": (classify, rows),
    }


def map_or_mark(function, rows, spec):
    """Apply a function to each row; where it fails, give zeros and say so. Graph code.

    A graph has no `try`; a tf.data pipeline of one element does, and it runs inside any graph.

    Args:
        function: graph code from one row to a tensor of `spec`.
        rows: (batch, ...) tensor.
        spec: `tf.TensorSpec` of a result.

    Returns:
        (batch, ...) results, (batch,) bool: false where the function failed.
    """

    def one(row):
        tried = tf.data.Dataset.from_tensors(row).map(lambda row: (function(row), True))
        zeros = tf.data.Dataset.from_tensors((tf.zeros(spec.shape, spec.dtype), False))
        result, valid = (
            tried.ignore_errors(log_warning=False).concatenate(zeros).take(1).get_single_element()
        )
        return tf.ensure_shape(result, spec.shape), valid

    # Each may hold a picture of the largest size: few at a time.
    return tf.map_fn(
        one,
        rows,
        parallel_iterations=4,
        fn_output_signature=(spec, tf.TensorSpec((), tf.bool)),
    )
