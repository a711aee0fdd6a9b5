"""Operating points: the probabilities of a trained network, calibrated and balanced."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras


def at_operating_point(
    model: "keras.Model",
    temperature: float = 1.0,
    prior: np.ndarray | None = None,
    balance: float = 0.0,
) -> "keras.Model":
    """A model of the same weights with probabilities softmax(logits / T - balance * log prior).

    Sources: Guo et al., "On Calibration of Modern Neural Networks" (2017), for the temperature;
    Menon et al., "Long-tail learning via logit adjustment" (2021), for the prior.

    Args:
        model: From `build_model`, or from this function.
        temperature: T, above 0; above 1 it makes probabilities less extreme.
        prior: (classes,) shares of the classes in training, above 0; needed by `balance`.
        balance: 0 for the classes' shares in training, 1 for equal shares.
    """
    import keras  # takes seconds, and `rebalance` does not need it

    from keras_deep_emotion.layers.operating_point import OperatingPoint

    logits = model.get_layer("logits").output
    if temperature != 1 or balance:
        offsets = -balance * np.log(prior) if balance else None
        logits = OperatingPoint(temperature, offsets, name="operating_point")(logits)
    probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(model.input, probabilities, name=model.name)


def rebalance(probabilities: np.ndarray, prior: np.ndarray, balance: float) -> np.ndarray:
    """Change the balance of (count, classes) probabilities, as `at_operating_point` does.

    Example:
    >>> import numpy as np
    >>> rebalance(np.array([[0.6, 0.4]]), np.array([0.75, 0.25]), 1.0).round(3)
    array([[0.333, 0.667]], dtype=float32)
    """
    logits = np.log(np.maximum(probabilities, 1e-30)) - balance * np.log(prior)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
