"""Files that are whole at any moment. Standard library only."""

import contextlib
import glob
import os
import secrets
import shutil
import time
from pathlib import Path

DAY = 24 * 60 * 60  # seconds


@contextlib.contextmanager
def written_whole(path):
    """Give a path beside `path` to write to, and rename it: a reader never sees half a file.

    Every writer has a path of its own, so that of several at once the last one wins, whole. An
    error leaves `path` as it was and nothing beside it; what a killed writer left beside it is
    removed by a later one, after a day.

    Args:
        path: the file to be written or replaced. The path given ends in its name, suffix and all.
    """
    path = Path(path)
    # Exactly the names given below: a partial.old.labels.csv is the user's own.
    remove_left(path.parent, f"partial.{'[0-9a-f]' * 8}.{glob.escape(path.name)}")
    aside = path.with_name(f"partial.{secrets.token_hex(4)}.{path.name}")
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())  # or a power cut may keep the name and not the content
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def shown(path):
    """A path as text for any output, table or figure: bytes that are no UTF-8 come as �."""
    return os.fsencode(path).decode(errors="replace")


def remove_left(folder, pattern):
    """Remove what killed writers left in a folder: files and folders untouched for a day.

    Args:
        folder: where to look; not below it.
        pattern: what their names match, as `Path.glob` reads it.
    """
    for left in Path(folder).glob(pattern):
        with contextlib.suppress(OSError):  # gone: its writer is done; or it is another user's
            if left.stat().st_mtime < time.time() - DAY:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
