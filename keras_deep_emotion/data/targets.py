"""Training targets and weights of a split in memory, for machines without TensorFlow too."""

from typing import NamedTuple

import numpy as np


class FaceArrays(NamedTuple):
    """A split in memory.

    Attributes:
        images: (count, size, size, 1) grey levels 0..255, float32 (uint8 on JAX to save memory).
        targets: (count, classes) float32 target probabilities; rows sum to 1.
        labels: (count,) integer classes.
    """

    images: np.ndarray
    targets: np.ndarray
    labels: np.ndarray


def label_targets(labels: np.ndarray, classes: int, smoothing: float = 0.0) -> np.ndarray:
    """Turn (count,) integer labels into (count, classes) float32 target probabilities.

    `smoothing` is the share of 1 that is spread evenly over all classes; rows sum to 1.
    """
    one_hot = np.eye(classes, dtype=np.float32)[labels]
    return (one_hot * (1 - smoothing) + smoothing / classes).astype(np.float32)


def class_weights(labels: np.ndarray, power: float) -> np.ndarray | None:
    """Weight of each face in the loss: its class's frequency to the power of -`power`.

    Returns (count,) float32 with mean 1. A power of 1 weights all classes equally, 0 all faces:
    None.
    """
    if not power:
        return None
    weights = (1.0 / np.bincount(labels)[labels]) ** power
    return (weights / weights.mean()).astype(np.float32)
