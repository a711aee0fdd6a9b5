"""Files that a user obtained: a folder, and the .zip and .tar archives in it.

Members are read in place, not unpacked; links and unsafe names (absolute, `..`) are ignored.
"""

import concurrent.futures
import contextlib
import io
import itertools
import logging
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
JUNK = {"__MACOSX", ".DS_Store"}
LARGEST_RECORD = 2**20  # bytes; tar pads its end to a whole record, by default of 10 KiB
# Far above any file of these data sets (fer2013.csv has 0.3 GB), far below a bomb.
MOST_BYTES = 2 * 2**30
MOST_FILES = 1_000_000
logger = logging.getLogger(__name__)
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)


class Source(NamedTuple):
    """A folder or an archive and the files in it."""

    path: Path  # the folder or the archive
    names: tuple[str, ...]  # its files, relative to it, with `/`, sorted

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open one file for reading, as bytes; ValueError if its archive is damaged."""
        if self.path.is_dir():
            with (self.path / name).open("rb") as file:
                yield file
        else:
            with _open_archive(self.path) as members, members[name]() as file:
                yield file

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Read files, each once, in the order in which they are stored; yields (name, content)."""
        wanted = set(names)
        if self.path.is_dir():
            for name in sorted(wanted):
                yield name, (self.path / name).read_bytes()
        elif wanted:
            with _open_archive(self.path) as members:
                for name, open_member in members.items():
                    if name in wanted:
                        with open_member() as file:
                            yield name, file.read()


def find_sources(folder: Path) -> list[Source]:
    """List a folder, then the archives in it by name, at any depth; links are followed.

    An archive that cannot be listed is ignored with a warning: it may have nothing to do with the
    data set. ValueError if there are only archives, and all are damaged or too large.
    """
    folder = Path(folder)
    paths = (file.relative_to(folder) for file in _files(folder))
    files = sorted(path.as_posix() for path in paths if not _is_junk(path))
    sources, errors = [Source(folder, tuple(files))], []
    for name in files:
        if name.lower().endswith(ARCHIVES):
            path = folder / name
            try:
                with _open_archive(path) as members:
                    sources.append(Source(path, tuple(sorted(members))))
            except ValueError as error:
                errors.append(error)
    if errors and len(errors) == len(files):
        raise errors[0]
    for error in errors:
        logger.warning("Ignored: %s", error)
    return sources


def _files(folder, above=frozenset()):
    """Paths of the files below a folder; links are followed, but not in a circle."""
    above = above | {folder.resolve()}
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and path.resolve() not in above:
            yield from _files(path, above)


def _is_junk(path):
    """Whether a relative path is metadata of macOS (`._x.png` is not an image)."""
    return bool(JUNK & set(path.parts)) or path.name.startswith("._")


class NativeImage(NamedTuple):
    """An image file, decoded."""

    name: str  # its name in the source
    content: bytes  # the file's bytes
    format: str  # its format by its content, such as PNG, as Pillow names it
    pixels: np.ndarray  # (height, width) or (height, width, channels) uint8


_skipped: ContextVar[IO[str] | None] = ContextVar("skipped", default=None)


@contextlib.contextmanager
def skipping_damaged(path: Path) -> Iterator[None]:
    """Within this context, skip damaged image files instead of stopping at the first.

    `path` gets a line for each: its name and what is wrong, on disk at once, so that an interrupted
    build has its list too.
    """
    with Path(path).open("w") as lines:
        token = _skipped.set(lines)
        try:
            yield
        finally:
            _skipped.reset(token)


@contextlib.contextmanager
def thread_pool(threads: int) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """A pool of threads for a generator, which may be stopped anywhere.

    Its end does not wait for the threads: the garbage collector may close the generator in one of
    them, which cannot wait for itself.
    """
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_images(source: Source, names: Iterable[str]) -> Iterator[NativeImage]:
    """Read image files and decode them on all cores, in the order in which they are stored.

    At most a few hundred are in memory. ValueError if one cannot be decoded, except within
    `skipping_damaged`.
    """
    skipped = _skipped.get()
    with thread_pool(os.cpu_count()) as pool:
        files = source.read(names)
        while batch := list(itertools.islice(files, 256)):
            for (name, _), (image, problem) in zip(batch, pool.map(_decode, batch), strict=True):
                if image is not None:
                    yield image
                elif skipped is not None:
                    print(f"{name}: {problem}", file=skipped, flush=True)
                else:
                    raise ValueError(
                        f"{name} is damaged ({problem}); obtain it again, or leave damaged files "
                        "out with --skip-damaged."
                    )


