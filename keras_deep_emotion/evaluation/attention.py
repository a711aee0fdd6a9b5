"""What the spatial transformer of a model does: where it looks, and whether it follows the face."""

from typing import Any

import keras
import numpy as np

from keras_deep_emotion.evaluation.changes import warp
from keras_deep_emotion.evaluation.statistics import mean_interval

# Ours: moves (pixels of a 48-pixel side, along each axis), scales and turns (degrees) of the face,
# which is enlarged before so that none of them shows what lies beyond the picture: a network can
# read the change from what is filled in there.
MOVES, SCALES, TURNS = (-5, -3, 3, 5), (0.8, 0.9, 1.1, 1.25), (-15, -8, 8, 15)
ENLARGED = 1.25


def attention_statistics(theta: np.ndarray) -> dict[str, list[float]]:
    """`mean` and `spread` (standard deviation) of (count, 6) transforms, six numbers each.

    They are those of the 2 x 3 matrix by rows, and show whether the transformer has collapsed to
    the same transform for every image.
    """
    return {"mean": theta.mean(axis=0).tolist(), "spread": theta.std(axis=0).tolist()}


def transform_network(model: keras.Model) -> keras.Model:
    """The network from (batch, size, size, 1) grey levels 0..255 to (batch, 6) transforms."""
    return keras.Model(model.input, model.get_layer("theta").output)


def attention_following(model: keras.Model, images: np.ndarray) -> dict[str, dict[str, Any]]:
    """How far the attended region follows when a face is moved, scaled or turned by known amounts.

    1 if the region goes with the face, so that the attended image stays the same; 0 if it stays
    where it is. For each face it is the slope of the change of its transform over the change of the
    face, through the origin. The faces are enlarged by `ENLARGED`, so that no change shows what
    lies beyond the picture.

    Args:
        model: A model with a spatial transformer, from `build_model`.
        images: (count, size, size, 1) grey levels 0..255.

    Returns:
        For `move`, `scale` and `turn` the `mean` over the faces, and its 95 % `interval`.
    """
    network = transform_network(model)  # traced once
    faces, half = images[..., 0].astype(np.float32), (images.shape[1] - 1) / 2
    pixels = images.shape[1] / 48

    def parts_after(scale=1.0, **change):
        changed = np.round(warp(faces, scale=ENLARGED * scale, **change))
        return _parts(network.predict(changed[..., None], batch_size=256, verbose=0))

    before = parts_after()

    def slopes(amounts, change, wanted, part):
        """Slope of a part of the transform, per face, over amounts of a change."""
        found = [part(parts_after(**change(amount))) - part(before) for amount in amounts]
        wanted = np.array([wanted(amount) for amount in amounts])
        return np.tensordot(wanted, np.stack(found), 1) / np.sum(wanted**2)

    moves = [
        slopes(
            MOVES,
            lambda amount, axis=axis: {"shift": np.roll((amount * pixels, 0.0), axis)},
            lambda amount: amount * pixels / half,
            lambda parts, axis=axis: parts["shift"][:, axis],
        )
        for axis in (0, 1)
    ]
    scale = slopes(SCALES, lambda amount: {"scale": amount}, np.log, lambda parts: parts["scale"])
    turn = slopes(
        TURNS, lambda amount: {"degrees": amount}, np.radians, lambda parts: parts["turn"]
    )
    named = {"move": np.mean(moves, axis=0), "scale": scale, "turn": turn}
    intervals = {name: mean_interval(values) for name, values in named.items()}
    return {name: {"mean": mean, "interval": pair} for name, (mean, pair) in intervals.items()}


def _parts(theta):
    """Shift (x, y), log of the scale, and angle of (count, 6) transforms."""
    matrix = theta.reshape(-1, 2, 3)
    scale = np.log(np.abs(np.linalg.det(matrix[:, :, :2]))) / 2
    across, down = matrix[:, 1, 0] - matrix[:, 0, 1], matrix[:, 0, 0] + matrix[:, 1, 1]
    return {"shift": matrix[:, :, 2], "scale": scale, "turn": np.arctan2(across, down)}
