"""Batch normalisation of images that trains in a fraction of the time on TensorFlow.

Source: Ioffe & Szegedy, "Batch Normalization" (2015). Keras 3 writes it out in a dozen operations,
each of which goes through all images of the batch. TensorFlow has it as one operation each way,
which Keras 2 used. What that saves: benchmarks/RESULTS.md, "Training on a CPU".
"""

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization`, by TensorFlow's fused operation in training.

    Arguments, weights and results are those of Keras's layer; the statistics are float32 whatever
    the precision. Where the operation does not reach (other backends, inference, masks, inputs that
    are not (batch, height, width, channels), float64), it is Keras's layer.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalise by the statistics of the batch if `training`, else by the moving ones."""
        fused = (
            training
            and self.trainable
            and keras.backend.backend() == "tensorflow"
            and mask is None
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.scale
            and self.center
            and not self.renorm
            and not self.synchronized
            and inputs.dtype != "float64"
        )
        if not fused:
            return super().call(inputs, training=training, mask=mask)
        gamma, beta = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        outputs, mean, variance = fused_normalisation(inputs, gamma, beta, self.epsilon)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)


def fused_normalisation(images, gamma, beta, epsilon):
    """Normalise each channel by TensorFlow's fused operation.

    Args:
        images: (batch, height, width, channels), float16, bfloat16 or float32.
        gamma: (channels,) float32 scale.
        beta: (channels,) float32 shift.
        epsilon: added to the variance.

    Returns:
        (images, mean, variance): normalised, the dtype of `images`; (channels,) float32 of the
        batch, the variance over all (not one less), as Keras keeps it.
    """
    import tensorflow as tf

    channels = images.shape[-1]
    # oneDNN's own code takes channels by 16 and leaves other numbers to a slow loop.
    more = 0 if tf.config.list_physical_devices("GPU") else -channels % 16
    if more:
        images = tf.pad(images, [[0, 0]] * 3 + [[0, more]])
        gamma, beta = (tf.pad(weight, [[0, more]]) for weight in (gamma, beta))
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        images, gamma, beta, epsilon=epsilon, is_training=True
    )
    if more:
        # Not `outputs[..., :channels]`: the gradient of that is many times as slow.
        outputs = tf.slice(outputs, [0, 0, 0, 0], [-1, -1, -1, channels])
        mean, variance = mean[:channels], variance[:channels]
    # The operation divides by one less than the number of pixels.
    pixels = tf.cast(tf.size(images) // (channels + more), "float32")
    return outputs, mean, variance * (pixels - 1) / pixels
