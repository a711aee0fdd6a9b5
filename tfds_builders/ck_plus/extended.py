"""CK+ as ckextended.csv: rows of 48 x 48 pixels, in the columns of fer2013.csv."""

from collections.abc import Iterable

from tfds_builders.face_tables import COLUMNS, Row, read_header, read_rows
from tfds_builders.sources import Source

# Codes 0 to 7 of the column `emotion`.
CK_EXTENDED_CODES = (
    "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt",
)  # fmt: skip
ROWS = 920


def find_rows(sources: Iterable[Source]) -> list[Row]:
    """Find ckextended.csv by its content and read it; empty if there is no such file.

    FER-2013's CSV has the same columns and codes, but no contempt and more rows: a CSV is CK+'s if
    it holds contempt, or no more than 920 rows (without contempt if that was removed).
    """
    other = None
    for source in sources:
        for name in source.names:
            if not name.lower().endswith(".csv") or set(COLUMNS) - {*read_header(source, name)}:
                continue
            rows = _read_if_ck_plus(source, name)
            if rows:
                return rows
            other = name
    if other is not None:
        raise FileNotFoundError(
            f"{other} is not CK+: it has more than {ROWS} rows and no contempt (code 7), as "
            "FER-2013; build it with python cli.py build-data fer2013, or name ckextended.csv."
        )
    return []


def _read_if_ck_plus(source, name):
    """Rows of a CSV file, or None as soon as it turns out to be FER-2013's."""
    rows, contempt = [], False
    for row in read_rows(source, name, CK_EXTENDED_CODES):
        rows.append(row)
        contempt = contempt or row.emotion == "contempt"
        if len(rows) > ROWS and not contempt:
            return None
    return rows
