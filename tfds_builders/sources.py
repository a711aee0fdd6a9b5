"""Files that a user obtained: a folder, and the .zip and .tar archives in it.

Members are read in place, not unpacked; links, hidden files and unsafe names (absolute, `..`) are
ignored. What a file is, its first bytes say; its name, if they say nothing.
"""

import bz2
import concurrent.futures
import contextlib
import errno
import gzip
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

from keras_deep_emotion.images.finding import called, visible_files
from keras_deep_emotion.images.formats import HEAD, PNG_START, decodes_alike, file_kind
from keras_deep_emotion.images.reading import UnreadableImage, decode_image
from tfds_builders.contract import encode_png

# Archives by their first bytes, and what is called so without them.
ZIP_STARTS = (b"PK\3\4", b"PK\5\6")
COMPRESSIONS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
NAMES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
UNREAD = {b"Rar!\x1a\x07": "RAR", b"7z\xbc\xaf'\x1c": "7-Zip"}
JUNK = "__MACOSX"
LARGEST_RECORD = 2**20  # bytes; tar pads its end to a whole record, by default of 10 KiB
# Far above any file of these data sets (fer2013.csv has 0.3 GB), far below a bomb.
MOST_BYTES = 2 * 2**30
MOST_READ = 100 * 2**20  # bytes of a file that is read at once: a picture, a label
MOST_FILES = 1_000_000
# What an archive may hold: so many times its own bytes (a CSV: 4 times), and always so many.
MOST_TIMES, ALWAYS = 100, 2**28
ATTRIBUTES = (
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
)  # fmt: skip
LARGEST_HEADER = 2**20  # bytes of the attributes of a member of a tar
BATCH = 256, 64 * 2**20  # pictures that are decoded at once, and their bytes
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

    def read(self, names: Iterable[str], most: int = MOST_READ) -> Iterator[tuple[str, bytes]]:
        """Read files, each once, in the order in which they are stored.

        Yields (name, content), of which there are at most `most` bytes.
        """
        wanted = set(names)
        if self.path.is_dir():
            for name in sorted(wanted):
                with (self.path / name).open("rb") as file:
                    yield name, file.read(most)
        elif wanted:
            with _open_archive(self.path) as members:
                for name, open_member in members.items():
                    if name in wanted:
                        with open_member() as file:
                            yield name, file.read(most)

    def pictures(self) -> tuple[list[str], list[str]]:
        """Names of the files that are images, and of the others."""
        heads = {}
        with contextlib.suppress(ValueError):  # such as an encrypted archive: by their names
            heads.update(self.read(self.names, HEAD))
        kinds = {name: file_kind(heads.get(name, b"")) or called(name) for name in self.names}
        images = [name for name, kind in kinds.items() if kind == "image"]
        return images, [name for name, kind in kinds.items() if kind != "image"]


def find_sources(folder: Path) -> list[Source]:
    """List a folder, then the archives in it by name, at any depth; links are followed.

    An archive that cannot be listed is ignored with a warning: it may have nothing to do with the
    data set. ValueError if there are only archives, and all are damaged, too large or not read.
    """
    folder = Path(folder)
    paths = (path for path in visible_files(folder) if path.is_file())
    paths = [path for path in paths if not _is_junk(path.relative_to(folder))]
    names = {path: path.relative_to(folder).as_posix() for path in paths}
    archives, errors = [], []
    for path in sorted(paths, key=names.get):
        try:
            if _archive_kind(path):
                with _open_archive(path) as members:
                    archives.append(Source(path, tuple(sorted(members))))
                del names[path]
        except ValueError as error:
            errors.append(error)
    if errors and len(errors) == len(paths):
        raise errors[0]
    for error in errors:
        logger.warning("Ignored: %s", error)
    return [Source(folder, tuple(sorted(names.values()))), *archives]