def check_size(image: NativeImage, side: int, remedy: str) -> None:
    """Raise ValueError, with a remedy, if an image is not `side` x `side` pixels."""
    height, width = image.pixels.shape[:2]
    if (height, width) != (side, side):
        raise ValueError(
            f"{image.name} must have {side} x {side} pixels. Found: {width} x {height}; {remedy}."
        )


def manual_folder(dl_manager: tfds.download.DownloadManager, missing: str) -> Path:
    """The folder that the user named; FileNotFoundError(missing) if it is missing or empty."""
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # raised by TFDS
        raise FileNotFoundError(missing) from None


def _decode(file):
    """(`NativeImage`, None) of a (name, content), or (None, what is wrong with it)."""
    name, content = file
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind = image.format
            if image.mode == "F":
                raise ValueError("its pixels are floats of unknown range")
            if image.mode.startswith("I"):  # 16 bits, in a mode of 16 or 32
                levels = np.asarray(image, np.int64) >> 8
                image = Image.fromarray(levels.clip(0, 255).astype(np.uint8))
            elif image.mode not in ("L", "RGB", "RGBA"):
                image = image.convert("RGB" if image.mode in ("P", "CMYK", "YCbCr") else "L")
            return NativeImage(name, content, kind, np.asarray(image)), None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow's message goes on with an address in memory, of no use to the user.
        return None, str(error).partition(" <")[0]


@contextlib.contextmanager
def _open_archive(path):
    """`_members` of an archive; what libraries raise if it is damaged becomes one sentence."""
    is_zip = path.name.lower().endswith(".zip")
    try:
        with zipfile.ZipFile(path) if is_zip else tarfile.open(path, tarinfo=_Member) as archive:
            files = _files_of_zip(archive) if is_zip else _files_of_tar(archive)
            yield _members(files, path.name)
    except (*DAMAGED, NotImplementedError, OSError) as error:  # zipfile: unknown compression
        # A disk error; gzip's and bzip2's have no errno.
        if getattr(error, "errno", None) is not None:
            raise
        problem = str(error).partition(":")[0]  # tarfile adds a line for each compression
        raise ValueError(
            f"{path.name} is damaged or cut short ({problem}); obtain it again."
        ) from error
    except RuntimeError as error:
        if "password" not in str(error):
            raise
        raise ValueError(
            f"{path.name} is encrypted; unpack it with its password and name the folder."
        ) from error


class _Member(tarfile.TarInfo):
    """A member of a tar that raises if its header is damaged; tarfile would end there silently."""

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:
            raise tarfile.SubsequentHeaderError(str(error)) from error


def _files_of_zip(archive):
    # A link in a zip is a file whose content is its target: harmless as nothing is unpacked.
    files = (one for one in archive.infolist() if not one.is_dir())
    return [(one.filename, one.file_size, partial(archive.open, one)) for one in files]


def _files_of_tar(archive):
    files = [
        (one.name, one.size, partial(archive.extractfile, one)) for one in archive if one.isfile()
    ]
    # Check that only padding follows the last member, and that gzip's checksum is correct.
    padding = 0
    while content := archive.fileobj.read(2**16):
        padding += len(content)
        if any(content) or padding > LARGEST_RECORD:
            raise tarfile.ReadError("there is more after its end")
    return files


def _members(files, archive):
    """{name: function that opens it} of (name, bytes, function) where the name is safe."""
    if len(files) > MOST_FILES:
        raise ValueError(f"{archive} holds {len(files):,} files, more than these data sets.")
    members = {}
    for name, size, open_member in files:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or _is_junk(path):
            continue
        if size > MOST_BYTES:
            raise ValueError(f"{name} in {archive} has {size:,} bytes; at most {MOST_BYTES:,}.")
        members[path.as_posix()] = open_member
    return members
