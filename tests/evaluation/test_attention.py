"""Whether the attended region follows the face: models that do by a share, by construction."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_deep_emotion.evaluation import attention
from keras_deep_emotion.evaluation.attention import attention_following, attention_statistics
from keras_deep_emotion.evaluation.changes import warp

HALF = 23.5


@pytest.fixture(scope="module")
def images():
    """Twelve ellipses near the center, turned by a few degrees, on black."""
    random, (y, x) = np.random.default_rng(0), np.mgrid[:48, :48] - HALF
    faces = []
    for angle, dx, dy in random.uniform([-0.2, -2, -2], [0.2, 2, 2], (12, 3)):
        along = np.cos(angle) * (x - dx) + np.sin(angle) * (y - dy)
        across = np.cos(angle) * (y - dy) - np.sin(angle) * (x - dx)
        faces.append(np.exp(-((along / 7) ** 2) - (across / 4) ** 2))
    return (250 * np.stack(faces)[..., None]).astype(np.float32)


class Moments(layers.Layer):
    """The transform of a bright blob: its center, size and direction, from moments."""

    def __init__(self, share=1.0, **kwargs):
        super().__init__(**kwargs)
        self.share = share

    def call(self, images):
        light, total = images[..., 0], ops.sum(images, axis=(1, 2, 3))
        y, x = (np.mgrid[:48, :48] - HALF).astype(np.float32)
        mean_x, mean_y = (ops.sum(light * axis, axis=(1, 2)) / total for axis in (x, y))
        dx, dy = x - mean_x[:, None, None], y - mean_y[:, None, None]
        xx, yy, xy = (
            ops.sum(light * a * b, (1, 2)) / total for a, b in ((dx, dx), (dy, dy), (dx, dy))
        )
        size = ops.power((xx + yy) / 32.5, self.share / 2)  # 1 for the ellipses as they are
        angle = self.share * ops.arctan2(2 * xy, xx - yy) / 2
        cos, sin = size * ops.cos(angle), size * ops.sin(angle)
        shift = [self.share * mean / HALF for mean in (mean_x, mean_y)]
        return ops.stack([cos, -sin, shift[0], sin, cos, shift[1]], axis=1)


def model_of(layer):
    image = keras.Input((48, 48, 1))
    theta = layer(image)
    return keras.Model(image, theta)


@pytest.mark.parametrize("share", [1.0, 0.4, 0.0])
def test_a_region_that_goes_with_the_face_by_a_share(images, share):
    found = attention_following(model_of(Moments(share, name="theta")), images)
    assert list(found) == ["move", "scale", "turn"]
    for one in found.values():
        assert one["mean"] == pytest.approx(share, abs=0.06)
        assert one["interval"][0] <= one["mean"] <= one["interval"][1]


def test_no_change_shows_what_lies_beyond_the_picture(images, monkeypatch):
    changes = []

    def checked_warp(faces, degrees=0.0, scale=1.0, shift=(0.0, 0.0)):
        turn = np.radians(abs(degrees))
        reach = (HALF * (np.cos(turn) + np.sin(turn)) + np.abs(shift).max()) / scale
        assert reach <= HALF + 1e-6
        changes.append((degrees, scale, *shift))
        return warp(faces, degrees, scale, shift)

    monkeypatch.setattr(attention, "warp", checked_warp)
    attention_following(model_of(Moments(name="theta")), images)
    # None, 4 moves along each axis, 4 scales and 4 turns.
    assert len(set(changes)) == 17


def test_statistics_are_those_of_the_six_numbers():
    theta = np.array([[1, 0, 0, 0, 1, 0], [1, 0, 0.5, 0, 1, 0]], np.float32)
    found = attention_statistics(theta)
    assert found["mean"] == [1, 0, 0.25, 0, 1, 0] and found["spread"] == [0, 0, 0.25, 0, 0, 0]


def test_the_network_is_traced_once_for_all_changes(images):
    traced = []

    class Counted(Moments):
        def call(self, images):
            traced.append(images.shape)
            return super().call(images)

    model = model_of(Counted(name="theta"))
    traced.clear()
    attention_following(model, images)
    # Building the network of the transform may call the layer, and tracing does: not each change.
    assert len(traced) <= 3
