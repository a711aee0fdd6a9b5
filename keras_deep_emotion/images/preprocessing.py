"""The preprocessing of every road: from the pixels of a face to grey levels of the network's size.

In NumPy, for predictions in this process. `graph` computes the same in TensorFlow's graphs, for
training and for exports; a test holds the two together.
"""

import functools

import numpy as np


def to_grayscale(image: np.ndarray) -> np.ndarray:
    """Luma (ITU-R BT.601) of grey, RGB or RGBA images: (..., 1) float32 in the image's range.

    Alpha is ignored. Grey images keep their exact values, also when they are stored as RGB.
    """
    if image.shape[-1] == 1:
        return image.astype(np.float32)
    red, green, blue = (image[..., i : i + 1].astype(np.float32) for i in range(3))
    # 0.299 R + 0.587 G + 0.114 B, in the form that is exact where all three are equal.
    return green + np.float32(0.299) * (red - green) + np.float32(0.114) * (blue - green)


def prepare_face(image: np.ndarray, size: int) -> np.ndarray:
    """Convert the image of a face to grey levels and resize it.

    Returns (size, size, 1) float32, 0..255; grey images of that size are not changed.

    Args:
        image: (height, width, channels) uint8 or float, levels 0..255, 1, 3 or 4 channels.
        size: Side of the result, pixels.

    Example:
    >>> prepare_face(np.array([[[0], [100]], [[200], [100]]]), 1)
    array([[[100.]]], dtype=float32)
    """
    grey = to_grayscale(image)[..., 0]
    rows, columns = (_resize_weights(side, size) for side in grey.shape)
    # Rounding may exceed the range by some 1e-5.
    return (rows @ grey @ columns.T).clip(0, 255)[..., None]


@functools.lru_cache(maxsize=32)
def _resize_weights(side, size):
    """Weights of each pixel of a side in each of `size` pixels: (size, side) float32.

    Bilinear interpolation, with a wider triangle when the side shrinks: without this antialiasing
    pixels are skipped, and errors reach 117 grey levels.
    """
    step = side / size
    center = (np.arange(size) + 0.5) * step
    distance = np.abs(np.arange(side) + 0.5 - center[:, None])
    weights = np.maximum(0, 1 - distance / max(step, 1.0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
