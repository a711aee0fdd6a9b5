"""Spatial transformer: an affine sampling grid and a differentiable bilinear sampler.

Source: Jaderberg et al., "Spatial Transformer Networks" (2015), sections 3.2 and 3.3. The
localization network that regresses the transform is part of the model, see `models.deep_emotion`.
On TensorFlow, `keras.ops.image.affine_transform` has no gradient for the transform; this sampler
has one on every Keras backend.
"""

import keras
from keras import ops

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def affine_positions(theta, input_size, output_size):
    """Position in the input that each output pixel is sampled from (the paper's equation 1).

    Positions are computed relative to the center, so that the identity gives integers exactly; a
    grid of [-1, 1] scaled back to pixels would not.

    `theta` is (batch, 6) float32, the rows (a, b, tx) and (c, d, ty) of the matrix that maps output
    to input coordinates, both -1 and 1 at the centers of the first and last pixel. The sizes are
    (height, width). Returns two (batch, out_height, out_width) float32 tensors, y and x, in input
    pixels.
    """
    in_half_y, in_half_x = ((size - 1) / 2 for size in input_size)
    grid_y, grid_x = (ops.arange(size, dtype="float32") - (size - 1) / 2 for size in output_size)
    # In input pixels; a side of one pixel has no extent to scale.
    grid_y = grid_y[None, :, None] * ((input_size[0] - 1) / max(output_size[0] - 1, 1))
    grid_x = grid_x[None, None, :] * ((input_size[1] - 1) / max(output_size[1] - 1, 1))
    a, b, tx, c, d, ty = (ops.reshape(theta[:, i], (-1, 1, 1)) for i in range(6))
    aspect = in_half_x / in_half_y if in_half_x and in_half_y else 1.0
    # Not a matmul: tensor cores would round positions to 10 bits.
    x = a * grid_x + b * (grid_y * aspect) + tx * in_half_x + in_half_x
    y = c * (grid_x / aspect) + d * grid_y + ty * in_half_y + in_half_y
    return y, x


