"""Occlusion saliency: hide one region of an image after another and measure what it changes.

Sources: the paper, section IV-C (an N x N window of zeros slides over the face; windows that make a
correct prediction wrong are marked); Zeiler & Fergus (2014), who measure the probability lost.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_deep_emotion.saliency.windows import (
    DEFAULT_WINDOWS,
    Occlusions,
    SaliencyMaps,
    coverage,
    filling_weights,
)

Predict = Callable[[tf.Tensor], tf.Tensor]


def fill_image(images: tf.Tensor, filling: str, window: int) -> tf.Tensor:
    """What the pixels of images become when they are hidden, a tensor of the same shape.

    Images are (batch, height, width, channels) float32; only the batch size may be dynamic. See
    `Windows.filling`; others raise ValueError.
    """
    rows, columns = (filling_weights(side, filling, window) for side in images.shape[1:3])
    if filling == "zero":
        return tf.zeros_like(images)
    return tf.einsum("yY,xX,bYXc->byxc", rows, columns, images)


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
