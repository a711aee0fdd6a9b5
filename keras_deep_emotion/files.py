"""Files: whole or not there, checked when read; and a quiet stderr. Standard library only."""

import contextlib
import csv
import glob
import itertools
import json
import os
import re
import reprlib
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
LARGEST_TEXT = 2**26  # ours, bytes: of a JSON file or a list of labels
# Ours: of a CSV file. Pandas takes memory for each row in each column, also where rows are short.
MOST_COLUMNS, MOST_CELLS = 10_000, 2**24
# What JSON values of a schema's types are called; see `check_schema`.
KINDS = {
    **{int: "a whole number", float: "a finite number", str: "text", bool: "true or false"},
    **{list: "a list", dict: "an object", None: "null"},
}
NAME = 50  # ours: characters of a temporary file's name; most file systems take 255 bytes
# What TensorFlow and TFDS take for a pattern in the path of a file, also of one that exists.
PATTERN = {*"*?[\\"} - {os.sep}


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path`, created or replaced, on success.

    Readers never see a partial file. Every writer has its own temporary path, which ends in the
    name and suffix of `path` (in their end, if they are long), so the last of several concurrent
    writers wins. After an error `path` is unchanged and the temporary file is removed; the next
    write in its folder removes those of killed writers.
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


def is_partial(path: str | Path) -> bool:
    """Whether a file has the name of a temporary file of `atomic_write`."""
    return re.match(r"partial\.[0-9a-f]{8}\.", Path(path).name) is not None


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
    # A link is not followed, and a pipe that somebody made not waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
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


def refuse_links(folder: str | Path, *names: str) -> None:
    """Raise ValueError if what is written in a folder would go through a link to another place.

    Links to files are replaced by `atomic_write`, and do no harm. Refused are folders inside
    `folder` that are links, and files of the given names, which are locked or appended to.
    """
    for root, folders, files in os.walk(folder):
        for name in [*folders, *(name for name in files if name in names)]:
            path = os.path.join(root, name)
            if os.path.islink(path):
                raise ValueError(
                    f"{path} is a link, and nothing is written through links. Replace it with its "
                    "target, or name a new folder."
                )


def remove_dead(folder: str | Path, pattern: str) -> None:
    """Remove files and folders in `folder` that match `pattern` and that no process has `locked`.

    Without locks, those older than a day are removed.
    """
    for path in Path(folder).glob(pattern):
        # Already removed, owned by another user, or locked.
        with contextlib.suppress(OSError), locked(path, wait=False) as has_locks:
            if path.stat().st_mtime < time.time() - (NEW if has_locks else DAY):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def unused_folder(path: Path) -> Path:
    """A path at which there is nothing: this one, or else the first of it with -2, -3, ..."""
    names = itertools.chain([path.name], (f"{path.name}-{number}" for number in itertools.count(2)))
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8 by `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write indented JSON by `atomic_write`."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_text(path: str | Path, most: int = LARGEST_TEXT) -> str:
    """Read a text file in UTF-8; raise ValueError if it is another encoding, or too large."""
    size = os.stat(path).st_size
    if size > most:
        raise ValueError(f"{path} is damaged: {size:,} bytes, more than {most:,}.")
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None


def check_table(path: str | Path) -> None:
    """Raise ValueError if a CSV file is not in UTF-8, or far larger than those that we write."""
    rows = columns = 0
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                rows, columns = rows + 1, max(columns, len(row))
                if columns > MOST_COLUMNS or rows * columns > MOST_CELLS:
                    raise ValueError(
                        f"{path} is damaged: it has {columns:,} columns, {rows:,} rows."
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}.") from None


def read_json(path: str | Path, schema: Any = object, remedy: str = "") -> Any:
    """Read a JSON file, None if it does not exist; raise ValueError if it is damaged.

    The value must fit the schema of `check_schema`. `remedy` is a sentence for the error.
    """
    path = Path(path)
    return parse_json(read_text(path), path, schema, remedy) if path.is_file() else None


