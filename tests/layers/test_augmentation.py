"""Runs on whichever Keras backend is active; test_backends.py runs it on JAX too."""

import numpy as np
import pytest
from keras import ops

from keras_deep_emotion.layers.augmentation import AlignmentLoss, RandomAffine, RandomCutout
from keras_deep_emotion.layers.spatial_transformer import IDENTITY, SpatialTransformer


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(0, 255, (64, 11, 11, 1)).astype(np.float32)


def augment(layer, images):
    return ops.convert_to_numpy(layer(images, training=True))


def test_inactive_outside_training(images):
    layer = RandomAffine(flip=True, rotation=30, zoom=0.3, shift=0.3, seed=1)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(images)), images)


def test_flip_alone_mirrors_about_half_and_changes_nothing_else(images):
    got = augment(RandomAffine(flip=True, seed=1), images)
    mirrored = np.isclose(got, images[:, :, ::-1], atol=1e-3).all((1, 2, 3))
    kept = (got == images).all((1, 2, 3))
    assert (mirrored | kept).all()
    assert 16 <= mirrored.sum() <= 48


def test_beyond_the_image_its_edge_is_repeated():
    level = np.full((64, 11, 11, 1), 100, np.float32)
    got = augment(RandomAffine(rotation=45, zoom=0.5, shift=0.5, seed=1), level)
    np.testing.assert_allclose(got, level, rtol=1e-6)


def test_shift_stays_within_its_share():
    dot = np.zeros((256, 11, 11, 1), np.float32)
    dot[:, 5, 5] = 100
    got = augment(RandomAffine(flip=False, shift=0.2, seed=1), dot)[..., 0]
    total = got.sum((1, 2))
    np.testing.assert_allclose(total, 100, rtol=1e-4)
    rows = (got.sum(2) * np.arange(11)).sum(1) / total - 5
    columns = (got.sum(1) * np.arange(11)).sum(1) / total - 5
    for moved in (rows, columns):
        assert np.abs(moved).max() <= 0.2 * (11 - 1)
        assert np.abs(moved).max() > 0.2 * (11 - 1) * 0.9
        assert abs(moved.mean()) < 0.3


def test_rotation_turns_by_at_most_its_degrees_and_keeps_distances():
    theta = ops.convert_to_numpy(RandomAffine(flip=False, rotation=20, seed=1).random_theta(500))
    matrix = theta.reshape(-1, 2, 3)[:, :, :2]
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-5)
    degrees = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert 19 < np.abs(degrees).max() <= 20.001


def test_zoom_changes_size_within_its_share():
    theta = ops.convert_to_numpy(RandomAffine(flip=True, zoom=0.25, seed=1).random_theta(500))
    size = np.abs(np.linalg.det(theta.reshape(-1, 2, 3)[:, :, :2])) ** 0.5
    assert 0.7499 <= size.min() < 0.77
    assert 1.23 < size.max() <= 1.2501


def test_same_seed_same_images_and_each_call_others(images):
    make = lambda: RandomAffine(rotation=10, shift=0.1, seed=7)  # noqa: E731
    one, two = make(), make()
    first = augment(one, images)
    np.testing.assert_array_equal(first, augment(two, images))
    assert not np.array_equal(first, augment(one, images))


def test_config_holds_every_argument():
    settings = {"flip": False, "rotation": 5.0, "zoom": 0.2, "shift": 0.3, "seed": 9}
    settings["return_theta"] = True
    config = RandomAffine(**settings).get_config()
    assert settings.items() <= RandomAffine.from_config(config).get_config().items()


@pytest.mark.parametrize("setting", [{"rotation": -1}, {"zoom": 1}, {"shift": 1.5}])
def test_amounts_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))} must be between"):
        RandomAffine(**setting)


def inverse(theta):
    """The transform that undoes one, but for its mirror, (batch, 6)."""
    count = len(theta)
    full = np.tile(np.eye(3), (count, 1, 1))
    full[:, :2] = theta.reshape(-1, 2, 3)
    mirror = np.tile(np.eye(3), (count, 1, 1))
    mirror[:, 0, 0] = np.sign(np.linalg.det(full))
    return (np.linalg.inv(full) @ mirror)[:, :2].reshape(count, 6).astype(np.float32)


