"""Gradient of a scalar function of one array, by the Keras backend that is active."""

import keras
import numpy as np


def gradient(function, array):
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(array))
    import tensorflow as tf

    variable = tf.Variable(array)
    with tf.GradientTape() as tape:
        result = function(variable)
    return tape.gradient(result, variable).numpy()
