"""Read image files in any format of `formats.image_format`, by Pillow: upright, of 8 bits."""

import contextlib
import importlib.util
import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps

from keras_deep_emotion.images.formats import HEAD, ORIENTATION, image_format
from keras_deep_emotion.images.levels import UnknownLevels, has_deep_colors, to_image

# Ours: what a hostile file may cost. The largest picture, as of a telephone's 50 million pixels,
# takes up to 0.8 GB of memory to find the faces in; some formats take more a pixel to decode.
MAX_PHOTO_PIXELS = 8192 * 6144
COSTLY = {"JPEG2000": MAX_PHOTO_PIXELS // 2, "WEBP": MAX_PHOTO_PIXELS // 2}
MAX_BYTES = 512 * 2**20


class UnreadableImage(ValueError):
    """An image or video that cannot be read; the message is one clause with the reason."""


@contextlib.contextmanager
def open_regular(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for reading; pipes and devices, which may never end, are refused.

    Raises:
        UnreadableImage: If it does not exist, is empty, or is no regular file.
    """
    try:
        kind = os.stat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise UnreadableImage("a pipe or device, not a file: save what it gives in a file")
        file = open(path, "rb")
    except UnreadableImage:
        raise
    except FileNotFoundError:
        raise UnreadableImage(why_missing(path)) from None
    except OSError as error:
        raise UnreadableImage(error.strerror.lower()) from None
    except ValueError:  # such as a null character
        raise UnreadableImage("not the name of a file") from None
    with file:
        try:
            is_empty = not file.peek(1)
        except OSError as error:  # of a disk, or a file that the system makes up
            raise UnreadableImage(error.strerror.lower()) from None
        if is_empty:
            raise UnreadableImage("the file is empty")
        yield file


def why_missing(name: str | Path) -> str:
    """Why there is no such file, one clause."""
    name = str(name)
    if re.match(r"\w{2,}:/", name):  # a Path has one slash less
        return "addresses are not fetched: download the file, and name it"
    if name.isdecimal():
        return "no such file; for a webcam, start the demo"
    return "no such file or directory"


def read_bytes(path: str | Path) -> bytes:
    """Read a file; raise UnreadableImage if it cannot be read, is empty or too large."""
    with open_regular(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnreadableImage(f"more than {MAX_BYTES >> 20} MB are no picture of a face")
    return content


def open_photo(path: str | Path) -> Image.Image:
    """Read an image file: RGB, upright, and the first frame of an animation; see `decode_photo`."""
    return decode_photo(read_bytes(path))


def decode_photo(content: bytes) -> Image.Image:
    """As `decode_image`, in mode RGB."""
    image = decode_image(content)
    return image if image.mode == "RGB" else image.convert("RGB")


def decode_image(content: bytes, max_pixels: int = MAX_PHOTO_PIXELS) -> Image.Image:
    """Decode an image file in any format of `formats.image_format`; HEIC needs pillow-heif.

    It is turned by its EXIF orientation, and of mode L or RGB by the rule in `levels`.

    Raises:
        UnreadableImage: If it is no image, damaged, has more than `max_pixels` pixels, or levels
            whose meaning nobody can know.
    """
    kind = image_format(content[:HEAD])
    if kind is None:
        raise UnreadableImage("not a picture of a known format")
    if kind == "HEIF":
        if importlib.util.find_spec("pillow_heif") is None:
            raise UnreadableImage("HEIC requires the package pillow-heif: pip install pillow-heif")
        import pillow_heif

        pillow_heif.register_heif_opener()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about large images and odd palettes
        try:
            with Image.open(io.BytesIO(content), formats=[kind]) as image:
                width, height = image.size
                most = min(max_pixels, COSTLY.get(kind, max_pixels))
                if width * height > most:
                    raise UnreadableImage(
                        f"{width} x {height} pixels are too many, at most {most:,}: shrink it"
                    )
                if kind == "PNG":  # all checksums: `load` skips pixels'
                    Image.open(io.BytesIO(content), formats=[kind]).verify()
                return upright_levels(image)
        except UnreadableImage:
            raise
        except UnknownLevels as error:
            raise UnreadableImage(str(error)) from None
        except Exception:  # Pillow raises many types for damaged files
            raise UnreadableImage("the image is damaged") from None


def upright_levels(image: Image.Image) -> Image.Image:
    """Turn an image by its EXIF orientation, and convert it by `levels.to_image`."""
    is_deep = has_deep_colors(image)
    image.load()
    return to_image(turn_upright(image), is_deep)


def turn_upright(image: Image.Image) -> Image.Image:
    """Turn an image by its EXIF orientation; damaged EXIF data count as none."""
    try:
        is_turned = image.getexif().get(ORIENTATION, 1) != 1
        return ImageOps.exif_transpose(image) if is_turned else image
    except Exception:  # Pillow raises many types for damaged EXIF data
        return image