def test_the_transforms_that_are_returned_are_those_of_the_images(images):
    layer = RandomAffine(rotation=30, zoom=0.2, shift=0.1, seed=3, return_theta=True)
    warped, theta = layer(images, training=True)
    expected = ops.convert_to_numpy(SpatialTransformer()([images, theta]))
    inside = ops.convert_to_numpy(SpatialTransformer()([np.ones_like(images), theta])) > 1 - 1e-5
    assert inside.mean() > 0.7
    np.testing.assert_allclose(ops.convert_to_numpy(warped)[inside], expected[inside], atol=4e-3)
    kept, theta = layer(images)
    np.testing.assert_array_equal(ops.convert_to_numpy(kept), images)
    np.testing.assert_array_equal(ops.convert_to_numpy(theta), np.tile([IDENTITY], (64, 1)))


def test_alignment_is_a_loss_of_what_is_not_undone():
    affine = RandomAffine(rotation=30, zoom=0.2, shift=0.1, seed=3)
    theta = ops.convert_to_numpy(affine.random_theta(64))
    scores = np.zeros((64, 7), np.float32)

    def loss(transforms, training=True):
        layer = AlignmentLoss(2.0)
        np.testing.assert_array_equal(
            ops.convert_to_numpy(layer([scores, theta, transforms], training=training)), scores
        )
        return [float(one) for one in layer.losses]

    assert loss(inverse(theta)) == pytest.approx([0], abs=1e-6)
    assert loss(inverse(theta), training=False) == []
    # Not undone, what is left is the augmentation, but for its mirror.
    undone = theta.reshape(-1, 2, 3) * 1
    undone[:, 0, 0] -= np.sign(np.linalg.det(undone[:, :, :2]))
    undone[:, 1, 1] -= 1
    identity = np.tile(np.array([IDENTITY], np.float32), (64, 1))
    assert loss(identity) == pytest.approx([2 * (undone**2).sum((1, 2)).mean()], rel=1e-4)
    moved = inverse(theta) + np.array([0, 0, 0.5, 0, 0, 0], np.float32)
    scales = np.linalg.det(theta.reshape(-1, 2, 3)[:, :, :2])
    assert loss(moved) == pytest.approx([2 * 0.25 * np.abs(scales).mean()], rel=1e-4)


def test_alignment_config_and_range():
    assert AlignmentLoss.from_config(AlignmentLoss(0.3).get_config()).weight == 0.3
    with pytest.raises(ValueError, match="weight must be 0 or more. Received: weight=-1"):
        AlignmentLoss(-1)


def test_cutout_is_inactive_outside_training(images):
    np.testing.assert_array_equal(ops.convert_to_numpy(RandomCutout(1.0, seed=1)(images)), images)


def test_cutout_hides_one_square_of_every_size_up_to_the_largest():
    white = np.ones((2000, 20, 20, 1), np.float32)
    hidden = augment(RandomCutout(0.5, seed=1), white)[..., 0] == 0
    rows, columns = hidden.any(axis=2), hidden.any(axis=1)
    # One solid rectangle each: as many as its rows times its columns.
    np.testing.assert_array_equal(hidden.sum((1, 2)), rows.sum(1) * columns.sum(1))
    assert rows.sum(1).max() == columns.sum(1).max() == 10
    # A square within the image, up to a pixel of where its edges fall.
    inside = ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1])
    assert (np.abs(rows.sum(1) - columns.sum(1))[inside] <= 1).all()
    sizes = rows.sum(1)[inside]
    assert {1, 5, 9} <= set(sizes.tolist())
    # Everywhere alike, give or take what falls outside at the edge.
    share = hidden.mean(0)
    assert share[5:15, 5:15].std() < 0.02
    assert share[10, 10] == pytest.approx(np.mean((np.linspace(0, 10, 1000) / 20) ** 2), abs=0.02)


def test_cutout_config_and_range():
    config = RandomCutout(0.3, seed=9).get_config()
    assert {"size": 0.3, "seed": 9}.items() <= RandomCutout.from_config(config).get_config().items()
    with pytest.raises(ValueError, match="size must be between 0 and 1. Received: size=1.5"):
        RandomCutout(1.5)
