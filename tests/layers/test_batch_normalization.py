"""Our batch normalisation beside Keras's, which is written out step by step."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.layers.batch_normalization import BatchNormalization, recompute_statistics
from keras_deep_emotion.models.deep_emotion import build_model

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


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_xla_compiles_it_as_on_a_gpu(dtype):
    _, ours = pair((8, 6, 5, 40), dtype)
    inputs = tf.cast(tf.random.stateless_normal((8, 6, 5, 40), (3, 4)), ours.compute_dtype)
    plain = ours(inputs, training=True)
    compiled = tf.function(lambda x: ours(x, training=True), jit_compile=True)(inputs)
    plain, compiled = (tf.cast(one, "float32").numpy() for one in (plain, compiled))
    np.testing.assert_allclose(compiled, plain, atol=TOLERANCE[dtype] * np.abs(plain).max())


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


def test_on_several_devices_it_is_kerass_layer():
    # In a process of its own: devices are counted when TensorFlow begins.
    code = """
import keras, tensorflow as tf
from keras_deep_emotion.layers.batch_normalization import BatchNormalization
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
images = strategy.experimental_distribute_values_from_function(
    lambda at: tf.fill([3, 1, 2, 1], 4.0 + 8.0 * at.replica_id_in_sync_group)
)
for cls in (keras.layers.BatchNormalization, BatchNormalization):
    with strategy.scope():
        layer = cls(momentum=0.5)
        layer.build((None, 1, 2, 1))
    tf.function(lambda x: strategy.run(lambda one: layer(one, training=True), (x,)))(images)
    print(*(float(one.numpy()[0]) for one in layer.moving_mean.value.values))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    # Half of each device's own mean, 4 and 12: Keras joins them in layers that are `synchronized`.
    assert done.stdout.splitlines() == ["2.0 6.0", "2.0 6.0"], done.stderr[-2000:]


def test_statistics_of_models_inside_a_model_are_recomputed():
    image, outer = keras.Input((2, 2, 1)), keras.Input((2, 2, 1))
    inner = keras.Model(image, BatchNormalization(name="normal")(image))
    recompute_statistics(
        keras.Model(outer, inner(outer)), np.arange(16, dtype=np.float32).reshape(4, 2, 2, 1)
    )
    np.testing.assert_allclose(inner.get_layer("normal").moving_mean, [7.5], rtol=1e-6)
    np.testing.assert_allclose(inner.get_layer("normal").moving_variance, [21.25], rtol=1e-6)
