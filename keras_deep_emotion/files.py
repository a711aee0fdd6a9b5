"""Files that are whole at any moment. Standard library only."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def written_whole(path):
    """Give a path beside `path` to write to, and rename it: a reader never sees half a file."""
    path = Path(path)
    aside = path.with_name(f"partial.{path.name}")
    yield aside
    os.replace(aside, path)
