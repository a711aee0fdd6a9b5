"""Files that are whole at any moment. Standard library only."""

import contextlib
import glob
import os
import secrets
import time
from pathlib import Path

A_DAY = 24 * 60 * 60


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
    for left in path.parent.glob(f"partial.*.{glob.escape(path.name)}"):
        with contextlib.suppress(FileNotFoundError):  # its writer may be done by now
            if left.stat().st_mtime < time.time() - A_DAY:
                left.unlink()
    aside = path.with_name(f"partial.{secrets.token_hex(4)}.{path.name}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
