"""Files that are either whole or not there, and a quiet stderr. Standard library only."""

import contextlib
import glob
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None

DAY = 24 * 60 * 60  # seconds
# ours: seconds in which a temporary file is never removed; its writer locks it within a moment.
NEW = 5
NAME = 50  # ours: characters of a temporary file's name; most file systems take 255 bytes
# What TensorFlow and TFDS take for a pattern in the path of a file, also of one that exists.
PATTERN = {*"*?[\\"} - {os.sep}


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path`, created or replaced, on success.

    Readers never see a partial file. Every writer has its own temporary path, which ends in the
    name and suffix of `path` (in their end, if they are long), so the last of several concurrent
    writers wins. After an error `path`
    is unchanged and the temporary file is removed; the next write in its folder removes those of
    killed writers.
    """
    path = Path(path)
    # Match exactly the names below: a `partial.old.labels.csv` belongs to the user.
    remove_dead(path.parent, f"partial.{'[0-9a-f]' * 8}.*")
    temporary = path.with_name(f"partial.{secrets.token_hex(4)}.{path.name[-NAME:]}")
    try:
        temporary.touch(exist_ok=False)
        with locked(temporary):
            yield temporary
            with open(temporary, "rb+") as file:  # Windows syncs only what may be written
                os.fsync(file.fileno())  # else a power cut may keep the name but not the content
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(parent: str | Path, prefix: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, removed at the end; those of killed processes go first."""
    remove_dead(parent, f"{glob.escape(prefix)}{'[a-z0-9_]' * 8}")
    with tempfile.TemporaryDirectory(
        prefix=prefix, dir=parent, ignore_cleanup_errors=True
    ) as folder:
        with locked(folder):
            yield Path(folder)


@contextlib.contextmanager
def plain_path(path: str | Path) -> Iterator[str]:
    """Yield a path under which TensorFlow and TFDS find what is at `path`, for the context only.

    It is the path itself, or a link in a temporary folder if they would take the path for a
    pattern, or if it is not UTF-8. URLs are left alone. Raises ValueError if no link can be made.
    """
    if is_plain(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="link-") as folder:
        link = Path(folder) / "link"
        with contextlib.suppress(OSError):  # Windows asks for a privilege
            link.symlink_to(Path(path).absolute(), target_is_directory=True)
        if not link.is_symlink() or not is_plain(link):
            raise ValueError(
                f"TensorFlow cannot open {printable_path(path)}: it takes *, ?, [ and \\ for a "
                "pattern, and needs UTF-8. Rename the folder."
            )
        yield str(link)


def is_plain(path: str | Path) -> bool:
    """Whether TensorFlow and TFDS take a path for itself."""
    text = str(path)
    return "://" in text or (not PATTERN & {*text} and printable_path(text) == text)


@contextlib.contextmanager
def locked(path: str | Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a file or folder, which the system releases when the process ends.

    Yields False if the file system has no locks. Raises BlockingIOError if another process holds
    the lock, and not `wait`.
    """
    if fcntl is None:
        yield False
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            has_locks = True
        except BlockingIOError:
            raise
        except OSError:  # some network file systems
            has_locks = False
        yield has_locks
    finally:
        os.close(descriptor)


def remove_dead(folder: str | Path, pattern: str) -> None:
    """Remove files and folders in `folder` that match `pattern` and that no process has `locked`.

    Without locks, those older than a day are removed.
    """
    for path in Path(folder).glob(pattern):
        # Already removed, owned by another user, or locked.
        with contextlib.suppress(OSError), locked(path, wait=False) as has_locks:
            if path.stat().st_mtime < time.time() - (NEW if has_locks else DAY):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8 by `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON by `atomic_write`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file, None if it does not exist; raise ValueError if it is damaged."""
    path = Path(path)
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep what libraries write to stderr off the screen; show it if an error is raised.

    TensorFlow and LiteRT log when they start, which none of their settings silences.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BaseException:
            log.seek(0)
            os.write(stderr, log.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def printable_path(path: str | Path) -> str:
    """Return a path as text for output; bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(path).decode(errors="replace")