def bilinear_sample(images, y, x):
    """Interpolate images bilinearly; pixels outside an image are 0 (the paper's equation 5).

    Images are (batch, height, width, channels) of any float dtype; y and x (batch, out_height,
    out_width) float32 rows and columns, 0 at the center of the first. Returns (batch, out_height,
    out_width, channels) in the dtype of `images`, differentiable with respect to all three.
    """
    height, width, channels = images.shape[1:]
    batch = ops.shape(images)[0]
    flat = ops.reshape(images, (-1, channels))  # (batch * height * width, channels)
    first = ops.reshape(ops.arange(batch, dtype="int32") * (height * width), (-1, 1, 1))
    top, left = ops.floor(y), ops.floor(x)
    down, right = y - top, x - left

    def corner(row, column, weight):
        inside = (row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1)
        # Clip after the cast too: NaN and 1e20 have no defined value as integers.
        row = ops.clip(ops.cast(ops.clip(row, 0, height - 1), "int32"), 0, height - 1)
        column = ops.clip(ops.cast(ops.clip(column, 0, width - 1), "int32"), 0, width - 1)
        pixels = ops.take(flat, first + row * width + column, axis=0)
        weight = ops.where(inside, weight, 0.0)
        return ops.cast(pixels, "float32") * weight[..., None]

    result = (
        corner(top, left, (1 - down) * (1 - right))
        + corner(top, left + 1, (1 - down) * right)
        + corner(top + 1, left, down * (1 - right))
        + corner(top + 1, left + 1, down * right)
    )
    return ops.cast(result, images.dtype)


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class BoundedAffine(keras.layers.Layer):
    """Maps unbounded numbers to affine transforms near the identity.

    `theta = identity + reach * tanh(rate * x)`: zeros give the identity, and no optimizer step can
    move the sampling grid off the image, where every gradient is zero and training cannot recover.

    Call it on (batch, 6); it returns (batch, 6) float32, the `theta` of `SpatialTransformer`.

    Args:
        reach: Largest change of each of the six parameters, above 0.
        rate: Slope at the identity, in units of `reach`, above 0. With Adam, whose steps do not
            depend on the scale of gradients, it acts as a learning rate of the transformer.

    Raises:
        ValueError: If an argument is not above 0.
    """

    def __init__(self, reach: float = 0.5, rate: float = 1.0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if not (reach > 0 and rate > 0):
            raise ValueError(
                f"reach and rate must be above 0. Received: reach={reach}, rate={rate}"
            )
        self.reach = reach
        self.rate = rate

    def call(self, inputs):
        """Bound the parameters; see the class for shapes."""
        change = ops.tanh(self.rate * ops.cast(inputs, "float32"))
        return ops.convert_to_tensor(IDENTITY, "float32") + self.reach * change

    def compute_output_spec(self, inputs):
        """Return (batch, 6) float32, whatever the dtype policy."""
        return keras.KerasTensor(inputs.shape, "float32")

    def get_config(self):
        """Return all constructor arguments."""
        return {**super().get_config(), "reach": self.reach, "rate": self.rate}


@keras.saving.register_keras_serializable(package="keras_deep_emotion")
class SpatialTransformer(keras.layers.Layer):
    """Warps each image by an affine transform of its own.

    Call it on `[images, theta]`:

    - images: (batch, height, width, channels) float; height, width and channels are static.
    - theta: (batch, 6), the two rows of the 2 x 3 matrix that maps output to input coordinates,
      both in [-1, 1]; `(1, 0, 0, 0, 1, 0)` returns the image exactly. Computed in float32 under
      mixed precision: float16 would move a 48-pixel grid by up to a fiftieth of a pixel.

    It returns (batch, *output_size, channels) in the compute dtype. Pixels outside the image are 0.

    Args:
        output_size: (height, width) of the output; None for that of the images.

    Raises:
        ValueError: If the inputs have other shapes, or `output_size` is not two positive integers.

    Example:
    >>> import numpy as np
    >>> images = np.arange(9, dtype="float32").reshape(1, 3, 3, 1)
    >>> mirror = np.array([[-1, 0, 0, 0, 1, 0]], "float32")
    >>> np.asarray(SpatialTransformer()([images, mirror]))[0, :, :, 0]
    array([[2., 1., 0.],
           [5., 4., 3.],
           [8., 7., 6.]], dtype=float32)
    >>> SpatialTransformer((24, 24)).compute_output_shape([(None, 48, 48, 1), (None, 6)])
    (None, 24, 24, 1)
    """

    def __init__(self, output_size: tuple[int, int] | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if output_size is not None:
            output_size = tuple(output_size)
            if len(output_size) != 2 or not all(isinstance(n, int) and n > 0 for n in output_size):
                raise ValueError(
                    "output_size must be None or two positive integers, (height, width). "
                    f"Received: output_size={output_size}"
                )
        self.output_size = output_size

    def build(self, input_shape):
        """Check the shapes; there are no weights."""
        if len(input_shape) != 2 or len(input_shape[0]) != 4 or tuple(input_shape[1][1:]) != (6,):
            raise ValueError(
                "SpatialTransformer must be called on [images, theta] of shapes "
                f"(batch, height, width, channels) and (batch, 6). Received: {input_shape}"
            )
        if None in input_shape[0][1:]:
            raise ValueError(
                "SpatialTransformer needs images of a static height, width and channel count. "
                f"Received: {input_shape[0]}"
            )

    def call(self, inputs):
        """Warp the images; see the class for shapes."""
        images, theta = inputs
        input_size = tuple(images.shape[1:3])
        output_size = self.output_size or input_size
        y, x = affine_positions(ops.cast(theta, "float32"), input_size, output_size)
        return ops.cast(bilinear_sample(images, y, x), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """Return the shape of the warped images."""
        batch, height, width, channels = input_shape[0]
        return (batch, *(self.output_size or (height, width)), channels)

    def get_config(self):
        """Return all constructor arguments."""
        return {**super().get_config(), "output_size": self.output_size}
