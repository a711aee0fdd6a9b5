"""Crops of faces, in whatever form they come, as a model takes them: levels or image files."""

import io
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from keras_deep_emotion.data import MOST_PIXELS, decode, decode_bounded, prepare, sides
from keras_deep_emotion.image_files import is_jpeg_or_png, is_turned
from keras_deep_emotion.photos import Unreadable, as_rgb, decode_photo, read_bytes


def as_list(images):
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


def as_faces(images, size):
    """What the network sees of images, by the one preprocessing path.

    Args:
        images: as `predict.Model.predict` takes them.
        size: side of the faces, pixels.

    Returns:
        (batch, size, size, 1) float32 grey levels 0..255.
    """
    faces = []
    for place, image in enumerate(as_list(images)):
        content = as_levels(image, place)
        if isinstance(content, bytes):
            content = decode(content)
        faces.append(prepare(content, size).numpy())
    return np.stack(faces) if faces else np.zeros((0, size, size, 1), np.float32)


def as_levels(image, place):
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
            return np.asarray(image if image.mode in ("L", "RGB") else as_rgb(image)).reshape(
                (image.height, image.width, -1)
            )
        except Unreadable as error:
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


def as_file(image, place):
    """An image as the bytes of a JPEG or PNG file; arguments and errors as `as_levels`."""
    content = as_levels(image, place)
    if isinstance(content, bytes):
        return content
    levels = np.round(content[..., :3]).astype(np.uint8)
    return png_bytes(Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels))


def png_bytes(image):
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
        if is_jpeg_or_png(content) and not is_turned(content):
            return checked(content), None
        return as_png(content), None
    except Unreadable as error:
        return None, str(error)


def as_png(content):
    """The upright picture of a file, whatever its format, as a PNG file.

    Raises:
        Unreadable: there is none, or it has too many pixels.
    """
    image = decode_photo(content)
    refuse_large(image.height, image.width)
    return png_bytes(image)


def checked(content):
    """A JPEG or PNG file that can be decoded, as it came.

    Raises:
        Unreadable: it cannot, or has too many pixels.
    """
    try:
        refuse_large(*sides(content).numpy())
        decode_bounded(content)
    except tf.errors.InvalidArgumentError:
        raise Unreadable("the image is damaged") from None
    return content


def refuse_large(height, width):
    """Raise Unreadable if a picture has more pixels than an export takes."""
    if height * width > MOST_PIXELS:
        raise Unreadable(f"{width} x {height} pixels are too many: crop the face, or shrink it")
