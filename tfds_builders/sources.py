"""What a user holds, read where it lies: a folder, and the .zip and .tar archives in it.

Nothing is unpacked: members are read in place, so none can write anywhere. Members with unsafe
names (absolute, `..`) and links are passed over.
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
from PIL import Image

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
JUNK = {"__MACOSX", ".DS_Store"}
LARGEST_RECORD = 2**20  # bytes; tar pads its end to a whole record, by default of 10 KiB
# Far above any file of these data sets (fer2013.csv has 0.3 GB), far below a bomb.
MOST_BYTES = 2 * 2**30
MOST_FILES = 1_000_000
DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,  # zipfile's, of a compression that it does not know
)


class Source(NamedTuple):
    """A folder or an archive and the files in it.

    Attributes:
        path: the folder or the archive.
        names: its files, relative to it, with `/`, sorted.
    """

    path: Path
    names: tuple[str, ...]

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open one file for reading, as bytes.

        Raises:
            ValueError: the archive is damaged, or the file too large to be what it should.
        """
        if self.path.is_dir():
            with (self.path / name).open("rb") as file:
                yield file
            return
        with _readable(self.path), _open_archive(self.path) as archive:
            member = _members(archive)[name]
            with archive.open(member) if _is_zip(archive) else archive.extractfile(member) as file:
                yield file

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Read many files, each once, in the order in which they are stored.

        Yields:
            (name, content).

        Raises:
            ValueError: the archive is damaged.
        """
        wanted = set(names)
        if self.path.is_dir():
            for name in sorted(wanted):
                yield name, (self.path / name).read_bytes()
            return
        with _readable(self.path), _open_archive(self.path) as archive:
            for name, member in _members(archive).items():
                if name in wanted:
                    opened = archive.open if _is_zip(archive) else archive.extractfile
                    with opened(member) as file:
                        yield name, file.read()


def find_sources(folder: Path) -> list[Source]:
    """List a folder and the archives in it, at any depth, links to folders too.

    Args:
        folder: what the user named.

    Returns:
        The folder first, then its archives by name. An archive that cannot be listed is passed
        over with a warning: it may have nothing to do with the data set.

    Raises:
        ValueError: there is nothing but archives that are damaged or hold more than they should.
    """
    folder = Path(folder)
    files = sorted(
        path.as_posix()
        for path in (one.relative_to(folder) for one in _files(folder))
        if not _is_junk(path)
    )
    found, refused = [Source(folder, tuple(files))], []
    for name in files:
        if name.lower().endswith(ARCHIVES):
            path = folder / name
            try:
                with _readable(path), _open_archive(path) as archive:
                    found.append(Source(path, tuple(sorted(_members(archive)))))
            except ValueError as error:
                refused.append(error)
    if refused and len(refused) == len(files):
        raise refused[0]
    for error in refused:
        logging.getLogger(__name__).warning("Passed over: %s", error)
    return found


def _files(folder):
    """Paths of the files below a folder; a folder that links lead to in a circle, once."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [
            one for one in folders if os.path.realpath(os.path.join(place, one)) not in seen
        ]
        yield from (path for path in (Path(place, name) for name in names) if path.is_file())


def _is_junk(path):
    """Whether a relative path is of what macOS puts beside files (`._x.png` holds no picture)."""
    return bool(JUNK & set(path.parts)) or path.name.startswith("._")


class NativeImage(NamedTuple):
    """An image file that was decoded once to see that it is whole.

    Attributes:
        name: its name in the source.
        content: the file's bytes.
        format: Pillow's name of the format, such as PNG, whatever the name says.
        pixels: (height, width) or (height, width, channels) uint8, as decoded.
    """

    name: str
    content: bytes
    format: str
    pixels: np.ndarray


_skipped: ContextVar[IO[str] | None] = ContextVar("skipped", default=None)


@contextlib.contextmanager
def skipping_damaged(path: Path) -> Iterator[None]:
    """Leave damaged image files out, within this context, instead of stopping at the first.

    Args:
        path: text file to write: one line a file left out, its name and what is wrong with it. On
            disk at once, so that no build ends without its list, however it ends.
    """
    with Path(path).open("w") as lines:
        token = _skipped.set(lines)
        try:
            yield
        finally:
            _skipped.reset(token)


def read_images(source: Source, names: Iterable[str]) -> Iterator[NativeImage]:
    """Read image files and decode each, on all cores, in the order in which they are stored.

    Args:
        source: where they are.
        names: which.

    Yields:
        `NativeImage`. At most a few hundred are held at a time.

    Raises:
        ValueError: a file cannot be decoded; its name is in the message. Within
            `skipping_damaged` it is listed there and left out.
    """

    def decoded(item):
        name, content = item
        try:
            with Image.open(io.BytesIO(content)) as image:
                kind = image.format
                if image.mode not in ("L", "RGB", "RGBA"):
                    image = image.convert("RGB" if image.mode in ("P", "CMYK", "YCbCr") else "L")
                return NativeImage(name, content, kind, np.asarray(image)), None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            # Pillow says where in memory the bytes were: nothing to tell a user.
            return name, str(error).partition(" <")[0]

    skipped = _skipped.get()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        items = source.read(names)
        while batch := list(itertools.islice(items, 256)):
            for image, problem in pool.map(decoded, batch):
                if problem is None:
                    yield image
                elif skipped is None:
                    raise ValueError(
                        f"{image} is damaged ({problem}); obtain it again, or leave damaged files "
                        "out with --skip-damaged."
                    )
                else:
                    print(f"{image}: {problem}", file=skipped, flush=True)


def manual_folder(dl_manager, missing: str) -> Path:
    """The folder that the user named, as TFDS's `manual_dir`.

    Raises:
        FileNotFoundError: with the sentence `missing`, if there is none or it is empty.
    """
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError:  # TFDS's way to say so
        raise FileNotFoundError(missing) from None


@contextlib.contextmanager
def _readable(path):
    """Turn what libraries raise for a damaged archive into one sentence."""
    try:
        yield
    except (*DAMAGED, OSError) as error:
        if getattr(error, "errno", None) is not None:  # of the disk; gzip's and bzip2's have none
            raise
        problem = str(error).partition(":")[0]  # tarfile goes on, for each compression, over lines
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


class _Member(tarfile.TarInfo):
    """A member whose header, where it is damaged, ends the reading with an error.

    tarfile itself takes it for the end of the archive, and what follows for nothing.
    """

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:
            raise tarfile.SubsequentHeaderError(str(error)) from error


def _read_to_the_end(archive):
    """See that nothing but padding follows a tar's last member, and that its checksum is right."""
    padding = 0
    while content := archive.fileobj.read(2**16):
        padding += len(content)
        if any(content) or padding > LARGEST_RECORD:
            raise tarfile.ReadError("there is more after its end")


def _is_zip(archive):
    return isinstance(archive, zipfile.ZipFile)


def _members(archive):
    """{name: member} of the plain files with safe names, in stored order."""
    if _is_zip(archive):
        # A link in a zip is a file whose content is its target: harmless where nothing is unpacked.
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
            raise ValueError(f"{name} in the archive has {size:,} bytes, more than it can.")
        members[path.as_posix()] = member
    return members
