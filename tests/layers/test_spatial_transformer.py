"""Runs on whichever Keras backend is active; test_backends.py runs it on JAX too."""

import keras
import numpy as np
import pytest
from gradients import gradient
from keras import ops

from keras_deep_emotion.layers.spatial_transformer import (
    IDENTITY,
    BoundedAffine,
    SpatialTransformer,
)


def reference(images, theta, output_size=None):
    """Float64 NumPy, pixel by pixel, straight from the equations of Jaderberg et al. (2015)."""
    images = images.astype(np.float64)  # NumPy 1 multiplies by a float64 scalar in float32
    batch, height, width, channels = images.shape
    out_height, out_width = output_size or (height, width)
    result = np.zeros((batch, out_height, out_width, channels))

    def coordinate(i, count):
        return -1 + 2 * i / (count - 1) if count > 1 else 0.0

    for n in range(batch):
        matrix = np.asarray(theta[n], np.float64).reshape(2, 3)
        for i in range(out_height):
            for j in range(out_width):
                target = [coordinate(j, out_width), coordinate(i, out_height), 1]
                u, v = matrix @ target
                x, y = (u + 1) * (width - 1) / 2, (v + 1) * (height - 1) / 2
                for row in range(height):
                    for column in range(width):
                        weight = max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
                        result[n, i, j] += weight * images[n, row, column]
    return result


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (4, 9, 12, 2)).astype(np.float32)


@pytest.fixture
def thetas():
    return np.array(
        [
            [0.8, 0.3, 0.1, -0.2, 0.9, -0.15],
            [1.3, 0.0, 0.4, 0.1, 1.2, 0.5],  # much of it outside
            [-1.0, 0.0, 0.0, 0.0, 1.0, 0.0],  # mirrored
            [0.5, -0.4, 0.2, 0.4, 0.5, -0.3],
        ],
        np.float32,
    )


def warp(images, theta, **kwargs):
    return ops.convert_to_numpy(SpatialTransformer(**kwargs)([images, theta]))


@pytest.mark.parametrize("output_size", [None, (5, 7), (1, 3)])
def test_values_equal_the_reference(images, thetas, output_size):
    got = warp(images, thetas, output_size=output_size)
    np.testing.assert_allclose(got, reference(images, thetas, output_size), atol=1e-5)


def test_identity_is_exact(images):
    theta = np.tile(np.float32(IDENTITY), (4, 1))
    np.testing.assert_array_equal(warp(images, theta), images)
    odd = np.random.default_rng(1).uniform(size=(4, 48, 31, 1)).astype(np.float32)
    np.testing.assert_array_equal(warp(odd, theta), odd)


def test_shift_by_one_pixel_moves_the_image_and_leaves_zero(images):
    theta = np.tile(np.float32(IDENTITY), (4, 1))
    theta[:, 2] = 2 / (12 - 1)  # one column, in coordinates that run from -1 to 1
    got = warp(images, theta)
    np.testing.assert_allclose(got[:, :, :-1], images[:, :, 1:], atol=1e-5)
    np.testing.assert_array_equal(got[:, :, -1], 0)


def test_outside_is_zero_and_nan_harms_no_other_image(images):
    theta = np.tile(np.float32(IDENTITY), (4, 1))
    theta[0, 2] = 5.0
    theta[1, 5] = 1e30
    theta[2, 0] = np.nan
    got = warp(images, theta)
    np.testing.assert_array_equal(got[:2], 0)
    np.testing.assert_array_equal(got[3], images[3])


def test_gradient_of_theta_equals_finite_differences(images):
    random = np.random.default_rng(2)
    weights = random.normal(size=images.shape)
    # Odd numbers: where a position falls on a pixel, the sampler has a corner and no derivative.
    theta = (IDENTITY + random.uniform(-0.4, 0.4, (4, 6))).astype(np.float32)

    def loss(theta):
        return ops.sum(SpatialTransformer()([images, theta]) * weights.astype(np.float32))

    got = gradient(loss, theta)
    step = 1e-6
    expected = np.zeros(theta.shape)
    for i in range(6):
        delta = np.zeros(6)
        delta[i] = step
        high = (reference(images, theta.astype(float) + delta) * weights).sum((1, 2, 3))
        low = (reference(images, theta.astype(float) - delta) * weights).sum((1, 2, 3))
        expected[:, i] = (high - low) / (2 * step)
    np.testing.assert_allclose(got, expected, atol=1e-3 * np.abs(expected).max(), rtol=1e-3)


