"""Our batch normalisation beside Keras's, which is written out step by step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.model import build_model
from keras_deep_emotion.normalization import BatchNormalization

# Of the rounding of each precision, relative to the largest value.
TOLERANCE = {"float32": 2e-6, "mixed_float16": 2e-3, "mixed_bfloat16": 1.6e-2}


def pair(shape, dtype="float32", **options):
    """Keras's layer and ours, with the same weights, built for inputs of a shape."""
    both = [
        cls(momentum=0.9, dtype=dtype, **options)
        for cls in (keras.layers.BatchNormalization, BatchNormalization)
    ]
    for layer in both:
        layer.build(shape)
        layer.set_weights(
            [np.linspace(0.5 + i, 2, *one.shape) for i, one in enumerate(layer.weights)]
        )
    return both


def step(layer, inputs):
    """Outputs, gradients and moving statistics of one step of training."""
    weights = tf.random.stateless_normal(inputs.shape, (1, 2))

    @tf.function
    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 2 * weights)
        trained = [one.value for one in layer.trainable_weights]
        return outputs, *tape.gradient(loss, [inputs, *trained])

    found = run(inputs)
    return *found, layer.moving_mean.value, layer.moving_variance.value


def operations(function, *specs):
    """Names of all operations of a function's graph and of its inner ones."""
    graph = tf.function(function).get_concrete_function(*specs).graph.as_graph_def()
    nodes = [*graph.node, *(node for one in graph.library.function for node in one.node_def)]
    return {node.op for node in nodes}


@pytest.mark.parametrize("channels", [16, 40, 7])
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_a_step_of_training_is_that_of_kerass_layer(dtype, channels):
    shape = (8, 6, 5, channels)
    theirs, ours = pair(shape, dtype)
    inputs = tf.cast(3 + 2 * tf.random.stateless_normal(shape, (3, 4)), ours.compute_dtype)
    for expected, got in zip(step(theirs, inputs), step(ours, inputs), strict=True):
        assert got.dtype == expected.dtype
        expected, got = (np.asarray(tf.cast(one, "float32")) for one in (expected, got))
        np.testing.assert_allclose(got, expected, atol=TOLERANCE[dtype] * np.abs(expected).max())


def test_moving_statistics_are_worked_out_by_hand():
    layer = BatchNormalization(momentum=0.75)
    image = np.array([1, 3, 5, 7], np.float32).reshape(1, 2, 2, 1)
    layer(image, training=True)
    np.testing.assert_allclose(layer.moving_mean, [0.25 * 4], rtol=1e-6)
    # Of four pixels the variance is 5; the operation itself gives 20 / 3.
    np.testing.assert_allclose(layer.moving_variance, [0.75 + 0.25 * 5], rtol=1e-6)


def test_the_wide_network_trains_by_the_fused_operation():
    model = build_model(TrainConfig(width=8))
    faces = tf.TensorSpec((None, 48, 48, 1), tf.float32)
    assert "FusedBatchNormV3" in operations(lambda x: model(x, training=True), faces)
    assert "FusedBatchNormV3" not in operations(lambda x: model(x, training=False), faces)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((8, 5), {}),
        ((8, 6, 5, 3), {"axis": 1}),
        ((8, 6, 5, 3), {"scale": False}),
        ((8, 6, 5, 3), {"center": False}),
        ((8, 6, 5, 3), {"renorm": True}),
    ],
)
def test_what_the_operation_does_not_reach_is_kerass_layer(shape, options):
    theirs, ours = pair(shape, **options)
    inputs = tf.random.stateless_normal(shape, (3, 4))
    for expected, got in zip(step(theirs, inputs), step(ours, inputs), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_frozen_it_keeps_its_statistics():
    theirs, ours = pair((8, 6, 5, 3))
    inputs = tf.random.stateless_normal((8, 6, 5, 3), (3, 4))
    ours.trainable = theirs.trainable = False
    before = [np.asarray(one) for one in ours.weights]
    np.testing.assert_array_equal(ours(inputs, training=True), theirs(inputs, training=True))
    for old, new in zip(before, ours.weights, strict=True):
        np.testing.assert_array_equal(new, old)


def test_weights_and_settings_are_kerass_own():
    theirs, ours = pair((8, 6, 5, 3))
    assert [one.name for one in ours.weights] == [one.name for one in theirs.weights]
    again = BatchNormalization.from_config(BatchNormalization(epsilon=0.02).get_config())
    assert again.epsilon == 0.02
