"""Batch normalization of images that trains faster on TensorFlow.

Source: Ioffe & Szegedy, "Batch Normalization" (2015). In training, Keras 3 computes it by a dozen
operations over the whole batch. TensorFlow has a fused operation for it, which Keras 2 used.
Timings: benchmarks/RESULTS.md, "Training on a CPU".
"""

import keras
import numpy as np
from keras import layers, ops

# ours: images that statistics are recomputed from. Twice as many changed validation accuracy by
# less than 0.1 points in four of five runs, by 0.3 in the fifth.
FACES = 5120
BATCH_SIZE = 256


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class BatchNormalization(layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that trains by TensorFlow's fused operation.

    Arguments, weights and outputs are those of Keras's layer; the statistics are float32 whatever
    the dtype policy. Where the fused operation cannot be used (other backends, inference, masks,
    float64, inputs that are not (batch, height, width, channels)), Keras's implementation is.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalize by the batch's statistics if `training`, by the moving ones otherwise."""
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
    """Normalize each channel by TensorFlow's fused operation.

    Images are (batch, height, width, channels) float16, bfloat16 or float32; gamma and beta
    (channels,) float32. Returns the normalized images in the dtype of `images`, and the (channels,)
    float32 mean and biased variance (as in Keras) of the batch.
    """
    import tensorflow as tf

    channels = images.shape[-1]
    # oneDNN is slow unless the number of channels is a multiple of 16.
    padding = 0 if tf.config.list_physical_devices("GPU") else -channels % 16
    if padding:
        images = tf.pad(images, [[0, 0]] * 3 + [[0, padding]])
        gamma, beta = (tf.pad(weight, [[0, padding]]) for weight in (gamma, beta))
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        images, gamma, beta, epsilon=epsilon, is_training=True
    )
    if padding:
        # The gradient of `outputs[..., :channels]` is many times slower.
        outputs = tf.slice(outputs, [0, 0, 0, 0], [-1, -1, -1, channels])
        mean, variance = mean[:channels], variance[:channels]
    # The operation returns the unbiased variance.
    pixels = tf.cast(tf.size(images) // (channels + padding), "float32")
    return outputs, mean, variance * (pixels - 1) / pixels


def recompute_statistics(model: keras.Model, images: np.ndarray) -> None:
    """Recompute the batch normalization statistics of a model from unaugmented images.

    Training leaves moving averages over augmented images and changing weights. The model is used
    with averaged weights and on unaugmented images. All other variables keep their values. Of the
    (count, height, width, channels) images, `FACES`, evenly spaced, are used.

    Sources: Wu & Johnson, "Rethinking 'Batch' in BatchNorm" (2021); Touvron et al., "Fixing the
    train-test resolution discrepancy" (2019).
    """
    normalizations = list(trained_normalizations(model))
    if not normalizations:
        return
    statistics = {
        id(variable)
        for layer in normalizations
        for variable in (layer.moving_mean, layer.moving_variance)
    }
    others = [  # such as the seeds of dropout
        (variable, ops.convert_to_numpy(variable))
        for variable in model.non_trainable_variables
        if id(variable) not in statistics
    ]
    images = images[np.linspace(0, len(images) - 1, min(len(images), FACES)).astype(int)]
    momenta = [layer.momentum for layer in normalizations]
    try:
        for number, batch in enumerate(np.array_split(images, -(-len(images) // BATCH_SIZE))):
            for layer in normalizations:
                layer.momentum = number / (number + 1)  # the mean of all batches so far
            model(ops.convert_to_tensor(batch, "float32"), training=True)
    finally:
        for layer, momentum in zip(normalizations, momenta, strict=True):
            layer.momentum = momentum
        for variable, value in others:
            variable.assign(value)


def trained_normalizations(model):
    """Trainable batch normalization layers of a model and of the models inside it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from trained_normalizations(layer)
        elif isinstance(layer, layers.BatchNormalization) and layer.trainable:
            yield layer