def _archive_kind(path):
    """Whether a file is a "zip", a "tar" or None of them; ValueError for one that is not read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except PermissionError:
        return None
    if kind := next((UNREAD[start] for start in UNREAD if head.startswith(start)), None):
        raise ValueError(
            f"{path.name} is a {kind} archive, which is not read: unpack it, and name the folder."
        )
    if head.startswith(ZIP_STARTS):
        return "zip"
    for start, open_file in COMPRESSIONS.items():
        if head.startswith(start):
            with contextlib.suppress(*DAMAGED, OSError), open_file(path) as file:
                head = file.read(HEAD)
    if head[257:262] == b"ustar":
        return "tar"
    is_called = path.name.lower().endswith(NAMES)
    return ("zip" if path.suffix.lower() == ".zip" else "tar") if is_called else None


def _is_junk(path):
    """Whether a relative path is hidden, or metadata of macOS (`._x.png` is not an image)."""
    return any(part.startswith(".") or part == JUNK for part in path.parts)


class NativeImage(NamedTuple):
    """An image file, decoded by `images.reading.decode_image`."""

    name: str  # its name in the source
    content: bytes  # the file's bytes
    pixels: np.ndarray  # (height, width) or (height, width, 3) uint8, upright

    @property
    def png(self) -> bytes:
        """The file itself if it is a PNG that TensorFlow decodes as it should, or a new one."""
        is_png = self.content.startswith(PNG_START) and decodes_alike(self.content)
        return self.content if is_png else encode_png(self.pixels)


_skipped: ContextVar[IO[str] | None] = ContextVar("skipped", default=None)


@contextlib.contextmanager
def skipping_damaged(path: Path) -> Iterator[None]:
    """Within this context, skip damaged image files instead of stopping at the first.

    `path` gets a line for each: its name and what is wrong, on disk at once, so that an interrupted
    build has its list too.
    """
    with Path(path).open("w", encoding="utf-8", errors="backslashreplace") as lines:
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

    At most `BATCH` are in memory. ValueError if one cannot be decoded, except within
    `skipping_damaged`.
    """
    skipped = _skipped.get()
    with thread_pool(os.cpu_count()) as pool:
        for batch in _batches(source.read(names)):
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


def _batches(files):
    """Lists of (name, content), each bounded by `BATCH`."""
    batch, most = [], BATCH
    for file in files:
        batch.append(file)
        if len(batch) == most[0] or sum(len(content) for _, content in batch) > most[1]:
            yield batch
            batch = []
    if batch:
        yield batch


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
        if not content:
            raise UnreadableImage("the file is empty")
        return NativeImage(name, content, np.asarray(decode_image(content))), None
    except UnreadableImage as error:
        return None, str(error)


@contextlib.contextmanager
def _open_archive(path):
    """`_members` of an archive; what libraries raise if it is damaged becomes one sentence."""
    is_zip = _archive_kind(path) == "zip"
    try:
        with zipfile.ZipFile(path) if is_zip else tarfile.open(path, tarinfo=_Member) as archive:
            most = max(ALWAYS, MOST_TIMES * path.stat().st_size)
            files = (_files_of_zip if is_zip else _files_of_tar)(archive, most)
            yield _members(files, path.name)
    except (*DAMAGED, NotImplementedError, OSError) as error:  # zipfile: unknown compression
        # A disk error; gzip's and bzip2's have no errno.
        if getattr(error, "errno", None) not in (None, errno.EINVAL):  # of a place before its start
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
    def frombuf(cls, buf, encoding, errors):
        member = super().frombuf(buf, encoding, errors)
        # tarfile reads the attributes of a member into memory, and a list of its holes.
        is_long = member.type in ATTRIBUTES and member.size > LARGEST_HEADER
        if is_long or member.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.InvalidHeaderError("a header is too long, or of a file with holes")
        return member

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:
            raise tarfile.SubsequentHeaderError(str(error)) from error


def _files_of_zip(archive, most):
    _check_expansion(sum(one.file_size for one in archive.infolist()), most)
    # A link in a zip is a file whose content is its target: harmless as nothing is unpacked.
    files = (one for one in archive.infolist() if not one.is_dir())
    return [(one.filename, one.file_size, partial(archive.open, one)) for one in files]


def _files_of_tar(archive, most):
    files = []
    for one in archive:
        _check_expansion(one.offset_data + one.size, most)  # before it is decompressed
        if one.isfile():
            files.append((one.name, one.size, partial(archive.extractfile, one)))
        if len(archive.members) > MOST_FILES:
            raise tarfile.ReadError(f"more than {MOST_FILES:,} members")
    # Check that only padding follows the last member, and that gzip's checksum is correct.
    padding = 0
    while content := archive.fileobj.read(2**16):
        padding += len(content)
        if any(content) or padding > LARGEST_RECORD:
            raise tarfile.ReadError("there is more after its end")
    return files


def _check_expansion(size, most):
    if size > most:
        raise zipfile.BadZipFile(f"it would expand to {size:,} bytes or more, over {most:,}")


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
