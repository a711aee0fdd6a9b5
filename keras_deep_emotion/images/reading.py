"""Find and read image files and the frames of videos, as upright RGB images of 8 bits.

Pillow reads the images, PyAV the videos.
"""

import glob
import importlib.util
import io
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# The files taken from a folder. A file that is named is opened whatever its suffix.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".heic", ".heif", ".avif"),
)
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # ISO 23008-12


class UnreadableImage(ValueError):
    """An image or video that cannot be read; the message is one clause with the reason."""


class VideoFrame(NamedTuple):
    """A frame of a video."""

    number: int  # from 0
    seconds: float  # since the start of the video
    image: Image.Image  # RGB, upright


def is_video(path: str | Path) -> bool:
    """Whether a path has the suffix of a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def find_files(names: Iterable[str | Path]) -> Iterator[tuple[Path, str | None]]:
    """Find the files meant by names of files, folders and patterns.

    A folder means all images and videos in it, at any depth; a pattern such as `DIR/**/*.jpg` all
    files that match. Yields (path, None), or (name, reason) if there are no such files; in the
    order of `names`, sorted within each.
    """
    for name in map(Path, names):
        try:
            paths = _expand_name(name)
        except UnreadableImage as error:
            yield name, str(error)
        except OSError as error:  # such as a folder without permission, or a name too long
            yield name, error.strerror.lower()
        else:
            yield from ((path, None) for path in paths)


def _expand_name(name):
    """The files that a name stands for; UnreadableImage is raised if it stands for no file."""
    if name.is_dir():
        visible = (path for path in sorted(name.rglob("*")) if not path.name.startswith("."))
        paths = [path for path in visible if path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES]
        reason = "no images or videos in this folder"
    elif name.exists() or not glob.has_magic(str(name)):
        return [name]
    else:
        paths = map(Path, sorted(glob.glob(str(name), recursive=True)))
        reason = "no file matches this pattern"
    files = [path for path in paths if path.is_file()]
    if not files:
        raise UnreadableImage(reason)
    return files


def read_bytes(path: str | Path) -> bytes:
    """Read a file; raise UnreadableImage if it cannot be read or is empty."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImage(error.strerror.lower()) from None
    if not content:
        raise UnreadableImage("the file is empty")
    return content


def open_photo(path: str | Path) -> Image.Image:
    """Read an image in any format that Pillow reads; HEIC with the package pillow-heif.

    It is RGB, turned according to its EXIF orientation, and the first frame of an animation. CMYK
    is converted to RGB, 16 bits to 8, and alpha is dropped, as `graph.decode_image` does.

    Raises:
        UnreadableImage: If it is not an image, or damaged.
    """
    return decode_photo(read_bytes(path))


def decode_photo(content: bytes) -> Image.Image:
    """As `open_photo`, from the content of the file."""
    if content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS:
        if importlib.util.find_spec("pillow_heif") is None:
            raise UnreadableImage("HEIC requires the package pillow-heif: pip install pillow-heif")
        import pillow_heif

        pillow_heif.register_heif_opener()
    with warnings.catch_warnings():
        # About large images and odd palettes; images too large to be safe are errors.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content))
            if image.format == "PNG":
                Image.open(io.BytesIO(content)).verify()  # all checksums: `load` skips pixels'
            image.load()
            return to_rgb(turn_upright(image))
        except UnreadableImage:
            raise
        except UnidentifiedImageError:
            raise UnreadableImage("not a picture of a known format") from None
        except Image.DecompressionBombError:
            limit = 2 * Image.MAX_IMAGE_PIXELS
            raise UnreadableImage(f"too many pixels: more than {limit:,}; shrink it") from None
        except Exception:  # Pillow raises many types for damaged files
            raise UnreadableImage("the image is damaged") from None


def header_size(content: bytes) -> tuple[int, int]:
    """Width and height from the header of an image file; (0, 0) if it cannot be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Image.open(io.BytesIO(content)).size
        except Exception:  # decoding says why
            return 0, 0


def turn_upright(image: Image.Image) -> Image.Image:
    """Turn an image by its EXIF orientation; damaged EXIF data count as none."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # Pillow raises many types for damaged EXIF data
        return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image in any mode to RGB of 8 bits."""
    if image.mode == "F":  # of unknown range
        raise UnreadableImage("its pixels are floats: save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # 16 bits, in a mode of 16 or 32
        levels = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("RGB")


def read_frames(path: str | Path, every: int = 10) -> Iterator[VideoFrame]:
    """Read every N-th frame of a video from the first, rotated as it says (phones film sideways).

    Raises:
        ModuleNotFoundError: If PyAV is not installed.
        UnreadableImage: If it is not a video or has no frames; after the intact frames, if it is
            damaged.
    """
    if importlib.util.find_spec("av") is None:
        raise ModuleNotFoundError(
            "Videos need PyAV, which is not installed: pip install 'keras-deep-emotion[faces]'"
        )
    import av

    with _open_video(path) as file:
        try:
            video = av.open(file)
        except (av.error.FFmpegError, ValueError):
            raise UnreadableImage("not a video that can be read") from None
        with video:
            if not video.streams.video:
                raise UnreadableImage("the video has no images, only sound")
            video.streams.video[0].thread_type = "AUTO"
            yield from _decode_frames(video, every)


def _open_video(path):
    """Open the file here: FFmpeg would take some names for a URL or a pattern."""
    try:
        file = Path(path).open("rb")
    except OSError as error:
        raise UnreadableImage(error.strerror.lower()) from None
    if not file.peek(1):
        file.close()
        raise UnreadableImage("the file is empty")
    return file


def _decode_frames(video, every):
    import av

    number, start = -1, None
    try:
        for number, frame in enumerate(video.decode(video=0)):
            start = frame.time if start is None else start
            if number % every == 0:
                image = frame.to_image().convert("RGB")
                if frame.rotation:
                    image = image.rotate(frame.rotation, expand=True)
                yield VideoFrame(number, float((frame.time or 0) - (start or 0)), image)
    except av.error.FFmpegError:
        raise UnreadableImage(f"damaged after {number + 1} frames") from None
    if number < 0:
        raise UnreadableImage("the video has no frames")
