"""FER-2013 as people hold it: its CSV, Kaggle's other CSV, folders of JPEG files."""

import csv
import io
import re
from collections import Counter
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from tfds_builders.sources import read_images

# FER-2013's codes 0..6 (`emotion` column of fer2013.csv).
FER2013_CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")

# Folder names of FER-2013's re-packaging as JPEG files.
FER2013_FOLDERS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}

SIDE = 48
SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
COLUMNS = ("emotion", "pixels", "usage")
# Taken before others with these columns: CK+'s ckextended.csv has them too.
KNOWN = ("fer2013.csv", "icml_face_data.csv")
FILE_NAME = re.compile(r"(Training|PublicTest|PrivateTest)_\d+\.jpe?g", re.IGNORECASE)


class Faces(NamedTuple):
    """All faces, in the order of the file.

    Attributes:
        images: (count, 48, 48) uint8 grey levels.
        labels: (count,) names of the emotions.
        splits: (count,) "train", "validation" or "test".
        names: (count,) the row (`row_00000`) or the file, the same on every machine.
        from_csv: whether they come from a CSV, whose rows FER+ refers to.
    """

    images: np.ndarray
    labels: list[str]
    splits: list[str]
    names: list[str]
    from_csv: bool


def read_faces(sources):
    """Read FER-2013 from whichever form is there: a CSV before an archive before JPEG folders.

    Args:
        sources: `Source` list, as from `sources.find_sources`.

    Returns:
        `Faces`.

    Raises:
        FileNotFoundError: none of the forms is there.
        ValueError: a row or a file is not what it must be.
    """
    train_only, seen = None, []
    for source in sources:
        tables = [name for name in source.names if name.lower().endswith(".csv")]
        for name in sorted(tables, key=lambda name: PurePosixPath(name).name.lower() not in KNOWN):
            with source.open(name) as file:
                header = _columns(file.readline(1000))
            if set(COLUMNS) <= set(header):
                with (
                    source.open(name) as file,
                    io.TextIOWrapper(file, "utf-8-sig", newline="") as lines,
                ):
                    return read_csv(lines, name)
            if header == ["emotion", "pixels"]:
                train_only = name
            seen.append(f"{name} ({', '.join(header)[:60] or 'empty'})")
    for source in sources:
        files = [name for name in source.names if FILE_NAME.fullmatch(PurePosixPath(name).name)]
        if files:
            return read_folders(source, files)
    if train_only:
        raise FileNotFoundError(
            f"{train_only} has no Usage column: it holds Kaggle's training rows alone, without "
            "validation and test; get fer2013.csv or icml_face_data.csv."
        )
    raise FileNotFoundError(
        "FER-2013 was not found: neither a CSV with the columns emotion, pixels, Usage, nor an "
        "archive that holds one, nor folders train/<emotion>/Training_<n>.jpg"
        f"{', only ' + ', '.join(seen[:3]) if seen else ''}; name with --source what Kaggle gave "
        "you."
    )


def read_csv(lines, name):
    """Read a CSV with the columns emotion, pixels and Usage, in any order and with spaces.

    Args:
        lines: text file.
        name: what to call it in errors.

    Returns:
        `Faces`.

    Raises:
        ValueError: a row is wrong (the message names its line), or there is none.
    """
    rows = csv.reader(lines)
    header = [column.strip().lower() for column in next(rows)]
    emotion, pixels, usage = (header.index(column) for column in COLUMNS)
    images, labels, splits = [], [], []
    try:
        for row in rows:
            if not row:  # a blank line, such as some editors leave at the end
                continue
            where = f"{name}, line {rows.line_num}"
            if len(row) != len(header):
                raise ValueError(f"{where}: expected {len(header)} columns, found {len(row)}.")
            code = row[emotion].strip()
            if code not in "0123456" or len(code) != 1:
                raise ValueError(f"{where}: the emotion must be 0 to 6. Found: {code[:20]!r}")
            split = SPLITS.get(row[usage].strip())
            if split is None:
                raise ValueError(
                    f"{where}: Usage must be one of {', '.join(SPLITS)}. Found: {row[usage][:20]!r}"
                )
            images.append(parse_pixels(row[pixels], where))
            labels.append(FER2013_CODES[int(code)])
            splits.append(split)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{name}, line {rows.line_num + 1}: {error}.") from error
    if not images:
        raise ValueError(f"{name} holds a header and no rows; obtain it again.")
    names = [f"row_{i:05}" for i in range(len(images))]
    return Faces(np.stack(images), labels, splits, names, from_csv=True)


def read_folders(source, files):
    """Read the re-packaging as `{train,test}/<emotion>/<Usage>_<n>.jpg`.

    Args:
        source: `Source` that holds them.
        files: names in it of the JPEG files.

    Returns:
        `Faces`: the official split back from the file names. Pixels are those of the JPEG files.

    Raises:
        ValueError: a file lies in a wrong folder, is not 48 x 48, or cannot be decoded: but for the
            last as in `sources.read_images`.
    """
    images = {}
    for name, _, grey in read_images(source, files):
        if grey.shape != (SIDE, SIDE):
            height, width, *channels = grey.shape
            raise ValueError(
                f"{name} must have {SIDE} x {SIDE} pixels of grey. Found: {width} x {height}"
                f"{' in colour' if channels else ''}; name the files that Kaggle gave you."
            )
        images[name] = grey
    if not images:
        raise ValueError("None of the JPEG files can be decoded; obtain FER-2013 again.")
    labels, splits, names = [], [], []
    for name in sorted(images):
        *_, part, folder, file = ("", "", *PurePosixPath(name).parts)
        label = FER2013_FOLDERS.get(folder.lower())
        if label is None:
            raise ValueError(
                f"{name} must lie in a folder named {', '.join(FER2013_FOLDERS)}. Found: {folder!r}"
            )
        usage = next(one for one in SPLITS if file.lower().startswith(one.lower()))
        expected = "train" if usage == "Training" else "test"
        if part.lower() in ("train", "test") and part.lower() != expected:
            raise ValueError(f"{name} lies under {part}/ but its name says {usage}.")
        labels.append(label)
        splits.append(SPLITS[usage])
        names.append(f"{folder}/{file}")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(
            f"{repeated[0]} stands twice; name the one folder that holds train/ and test/."
        )
    pixels = np.stack([images[name] for name in sorted(images)])
    return Faces(pixels, labels, splits, names, from_csv=False)


def _columns(line):
    """Names in a CSV's header: stripped, lower case."""
    text = line.decode("utf-8-sig", errors="replace")
    return [column.strip().strip('"').strip().lower() for column in text.split(",")]


def parse_pixels(text, where):
    """Read the pixels of a row.

    Args:
        text: 2,304 whole numbers 0 to 255 with spaces between, row by row.
        where: file and line, for errors.

    Returns:
        (48, 48) uint8.

    Raises:
        ValueError: they are not that.
    """
    if text.strip("0123456789 "):
        bad = re.search(r"[^0-9 ]\S*", text)[0]
        raise ValueError(f"{where}: pixels must be whole numbers 0 to 255. Found: {bad[:20]!r}")
    values = np.fromstring(text, dtype=np.int64, sep=" ") if text.strip() else np.zeros(0, int)
    if values.size != SIDE * SIDE:
        raise ValueError(f"{where}: expected {SIDE * SIDE:,} pixels, found {values.size:,}.")
    if values.max() > 255:
        raise ValueError(f"{where}: pixels must be 0 to 255. Found: {values.max()}")
    return values.astype(np.uint8).reshape(SIDE, SIDE)
