"""What a bulk job scores: image files by pattern or by list, and TFRecords; found and read.

An entry of a job's list is a path, or a stretch of a TFRecord file: {"file", "first", "count",
"offset"}, the place of its first record in records and in bytes.
"""

import collections
import contextlib
import csv
import errno
import gzip
import io
import itertools
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import tensorflow as tf
from google.protobuf.message import DecodeError

from keras_deep_emotion.scoring import storage

RECORDS = re.compile(r"\.tfrecords?\b", re.IGNORECASE)
READERS = 16  # ours: files read at once; a bucket answers in some 30 ms
# Of the machine, not of the file: the job is to stop, and no file to be called damaged.
MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
COMPRESSION_ERRORS = (EOFError, gzip.BadGzipFile, zlib.error)


class Content(NamedTuple):
    """One input, read.

    Attributes:
        name: its path; of a record `file#index`.
        image: bytes of the image file, or None where there are none.
        error: why not, one clause, or None.
    """

    name: str
    image: bytes | None
    error: str | None


def find_entries(patterns, column, feature, part_size):
    """List what patterns match, cut into parts.

    Args:
        patterns: of image files, of TFRecords (named `*.tfrecord*`) or of lists (`*.csv`).
        column: column of the lists that holds paths, relative to the list's folder.
        feature: of the records, the image file's bytes.
        part_size: inputs in a part; the last may have fewer.

    Yields:
        A list of entries for each part. A file that is named twice comes once.

    Raises:
        ValueError: a list lacks the column or the records the feature, or nothing is matched.
    """
    matched = [(pattern, _expand(pattern)) for pattern in patterns]
    inputs = itertools.chain.from_iterable(
        _inputs(pattern, files, column, feature) for pattern, files in matched
    )
    first = next(inputs, None)
    if first is None:
        raise ValueError(f"{', '.join(patterns)}: these files name no image and hold no record.")
    seen, part, count = set(), [], 0
    for file, record in itertools.chain([first], inputs):
        if record is None or record[0] == 0:
            # Of a record file the first decides for the rest, which follow it.
            repeated = file in seen
            seen.add(file)
        if repeated:
            continue
        if count == part_size:
            yield part
            part, count = [], 0
        count += 1
        if record is None:
            part.append(file)
        elif part and isinstance(part[-1], dict) and part[-1]["file"] == file:
            part[-1]["count"] += 1
        else:
            part.append({"file": file, "first": record[0], "count": 1, "offset": record[1]})
    yield part


def _expand(pattern):
    files = storage.expand(pattern)
    if not files:
        raise ValueError(
            f"No file matches {pattern}. Name files, such as --input 'DIR/**/*.jpg' with the "
            "quotes, a list in a .csv file, or TFRecords."
        )
    return files


def _inputs(pattern, files, column, feature):
    """Yield (path, None) of each image file, (path, (index, offset)) of each record."""
    for file in files:
        if pattern.lower().endswith(".csv"):
            for path in _listed(file, column):
                yield path, None
        elif RECORDS.search(pattern.rsplit("/", 1)[-1]):  # not the name of a folder
            for record in enumerate(record_offsets(file)):
                if record[0] == 0:
                    _check_feature(file, feature)
                yield file, record
        else:
            yield file, None


def _listed(file, column):
    """Yield the paths in a list."""
    with storage.open_file(file) as binary:
        # Spreadsheets begin a file with a mark of its encoding.
        table = csv.DictReader(io.TextIOWrapper(binary, encoding="utf-8-sig", newline=""))
        try:
            if column not in (table.fieldnames or ()):
                raise ValueError(
                    f"{file} has no column {column!r}; it has: "
                    f"{', '.join(table.fieldnames or ['nothing'])}. Name one with --column."
                )
            folder = storage.parent(file)
            for row in table:
                if not row[column]:
                    raise ValueError(
                        f"{file}, line {table.line_num}: column {column!r} is empty. Give it the "
                        "path of an image, or delete the line."
                    )
                yield storage.join(folder, row[column])
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is no CSV in UTF-8: {error}. Save it as such.") from None


