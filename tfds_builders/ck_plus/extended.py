"""CK+ as ckextended.csv: rows of 48 x 48 pixels, in the columns of fer2013.csv."""

import csv
import io
from collections.abc import Iterable

import numpy as np

from tfds_builders.fer2013.native import COLUMNS, parse_pixels
from tfds_builders.sources import Source

# CK+ as ckextended.csv: its codes 0..7.
CK_EXTENDED_CODES = (
    "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt",
)  # fmt: skip

ROWS = 920
CODES = {str(code): emotion for code, emotion in enumerate(CK_EXTENDED_CODES)}


def find_rows(sources: Iterable[Source]) -> dict[int, tuple[str, np.ndarray]]:
    """Find ckextended.csv by what it holds and read it.

    FER-2013's csv has the same columns and codes, but neither contempt nor so few rows: a CSV is
    CK+'s if it holds contempt (code 7), or no more than the 920 rows of ckextended.csv (from which
    contempt may have been dropped).

    Args:
        sources: as from `sources.find_sources`.

    Returns:
        (emotion, (48, 48) uint8 grey levels) by the row, from 0; empty if there is none.

    Raises:
        FileNotFoundError: the only CSV is FER-2013's.
        ValueError: a row is wrong (the message names its line), or there is none.
    """
    other = None
    for source in sources:
        for name in source.names:
            if not name.lower().endswith(".csv"):
                continue
            with (
                source.open(name) as file,
                io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="") as lines,
            ):
                header = [
                    column.strip(' "\r\n').lower() for column in lines.readline(1000).split(",")
                ]
                if not set(COLUMNS) <= set(header):
                    continue
                rows = _read_rows(csv.reader(lines), header, name)
            if rows is not None:
                return dict(enumerate(rows))
            other = name
    if other is not None:
        raise FileNotFoundError(
            f"{other} is not CK+: it has more than {ROWS} rows and no contempt (code 7) among "
            "them, as FER-2013; build it with python cli.py build-data fer2013, or name "
            "ckextended.csv."
        )
    return {}


def _read_rows(rows, header, name):
    """List of (emotion, pixels), or None if the file is none of CK+'s."""
    emotion, pixels = header.index("emotion"), header.index("pixels")
    found, contempt = [], False
    try:
        for row in rows:
            if not row:
                continue  # a blank line
            where = f"{name}, line {rows.line_num + 1}"  # the header was read before
            if len(row) != len(header):
                raise ValueError(f"{where}: expected {len(header)} columns, found {len(row)}.")
            code = row[emotion].strip()
            if code not in CODES:
                raise ValueError(f"{where}: the emotion must be 0 to 7. Found: {code[:20]!r}")
            contempt = contempt or CODES[code] == "contempt"
            found.append((CODES[code], parse_pixels(row[pixels], where)))
            if len(found) > ROWS and not contempt:
                return None
    except csv.Error as error:
        raise ValueError(f"{name}, line {rows.line_num + 1}: {error}.") from error
    if not found:
        raise ValueError(f"{name} holds a header and no rows; obtain it again.")
    return found
