"""Runs on whichever Keras backend is active; test_backends.py runs it on JAX too."""

import io

import numpy as np
import pytest
from keras import ops
from PIL import Image

from keras_deep_emotion.config import CAMERA_CHANGES
from keras_deep_emotion.layers.camera import CHANGES, RandomCamera, compress, optics, relight


def smooth_images(count, side=48):
    """Waves of random directions, (count, side, side, 1) levels 40 to 215."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side
    waves = [np.sin(a * x + b * y + c) for a, b, c in random.uniform(3, 20, (count, 3))]
    return (127.5 + 87.5 * np.stack(waves)[..., None]).astype(np.float32)


@pytest.fixture
def images():
    return smooth_images(200)


def changed(images, **settings):
    return ops.convert_to_numpy(RandomCamera(**{"seed": 1} | settings)(images, training=True))


def test_the_settings_name_the_layers_changes():
    assert CAMERA_CHANGES == CHANGES


def test_inactive_outside_training(images):
    got = ops.convert_to_numpy(RandomCamera(seed=1)(images))
    np.testing.assert_array_equal(got, images)


def test_a_share_of_the_images_stays_clean(images):
    got = changed(images, clean=0.3, chance=1.0)
    same = np.isclose(got, images, atol=1e-3).all((1, 2, 3))
    assert 0.2 < same.mean() < 0.4
    assert np.isclose(changed(images, clean=1.0), images, atol=1e-3).all()
    assert np.isclose(changed(images, strength=0.0, clean=0.0), images, atol=1e-3).all()


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_happens_alone_and_stays_within_the_levels(name, images):
    got = changed(images, changes=[name], clean=0.0, chance=0.5)
    assert got.min() >= 0 and got.max() <= 255
    difference = np.abs(got - images).max((1, 2, 3))
    assert 0.35 < (difference > 1).mean() < 0.6  # a few amounts are too small to see
    assert np.isclose(difference, 0, atol=1e-3).mean() > 0.35


def test_noise_has_at_most_the_deviation_that_it_says(images):
    grey = np.full_like(images, 128)
    deviation = changed(grey, changes=["noise"], clean=0.0, chance=1.0).std((1, 2, 3))
    assert 33 < deviation.max() < 37
    half = changed(grey, changes=["noise"], strength=0.5, clean=0.0, chance=1.0).std((1, 2, 3))
    assert 16 < half.max() < 19


def test_optics_keep_what_is_even_and_do_nothing_at_zero():
    amounts = np.array([0, 1, 0, 0.3], np.float32)
    maps = ops.convert_to_numpy(optics(amounts, amounts[::-1], 48))
    np.testing.assert_allclose(maps.sum(-1), 1, atol=1e-5)
    none = ops.convert_to_numpy(optics(amounts[:1], amounts[:1], 31))
    np.testing.assert_allclose(none[0], np.eye(31), atol=1e-5)


def test_the_blur_has_the_deviation_that_it_says():
    dot = ops.convert_to_numpy(optics(np.array([1, 0.5], "float32"), np.zeros(2, "float32"), 48))
    offsets = np.arange(48) - 24
    deviation = np.sqrt((dot[:, 24] * offsets**2).sum(-1))
    np.testing.assert_allclose(deviation, [2.2, 1.1], rtol=0.01)


def test_low_resolution_has_the_means_of_larger_pixels():
    step = np.repeat([0.0, 90.0], 24).astype(np.float32)
    whole = ops.convert_to_numpy(optics(np.zeros(1, "float32"), np.ones(1, "float32"), 48))[0]
    got = whole @ step  # pixels three times as large, interpolated
    np.testing.assert_allclose(got[[0, 22, 25, 47]], [0, 0, 90, 90], atol=31)
    assert np.all(np.diff(got) >= -1e-4) and got[0] == 0 and got[-1] == pytest.approx(90)


@pytest.mark.parametrize(("quality", "amount"), [(10, 1.0), (50, 0.2)])
def test_compression_is_that_of_jpeg(quality, amount):
    image = np.round(smooth_images(1))[0, ..., 0]
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file), np.float32)
    got = compress(image[None, None], np.array([amount], np.float32))
    assert np.abs(ops.convert_to_numpy(got)[0, 0] - expected).mean() < 0.7
    assert np.abs(image - expected).mean() > 1  # it is a change


def test_compression_of_sides_that_are_no_multiple_of_eight():
    images = np.transpose(smooth_images(2, 21), (0, 3, 1, 2))
    got = ops.convert_to_numpy(compress(images, np.array([0.0, 1.0], np.float32)))
    np.testing.assert_array_equal(got[0], images[0])
    assert got.shape == images.shape and np.abs(got[1] - images[1]).mean() > 1


def test_light_in_both_directions():
    images = np.full((3, 1, 4, 4), 127.5, np.float32)
    images[:, :, :2] = 63.75
    directions = np.array([[1, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 1]], np.float32)
    got = ops.convert_to_numpy(relight(images, np.ones(3, np.float32), directions))
    np.testing.assert_allclose(got[0, 0, [0, 3], 0], [127.5, 180.3], atol=0.1)  # gamma 1/2
    np.testing.assert_allclose(np.ptp(got[1]), 0.4 * 63.75, rtol=1e-4)  # contrast
    np.testing.assert_allclose(got[2], 1.6 * images[2], rtol=1e-4)  # brightness


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="changes must be among blur, .* Received: fog"):
        RandomCamera(changes=["fog"])
    with pytest.raises(ValueError, match="strength must be between 0 and 1. Received: strength=2"):
        RandomCamera(strength=2)


def test_settings_come_back():
    settings = {
        "changes": ("noise",), "strength": 0.4, "clean": 0.1, "chance": 0.9, "seed": 3,
    }  # fmt: skip
    config = RandomCamera(**settings).get_config()
    assert {name: config[name] for name in settings} == settings
    assert RandomCamera.from_config(config).get_config() == config
