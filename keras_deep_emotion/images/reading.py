"""Find and read image files and the frames of videos, as upright RGB images of 8 bits.

Pillow reads the images, PyAV the videos.
"""

import glob
import importlib.util
import io
import mimetypes
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from keras_deep_emotion.images.formats import HEAD, PICTURE_BRANDS, POSTSCRIPT_STARTS, file_kind


class UnreadableImage(ValueError):
    """An image or video that cannot be read; the message is one clause with the reason."""


class VideoFrame(NamedTuple):
    """A frame of a video."""

    number: int  # from 0
    seconds: float  # since the start of the video
    image: Image.Image  # RGB, upright


def kind_of(path: str | Path) -> str | None:
    """What a file is by its first bytes, see `formats.file_kind`; None if it cannot be read.

    None for a pipe, too, which gives its bytes only once.
    """
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            return file_kind(file.read(HEAD))
    except OSError:
        return None


def is_video(path: str | Path) -> bool:
    """Whether a file is a video by its first bytes, or is called one and is no image."""
    return (kind_of(path) or _called(path)) == "video"


def _called(path):
    """What a file is by its name: "image", "video" or something else."""
    return (mimetypes.guess_type(path)[0] or "").partition("/")[0]


class FoundFile(NamedTuple):
    """A file that is meant by a name.

    Attributes:
        path: The file; the name itself if there are no such files.
        error: Reason why no files were found, one clause, or None.
        passed_over: Files of a folder that are neither images nor videos; with the first of its
            files.
    """

    path: Path
    error: str | None = None
    passed_over: tuple[Path, ...] = ()


def find_files(names: Iterable[str | Path]) -> Iterator[FoundFile]:
    """Find the files meant by names of files, folders and patterns.

    A folder means all images and videos in it, at any depth, by their first bytes or their name;
    links to folders are followed, hidden files are not looked at. A pattern such as `DIR/**/*.jpg`
    means all files that match. In the order of `names`, sorted within each.
    """
    for name in map(Path, names):
        try:
            paths, others = _expand_name(name)
        except UnreadableImage as error:
            yield FoundFile(name, str(error))
        except OSError as error:  # such as a folder without permission, or a name too long
            yield FoundFile(name, error.strerror.lower())
        else:
            for path in paths:
                yield FoundFile(path, None, others)
                others = ()


def _expand_name(name):
    """(files, files passed over) of a name; UnreadableImage is raised if it stands for no file."""
    others = ()
    if name.is_dir():
        paths = sorted(_walk(name))
        # Files with the name of an image and other content are kept: opening them reports it.
        files = [one for one in paths if kind_of(one) or _called(one) in ("image", "video")]
        others = tuple(sorted({*paths} - {*files}))
        reason = "no images or videos in this folder"
    elif name.exists() or not glob.has_magic(str(name)):
        return [name], others
    else:
        paths = map(Path, sorted(glob.glob(str(name), recursive=True)))
        files = [path for path in paths if path.is_file()]
        reason = "no file matches this pattern"
    if not files:
        raise UnreadableImage(reason)
    return files, others


def _walk(folder):
    """Visible files at any depth; a folder that links lead to twice is entered once."""
    entered = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        place = os.path.realpath(root)
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        if place in entered:
            folders.clear()
            continue
        entered.add(place)
        paths = (Path(root, one) for one in names if not one.startswith("."))
        yield from (path for path in paths if path.is_file())


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
    if content.startswith(POSTSCRIPT_STARTS):  # Pillow would have Ghostscript run it
        raise UnreadableImage("PostScript is a program: save it as an image")
    if content[4:8] == b"ftyp" and content[8:12] in PICTURE_BRANDS[:-2]:
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


def video_length(path: str | Path) -> float | None:
    """Length of a video in seconds, as it says; None if it does not."""
    import av

    try:
        with _open_video(path) as file, av.open(file) as video:
            return video.duration / av.time_base if video.duration else None
    except (UnreadableImage, av.error.FFmpegError, ValueError):
        return None


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

    rate = video.streams.video[0].average_rate or 25  # of frames without times; ours: as FFmpeg
    number, start = -1, None
    try:
        for number, frame in enumerate(video.decode(video=0)):
            time = float(number / rate if frame.time is None else frame.time)
            start = time if start is None else start
            if number % every == 0:
                image = frame.to_image().convert("RGB")
                if frame.rotation:
                    image = image.rotate(frame.rotation, expand=True)
                yield VideoFrame(number, time - start, image)
    except av.error.FFmpegError:
        raise UnreadableImage(f"damaged after {number + 1} frames") from None
    if number < 0:
        raise UnreadableImage("the video has no frames")
