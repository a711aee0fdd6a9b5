"""Windows that hide a part of an image, in NumPy; saliency maps of any model by hiding them.

`occlusion` computes the same maps as graph code of TensorFlow; a test holds the two together.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

FILLINGS = ("zero", "mean", "blur")


class Windows(NamedTuple):
    """Which windows are hidden, and how.

    Attributes:
        window: Side of the hidden square, pixels.
        stride: Step between windows, pixels, at most `window`.
        filling: What hidden pixels become: "zero" is black, as in the paper; "mean" the mean of
            the image; "blur" the image blurred by a Gaussian with a standard deviation of half a
            window.
    """

    window: int = 8
    stride: int = 2
    filling: str = "zero"


DEFAULT_WINDOWS = Windows()


class SaliencyMaps(NamedTuple):
    """Saliency maps.

    Attributes:
        probabilities: (batch, classes) float32, of the whole images.
        class_id: (batch,) int64, the explained class.
        saliency: (batch, height, width) float32 in [-1, 1], the probability that the explained
            class loses, mean over the windows that cover a pixel.
        decisive: (batch, height, width) bool, whether the predicted class differs from the
            explained class with a window hidden that covers the pixel.
    """

    probabilities: Any
    class_id: Any
    saliency: Any
    decisive: Any


class Occlusions(NamedTuple):
    """Predictions with each window hidden; the windows begin at `window_starts`.

    Attributes:
        probabilities: (batch, classes) float32, of the whole images.
        class_id: (batch,) int64, the explained class.
        lost: (batch, rows, columns) float32 in [-1, 1], the probability that the explained class
            loses when each window is hidden.
        answer: (batch, rows, columns) int64, the class predicted with each window hidden.
    """

    probabilities: Any
    class_id: Any
    lost: Any
    answer: Any


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """First pixels of the windows along a side: 0, stride, ..., and one that ends at the edge.

    Windows are 1 to `side` pixels wide, strides 1 to `window`: the windows cover every pixel.

    Raises:
        ValueError: If window or stride is out of range.

    Example:
    >>> window_starts(10, window=4, stride=4)
    [0, 4, 6]
    """
    if not 1 <= window <= side:
        raise ValueError(
            f"window must be between 1 and the image's side={side}. Received: {window}"
        )
    if not 1 <= stride <= window:
        raise ValueError(f"stride must be between 1 and window={window}. Received: {stride}")
    last = side - window
    return [*range(0, last, stride), last]


def coverage(side: int, window: int, stride: int) -> np.ndarray:
    """Which pixels along a side each window covers: (windows, side) bool."""
    starts = np.array(window_starts(side, window, stride))[:, None]
    return (starts <= np.arange(side)) & (np.arange(side) < starts + window)


def filling_weights(side: int, filling: str, window: int) -> np.ndarray:
    """Weights of each pixel along a side in what hidden pixels become: (side, side) float32.

    Raises ValueError if there is no such filling.
    """
    if filling not in FILLINGS:
        raise ValueError(f"filling must be one of {', '.join(FILLINGS)}. Received: {filling}")
    if filling == "zero":
        return np.zeros((side, side), np.float32)
    if filling == "mean":
        return np.full((side, side), 1 / side, np.float32)
    place = np.arange(side)
    weights = np.exp(-(((place[:, None] - place) / (window / 2)) ** 2) / 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def occlude_by_windows(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    class_id: Sequence[int] | None = None,
    windows: Windows = DEFAULT_WINDOWS,
) -> Occlusions:
    """Predict images with each window hidden, as `occlusion.occlude` does.

    Args:
        predict: Maps (n, size, size, 1) float32 grey levels to (n, classes) probabilities.
        images: (batch, size, size, 1) float32 grey levels 0..255.
        class_id: (batch,) integers, the class to explain; None for the predicted class.
        windows: Which windows are hidden, and how.

    Raises:
        ValueError: If windows do not fit the images, or there is no such filling.
    """
    size = images.shape[1]
    covers = coverage(size, *windows[:2])
    hidden = covers[:, None, :, None] & covers[None, :, None, :]  # (rows, columns, size, size)
    filled = fill_by_windows(images, windows)
    parts = []
    for i, image in enumerate(images):
        faces = np.where(hidden, filled[i, ..., 0], image[..., 0]).reshape(-1, size, size, 1)
        scores = predict(np.concatenate([image[None], faces]))
        whole, answers = scores[0], scores[1:].reshape(len(covers), len(covers), -1)
        explained = whole.argmax() if class_id is None else int(class_id[i])
        lost = whole[explained] - answers[..., explained]
        parts.append((whole, np.int64(explained), lost, answers.argmax(axis=2)))
    return Occlusions(*map(np.stack, zip(*parts, strict=True)))


def fill_by_windows(images: np.ndarray, windows: Windows) -> np.ndarray:
    """What hidden pixels become: (batch, size, size, 1) float32, as the images."""
    weights = filling_weights(images.shape[1], windows.filling, windows.window)
    return (weights @ images[..., 0] @ weights.T)[..., None]


def gather_windows(occlusions: Occlusions, size: int, windows: Windows) -> SaliencyMaps:
    """Gather the predictions with each window hidden into maps, (batch, size, size)."""
    covers = coverage(size, *windows[:2]).astype(np.float32)

    def spread(values):
        """Sum over the windows that cover each pixel."""
        return np.einsum("brc,ry,cx->byx", values, covers, covers, optimize=True)

    times = np.outer(covers.sum(axis=0), covers.sum(axis=0))
    changed = occlusions.answer != occlusions.class_id[:, None, None]
    return SaliencyMaps(
        probabilities=occlusions.probabilities,
        class_id=occlusions.class_id,
        saliency=(spread(occlusions.lost) / times).astype(np.float32),
        decisive=spread(changed.astype(np.float32)) > 0.5,
    )
