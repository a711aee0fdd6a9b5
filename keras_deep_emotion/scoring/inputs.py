"""Inputs of a job: image files named by patterns or lists, and TFRecords; found and read.

An entry of a job's list is the path of an image, or consecutive records of a TFRecord file:
{"file", "first", "count", "offset"}, where `offset` is the byte at which record `first` starts.
"""

import collections
import contextlib
import csv
import errno
import gzip
import io
import itertools
import operator
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_deep_emotion.images.finding import find_files, is_video, passed_over
from keras_deep_emotion.scoring import storage

TFRECORD_NAME = re.compile(r"\.tfrecords?\b", re.IGNORECASE)
MOST_RECORD = 128 * 2**20  # ours, bytes: of a record; a longer one is damaged
READERS = 16  # ours: files read at once; a bucket takes about 30 ms for each
# Errors of the machine, not of the file: the job must stop, and no file is called damaged.
MACHINE_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
COMPRESSION_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)


class Content(NamedTuple):
    """An input that was read."""

    name: str  # path; `file#index` for a record
    image: bytes | None  # content of the image file, if it could be read
    error: str | None = None  # the reason if not, one clause


def find_entries(
    patterns: list[str],
    column: str,
    feature: str,
    part_size: int,
    announce: Callable[[str], None] = lambda text: None,
) -> Iterator[list[str | dict]]:
    """Yield the entries of each part; a file that is named twice is listed once.

    Arguments are those of `score`; a folder means the images in it. Raises ValueError if a list
    lacks the column, records lack the feature, or nothing is matched.
    """
    matches = {pattern: _find(pattern, announce) for pattern in patterns}
    for pattern, files in matches.items():
        if not files:
            raise ValueError(
                f"No image or list matches {pattern}. Name a folder, or files, such as --input "
                "'DIR/**/*.jpg' with the quotes, a list in a .csv file, or TFRecords."
            )
    inputs = _list_inputs(matches, column, feature)
    is_empty = True
    while part := list(itertools.islice(inputs, part_size)):
        is_empty = False
        yield _to_entries(part)
    if is_empty:
        raise ValueError(f"{', '.join(patterns)}: these files name no image and hold no record.")


def _find(pattern, announce):
    """Files that a pattern matches, or the images in a folder."""
    if storage.is_remote(pattern) or not os.path.isdir(pattern):
        return storage.expand(pattern)
    found = [one for one in find_files([pattern]) if one.error is None]
    images = [str(one.path) for one in found if not is_video(one.path)]
    others = {*itertools.chain.from_iterable(one.passed_over for one in found)}
    others |= {one.path for one in found if is_video(one.path)}
    if note := passed_over(sorted(others), "not images"):
        announce(note)
    return images


def _list_inputs(matches, column, feature):
    """Yield (path, None) for each image file, (path, (index, offset)) for each record."""
    seen = set()
    for pattern, file in ((key, file) for key, files in matches.items() for file in files):
        is_list = pattern.lower().endswith(".csv")
        for path in _read_list(file, column) if is_list else [file]:
            if path in seen:
                continue
            seen.add(path)
            # Not in the name of a folder.
            if is_list or not TFRECORD_NAME.search(pattern.rsplit("/", 1)[-1]):
                yield path, None
                continue
            _check_feature(path, feature)
            yield from ((path, record) for record in enumerate(record_offsets(path)))


def _to_entries(part):
    entries = []
    for file, group in itertools.groupby(part, key=operator.itemgetter(0)):
        (_, record), *more = group
        entry = file
        if record is not None:
            first, offset = record
            entry = {"file": file, "first": first, "count": 1 + len(more), "offset": offset}
        entries.append(entry)
    return entries


def _read_list(file, column):
    """Yield the paths in a CSV file."""
    with storage.open_file(file) as binary:
        # Spreadsheets write a byte order mark.
        table = csv.reader(io.TextIOWrapper(binary, encoding="utf-8-sig", newline=""))
        try:
            columns = next(table, [])
            if column not in columns:
                names = " ".join(", ".join(columns).split())[:300] or "nothing"
                raise ValueError(
                    f"{file} has no column {column!r}; it has: {names}. Name one with --column."
                )
            place = columns.index(column)
            for row in filter(None, table):  # not blank lines
                if not "".join(row[place : place + 1]):
                    raise ValueError(
                        f"{file}, line {table.line_num}: column {column!r} is empty. Give it the "
                        "path of an image, or delete the line."
                    )
                yield storage.join(storage.parent(file), row[place])
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is not a CSV file in UTF-8: {error}.") from None


