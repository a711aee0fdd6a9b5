"""From a built data set to batches of faces: the only preprocessing there is.

Training, evaluation, prediction and the export all make their pixels with `prepare`, so that they
cannot drift apart.
"""

import tensorflow as tf

from keras_deep_emotion.images.formats import PNG_START

# Ours: what a file of a few kilobytes may cost. A photograph of a telephone has 12 million pixels;
# a progressive JPEG about ten scans, each as dear as the whole picture.
MAX_PIXELS = 4096 * 4096


MAX_SCANS = 64


def to_grayscale(image):
    """Luma of an image (ITU-R BT.601).

    Args:
        image: (..., height, width, channels), uint8 or float, of 1 (grey), 3 (RGB) or 4 (RGBA,
            alpha left out) channels.

    Returns:
        (..., height, width, 1) float32 in the image's range; a grey image comes out as it went in,
        to the bit, also when it is stored as RGB.
    """
    image = tf.cast(image, tf.float32)
    if image.shape[-1] == 1:
        return image
    red, green, blue = (image[..., i : i + 1] for i in range(3))
    # 0.299 R + 0.587 G + 0.114 B, in the form that is exact where all three are equal.
    return green + 0.299 * (red - green) + 0.114 * (blue - green)


def prepare_face(image, size, face=None):
    """Crop an image to its face, make it grey and bring it to the network's size.

    Args:
        image: (height, width, channels) uint8 or float, levels 0..255, 1, 3 or 4 channels.
        size: side of the result, pixels.
        face: (4,) float32, ymin, xmin, ymax, xmax in shares of the sides, or None for the whole
            image.

    Returns:
        (size, size, 1) float32 grey levels 0..255. A grey image of that size is not changed.
    """
    if face is not None:
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        corners = tf.cast(tf.round(face * tf.concat([sides, sides], 0)), tf.int32)
        image = image[corners[0] : corners[2], corners[1] : corners[3]]
    grey = to_grayscale(image)
    # Without antialias, shrinking skips pixels: errors reach 117 grey levels.
    return tf.ensure_shape(tf.image.resize(grey, (size, size), antialias=True), (size, size, 1))


def decode_image(image_bytes):
    """Decode one JPEG or PNG file.

    Args:
        image_bytes: scalar string tensor.

    Returns:
        (height, width, 3) uint8; of an animation the first frame. CMYK becomes RGB, 16 bits
        become 8, alpha is left out.
    """
    # channels=1 would refuse CMYK files.
    return tf.io.decode_image(image_bytes, channels=3, expand_animations=False)


def image_size(image_bytes):
    """Height and width of one JPEG or PNG file, from its header: nothing is decoded.

    Args:
        image_bytes: scalar string tensor.

    Returns:
        (2,) int64, pixels.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are neither, or are cut off before the header's
            end.
    """

    def of_png():  # PNG specification, 11.2.2: width, then height
        header = tf.strings.substr(image_bytes, 16, 8)
        return tf.io.decode_raw(header, tf.int32, little_endian=False)[::-1]

    def of_jpeg():
        return tf.image.extract_jpeg_shape(image_bytes)[:2]

    is_png = tf.strings.substr(image_bytes, 0, len(PNG_START)) == PNG_START
    return tf.cast(tf.reshape(tf.cond(is_png, of_png, of_jpeg), (2,)), tf.int64)


def decode_untrusted(image_bytes):
    """`decode`, of a file from a stranger: one that would cost too much is refused beforehand.

    Args:
        image_bytes: scalar string tensor.

    Returns:
        As `decode`.

    Raises:
        tf.errors.InvalidArgumentError: the file is neither JPEG nor PNG, damaged or cut off, has
            more than `MOST_PIXELS` pixels, or is a JPEG of more than `MOST_SCANS` scans.
    """
    scans = tf.size(tf.strings.split(image_bytes, b"\xff\xda")) - 1  # ITU T.81, B.2.3
    # In a PNG file these bytes are chance.
    is_png = tf.strings.substr(image_bytes, 0, len(PNG_START)) == PNG_START
    bounds = [
        tf.debugging.Assert(
            tf.reduce_prod(image_size(image_bytes)) <= MAX_PIXELS, ["the image is too large"]
        ),
        tf.debugging.Assert(is_png | (scans <= MAX_SCANS), ["the JPEG has too many scans"]),
    ]
    with tf.control_dependencies([bound for bound in bounds if bound is not None]):
        return decode_image(tf.identity(image_bytes))
