"""Faces as rows of a CSV file: a code of the emotion, 48 x 48 pixels, the usage.

fer2013.csv, Kaggle's icml_face_data.csv and CK+'s ckextended.csv have these columns.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tfds_builders.sources import Source

COLUMNS = ("emotion", "pixels", "usage")
SIDE = 48  # pixels


class Row(NamedTuple):
    """One face."""

    where: str  # file and line, for errors
    emotion: str  # name of the emotion
    pixels: np.ndarray  # (48, 48) uint8 grey levels
    usage: str  # as in the file


def read_header(source: Source, name: str) -> list[str]:
    """Column names of a CSV file, in lower case."""
    with source.open(name) as file:
        text = file.readline(1000).decode("utf-8-sig", errors="replace")
    return [column.strip('" \t\r\n').lower() for column in text.split(",")]


def read_rows(source: Source, name: str, codes: Sequence[str]) -> Iterator[Row]:
    """Read a CSV file that has `COLUMNS` in any order; `codes` are the emotions by 0, 1, ...

    Raises ValueError, with the line, if a row is malformed, and if there are no rows.
    """
    with source.open(name) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
        rows = csv.reader(lines)
        header = [column.strip().lower() for column in next(rows)]
        places = [header.index(column) for column in COLUMNS]
        emotions = {str(code): emotion for code, emotion in enumerate(codes)}
        where = None
        try:
            for row in rows:
                if not row:  # a blank line, such as some editors leave at the end
                    continue
                where = f"{name}, line {rows.line_num}"
                if len(row) != len(header):
                    raise ValueError(f"{where}: expected {len(header)} columns, found {len(row)}.")
                code, pixels, usage = (row[place].strip() for place in places)
                if code not in emotions:
                    raise ValueError(
                        f"{where}: the emotion must be 0 to {len(codes) - 1}. Found: {code[:20]!r}"
                    )
                yield Row(where, emotions[code], _parse_pixels(pixels, where), usage)
        except csv.Error as error:
            raise ValueError(f"{name}, line {rows.line_num}: {error}.") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}, after line {rows.line_num}: {error}.") from error
    if where is None:
        raise ValueError(f"{name} holds a header and no rows; obtain it again.")


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
