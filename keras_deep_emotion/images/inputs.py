"""Crops of faces in any form (files, PIL images, arrays) as the input of a model."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_deep_emotion.images.formats import has_exif_rotation, is_jpeg_or_png
from keras_deep_emotion.images.preprocessing import (
    MAX_PIXELS,
    MAX_SCANS,
    decode_image,
    decode_untrusted,
    image_size,
    prepare_face,
)
from keras_deep_emotion.images.reading import (
    UnreadableImage,
    decode_photo,
    read_bytes,
    to_rgb,
    turn_upright,
)


def check_images(images: Any) -> Sequence:
    """Return `images`; raise ValueError if it is no list and no array of four axes."""
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


def prepare_batch(images: Any, size: int) -> np.ndarray:
    """Preprocess images to the input of a network, (batch, size, size, 1) float32 in 0..255.

    Args:
        images: As in `predictors.RunPredictor.predict`.
        size: Side of the faces, pixels.

    Raises:
        ValueError: If an element of `images` is not a valid image.
    """
    faces = []
    for index, image in enumerate(check_images(images)):
        pixels = load_image(image, index)
        if isinstance(pixels, bytes):
            pixels = decode_image(pixels)
        faces.append(prepare_face(pixels, size).numpy())
    return np.stack(faces) if faces else np.zeros((0, size, size, 1), np.float32)


def encode_image(image: Any, index: int) -> bytes:
    """An image as a JPEG or PNG file. Arguments and errors are those of `load_image`."""
    content = load_image(image, index)
    if isinstance(content, bytes):
        return content
    levels = np.round(content[..., :3]).astype(np.uint8)
    return encode_png(Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels))


def load_image(image: Any, index: int) -> bytes | np.ndarray:
    """Content of a JPEG or PNG file, or an array (height, width, 1, 3 or 4) of levels 0..255.

    `index` is the image's place in the caller's list, which the ValueError of a bad one names.
    """
    if isinstance(image, str | Path):
        content, error = read_crop(image)
        if error:
            raise ValueError(f"{image}: {error}.")
        return content
    if isinstance(image, Image.Image):
        image = turn_upright(image)  # as if read from its file
        if image.mode != "I":  # 32-bit integers are levels, as in an array
            return _pil_to_array(image, index)
    return _check_array(np.asarray(image), index, type(image).__name__)


def _pil_to_array(image, index):
    try:
        image = image if image.mode in ("L", "RGB") else to_rgb(image)
    except UnreadableImage as error:
        raise ValueError(f"images[{index}]: {error}.") from None
    return np.asarray(image).reshape((image.height, image.width, -1))


def _check_array(levels, index, kind):
    """Return the array with a channel axis; raises ValueError if it does not hold levels 0..255."""
    shape = levels.shape
    levels = levels[..., None] if levels.ndim == 2 else levels
    if levels.ndim != 3 or levels.shape[2] not in (1, 3, 4) or 0 in shape:
        raise ValueError(
            f"images[{index}] must be a path, a PIL image or an array of shape (height, width) or "
            f"(height, width, 1, 3 or 4). Received: {kind} of shape {shape}"
        )
    if levels.dtype.kind not in "uif":
        raise ValueError(f"images[{index}] must hold numbers. Received: {levels.dtype}")
    low, high = levels.min(), levels.max()
    expected = f"images[{index}] must hold levels from 0 to 255. Received: {low:g} to {high:g}"
    if not (low >= 0 and high <= 255):  # NaN fails too
        raise ValueError(expected)
    if levels.dtype.kind == "f" and 0 < high <= 1:
        raise ValueError(f"{expected}; multiply by 255")
    return levels


def encode_png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)  # decoded soon: speed matters, not size
    return file.getvalue()


def read_crop(file: str | Path) -> tuple[bytes | None, str | None]:
    """Read an image file of a cropped face, in any format that `reading.open_photo` reads.

    Returns:
        (content of a JPEG or PNG file, None), or (None, reason) if it cannot be read. JPEG and PNG
        files are returned unchanged unless their EXIF orientation turns the image.
    """
    try:
        content = read_bytes(file)
        if is_jpeg_or_png(content) and not has_exif_rotation(content):
            check_decodable(content)
            return content, None
        return to_upright_png(content), None
    except UnreadableImage as error:
        return None, str(error)


def to_upright_png(content: bytes) -> bytes:
    """Convert an image file in any format, of at most `MAX_PIXELS` pixels, to an upright PNG."""
    image = decode_photo(content)
    _check_pixel_count(image.height, image.width)
    return encode_png(image)


def check_decodable(content: bytes) -> None:
    """Raise UnreadableImage if `decode_untrusted` rejects a JPEG or PNG file."""
    try:
        _check_pixel_count(*image_size(content).numpy())
        decode_untrusted(content)
    except tf.errors.InvalidArgumentError as error:
        if "too many scans" in error.message:
            raise UnreadableImage(f"a JPEG of more than {MAX_SCANS} scans: save it again") from None
        raise UnreadableImage("the image is damaged") from None


def _check_pixel_count(height, width):
    if height * width > MAX_PIXELS:
        raise UnreadableImage(
            f"{width} x {height} pixels are too many: crop the face, or shrink it"
        )
