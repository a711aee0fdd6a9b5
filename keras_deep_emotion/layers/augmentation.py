"""Augmentation of training images: random affine transforms, a loss to undo them, and cutout.

The paper (section IV-B) flips, rotates and slightly distorts the training images, and gives no
amounts; `TrainConfig` has ours. The layers are active in training only.
"""

import math

import keras
from keras import ops

from keras_deep_emotion.layers.spatial_transformer import (
    IDENTITY,
    affine_positions,
    bilinear_sample,
)


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class RandomAffine(keras.layers.Layer):
    """Randomly flips, rotates, zooms and shifts each image during training.

    Call it on (batch, height, width, channels) float images; the output has the same shape. All
    four are one affine transform and one bilinear interpolation, so that images are blurred once.
    Beyond the image its edge is repeated: black corners would tell a spatial transformer how the
    face was turned, and it would not learn to see it.

    Args:
        flip: Flip horizontally with a probability of 0.5.
        rotation: Largest rotation in either direction, degrees, 0 to 180.
        zoom: Largest relative change of size, 0 to 0.99.
        shift: Largest shift in either direction along each axis, fraction of the side, 0 to 1.
        seed: Integer; None for the global seed.
        return_theta: Also return the transforms, (batch, 6) float32, see `affine_positions`; those
            of images that stay as they are are the identity.

    Raises:
        ValueError: If an amount is out of range.
    """

    def __init__(
        self,
        flip: bool = True,
        rotation: float = 0.0,
        zoom: float = 0.0,
        shift: float = 0.0,
        seed: int | None = None,
        return_theta: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        limits = {"rotation": (rotation, 180), "zoom": (zoom, 0.99), "shift": (shift, 1)}
        for name, (value, highest) in limits.items():
            if not 0 <= value <= highest:
                message = f"{name} must be between 0 and {highest}. Received: {name}={value}"
                raise ValueError(message)
        self.flip = flip
        self.rotation = rotation
        self.zoom = zoom
        self.shift = shift
        self.seed = seed
        self.return_theta = return_theta
        self.generator = keras.random.SeedGenerator(seed)

    def random_theta(self, batch):
        """Draw (batch, 6) float32 affine transforms, see `affine_positions`."""
        # One draw: on a GPU, each is several operations that take longer than their numbers.
        drawn = keras.random.uniform((5, batch), -1, 1, "float32", seed=self.generator)
        angle = math.radians(self.rotation) * drawn[0]
        scale = 1 + self.zoom * drawn[1]
        mirror = ops.where(drawn[2] < 0, -1.0, 1.0) if self.flip else ops.ones((batch,))
        # The side is 2 in coordinates from -1 to 1.
        shift_x, shift_y = 2 * self.shift * drawn[3], 2 * self.shift * drawn[4]
        cos, sin = scale * ops.cos(angle), scale * ops.sin(angle)
        return ops.stack([cos * mirror, -sin, shift_x, sin * mirror, cos, shift_y], axis=1)

    def call(self, images, training=False):
        """Transform the images if `training`; return them unchanged otherwise."""
        batch, size = ops.shape(images)[0], tuple(images.shape[1:3])
        if training:
            theta = self.random_theta(batch)
            y, x = affine_positions(theta, size, size)
            y, x = ops.clip(y, 0, size[0] - 1), ops.clip(x, 0, size[1] - 1)
            images = bilinear_sample(images, y, x)
        else:
            theta = ops.tile(ops.convert_to_tensor([IDENTITY], "float32"), (batch, 1))
        return (images, theta) if self.return_theta else images

    def compute_output_spec(self, images, training=False):
        """Return (batch, height, width, channels), and (batch, 6) float32 if `return_theta`."""
        same = keras.KerasTensor(images.shape, images.dtype)
        theta = keras.KerasTensor((images.shape[0], 6), "float32")
        return (same, theta) if self.return_theta else same

    def get_config(self):
        """Return all constructor arguments."""
        names = ("flip", "rotation", "zoom", "shift", "seed", "return_theta")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class AlignmentLoss(keras.layers.Layer):
    """Adds a loss during training that is 0 where a transform undoes another, but for its mirror.

    A spatial transformer whose transform undoes the augmentation attends to the same part of the
    face wherever the face is. The loss is the squared distance of both transforms, one after the
    other, from the identity, or from the mirror where the augmentation mirrors the face.

    Call it on `[scores, augmentation, theta]`: any tensor, which is returned, and two of (batch, 6)
    transforms, see `affine_positions`: that of `RandomAffine`, and that of the network.

    Args:
        weight: Factor of the loss, 0 or more.

    Raises:
        ValueError: If `weight` is negative.
    """

    def __init__(self, weight: float = 1.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more. Received: weight={weight}")
        self.weight = weight

    def call(self, inputs, training=False):
        """Add the loss if `training`; return the scores."""
        scores, augmentation, theta = inputs
        if training:
            self.add_loss(self.weight * ops.mean(misalignment(augmentation, theta)))
        return scores

    def compute_output_spec(self, inputs, training=False):
        """Return the shape and type of the scores."""
        return keras.KerasTensor(inputs[0].shape, inputs[0].dtype)

    def get_config(self):
        """Return all constructor arguments."""
        return {**super().get_config(), "weight": self.weight}


def misalignment(first, second):
    """Squared distance of two transforms, one after the other, from the identity or the mirror.

    Both are (batch, 6) float, see `affine_positions`: an image warped by `first` is warped by
    `second`. Returns (batch,), 0 where only a mirror is left, which `first` has and `second` not.
    """
    a, b, tx, c, d, ty = (first[:, i] for i in range(6))
    e, f, ux, g, h, uy = (second[:, i] for i in range(6))
    mirror = ops.where(a * d < b * c, -1.0, 1.0)
    turned = [a * e + b * g - mirror, a * f + b * h, c * e + d * g, c * f + d * h - 1.0]
    moved = [a * ux + b * uy + tx, c * ux + d * uy + ty]
    return sum(ops.square(one) for one in (*turned, *moved))


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class RandomCutout(keras.layers.Layer):
    """Sets a square of random size and position in each image to 0 during training.

    Source: DeVries & Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout"
    (2017). Here the side is random too, uniform from 0 to `size`. The square is black, as the
    regions that saliency maps occlude (the paper, section IV-C), which are then not unfamiliar.

    Call it on (batch, height, width, channels) float images; the output has the same shape.

    Args:
        size: Largest side of the square, fraction of the image's height, 0 to 1.
        seed: Integer; None for the global seed.

    Raises:
        ValueError: If `size` is out of range.
    """

    def __init__(self, size: float = 0.25, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= size <= 1:
            raise ValueError(f"size must be between 0 and 1. Received: size={size}")
        self.size = size
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """Hide a square if `training`; return the images unchanged otherwise."""
        if not training:
            return images
        batch = ops.shape(images)[0]
        height, width = images.shape[1:3]

        drawn = keras.random.uniform((3, batch, 1, 1), 0, 1, "float32", seed=self.generator)
        half = self.size * height / 2 * drawn[0]
        # Centers are anywhere in the image: near its edge, part of the square is outside.
        y = ops.reshape(ops.arange(height, dtype="float32"), (1, -1, 1)) + 0.5 - height * drawn[1]
        x = ops.reshape(ops.arange(width, dtype="float32"), (1, 1, -1)) + 0.5 - width * drawn[2]
        hidden = (ops.abs(y) < half) & (ops.abs(x) < half)  # (batch, height, width)
        return ops.where(hidden[..., None], ops.zeros((), images.dtype), images)

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape

    def get_config(self):
        """Return all constructor arguments."""
        return {**super().get_config(), "size": self.size, "seed": self.seed}