def read_entries(
    entries: Iterable[str | dict], folder: str, feature: str, ahead: int
) -> Iterator[Content]:
    """Read the inputs of a part in order, up to `ahead` files in advance.

    Relative paths are relative to `folder`. Raises OSError if the machine runs out of open files or
    memory; an input that cannot be read has an error.
    """
    with ThreadPoolExecutor(READERS) as pool:
        for kind, group in itertools.groupby(entries, type):
            if kind is dict:
                for entry in group:
                    yield from _read_records(entry, folder, feature)
                continue
            waiting = collections.deque()
            for path in group:
                waiting.append(pool.submit(_read_image, path, folder))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            for future in waiting:
                yield future.result()


def _read_image(path, folder):
    try:
        image = storage.read(storage.join(folder, path))
    except (OSError, ValueError) as error:
        return Content(path, None, _reason(error))
    return Content(path, image) if image else Content(path, None, "the file is empty")


def _reason(error):
    """Clause for an error of reading; the error is raised again if the machine is to blame."""
    if getattr(error, "errno", None) in MACHINE_ERRORS:
        raise error
    return (getattr(error, "strerror", None) or str(error)).lower()


# A TFRecord file is a sequence of: length (uint64), its checksum (uint32), data, its checksum
# (tensorflow/core/lib/io/record_writer.h). tf.data cannot start reading in the middle of a file.


def masked_crc(data: bytes) -> int:
    """Checksum of a few bytes, as TFRecord files store it: CRC-32C (Castagnoli), masked."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _record_length(head):
    """Bytes of a record's data from its head of 12 bytes; None if it is damaged or too long."""
    if len(head) < 12:
        return None
    length, checksum = struct.unpack("<QI", head)
    is_good = length <= MOST_RECORD and masked_crc(head[:8]) == checksum
    return length if is_good else None


@contextlib.contextmanager
def _open_records(file):
    """Open a TFRecord file; gzip is recognized by its content, not by its name."""
    with storage.open_file(file) as handle:
        head = handle.read(12)
        handle.seek(0)
        is_gzip = _record_length(head) is None and head.startswith(b"\x1f\x8b")
        yield gzip.GzipFile(fileobj=handle) if is_gzip else handle


def record_offsets(file: str) -> Iterator[int]:
    """Yield the offset of each record; a damaged record is the last, since the rest is lost."""
    with _open_records(file) as handle:
        offset, is_whole = 0, True
        while is_whole:
            is_whole = False
            with contextlib.suppress(*COMPRESSION_ERRORS):
                head = handle.read(12)
                if not head:
                    return
                length = _record_length(head)
                if length is not None:
                    handle.seek(length + 3, io.SEEK_CUR)
                    is_whole = bool(handle.read(1))
            yield offset
            if is_whole:
                offset += length + 16


def _read_records(entry, folder, feature):
    """Yield the `Content` of each record; from a damaged record on, with an error."""
    first = entry["first"]
    waiting = collections.deque(f"{entry['file']}#{first + i}" for i in range(entry["count"]))
    reason = "the file of records is damaged from here on"
    try:
        with _open_records(storage.join(folder, entry["file"])) as handle:
            handle.seek(entry["offset"])
            while waiting:
                length = _record_length(handle.read(12))
                data = b"" if length is None else handle.read(length + 4)
                if length is None or len(data) < length + 4:
                    break
                # The checksum of the data is not checked, being slow in Python: decoding is.
                yield _parse_example(waiting.popleft(), data[:-4], feature)
    except COMPRESSION_ERRORS:
        pass
    except OSError as error:
        reason = _reason(error)
    yield from (Content(name, None, reason) for name in waiting)


def _parse_example(name, data, feature):
    try:
        features = tf.train.Example.FromString(data).features.feature
    except DecodeError:
        return Content(name, None, "the record is not a tf.Example")
    values = features[feature].bytes_list.value if feature in features else ()
    if len(values) != 1 or not values[0]:
        return Content(name, None, f"the record has no image in its feature {feature!r}")
    return Content(name, values[0])


def _check_feature(file, feature):
    """Raise ValueError if the first record lacks the feature, before all others are read."""
    try:
        with _open_records(file) as handle:
            data = handle.read(_record_length(handle.read(12)) or 0)
        names = sorted(tf.train.Example.FromString(data).features.feature)
    except (DecodeError, *COMPRESSION_ERRORS):  # reported when the record is read
        return
    if names and feature not in names:
        raise ValueError(
            f"The records of {file} have no feature {feature!r}; they have: {', '.join(names)}. "
            "Name one with --feature."
        )
