"""Occlusion saliency: hide one region of an image after another and measure what it changes.

Sources: the paper, section IV-C (an N x N window of zeros slides over the face; windows that make a
correct prediction wrong are marked); Zeiler & Fergus (2014), who measure the probability lost.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

FILLINGS = ("zero", "mean", "blur")
Predict = Callable[[tf.Tensor], tf.Tensor]


class Windows(NamedTuple):
    """Which windows are hidden, and how.

    Attributes:
        window: Side of the hidden square, pixels.
        stride: Step between windows, pixels, at most `window`.
        filling: What hidden pixels become, see `fill_image`.
    """

    window: int = 8
    stride: int = 2
    filling: str = "zero"


DEFAULT_WINDOWS = Windows()


class Occlusions(NamedTuple):
    """Predictions with each window hidden; the windows begin at `window_starts`.

    Attributes:
        probabilities: (batch, classes) float32, of the whole images.
        class_id: (batch,) int64, the explained class.
        lost: (batch, rows, columns) float32 in [-1, 1], the probability that the explained class
            loses when each window is hidden.
        answer: (batch, rows, columns) int64, the class predicted with each window hidden.
    """

    probabilities: tf.Tensor
    class_id: tf.Tensor
    lost: tf.Tensor
    answer: tf.Tensor


class SaliencyMaps(NamedTuple):
    """Saliency maps.

    Attributes:
        probabilities, class_id: As in `Occlusions`.
        saliency: (batch, height, width) float32 in [-1, 1], the probability that the explained
            class loses, mean over the windows that cover a pixel.
        decisive: (batch, height, width) bool, whether the predicted class differs from the
            explained class with a window hidden that covers the pixel.
    """

    probabilities: tf.Tensor
    class_id: tf.Tensor
    saliency: tf.Tensor
    decisive: tf.Tensor


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


def fill_image(images: tf.Tensor, filling: str, window: int) -> tf.Tensor:
    """What the pixels of images become when they are hidden, a tensor of the same shape.

    Images are (batch, height, width, channels) float32; only the batch size may be dynamic. "zero"
    is black, as in the paper; "mean" the mean of each image and channel; "blur" the image blurred
    by a Gaussian with a standard deviation of half a window. Others raise ValueError.
    """
    if filling == "zero":
        return tf.zeros_like(images)
    if filling == "mean":
        return tf.zeros_like(images) + tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    if filling != "blur":
        raise ValueError(f"filling must be one of {', '.join(FILLINGS)}. Received: {filling}")

    def kernel(side):
        """Weights of the blur along a side: (side, side); rows sum to 1."""
        place = tf.range(side, dtype=tf.float32)
        return tf.nn.softmax(-(((place[:, None] - place) / (window / 2)) ** 2) / 2, axis=1)

    height, width = images.shape[1:3]
    return tf.einsum("yY,xX,bYXc->byxc", kernel(height), kernel(width), images)


def occlude(
    predict: Predict,
    images: tf.Tensor,
    class_id: Sequence[int] | tf.Tensor | None = None,
    window: int = DEFAULT_WINDOWS.window,
    stride: int = DEFAULT_WINDOWS.stride,
    filling: str = DEFAULT_WINDOWS.filling,
    chunk: int = 256,
) -> Occlusions:
    """Predict images with each window hidden. Graph code.

    Args:
        predict: Maps (n, height, width, channels) float32 to (n, classes) probabilities.
        images: (batch, height, width, channels) float32 grey levels 0..255, of static size.
        class_id: (batch,) integers, the class to explain; None for the predicted class.
        window: As in `Windows`.
        stride: As in `Windows`.
        filling: As in `Windows`.
        chunk: Number of (image, window) pairs predicted at once; it bounds the memory.

    Raises:
        ValueError: If windows do not fit the images, or there is no such filling.
    """
    height, width = images.shape[1:3]
    # Masks are computed: as constants they would bloat an export.
    covers_y, covers_x = coverage(height, window, stride), coverage(width, window, stride)
    rows, columns = covers_y.shape[0], covers_x.shape[0]
    substitute = fill_image(images, filling, window)

    # Only the shape is used, so the graph does not compute this prediction.
    classes = predict(images[:1]).shape[-1]
    # The places of each image are its windows and, last, the whole image.
    places = rows * columns + 1
    pairs = tf.shape(images)[0] * places
    black = filling == "zero"  # nothing to gather

    def hide_and_predict(number):
        # The last chunk repeats the last pair: all chunks have the same shape.
        pair = tf.minimum(number * chunk + tf.range(chunk), pairs - 1)
        image, place = pair // places, pair % places
        window_hidden = tf.minimum(place, places - 2)
        hidden = (
            tf.gather(covers_y, window_hidden // columns)[:, :, None]
            & tf.gather(covers_x, window_hidden % columns)[:, None, :]
            & (place < places - 1)[:, None, None]
        )[..., None]
        instead = 0.0 if black else tf.gather(substitute, image)
        return tf.cast(predict(tf.where(hidden, instead, tf.gather(images, image))), tf.float32)

    scores = tf.map_fn(
        hide_and_predict,
        tf.range((pairs + chunk - 1) // chunk),
        parallel_iterations=1,  # more would multiply the memory that `chunk` bounds
        fn_output_signature=tf.TensorSpec((chunk, classes), tf.float32),
    )
    scores = tf.reshape(tf.reshape(scores, (-1, classes))[:pairs], (-1, places, classes))
    probabilities = scores[:, -1]
    explained = tf.argmax(probabilities, axis=1) if class_id is None else class_id
    explained = tf.cast(explained, tf.int64)
    of_explained = tf.gather(scores, explained, axis=2, batch_dims=1)  # (batch, places)
    lost = of_explained[:, -1:] - of_explained[:, :-1]
    return Occlusions(
        probabilities=probabilities,
        class_id=explained,
        lost=tf.reshape(lost, (-1, rows, columns)),
        answer=tf.reshape(tf.argmax(scores[:, :-1], axis=2), (-1, rows, columns)),
    )


def coverage(side: int, window: int, stride: int) -> tf.Tensor:
    """Which pixels along a side each window covers: (windows, side) bool."""
    starts = tf.constant(window_starts(side, window, stride))[:, None]
    pixel = tf.range(side)
    return (starts <= pixel) & (pixel < starts + window)


def occlusion_saliency(
    predict: Predict,
    images: tf.Tensor,
    class_id: Sequence[int] | tf.Tensor | None = None,
    window: int = DEFAULT_WINDOWS.window,
    stride: int = DEFAULT_WINDOWS.stride,
    filling: str = DEFAULT_WINDOWS.filling,
    chunk: int = 256,
) -> SaliencyMaps:
    """Compute saliency maps by occlusion; arguments and errors as in `occlude`. Graph code.

    Example:
    >>> def brightness(images):  # class 1: the mean grey level
    ...     share = tf.reduce_mean(images, axis=(1, 2, 3)) / 255
    ...     return tf.stack([1 - share, share], axis=1)
    >>> image = tf.reshape(tf.constant([255.0, 0, 0, 255]), (1, 2, 2, 1))
    >>> occlusion_saliency(brightness, image, [1], window=1, stride=1).saliency.numpy().tolist()
    [[[0.25, 0.0], [0.0, 0.25]]]
    """
    occlusions = occlude(predict, images, class_id, window, stride, filling, chunk)
    return gather_windows(occlusions, images.shape[1:3], window, stride)


def gather_windows(occlusions: Occlusions, size, window: int, stride: int) -> SaliencyMaps:
    """Gather the result of `occlude` into maps of `size`, (height, width)."""
    covers_y, covers_x = (tf.cast(coverage(one, window, stride), tf.float32) for one in size)

    def spread(values):
        """Sum over the windows that cover each pixel: (batch, height, width)."""
        return tf.einsum("brc,ry,cx->byx", tf.cast(values, tf.float32), covers_y, covers_x)

    changed = occlusions.answer != occlusions.class_id[:, None, None]
    return SaliencyMaps(
        probabilities=occlusions.probabilities,
        class_id=occlusions.class_id,
        saliency=spread(occlusions.lost) / tf.einsum("ry,cx->yx", covers_y, covers_x),
        decisive=spread(changed) > 0.5,
    )
