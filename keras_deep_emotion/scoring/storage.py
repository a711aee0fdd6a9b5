"""Files wherever they lie: local paths as they are, URLs (`gs://...`) by Beam's file systems.

Each function raises ValueError for an URL of a kind for which no file system is installed.
"""

import glob
import os
import shutil
import uuid
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems


def is_remote(path):
    """Whether a path is an URL.

    Raises:
        ValueError: it is, and no file system is installed for its kind.
    """
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


def absolute(path):
    """The path from the root; an URL as it is."""
    return path if is_remote(path) else os.path.abspath(path)


def parent(path):
    """Folder of a file, as its path was written; empty where that names none."""
    return FileSystems.split(path)[0] if is_remote(path) else os.path.dirname(path)


def join(folder, *names):
    """A path below a folder; a name from the root, or an URL, stays as it is."""
    if is_remote(names[0]):
        return names[0]
    if is_remote(folder):
        return "/".join([folder.rstrip("/"), *names])
    return os.path.join(folder, *names)


def open_file(path):
    """Open a file to read its bytes as they are, compressed ones too.

    Raises:
        OSError: it cannot be read.
    """
    if is_remote(path):
        return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return open(path, "rb")


def read(path):
    """The bytes of a file; errors as of `open_file`."""
    with open_file(path) as file:
        return file.read()


def expand(pattern):
    """Files that a pattern matches, in the order of their names.

    Args:
        pattern: a path, or one with `*`, `?`, `[...]` and `**` for folders at any depth, also for
            none.

    Returns:
        Paths, written as the pattern is; folders are left out.
    """
    if not is_remote(pattern):
        if os.path.isfile(pattern):  # its name may hold [ or *
            return [pattern]
        found = glob.glob(pattern, recursive=True)
        # A link that leads nowhere is an input that cannot be read, not none.
        return sorted(path for path in found if os.path.isfile(path) or not os.path.exists(path))
    # To Beam, a/**/b is at least one folder deep.
    matches = FileSystems.match([pattern, pattern.replace("/**/", "/")])
    return sorted({found.path for match in matches for found in match.metadata_list})


def sizes(folder):
    """{name: bytes} of the files in a folder; none where there is no folder."""
    if is_remote(folder):
        (match,) = FileSystems.match([join(folder, "*")])
        return {one.path.rpartition("/")[2]: one.size_in_bytes for one in match.metadata_list}
    if not os.path.isdir(folder):
        return {}
    return {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.is_file()}


def write_whole(path, content, aside):
    """Write a file so that a reader never sees half of it, nor two writers mix.

    Args:
        path: where it is to lie; what lies there is replaced.
        content: bytes.
        aside: folder on the same file system, where it is written first.
    """
    # A name of its own: Beam may run a bundle twice at once.
    partial = join(aside, uuid.uuid4().hex)
    if not is_remote(path):
        Path(aside).mkdir(parents=True, exist_ok=True)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(partial).write_bytes(content)
        os.replace(partial, path)
        return
    with FileSystems.create(partial, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(content)
    if FileSystems.exists(path):  # some file systems refuse to rename onto a file
        FileSystems.delete([path])
    FileSystems.rename([partial], [path])


def remove(path):
    """Remove a file, or a folder with all that is in it, if it is there."""
    if not is_remote(path):  # to Beam's own deletion, [ in a name is a pattern
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)
    elif FileSystems.exists(path):
        FileSystems.delete([path])
