"""Crops of faces, in whatever form they come, as a model takes them: levels or image files."""

import io
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from keras_deep_emotion.images.formats import has_exif_rotation, is_jpeg_or_png
from keras_deep_emotion.images.preprocessing import (
    MAX_PIXELS,
    decode_image,
    decode_untrusted,
    image_size,
    prepare_face,
)
from keras_deep_emotion.images.reading import UnreadableImage, decode_photo, read_bytes, to_rgb


def check_batch(images):
    """Images one by one, of a list or of one array (batch, height, width, channels).

    Raises:
        ValueError: it is neither.
    """
    if hasattr(images, "shape"):
        if len(images.shape) != 4:
            raise ValueError(
                "images must be an array of shape (batch, height, width, channels), or a list of "
                f"images of any size. Received: an array of shape {tuple(images.shape)}"
            )
    elif not isinstance(images, list | tuple):
        raise ValueError(
            f"images must be a list; for a single one: [image]. Received: {type(images).__name__}"
        )
    return images


def to_batch(images, size):
    """What the network sees of images, by the one preprocessing path.

    Args:
        images: as `predict.Model.predict` takes them.
        size: side of the faces, pixels.

    Returns:
        (batch, size, size, 1) float32 grey levels 0..255.
    """
    faces = []
    for place, image in enumerate(check_batch(images)):
        content = to_pixels(image, place)
        if isinstance(content, bytes):
            content = decode_image(content)
        faces.append(prepare_face(content, size).numpy())
    return np.stack(faces) if faces else np.zeros((0, size, size, 1), np.float32)


def to_pixels(image, place):
    """An image as levels, or as a file.

    Args:
        image: path, `PIL.Image`, array or tensor.
        place: in the caller's list, for the message.

    Returns:
        Bytes of a JPEG or PNG file; or an array (height, width, 1, 3 or 4) of levels 0..255.

    Raises:
        ValueError: it is none, or damaged, or its levels are out of range.
    """
    if isinstance(image, str | Path):
        content, error = read_crop(image)
        if error:
            raise ValueError(f"{image}: {error}.")
        return content
    if isinstance(image, Image.Image):
        image = ImageOps.exif_transpose(image)  # upright, as its file would be
    if isinstance(image, Image.Image) and image.mode != "I":  # 32 bits are levels, as an array's
        try:
            return np.asarray(image if image.mode in ("L", "RGB") else to_rgb(image)).reshape(
                (image.height, image.width, -1)
            )
        except UnreadableImage as error:
            raise ValueError(f"images[{place}]: {error}.") from None
    levels = np.asarray(image)
    shape = levels.shape
    levels = levels[..., None] if levels.ndim == 2 else levels
    if levels.ndim != 3 or levels.shape[2] not in (1, 3, 4) or 0 in shape:
        raise ValueError(
            f"images[{place}] must be a path, a PIL image or an array of shape (height, width) or "
            f"(height, width, 1, 3 or 4). Received: {type(image).__name__} of shape {shape}"
        )
    if levels.dtype.kind not in "uif":
        raise ValueError(f"images[{place}] must hold numbers. Received: {levels.dtype}")
    low, high = levels.min(), levels.max()
    if not (low >= 0 and high <= 255):  # NaN fails too
        raise ValueError(
            f"images[{place}] must hold levels from 0 to 255. Received: {low:g} to {high:g}"
        )
    if levels.dtype.kind == "f" and 0 < high <= 1:
        raise ValueError(
            f"images[{place}] must hold levels from 0 to 255. Received: {low:g} to {high:g}; "
            "multiply by 255"
        )
    return levels


def to_encoded(image, place):
    """An image as the bytes of a JPEG or PNG file; arguments and errors as `as_levels`."""
    content = to_pixels(image, place)
    if isinstance(content, bytes):
        return content
    levels = np.round(content[..., :3]).astype(np.uint8)
    return encode_png(Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels))


def encode_png(image):
    """A `PIL.Image` as a PNG file."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)  # read once, near by: time counts
    return file.getvalue()


def read_crop(file):
    """Read a picture of a cropped face as a model takes it.

    Args:
        file: path, of a picture that `photos.open_photo` reads.

    Returns:
        (bytes of a JPEG or PNG file, None), or (None, why not). A JPEG or PNG file is handed on as
        it is, if no EXIF orientation says that it is to be turned.
    """
    try:
        content = read_bytes(file)
        if is_jpeg_or_png(content) and not has_exif_rotation(content):
            return check_decodable(content), None
        return to_upright_png(content), None
    except UnreadableImage as error:
        return None, str(error)


def to_upright_png(content):
    """The upright picture of a file, whatever its format, as a PNG file.

    Raises:
        Unreadable: there is none, or it has too many pixels.
    """
    image = decode_photo(content)
    check_pixel_count(image.height, image.width)
    return encode_png(image)


def check_decodable(content):
    """A JPEG or PNG file that can be decoded, as it came.

    Raises:
        Unreadable: it cannot, or has too many pixels.
    """
    try:
        check_pixel_count(*image_size(content).numpy())
        decode_untrusted(content)
    except tf.errors.InvalidArgumentError:
        raise UnreadableImage("the image is damaged") from None
    return content


def check_pixel_count(height, width):
    """Raise Unreadable if a picture has more pixels than an export takes."""
    if height * width > MAX_PIXELS:
        raise UnreadableImage(
            f"{width} x {height} pixels are too many: crop the face, or shrink it"
        )
