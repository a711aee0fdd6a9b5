"""Where a model looks: hide one region of the face after another and see what the answer loses.

Source: the paper, section IV-C (an N x N window of zeros slid over the face; the windows that turn
a right answer wrong are marked); Zeiler & Fergus (2014), who measure the probability lost.
"""

from typing import NamedTuple

import tensorflow as tf

FILLINGS = ("zero", "mean", "blur")


class Occlusions(NamedTuple):
    """What hiding each window did, before it is gathered into a map.

    Attributes:
        probabilities: (batch, classes) float32, of the whole faces.
        class_id: (batch,) int64, the class that was watched.
        lost: (batch, rows, columns) float32 in [-1, 1]: the probability that the watched class
            loses; rows and columns of windows, whose first pixels `window_starts` gives.
        answer: (batch, rows, columns) int64, the class answered with the window hidden.
    """

    probabilities: tf.Tensor
    class_id: tf.Tensor
    lost: tf.Tensor
    answer: tf.Tensor


class SaliencyMaps(NamedTuple):
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


def fill_image(images, filling, window):
    """What hidden pixels become, for whole images.

    Args:
        images: (batch, height, width, channels) float32, grey levels 0..255; static but for batch.
        filling: "zero" is grey level 0, black, as in the paper; "mean" each image's mean, by
            channel; "blur" the image blurred by a Gaussian whose standard deviation is half the
            window, so that what is smaller than the window is gone.
        window: side of the hidden square, pixels.

    Returns:
        Tensor of the images' shape.

    Raises:
        ValueError: there is no such filling.
    """
    if filling == "zero":
        return tf.zeros_like(images)
    if filling == "mean":
        return tf.zeros_like(images) + tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    if filling != "blur":
        raise ValueError(f"filling must be one of {', '.join(FILLINGS)}. Received: {filling}")

    def kernel(side):
        """(side, side): how much of each pixel along a side goes into each; rows sum to 1."""
        place = tf.range(side, dtype=tf.float32)
        return tf.nn.softmax(-(((place[:, None] - place) / (window / 2)) ** 2) / 2, axis=1)

    height, width = images.shape[1:3]
    return tf.einsum("yY,xX,bYXc->byxc", kernel(height), kernel(width), images)


def occlude(predict, images, class_id=None, window=8, stride=2, filling="zero", chunk=256):
    """Hide each window of each image and predict again. Graph code.

    Args:
        predict: maps (n, height, width, channels) float32 to (n, classes) probabilities: any
            model, whatever it was made with.
        images: (batch, height, width, channels) float32 tensor, grey levels 0..255; height and
            width static.
        class_id: (batch,) integers, the class to watch (the true one, say), or None for the one
            that the model answers.
        window: side of the hidden square, pixels.
        stride: step between windows, pixels.
        filling: what hidden pixels become, see `filled`.
        chunk: how many (image, window) pairs are predicted at once; bounds the memory whatever
            the batch.

    Returns:
        `Occlusions`.

    Raises:
        ValueError: window or stride does not fit the images, or there is no such filling.
    """
    height, width = images.shape[1:3]
    # Computed, not constants: masks in the graph bloat an export.
    covers_y = coverage(height, window, stride)
    covers_x = coverage(width, window, stride)
    rows, columns = covers_y.shape[0], covers_x.shape[0]
    substitute = fill_image(images, filling, window)

    # Asked for its shape alone: nothing else needs the result, so no graph computes it.
    classes = predict(images[:1]).shape[-1]

    # Of each image all windows and, last, the whole of it: in chunks too, whatever the batch.
    places = rows * columns + 1
    pairs = tf.shape(images)[0] * places
    black = filling == "zero"  # nothing to gather

    def hide_and_predict(number):
        # The last chunk repeats the last pair: every chunk has one shape.
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
    watched = tf.argmax(probabilities, axis=1) if class_id is None else tf.cast(class_id, tf.int64)
    of_watched = tf.gather(scores, watched, axis=2, batch_dims=1)  # (batch, places)
    lost = of_watched[:, -1:] - of_watched[:, :-1]
    return Occlusions(
        probabilities=probabilities,
        class_id=watched,
        lost=tf.reshape(lost, (-1, rows, columns)),
        answer=tf.reshape(tf.argmax(scores[:, :-1], axis=2), (-1, rows, columns)),
    )


def coverage(side, window, stride):
    """Which pixels along a side each window covers: (windows, side) bool.

    Raises:
        ValueError: window or stride does not fit the side.
    """
    starts = tf.constant(window_starts(side, window, stride))[:, None]
    pixel = tf.range(side)
    return (starts <= pixel) & (pixel < starts + window)


def occlusion_saliency(
    predict, images, class_id=None, window=8, stride=2, filling="zero", chunk=256
):
    """Hide each window of each image and gather what the prediction loses. Graph code.

    Args:
        predict: maps (n, height, width, channels) float32 to (n, classes) probabilities.
        images: (batch, height, width, channels) float32 tensor, grey levels 0..255; height and
            width static.
        class_id: (batch,) integers, the class to watch, or None for the one that is answered.
        window: side of the hidden square, pixels.
        stride: step between windows, pixels, at most the window.
        filling: what hidden pixels become, see `filled`.
        chunk: how many (image, window) pairs are predicted at once.

    Returns:
        `Saliency`.

    Raises:
        ValueError: as `occlude`.
    """
    found = occlude(predict, images, class_id, window, stride, filling, chunk)
    return gather_windows(found, images.shape[1:3], window, stride)


def gather_windows(found, size, window, stride):
    """Gather what each window did into maps of pixels.

    Args:
        found: `Occlusions`.
        size: (height, width) of the images.
        window: side of the hidden square, pixels.
        stride: step between windows, pixels, at most the window.

    Returns:
        `Saliency`.
    """
    covers_y = tf.cast(coverage(size[0], window, stride), tf.float32)
    covers_x = tf.cast(coverage(size[1], window, stride), tf.float32)

    def spread(values):
        """Sum over the windows that cover each pixel: (batch, height, width)."""
        return tf.einsum("brc,ry,cx->byx", tf.cast(values, tf.float32), covers_y, covers_x)

    changed = found.answer != found.class_id[:, None, None]
    return SaliencyMaps(
        probabilities=found.probabilities,
        class_id=found.class_id,
        saliency=spread(found.lost) / tf.einsum("ry,cx->yx", covers_y, covers_x),
        decisive=spread(changed) > 0.5,
    )
