"""Images of faces in any form (files, bytes, PIL images, arrays) as pixels, and as files."""

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_deep_emotion.images.formats import (
    JPEG_START,
    MAX_PIXELS,
    MAX_SCANS,
    SCAN,
    decodes_alike,
)
from keras_deep_emotion.images.levels import UnknownLevels, eight_bits
from keras_deep_emotion.images.reading import (
    UnreadableImage,
    decode_image,
    read_bytes,
    upright_levels,
)

CHANNELS = ("rgb", "bgr")


def list_images(images: Any) -> Sequence:
    """The images that a caller named, one or several; raises ValueError for anything else.

    One image is a path, bytes, a `PIL.Image`, or an array (height, width) or (height, width,
    channels); several are a list of such, or an array of four axes.
    """
    axes = len(images.shape) if hasattr(images, "shape") else None
    if axes in (2, 3) or isinstance(images, str | os.PathLike | bytes | Image.Image):
        return [images]
    if axes == 4 or isinstance(images, list | tuple):
        return images
    received = type(images).__name__ if axes is None else f"an array of shape {images.shape}"
    raise ValueError(
        "images must be an image (a path, bytes, a PIL image or an array of two or three axes), a "
        f"list of images, or an array of shape (batch, height, width, channels). Received: "
        f"{received}"
    )


@contextlib.contextmanager
def naming(image: Any, name: str) -> Iterator[None]:
    """Turn an UnreadableImage into a sentence that begins with the image's path, or with `name`."""
    try:
        yield
    except UnreadableImage as error:
        title = image if isinstance(image, str | os.PathLike) else name
        raise ValueError(f"{title}: {error}.") from None


def decode_crop(content: bytes) -> Image.Image:
    """As `decode_image`, for crops: what TensorFlow Serving would reject is rejected here.

    Raises:
        UnreadableImage: If it has more than `MAX_PIXELS` pixels or `MAX_SCANS` scans, too.
    """
    if content.startswith(JPEG_START) and content.count(SCAN) > MAX_SCANS:
        raise UnreadableImage(f"a JPEG of more than {MAX_SCANS} scans: save it again")
    return decode_image(content, MAX_PIXELS)


def load_pixels(
    image: Any,
    name: str = "image",
    channels: str = "rgb",
    decode: Callable[[bytes], Image.Image] = decode_crop,
) -> np.ndarray:
    """Pixels of an image: (height, width, 1, 3 or 4), levels 0..255, RGB and upright.

    Args:
        image: A path or bytes of a file in any format that `reading.open_photo` reads; a
            `PIL.Image` in any mode; or an array or tensor (height, width) or (height, width, 1, 3
            or 4) of integers or floats. Levels are read by the rule in `levels`.
        name: What messages call an array.
        channels: Order of an array's colours, "rgb" or "bgr" (OpenCV's).
        decode: Decodes the content of a file: `decode_crop` or `reading.decode_image`.

    Raises:
        UnreadableImage: If a file cannot be read.
        ValueError: If an array does not hold an image.
    """
    if channels not in CHANNELS:
        raise ValueError(f"channels must be one of {', '.join(CHANNELS)}. Received: {channels!r}")
    if isinstance(image, str | os.PathLike):
        image = read_bytes(image)
    try:
        if isinstance(image, bytes):
            image, channels = decode(image), "rgb"
        elif isinstance(image, Image.Image):  # as if read from its file
            image, channels = upright_levels(image), "rgb"
        pixels = eight_bits(_check_array(np.asarray(image), name, type(image).__name__))
    except UnknownLevels as error:
        raise ValueError(f"{name} has {error}.") from None
    return pixels[..., 2::-1] if channels == "bgr" and pixels.shape[2] > 1 else pixels


def _check_array(levels, name, kind):
    """Return the array with a channel axis; raises ValueError if it does not hold an image."""
    shape = levels.shape
    levels = levels[..., None] if levels.ndim == 2 else levels
    if levels.ndim != 3 or levels.shape[2] not in (1, 3, 4) or 0 in shape:
        raise ValueError(
            f"{name} must be a path, bytes, a PIL image or an array of shape (height, width) or "
            f"(height, width, 1, 3 or 4). Received: {kind} of shape {shape}"
        )
    if levels.dtype.kind not in "uif":
        raise ValueError(f"{name} must hold numbers. Received: {levels.dtype}")
    return levels


def load_photo(photo: Any, channels: str = "rgb") -> Image.Image:
    """A photo in any form that `load_pixels` takes, as an RGB image; of any size."""
    return to_image(load_pixels(photo, "photo", channels, decode_image)).convert("RGB")


def to_image(pixels: np.ndarray) -> Image.Image:
    """Pixels of `load_pixels` as an image of mode L or RGB; alpha is dropped."""
    levels = pixels[..., :3]
    if levels.dtype != np.uint8:
        levels = np.round(levels).astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


def encode_image(image: Any, name: str = "image", channels: str = "rgb") -> bytes:
    """An image as a JPEG or PNG file; arguments and errors as of `load_pixels`.

    Files that TensorFlow decodes in the same way, see `formats.decodes_alike`, are not changed.
    """
    if isinstance(image, str | os.PathLike):
        image = read_bytes(image)
    if isinstance(image, bytes) and decodes_alike(image):
        decode_crop(image)  # raises what the server would only mark
        return image
    return encode_png(to_image(load_pixels(image, name, channels)))


def encode_png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)  # decoded soon: speed matters, not size
    return file.getvalue()
