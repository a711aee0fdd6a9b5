"""Where a model looks: hide one region of the face after another and see what the answer loses.

Source: the paper, section IV-C (an N x N window of zeros slid over the face; the windows that turn
a right answer wrong are marked); Zeiler & Fergus (2014), who measure the probability lost.
"""

from typing import NamedTuple

import tensorflow as tf


class Saliency(NamedTuple):
    """What hiding regions did.

    Attributes:
        probabilities: (batch, classes) float32, of the whole faces.
        class_id: (batch,) int64, the class that was watched.
        saliency: (batch, height, width) float32 in [-1, 1]: the mean, over the windows that cover
            a pixel, of the probability that the watched class loses.
        decisive: (batch, height, width) bool: a window that covers the pixel makes the answer
            other than the watched class.
    """

    probabilities: tf.Tensor
    class_id: tf.Tensor
    saliency: tf.Tensor
    decisive: tf.Tensor


def window_starts(side, window, stride):
    """First pixels of the windows along a side: 0, stride, ... and one flush with the end.

    Args:
        side: length, pixels.
        window: width of the window, 1 to side.
        stride: step, 1 to window, so that no pixel is left out.

    Returns:
        List of integers; the windows that start there cover every pixel.

    Raises:
        ValueError: window or stride is out of range.
    """
    if not 1 <= window <= side:
        raise ValueError(
            f"window must be between 1 and the image's side={side}. Received: {window}"
        )
    if not 1 <= stride <= window:
        raise ValueError(f"stride must be between 1 and window={window}. Received: {stride}")
    starts = list(range(0, side - window + 1, stride))
    if starts[-1] != side - window:
        starts.append(side - window)
    return starts


def occlusion_saliency(predict, images, class_id=None, window=8, stride=2, chunk=256):
    """Hide each window of each image and gather what the prediction loses. Graph code.

    Args:
        predict: maps (n, height, width, channels) float32 to (n, classes) probabilities.
        images: (batch, height, width, channels) float32 tensor, grey levels 0..255; height and
            width static.
        class_id: (batch,) integers, the class to watch (the true one, say), or None for the one
            that the model answers.
        window: side of the hidden square, pixels; it is filled with 0 as in the paper.
        stride: step between windows, pixels.
        chunk: how many (image, window) pairs are predicted at once; bounds the memory whatever
            the batch.

    Returns:
        `Saliency`.

    Raises:
        ValueError: window or stride does not fit the images.
    """
    height, width = images.shape[1:3]
    tops = tf.constant(window_starts(height, window, stride))
    lefts = tf.constant(window_starts(width, window, stride))
    rows, columns = tops.shape[0], lefts.shape[0]
    # Which pixels each row (column) of windows covers, computed: as constants they bloat an export.
    covers_y = (tops[:, None] <= tf.range(height)) & (tf.range(height) < tops[:, None] + window)
    covers_x = (lefts[:, None] <= tf.range(width)) & (tf.range(width) < lefts[:, None] + window)

    probabilities = tf.cast(predict(images), tf.float32)
    answer = tf.argmax(probabilities, axis=1)
    watched = answer if class_id is None else tf.cast(class_id, tf.int64)
    whole = tf.gather(probabilities, watched, batch_dims=1)

    pairs = tf.shape(images)[0] * rows * columns
    chunks = (pairs + chunk - 1) // chunk

    def hide_and_predict(number):
        # The last chunk repeats the last pair: every chunk has one shape.
        pair = tf.minimum(number * chunk + tf.range(chunk), pairs - 1)
        image, place = pair // (rows * columns), pair % (rows * columns)
        hidden = (
            tf.gather(covers_y, place // columns)[:, :, None]
            & tf.gather(covers_x, place % columns)[:, None, :]
        )
        occluded = tf.where(hidden[..., None], 0.0, tf.gather(images, image))
        scores = tf.cast(predict(occluded), tf.float32)
        target = tf.gather(watched, image)
        lost = tf.gather(whole, image) - tf.gather(scores, target, batch_dims=1)
        return lost, tf.argmax(scores, axis=1) != target

    lost, changed = tf.map_fn(
        hide_and_predict,
        tf.range(chunks),
        parallel_iterations=1,  # more would multiply the memory that `chunk` bounds
        fn_output_signature=(
            tf.TensorSpec((chunk,), tf.float32),
            tf.TensorSpec((chunk,), tf.bool),
        ),
    )

    def spread(values):
        """Sum over the windows that cover each pixel: (batch, height, width)."""
        grid = tf.reshape(tf.reshape(values, (-1,))[:pairs], (-1, rows, columns))
        return tf.einsum("brc,ry,cx->byx", grid, as_float(covers_y), as_float(covers_x))

    def as_float(values):
        return tf.cast(values, tf.float32)

    coverage = tf.einsum("ry,cx->yx", as_float(covers_y), as_float(covers_x))
    return Saliency(
        probabilities=probabilities,
        class_id=watched,
        saliency=spread(lost) / coverage,
        decisive=spread(as_float(changed)) > 0.5,
    )