def read_entries(entries, folder, feature, ahead):
    """Read the inputs of a part.

    Args:
        entries: as of `find_entries`.
        folder: what their relative paths are relative to.
        feature: of the records, the image file's bytes.
        ahead: files to hold read before they are asked for.

    Yields:
        `Content`, in order; what cannot be read has an error.

    Raises:
        OSError: the machine has no more open files or memory to give.
    """
    with ThreadPoolExecutor(READERS) as pool:
        for kind, group in itertools.groupby(entries, type):
            if kind is dict:
                for stretch in group:
                    yield from read_records(stretch, folder, feature)
                continue
            waiting = collections.deque()
            for path in group:
                waiting.append(pool.submit(read_image, path, folder))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            for one in waiting:
                yield one.result()


def read_image(path, folder):
    """`Content` of an image file."""
    try:
        image = storage.read(storage.join(folder, path))
    except (OSError, ValueError) as error:
        return Content(path, None, _why(error))
    return Content(path, image, None) if image else Content(path, None, "the file is empty")


def _why(error):
    """Clause for an error of reading; raises it again where the file is not to blame."""
    if getattr(error, "errno", None) in MACHINE:
        raise error
    return (getattr(error, "strerror", None) or str(error)).lower()


# TFRecords: length (uint64), its checksum (uint32), data, its checksum, one after another
# (tensorflow/core/lib/io/record_writer.h). tf.data reads them, but not from the middle of a file.


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # CRC-32C (Castagnoli)
        table.append(value)
    return table


CRC_TABLE = _crc_table()


def masked_crc(data):
    """Checksum of a few bytes as TFRecords hold it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record_length(head):
    """Bytes of a record's data by its head, None where that is broken."""
    if len(head) < 12:
        return None
    length, checksum = struct.unpack("<QI", head)
    return length if masked_crc(head[:8]) == checksum else None


@contextlib.contextmanager
def open_records(file):
    """Open a TFRecord file, compressed by gzip or not, whatever its name says."""
    with storage.open_file(file) as handle:
        head = handle.read(12)
        handle.seek(0)
        if record_length(head) is None and head.startswith(b"\x1f\x8b"):
            handle = gzip.GzipFile(fileobj=handle)
        yield handle


def record_offsets(file):
    """Yield where each record begins, bytes; a broken one is the last, for what follows is lost."""
    with open_records(file) as handle:
        offset, whole = 0, True
        while whole:
            whole = False
            try:
                head = handle.read(12)
                if not head:
                    return
                length = record_length(head)
                if length is not None:
                    handle.seek(length + 3, io.SEEK_CUR)
                    whole = bool(handle.read(1))
            except COMPRESSION_ERRORS:
                pass
            yield offset
            if whole:
                offset += length + 16


def read_records(stretch, folder, feature):
    """Yield `Content` of each record of a stretch; of one that is broken, and of its rest, why."""
    names = [f"{stretch['file']}#{stretch['first'] + i}" for i in range(stretch["count"])]
    done, why = 0, "the file of records is damaged from here on"
    try:
        with open_records(storage.join(folder, stretch["file"])) as handle:
            handle.seek(stretch["offset"])
            for name in names:
                length = record_length(handle.read(12))
                data = b"" if length is None else handle.read(length + 4)
                if length is None or len(data) < length + 4:
                    break
                # The data's own checksum is left to the decoder of the image: slow in Python.
                yield _from_example(name, data[:-4], feature)
                done += 1
    except COMPRESSION_ERRORS:
        pass
    except OSError as error:
        why = _why(error)
    for name in names[done:]:
        yield Content(name, None, why)


def _from_example(name, data, feature):
    try:
        found = tf.train.Example.FromString(data).features.feature
    except DecodeError:
        return Content(name, None, "the record is no tf.Example")
    values = found[feature].bytes_list.value if feature in found else ()
    if len(values) != 1 or not values[0]:
        return Content(name, None, f"the record has no image in its feature {feature!r}")
    return Content(name, values[0], None)


def _check_feature(file, feature):
    """Refuse a feature that the first record lacks, before all are found to lack it."""
    try:
        with open_records(file) as handle:
            length = record_length(handle.read(12))
            data = handle.read(length) if length is not None else b""
        names = sorted(tf.train.Example.FromString(data).features.feature)
    except (DecodeError, *COMPRESSION_ERRORS):  # damaged: said when it is read
        return
    if names and feature not in names:
        raise ValueError(
            f"The records of {file} have no feature {feature!r}; they have: {', '.join(names)}. "
            "Name one with --feature."
        )