def parse_json(
    text: str | bytes, origin: str | Path, schema: Any = object, remedy: str = ""
) -> Any:
    """The value of a JSON text from a file, `origin`; otherwise as `read_json`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{origin} is damaged: {reason}. {remedy}".rstrip()) from None
    check_schema(value, schema, f"{origin} is damaged: ", remedy)
    return value


def check_schema(value: Any, schema: Any, error: str = "", remedy: str = "") -> None:
    """Raise ValueError, which begins with `error`, if a JSON value does not fit a schema.

    A schema is a key of `KINDS`; a tuple of alternatives; `[schema]` for a list of any length;
    `[schema, schema]` for one of two; `{str: schema}` for an object with any fields, `{"name":
    schema}` for one with this field at least (`"name?"`: if it is there); or `object` for any.
    """
    found = _mismatch(value, schema, "")
    if found is not None:
        field, expected, received = found
        message = f"{error}{field or 'it'} must be {expected}. Received: {received}. {remedy}"
        raise ValueError(message.rstrip())


def _mismatch(value, schema, field):
    """(field, what is expected, what came) of the first part that does not fit; None if all do."""
    if isinstance(schema, tuple):
        found = [_mismatch(value, one, field) for one in schema]
        return None if None in found else found[0]
    kind = type(schema) if isinstance(schema, (dict, list)) else schema
    if not _is_kind(value, kind):
        return field, KINDS[kind], reprlib.repr(value)
    if isinstance(schema, list) and len(value) != len(schema) > 1:
        return field, f"a list of {len(schema)}", f"one of {len(value)}"
    if kind is dict:
        required = [name for name in schema if name is not str and not name.endswith("?")]
        missing = [name for name in required if name not in value]
        if missing:
            return ".".join(filter(None, (field, missing[0]))), "given", "nothing"
    found = (_mismatch(*part) for part in _parts(value, schema, field))
    return next((one for one in found if one is not None), None)


def _parts(value, schema, field):
    """Yield (value, schema, field) of each part of a JSON value that has a schema."""
    if isinstance(schema, list):
        for i, one in enumerate(value if schema else []):
            yield one, schema[i % len(schema)], f"{field}[{i}]"
    elif isinstance(schema, dict):
        named = {name.rstrip("?"): one for name, one in schema.items() if name is not str}
        for name, one in value.items():
            if name in named or str in schema:
                yield one, named.get(name, schema.get(str)), ".".join(filter(None, (field, name)))


def _is_kind(value, kind):
    """Whether a JSON value is of a kind, a key of `KINDS` or `object`."""
    if kind in (int, float):
        types = (int, float) if kind is float else int
        is_number = isinstance(value, types) and not isinstance(value, bool)
        # Not NaN, not infinite; and larger whole numbers are not exact as floats.
        most = 2**53 if isinstance(value, int) else sys.float_info.max
        return is_number and (kind is int or abs(value) <= most)
    return value is None if kind is None else isinstance(value, kind)


def parse_labels(text: str, origin: str | Path, count: int | None = None) -> list[str]:
    """The class names of a text, one a line, that a file, `origin`, holds.

    Raises ValueError if the text is empty, a label is repeated or not printable, or their number is
    not `count`, that of the model's classes.
    """
    labels = text.split()
    problem = None
    if not labels or not all(map(str.isprintable, labels)):
        problem = "it must hold class names, one a line"
    elif len(set(labels)) < len(labels):
        problem = "a class name comes twice"
    elif count not in (None, len(labels)):
        problem = f"it has {len(labels)} class names, and the model has {count} classes"
    if problem:
        raise ValueError(
            f"{origin} is damaged: {problem}. Restore it from a copy, or make the model again."
        )
    return labels


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


# What pandas, R or spreadsheets read as a missing or logical value, a formula (which may start a
# program), a number, a date or a time.
CHANGED = re.compile(
    r"#n/?a(?: n/a)?|#null!|<na>|n/?a|-?nan|nil|none|null|t|f|true|false|inf(?:inity)?|1\.#\w+"
    r"|[=+@\t\r-].*|[\d.,:/ %$-]+|0x[\da-f.p+-]+|[\d.]+[edl][+-]?\d*"
    r"|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ /.-]*\d+"
    r"|\d+[ /.-]*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*(?:[ /.-]*\d+)?",
    re.IGNORECASE | re.DOTALL,
)


def csv_text(text: str) -> str:
    """A text as a cell of a CSV file; with an apostrophe before it if readers would change it.

    Example:
    >>> csv_text("NA"), csv_text("=cmd"), csv_text("007"), csv_text("KA")
    ("'NA", "'=cmd", "'007", 'KA')
    """
    return f"'{text}" if _is_changed(text) else text


def from_csv_text(cell: str) -> str:
    """What `csv_text` was given."""
    return cell[1:] if cell[:1] == "'" and _is_changed(cell[1:]) else cell


def _is_changed(text):
    """Whether readers would change a text, or take its own apostrophe for ours."""
    return CHANGED.fullmatch(text.lstrip("'").strip(" ")) is not None


def csv_path(path: str | Path) -> str:
    """A path as a cell of a CSV file; with `./` before it if readers would change it."""
    text = printable_path(path)
    return f"./{text}" if text != "-" and CHANGED.fullmatch(text.strip(" ")) else text
