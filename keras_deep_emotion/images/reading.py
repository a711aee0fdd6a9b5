"""From paths to pictures: files, folders, patterns and the frames of videos; upright RGB of 8 bits.

Pillow reads the pictures, PyAV the videos.
"""

import glob
import importlib.util
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# What is taken from a folder. A file that is named is opened whatever its name.
PICTURES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".heic", ".heif", ".avif"),
)


VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")


HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")  # ISO 23008-12


class UnreadableImage(ValueError):
    """A file that gives no picture; the text is one clause that says why."""


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: from 0.
        seconds: when it is shown, from the video's own start.
        image: RGB `PIL.Image`, upright.
    """

    number: int
    seconds: float
    image: Image.Image


def is_video(path):
    """Whether a path is taken for a video: by its name."""
    return Path(path).suffix.lower() in VIDEOS


def find_files(names):
    """Files behind names of files, folders and patterns.

    Args:
        names: a folder stands for all pictures and videos in it and below; a pattern, such as
            `DIR/**/*.jpg`, for the files that match.

    Yields:
        (path, None), or (name, why there is none), in the order of the names, sorted in each.
    """
    for name in map(Path, names):
        try:
            found = expand_path(name)
        except UnreadableImage as error:
            yield name, str(error)
        except OSError as error:  # a folder that is another's, a name that is too long
            yield name, error.strerror.lower()
        else:
            yield from ((path, None) for path in found)


def expand_path(name):
    """The files that one name stands for, as `find_files`.

    Raises:
        Unreadable: there are none.
        OSError: they cannot be looked for.
    """
    if name.is_dir():
        inside = sorted(name.rglob("*"))
        known = [path for path in inside if path.suffix.lower() in (*PICTURES, *VIDEOS)]
        found = [path for path in known if path.is_file() and not path.name.startswith(".")]
        if not found:
            raise UnreadableImage("no pictures and no videos in this folder")
    elif not name.exists() and glob.has_magic(str(name)):
        found = [Path(path) for path in sorted(glob.glob(str(name), recursive=True))]
        found = [path for path in found if path.is_file()]
        if not found:
            raise UnreadableImage("no file matches this pattern")
    else:
        found = [name]
    return found


def read_bytes(path):
    """The content of a file that is not empty.

    Raises:
        Unreadable: there is none.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImage(error.strerror.lower()) from None
    if not content:
        raise UnreadableImage("the file is empty")
    return content


def open_photo(path):
    """Read a picture in any format that Pillow knows, and HEIC with the package pillow-heif.

    Args:
        path: file.

    Returns:
        RGB `PIL.Image`, turned as its EXIF orientation says; of an animation the first frame. CMYK
        becomes RGB, 16 bits become 8, transparency is left out: as `data.decode` does.

    Raises:
        Unreadable: it is none, or damaged.
    """
    return decode_photo(read_bytes(path))


def decode_photo(content):
    """As `open_photo`, from the file's bytes."""
    if content[4:8] == b"ftyp" and content[8:12] in HEIC_BRANDS:
        if importlib.util.find_spec("pillow_heif") is None:
            raise UnreadableImage("HEIC is read by a package of its own: pip install pillow-heif")
        import pillow_heif

        pillow_heif.register_heif_opener()
    with warnings.catch_warnings():
        # Of large pictures and odd palettes; what is too large for safety is an error.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content))
            image.load()
            return to_rgb(ImageOps.exif_transpose(image))
        except UnreadableImage:
            raise
        except UnidentifiedImageError:
            raise UnreadableImage("not a picture of a known format") from None
        except Image.DecompressionBombError:
            most = 2 * Image.MAX_IMAGE_PIXELS
            raise UnreadableImage(f"too many pixels: more than {most:,}; shrink it") from None
        except Exception:  # Pillow's readers raise what they like on damaged files
            raise UnreadableImage("the image is damaged") from None


def to_rgb(image):
    """RGB of 8 bits, of a `PIL.Image` in whatever mode.

    Raises:
        Unreadable: its levels are floats, whose range nobody knows.
    """
    if image.mode == "F":
        raise UnreadableImage("its levels are floats: save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # 16 bits, in a mode of 16 or 32
        levels = np.asarray(image).astype(np.int64) >> 8
        image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
    if image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("RGB")


def read_frames(path, every=10):
    """Read the frames of a video.

    Args:
        path: file.
        every: take each so many-th, from the first.

    Yields:
        `Frame`, turned as the video says (telephones film sideways).

    Raises:
        ModuleNotFoundError: PyAV is not installed.
        Unreadable: it is no video, or has no frames, or is damaged, after the frames that are not.
    """
    if importlib.util.find_spec("av") is None:
        raise ModuleNotFoundError(
            "Videos are read by PyAV, which is not installed: pip install "
            "'keras-deep-emotion[faces]'"
        )

    import av

    try:
        # Opened here: of a name FFmpeg might make an address or a pattern.
        file = Path(path).open("rb")
    except OSError as error:
        raise UnreadableImage(error.strerror.lower()) from None
    with file:
        if not file.read(1):
            raise UnreadableImage("the file is empty")
        file.seek(0)
        try:
            video = av.open(file)
        except (av.error.FFmpegError, ValueError):
            raise UnreadableImage("not a video that can be read") from None
        with video:
            if not video.streams.video:
                raise UnreadableImage("a video without pictures: sound alone")
            video.streams.video[0].thread_type = "AUTO"
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
                raise UnreadableImage("a video without frames")
