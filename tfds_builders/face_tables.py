"""Faces as rows of a CSV file: a code of the emotion, 48 x 48 pixels, the usage.

fer2013.csv, Kaggle's icml_face_data.csv and CK+'s ckextended.csv have these columns.
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_deep_emotion.images.formats import HEAD
from tfds_builders.sources import Source

COLUMNS = ("emotion", "pixels", "usage")
SIDE = 48  # pixels
LONGEST = 2**18  # characters of a line; those of a face need 10,000
MOST_LINES = 200_000  # FER-2013 has 35,888


class Row(NamedTuple):
    """One face."""

    where: str  # file and line, for errors
    emotion: str  # name of the emotion
    pixels: np.ndarray  # (48, 48) uint8 grey levels
    usage: str  # as in the file


def read_headers(source: Source) -> dict[str, list[str]]:
    """Column names, in lower case, of the tables of a source: of files that end in .csv."""
    tables = [name for name in source.names if name.lower().endswith((".csv", ".tsv"))]
    heads = dict(source.read(tables, HEAD))
    return {name: _parse_header(_decode_head(heads[name])[0]) for name in tables}


def read_rows(source: Source, name: str, codes: Sequence[str]) -> Iterator[Row]:
    """Read a CSV file that has `COLUMNS` in any order; `codes` are the emotions by 0, 1, ...

    Its delimiter may be a comma, semicolon or tab. Raises ValueError, with the line, if a row is
    malformed, and if there are no rows.
    """
    (_, head), *_ = source.read([name], HEAD)
    text, encoding = _decode_head(head)
    header = _parse_header(text)
    emotions = {str(code): emotion for code, emotion in enumerate(codes)}
    where = None
    with source.open(name) as file, io.TextIOWrapper(file, encoding, newline="") as lines:
        rows = csv.reader(_bounded(lines), delimiter=_delimiter(text), skipinitialspace=True)
        try:
            next(rows)
            for row in rows:
                if not any(row):  # a blank line, such as some editors leave at the end
                    continue
                where = f"{name}, line {rows.line_num}"
                if len(row) != len(header):
                    raise ValueError(f"{where}: expected {len(header)} columns, found {len(row)}.")
                code, pixels, usage = (row[header.index(one)].strip() for one in COLUMNS)
                if code not in emotions:
                    raise ValueError(
                        f"{where}: the emotion must be 0 to {len(codes) - 1}. Found: {code[:20]!r}"
                    )
                yield Row(where, emotions[code], _parse_pixels(pixels, where), usage)
        except csv.Error as error:
            raise ValueError(f"{name}, line {rows.line_num}: {error}.") from error
        except UnicodeDecodeError:
            raise ValueError(
                f"{name}, after line {rows.line_num}: not text in UTF-8; obtain it again."
            ) from None
    if where is None:
        raise ValueError(f"{name} holds a header and no rows; obtain it again.")


def _decode_head(head):
    """(text, encoding) of the first bytes of a file: UTF-8, or the UTF-16 of some spreadsheets."""
    encoding = (
        "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    )
    return head.decode(encoding, errors="replace"), encoding


def _delimiter(text):
    """What separates the columns: most often in the first line."""
    line = text.splitlines()[0] if text else ""
    return max(",;\t", key=line.count)


def _parse_header(text):
    """Column names of the first line, in lower case."""
    line = csv.reader(text.splitlines()[:1], delimiter=_delimiter(text), skipinitialspace=True)
    return [column.strip().lower() for column in next(line, [])]


def _bounded(lines):
    """Lines of a text file; csv.Error if one is far longer than that of a face, or too many."""
    count = 0
    while line := lines.readline(LONGEST):
        count += 1
        if count > MOST_LINES:
            raise csv.Error(f"more than {MOST_LINES:,} lines")
        if len(line) == LONGEST:
            raise csv.Error(f"more than {LONGEST:,} characters in a line")
        yield line


def _parse_pixels(text, where):
    """(48, 48) uint8 of whole numbers 0 to 255, row by row, with spaces between."""
    if text.strip("0123456789 "):
        bad = re.search(r"[^0-9 ]\S*", text)[0]
        raise ValueError(f"{where}: pixels must be whole numbers 0 to 255. Found: {bad[:20]!r}")
    values = np.fromstring(text, dtype=np.int64, sep=" ") if text else np.zeros(0, int)
    if values.size != SIDE * SIDE:
        raise ValueError(f"{where}: expected {SIDE * SIDE:,} pixels, found {values.size:,}.")
    if values.max() > 255:
        raise ValueError(f"{where}: pixels must be 0 to 255. Found: {values.max()}")
    return values.astype(np.uint8).reshape(SIDE, SIDE)
