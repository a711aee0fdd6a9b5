"""Calibrated and balanced logits."""

from collections.abc import Sequence

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class OperatingPoint(keras.layers.Layer):
    """Divides logits by a temperature and adds an offset for each class, in float32.

    Call it on (batch, classes) logits; the output has the same shape. Sources: see
    `models.operating_point`.

    Args:
        temperature: Above 0; above 1 it makes probabilities less extreme.
        offsets: A number for each class; None for zeros.

    Raises:
        ValueError: If the temperature is not above 0.
    """

    def __init__(self, temperature: float = 1.0, offsets: Sequence[float] | None = None, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        if not temperature > 0:
            message = f"temperature must be above 0. Received: temperature={temperature}"
            raise ValueError(message)
        self.temperature = temperature
        self.offsets = None if offsets is None else [float(one) for one in offsets]

    def call(self, inputs):
        """Change the logits."""
        logits = inputs / self.temperature
        return logits if self.offsets is None else logits + ops.convert_to_tensor(self.offsets)

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape

    def get_config(self):
        """Return all constructor arguments."""
        config = {"temperature": self.temperature, "offsets": self.offsets}
        return {**super().get_config(), **config}
