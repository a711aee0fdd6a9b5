"""Batch normalisation of images that trains in a fraction of the time on TensorFlow.

Source: Ioffe & Szegedy, "Batch Normalization" (2015). Keras 3 writes it out in a dozen operations,
each of which goes through all images of the batch. TensorFlow has it as one operation each way,
which Keras 2 used. What that saves: benchmarks/RESULTS.md, "Training on a CPU".
"""

import keras
import numpy as np
from keras import layers, ops

# Ours: faces that statistics are taken anew of, and how many at once. Twice as many changed
# validation by less than 0.1 point in four of five runs, by 0.3 in the fifth.
FACES, AT_ONCE = 5120, 256


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
        outputs, mean, variance = fused_batch_norm(inputs, gamma, beta, self.epsilon)
        for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + new * (1 - self.momentum))
        return ops.cast(outputs, self.compute_dtype)


def fused_batch_norm(images, gamma, beta, epsilon):
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


def recompute_statistics(model, images):
    """Take the statistics of a model's batch normalisation anew, of its weights and these images.

    What training leaves are moving averages over augmented images, of weights that went on
    changing. A model is used otherwise: its weights are averaged, the faces are whole. Nothing but
    these statistics changes; what else a call in training moves, dropout's seeds, is put back.

    Sources: Wu & Johnson, "Rethinking 'Batch' in BatchNorm" (2021); Touvron et al., "Fixing the
    train-test resolution discrepancy" (2019), whose remedy this is, for augmentation.

    Args:
        model: `keras.Model` of images.
        images: (count, height, width, channels) that are not augmented; of more than `FACES` as
            many, evenly spread.
    """
    normals = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization) and layer.trainable
    ]
    if not normals:
        return
    statistics = {
        id(one) for layer in normals for one in (layer.moving_mean, layer.moving_variance)
    }
    others = [
        (variable, ops.convert_to_numpy(variable))
        for variable in model.non_trainable_variables
        if id(variable) not in statistics
    ]
    images = images[np.linspace(0, len(images) - 1, min(len(images), FACES)).astype(int)]
    momenta = [layer.momentum for layer in normals]
    try:
        for number, batch in enumerate(np.array_split(images, -(-len(images) // AT_ONCE))):
            for layer in normals:
                layer.momentum = number / (number + 1)  # the mean of all batches so far
            model(ops.convert_to_tensor(batch, "float32"), training=True)
    finally:
        for layer, momentum in zip(normals, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in others:
            variable.assign(value)
