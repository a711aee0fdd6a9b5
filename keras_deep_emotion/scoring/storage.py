"""Files on local paths and at URLs (`gs://...`, by Beam's file systems).

Each function raises ValueError for a URL for whose scheme no file system is installed.
"""

import os
import shutil
import uuid
from pathlib import Path
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from keras_deep_emotion.images.finding import match_files


def is_remote(path: str) -> bool:
    """Whether a path is a URL."""
    if "://" not in path:
        return False
    try:
        FileSystems.get_filesystem(path)
    except ValueError:
        raise ValueError(
            f"No file system is installed for {path}; for gs:// pip install 'apache-beam[gcp]', "
            "for s3:// 'apache-beam[aws]', for azfs:// 'apache-beam[azure]'."
        ) from None
    return True


def absolute(path: str) -> str:
    """The absolute path; a URL unchanged."""
    return path if is_remote(path) else os.path.abspath(path)


def parent(path: str) -> str:
    """Folder of a file; empty if the path names none."""
    return FileSystems.split(path)[0] if is_remote(path) else os.path.dirname(path)


def join(folder: str, *names: str) -> str:
    """Join names to a folder; an absolute path or a URL as the first name replaces the folder."""
    if is_remote(names[0]):
        return names[0]
    if is_remote(folder):
        return "/".join([folder.rstrip("/"), *names])
    return os.path.join(folder, *names)


def open_file(path: str) -> BinaryIO:
    """Open a file for reading; compressed files are not decompressed."""
    if is_remote(path):
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return open(path, "rb")


def read(path: str) -> bytes:
    """Read a file."""
    with open_file(path) as file:
        return file.read()


def expand(pattern: str) -> list[str]:
    """Sorted paths of the files that a pattern matches, relative if the pattern is.

    As `images.finding.match_files`; at a URL a pattern has at most one `**`.
    """
    if not is_remote(pattern):
        return match_files(pattern)
    # For Beam, a/**/b is at least one folder deep.
    matches = FileSystems.match(sorted({pattern, pattern.replace("/**/", "/")}))
    return sorted({file.path for match in matches for file in match.metadata_list})


def sizes(folder: str) -> dict[str, int]:
    """Size in bytes of each file in a folder, by name; empty if the folder does not exist."""
    if is_remote(folder):
        (match,) = FileSystems.match([join(folder, "*")])
        return {file.path.rpartition("/")[2]: file.size_in_bytes for file in match.metadata_list}
    if not os.path.isdir(folder):
        return {}
    return {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}


def write_atomically(path: str, content: bytes, temporary_folder: str) -> None:
    """Write or replace a file; readers never see a part of it, and concurrent writers do not mix.

    The file is written first to `temporary_folder`, on the same file system.
    """
    temporary = join(temporary_folder, uuid.uuid4().hex)  # Beam may run a bundle twice at once
    if not is_remote(path):
        Path(temporary_folder).mkdir(parents=True, exist_ok=True)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(temporary).write_bytes(content)
        os.replace(temporary, path)
        return
    with FileSystems.create(temporary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(content)
    if FileSystems.exists(path):  # some file systems refuse to rename onto a file
        FileSystems.delete([path])
    FileSystems.rename([temporary], [path])


def remove(path: str) -> None:
    """Remove a file if it exists, or a local folder with its content; at a URL folders stay."""
    if is_remote(path):
        if FileSystems.exists(path):
            FileSystems.delete([path])
    elif os.path.isdir(path):  # not by Beam, to which [ in a name is a pattern
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)
