"""Changes of training faces: small geometric ones by one affine sampling, and cutout.

The paper (section IV-B) flips, rotates and otherwise slightly distorts the training images without
giving amounts; those here are `TrainConfig`'s. Active in training only.
"""

import math

import keras
from keras import ops

from keras_deep_emotion.layers.spatial_transformer import affine_positions, bilinear_sample


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class RandomAffine(keras.layers.Layer):
    """Flips, rotates, zooms and shifts each image by its own random amounts, in training.

    Call it on (batch, height, width, channels) float images; the result has the same shape. Flip,
    rotation, zoom and shift are one transform and one bilinear reading, so pixels are blurred once.
    Beyond the image lies 0, as in `SpatialTransformer`.

    Args:
        flip: mirror left and right with probability one half.
        rotation: largest turn either way, degrees, 0 to 180.
        zoom: largest relative change of size either way, 0 to below 1.
        shift: largest shift either way, in shares of the side, 0 to 1.
        seed: integer, or None for the global seed.

    Raises:
        ValueError: an amount is outside its range.
    """

    def __init__(self, flip=True, rotation=0.0, zoom=0.0, shift=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        for name, value, top in (
            ("rotation", rotation, 180),
            ("zoom", zoom, 0.99),
            ("shift", shift, 1),
        ):
            if not 0 <= value <= top:
                raise ValueError(f"{name} must be between 0 and {top}. Received: {name}={value}")
        self.flip = flip
        self.rotation = rotation
        self.zoom = zoom
        self.shift = shift
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        """Nothing to build: no weights but the seed's state."""

    def random_theta(self, batch):
        """(batch, 6) float32 transforms, as `affine_positions` takes them."""

        def uniform(limit):
            return keras.random.uniform((batch,), -limit, limit, "float32", seed=self.generator)

        angle = uniform(math.radians(self.rotation))
        scale = 1 + uniform(self.zoom)
        side = ops.where(uniform(1.0) < 0, -1.0, 1.0) if self.flip else ops.ones((batch,))
        # A share of the side is twice that in coordinates that run from -1 to 1.
        across, along = uniform(2 * self.shift), uniform(2 * self.shift)
        cos, sin = scale * ops.cos(angle), scale * ops.sin(angle)
        return ops.stack([cos * side, -sin, across, sin * side, cos, along], axis=1)

    def call(self, images, training=False):
        """Change the images if `training`, else return them as they are."""
        if not training:
            return images
        size = tuple(images.shape[1:3])
        theta = self.random_theta(ops.shape(images)[0])
        return bilinear_sample(images, *affine_positions(theta, size, size))

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def get_config(self):
        """Every constructor argument."""
        return {
            **super().get_config(),
            "flip": self.flip,
            "rotation": self.rotation,
            "zoom": self.zoom,
            "shift": self.shift,
            "seed": self.seed,
        }


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class RandomCutout(keras.layers.Layer):
    """Hides one square of each image, of random size and place, in training.

    Source: DeVries & Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout"
    (2017). Here the side is drawn too, evenly from 0 to the largest. The square is black, as the
    regions that the paper hides to see where the network looks (section IV-C): so these are
    pictures of a kind that the network knows.

    Call it on (batch, height, width, channels) float images; the result has the same shape.

    Args:
        size: largest side of the square, share of the image's height, 0 to 1.
        seed: integer, or None for the global seed.

    Raises:
        ValueError: `size` is outside its range.
    """

    def __init__(self, size=0.25, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= size <= 1:
            raise ValueError(f"size must be between 0 and 1. Received: size={size}")
        self.size = size
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape):
        """Nothing to build: no weights but the seed's state."""

    def call(self, images, training=False):
        """Hide a square if `training`, else return the images as they are."""
        if not training:
            return images
        batch = ops.shape(images)[0]
        height, width = images.shape[1:3]

        def uniform(limit):
            return keras.random.uniform((batch, 1, 1), 0, limit, "float32", seed=self.generator)

        half = uniform(self.size * height / 2)
        # Centres lie anywhere in the image: near its edge, part of the square falls outside.
        y = ops.reshape(ops.arange(height, dtype="float32"), (1, -1, 1)) + 0.5 - uniform(height)
        x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, -1)) + 0.5 - uniform(width)
        hidden = (ops.abs(y) < half) & (ops.abs(x) < half)  # (batch, height, width)
        return ops.where(hidden[..., None], ops.zeros((), images.dtype), images)

    def compute_output_shape(self, input_shape):
        """The input's shape."""
        return input_shape

    def get_config(self):
        """Every constructor argument."""
        return {**super().get_config(), "size": self.size, "seed": self.seed}