def test_gradient_of_images_are_the_sampling_weights(images, thetas):
    def loss(pictures):
        return ops.sum(SpatialTransformer()([pictures, thetas]))

    got = gradient(loss, images)
    # The sum is linear in the images: its gradient dotted with them is the sum itself.
    np.testing.assert_allclose(
        (got * images).sum((1, 2, 3)), reference(images, thetas).sum((1, 2, 3)), atol=1e-4
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_positions_in_float32(policy):
    layer = SpatialTransformer(dtype=policy)
    ramp = np.tile(np.arange(48, dtype=np.float32) / 64, (1, 48, 1))[..., None]
    theta = np.float32([[1, 0, 1 / 1024, 0, 1, 0]])  # 0.023 pixels: nothing in float16's 1 + x
    got = layer([ramp, theta])
    assert keras.backend.standardize_dtype(got.dtype) == policy.removeprefix("mixed_")
    exact = SpatialTransformer(dtype="float32")([ramp, theta])
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ops.cast(got, "float32")),
        ops.convert_to_numpy(ops.cast(ops.cast(exact, got.dtype), "float32")),
    )
    assert np.abs(ops.convert_to_numpy(exact)[0, :, :-1] - ramp[0, :, :-1]).max() > 3e-4


def test_config_holds_every_argument():
    layer = SpatialTransformer(output_size=(5, 7), name="warp")
    again = SpatialTransformer.from_config(layer.get_config())
    assert again.output_size == (5, 7)
    assert again.name == "warp"
    assert layer.compute_output_shape([(None, 9, 12, 2), (None, 6)]) == (None, 5, 7, 2)


def test_saved_and_loaded_model_gives_the_same(images, thetas, tmp_path):
    image, theta = keras.Input((9, 12, 2)), keras.Input((6,))
    model = keras.Model([image, theta], SpatialTransformer((6, 6))([image, theta]))
    model.save(tmp_path / "warp.keras")
    again = keras.saving.load_model(tmp_path / "warp.keras")
    for count in (1, 4):
        pair = [images[:count], thetas[:count]]
        np.testing.assert_array_equal(again.predict_on_batch(pair), model.predict_on_batch(pair))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 9, 9, 1), (2, 5)], "must be called on"),
        ([(2, 9, 9), (2, 6)], "must be called on"),
    ],
)
def test_wrong_shapes_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        SpatialTransformer()([np.zeros(shape, np.float32) for shape in shapes])


def test_unknown_size_is_refused():
    with pytest.raises(ValueError, match="static height"):
        SpatialTransformer()([keras.Input((None, 9, 1)), keras.Input((6,))])


@pytest.mark.parametrize("size", [(0, 4), (4,), (4, 4.0)])
def test_wrong_output_size_is_refused(size):
    with pytest.raises(ValueError, match="two positive integers"):
        SpatialTransformer(output_size=size)


def test_bounded_affine_starts_at_the_identity_and_stays_within_reach():
    free = np.array([[0] * 6, [1e6] * 6, [-1e6] * 6, [0.1] * 6], np.float32)
    got = ops.convert_to_numpy(BoundedAffine(reach=0.3, rate=0.5)(free))
    np.testing.assert_array_equal(got[0], np.float32(IDENTITY))
    np.testing.assert_allclose(got[1], np.float32(IDENTITY) + 0.3, atol=1e-6)
    np.testing.assert_allclose(got[2], np.float32(IDENTITY) - 0.3, atol=1e-6)
    np.testing.assert_allclose(got[3], np.float32(IDENTITY) + 0.3 * np.tanh(0.05), atol=1e-6)


def test_bounded_affine_config_and_bad_arguments():
    layer = BoundedAffine(reach=0.3, rate=0.5)
    again = BoundedAffine.from_config(layer.get_config())
    assert (again.reach, again.rate) == (0.3, 0.5)
    for bad in ({"reach": 0}, {"rate": -1}):
        with pytest.raises(ValueError, match="must be above 0"):
            BoundedAffine(**bad)
