"""Decoding and preprocessing as graph code of TensorFlow, for training and exports.

It gives the pixels of `preprocessing` and of Pillow; a test holds them together.
"""

import tensorflow as tf

from keras_deep_emotion.images.formats import MAX_PIXELS, MAX_SCANS, PNG_START, SCAN
from keras_deep_emotion.images.levels import LEAST_WHITE


def to_grayscale(image: tf.Tensor) -> tf.Tensor:
    """As `preprocessing.to_grayscale`."""
    image = tf.cast(image, tf.float32)
    if image.shape[-1] == 1:
        return image
    red, green, blue = (image[..., i : i + 1] for i in range(3))
    return green + 0.299 * (red - green) + 0.114 * (blue - green)


def prepare_face(image: tf.Tensor, size: int, face: tf.Tensor | None = None) -> tf.Tensor:
    """As `preprocessing.prepare_face`, of the part of an image that shows the face.

    Args:
        image: (height, width, channels) uint8 or float, levels 0..255, 1, 3 or 4 channels.
        size: Side of the result, pixels.
        face: (4,) float32 ymin, xmin, ymax, xmax in fractions of the sides; None for the whole
            image.
    """
    if face is not None:
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        corners = tf.cast(tf.round(face * tf.concat([sides, sides], 0)), tf.int32)
        image = image[corners[0] : corners[2], corners[1] : corners[3]]
    resized = tf.image.resize(to_grayscale(image), (size, size), antialias=True)
    return tf.ensure_shape(tf.clip_by_value(resized, 0, 255), (size, size, 1))


def decode_image(image_bytes: tf.Tensor | bytes) -> tf.Tensor:
    """Decode the content of a JPEG or PNG file to (height, width, 3) uint8, as Pillow does.

    CMYK is converted to RGB, 16 bits to 8; alpha is dropped.
    """
    # The operation decodes PNG too. By default its JPEGs are up to 16 levels off; channels=1 would
    # reject CMYK files.
    return tf.io.decode_jpeg(image_bytes, channels=3, dct_method="INTEGER_ACCURATE")


def image_size(image_bytes: tf.Tensor | bytes) -> tf.Tensor:
    """Read (2,) int64 height and width, pixels, from the header of a JPEG or PNG file.

    Raises tf.errors.InvalidArgumentError if the file is neither, or its header is cut off.
    """

    def png_size():  # PNG specification, 11.2.2: width, then height
        header = tf.strings.substr(image_bytes, 16, 8)
        return tf.io.decode_raw(header, tf.int32, little_endian=False)[::-1]

    def jpeg_size():
        return tf.image.extract_jpeg_shape(image_bytes)[:2]

    return tf.cast(tf.reshape(tf.cond(_is_png(image_bytes), png_size, jpeg_size), (2,)), tf.int64)


def decode_untrusted(image_bytes: tf.Tensor | bytes) -> tf.Tensor:
    """As `decode_image`, for files from strangers: files that cost too much are rejected.

    Levels of 16 bits are read by the rule in `levels`.

    Raises tf.errors.InvalidArgumentError if the file is not JPEG or PNG, is damaged or cut off, has
    more than `MAX_PIXELS` pixels or unknown levels, or is a JPEG with more than `MAX_SCANS` scans.
    """
    pixels = tf.reduce_prod(image_size(image_bytes))
    scans = tf.size(tf.strings.split(image_bytes, SCAN)) - 1
    # In a PNG file these bytes occur by chance.
    is_png = _is_png(image_bytes)
    bounds = [
        tf.debugging.Assert(pixels <= MAX_PIXELS, ["the image is too large"]),
        tf.debugging.Assert(is_png | (scans <= MAX_SCANS), ["the JPEG has too many scans"]),
    ]
    with tf.control_dependencies(bounds):
        image_bytes = tf.identity(image_bytes)
    is_deep = is_png & (tf.strings.substr(image_bytes, 24, 1) == b"\x10")  # bits a channel
    return tf.cond(is_deep, lambda: _decode_deep(image_bytes), lambda: decode_image(image_bytes))


def _decode_deep(image_bytes):
    """(height, width, 3) uint8 of a PNG file with 16 bits a channel."""
    levels = tf.cast(tf.io.decode_png(image_bytes, channels=3, dtype=tf.uint16), tf.int32)
    high = tf.reduce_max(levels)
    is_grey = tf.strings.substr(image_bytes, 25, 1) == b"\0"
    is_small = is_grey & (high <= 255)
    known = tf.debugging.Assert(is_small | (high >= LEAST_WHITE), ["unknown levels"])
    with tf.control_dependencies([known]):
        return tf.cast(tf.where(is_small, levels, levels // 256), tf.uint8)


def _is_png(image_bytes):
    return tf.strings.substr(image_bytes, 0, len(PNG_START)) == PNG_START
