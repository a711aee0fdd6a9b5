"""Files that a user obtained: a folder, and the .zip and .tar archives in it.

Nothing is unpacked: members are read in place, so none can write anywhere. Members with unsafe
names (absolute, `..`) and links are ignored.
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
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
JUNK = {"__MACOSX", ".DS_Store"}
LARGEST_RECORD = 2**20  # bytes; tar pads its end to a whole record, by default of 10 KiB
# Far above any file of these data sets (fer2013.csv has 0.3 GB), far below a bomb.
MOST_BYTES = 2 * 2**30
MOST_FILES = 1_000_000
logger = logging.getLogger(__name__)
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,  # raised by zipfile for an unknown compression
)


class Source(NamedTuple):
    """A folder or an archive and the files in it."""

    path: Path  # the folder or the archive
    names: tuple[str, ...]  # its files, relative to it, with `/`, sorted

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open one file for reading, as bytes.

        Raises:
            ValueError: If the archive is damaged, or the file is too large.
        """
        if self.path.is_dir():
            with (self.path / name).open("rb") as file:
                yield file
            return
        with _readable(self.path), _open_archive(self.path) as archive:
            with _open_member(archive, _members(archive)[name]) as file:
                yield file

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Read files, each once, in the order in which they are stored; yields (name, content).

        Raises:
            ValueError: If the archive is damaged.
        """
        wanted = set(names)
        if self.path.is_dir():
            for name in sorted(wanted):
                yield name, (self.path / name).read_bytes()
        elif wanted:
            with _readable(self.path), _open_archive(self.path) as archive:
                for name, member in _members(archive).items():
                    if name in wanted:
                        with _open_member(archive, member) as file:
                            yield name, file.read()


def find_sources(folder: Path) -> list[Source]:
    """List a folder and the archives in it, at any depth; links to folders are followed.

    Returns:
        The folder first, then its archives by name. An archive that cannot be listed is ignored
        with a warning: it may have nothing to do with the data set.

    Raises:
        ValueError: If there are only archives, and all are damaged or too large.
    """
    folder = Path(folder)
    files = sorted(
        path.as_posix()
        for path in (file.relative_to(folder) for file in _files(folder))
        if not _is_junk(path)
    )
    sources, errors = [Source(folder, tuple(files))], []
    for name in files:
        if name.lower().endswith(ARCHIVES):
            path = folder / name
            try:
                with _readable(path), _open_archive(path) as archive:
                    sources.append(Source(path, tuple(sorted(_members(archive)))))
            except ValueError as error:
                errors.append(error)
    if errors and len(errors) == len(files):
        raise errors[0]
    for error in errors:
        logger.warning("Ignored: %s", error)
    return sources


def _files(folder):
    """Paths of the files below a folder; each folder once, even if links form a circle."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [
            one for one in folders if os.path.realpath(os.path.join(place, one)) not in seen
        ]
        yield from (path for path in (Path(place, name) for name in names) if path.is_file())


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

    Args:
        path: Text file to write: for each skipped file a line with its name and what is wrong, on
            disk at once, so that an interrupted build has its list too.
    """
    with Path(path).open("w") as lines:
        token = _skipped.set(lines)
        try:
            yield
        finally:
            _skipped.reset(token)


def read_images(source: Source, names: Iterable[str]) -> Iterator[NativeImage]:
    """Read image files and decode them on all cores, in the order in which they are stored.

    At most a few hundred are in memory at a time.

    Raises:
        ValueError: If a file cannot be decoded; its name is in the message. Within
            `skipping_damaged` it is listed there and skipped.
    """
    skipped = _skipped.get()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
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
    """The folder that the user named, TFDS's `manual_dir`.

    Raises:
        FileNotFoundError: If there is none or it is empty; `missing` is the message.
    """
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
            if image.mode not in ("L", "RGB", "RGBA"):
                image = image.convert("RGB" if image.mode in ("P", "CMYK", "YCbCr") else "L")
            return NativeImage(name, content, kind, np.asarray(image)), None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow's message goes on with an address in memory, of no use to the user.
        return None, str(error).partition(" <")[0]


@contextlib.contextmanager
def _readable(path):
    """Replace what libraries raise for a damaged archive by one sentence."""
    try:
        yield
    except (*DAMAGED, OSError) as error:
        if (
            getattr(error, "errno", None) is not None
        ):  # a disk error; gzip's and bzip2's have no errno
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


def _open_archive(path):
    if path.name.lower().endswith(".zip"):
        return zipfile.ZipFile(path)
    return tarfile.open(path, tarinfo=_Member)


def _open_member(archive, member):
    return archive.open(member) if _is_zip(archive) else archive.extractfile(member)


class _Member(tarfile.TarInfo):
    """A member of a tar that raises if its header is damaged; tarfile would end there silently."""

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:
            raise tarfile.SubsequentHeaderError(str(error)) from error


def _read_to_the_end(archive):
    """Check that only padding follows a tar's last member, and that its checksum is correct."""
    padding = 0
    while content := archive.fileobj.read(2**16):
        padding += len(content)
        if any(content) or padding > LARGEST_RECORD:
            raise tarfile.ReadError("there is more after its end")


def _is_zip(archive):
    return isinstance(archive, zipfile.ZipFile)


def _members(archive):
    """{name: member} of the regular files with safe names, in stored order."""
    if _is_zip(archive):
        # A link in a zip is a file whose content is its target: harmless as nothing is unpacked.
        files = [
            (one.filename, one.file_size, one) for one in archive.infolist() if not one.is_dir()
        ]
    else:
        files = [(one.name, one.size, one) for one in archive if one.isfile()]
        _read_to_the_end(archive)
    if len(files) > MOST_FILES:
        raise ValueError(
            f"The archive holds {len(files):,} files, more than any of these data sets."
        )
    members = {}
    for name, size, member in files:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or _is_junk(path):
            continue
        if size > MOST_BYTES:
            raise ValueError(
                f"{name} in the archive has {size:,} bytes; the most is {MOST_BYTES:,}."
            )
        members[path.as_posix()] = member
    return members
