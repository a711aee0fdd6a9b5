"""FER+: ten taggers' votes for each face of FER-2013, and the labels that the paper used.

Source: Barsoum et al., "Training Deep Networks for Facial Expression Recognition with
Crowd-Sourced Label Distribution" (2016), github.com/microsoft/FERPlus.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tfds_builders.fer2013.native import SPLITS
from tfds_builders.sources import Source

# The ten columns of votes in label.csv, in their order. NF: not a face.
FERPLUS_VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger",
    "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
# Only the first seven can be the label: the paper has no class for contempt, unknown and NF.
CANDIDATES = FERPLUS_VOTES[:7]
REPOSITORY = (
    "https://raw.githubusercontent.com/microsoft/FERPlus/ae2128abf776409c93e50cf7c9d87180673314e6"
)
NAMES = "fer2013new.csv"
LARGEST = 2**23  # bytes of a file; fer2013new.csv has 1.6 million
PARTS = {"train": "Train", "validation": "Valid", "test": "Test"}
VOTES = {split: f"FER2013{part}/label.csv" for split, part in PARTS.items()}
# Path of each file in the repository, by the end of its path in a folder of the user.
PATHS = {NAMES: NAMES, **{path: f"data/{path}" for path in VOTES.values()}}
SHA256 = {
    NAMES: "9206e20d62f56475939f516847d61753e4860caeac9718b560129541b776fc2c",
    VOTES["train"]: "a82c40c825505cd30e139195c246bc38f8ac39de0e8968cbf15e1dab7837658c",
    VOTES["validation"]: "aad6298bed23cad816550362c2c00ae49b99513c7cae7d49651f347afd9ab860",
    VOTES["test"]: "425142295cc23872651271be9f45a99dac11af426f948d1b60967c8845b7bdf2",
}
REMEDY = (
    "FER+ needs the whole fer2013.csv in its original order. Without it, build fer2013/original."
)
# Share of labels on which FER+ and FER-2013 agree: 0.63 in each split, 0.18 with rows out of order.
LEAST_AGREEMENT = 0.4


class LabeledRow(NamedTuple):
    """A face and its label."""

    row: int  # its row in fer2013.csv, from 0
    split: str  # "train", "validation" or "test"
    label: str  # name of its emotion
    votes: np.ndarray | None = None  # (10,) uint8, as `FERPLUS_VOTES`; None without FER+


def find_files(sources: Sequence[Source]) -> dict[str, bytes]:
    """Read those of the four files of FER+ that are in the sources: content by key of `PATHS`."""
    contents = {}
    for source in sources:
        for name in source.names:
            for path in PATHS:
                if path not in contents and f"/{name}".endswith(f"/{path}"):
                    with source.open(name) as file:
                        contents[path] = file.read(LARGEST + 1)
                    if len(contents[path]) > LARGEST:
                        raise ValueError(
                            f"{name} has more than {LARGEST:,} bytes; obtain it again."
                        )
    return contents


def read_votes(
    contents: Mapping[str, bytes], splits: Sequence[str], names: Sequence[str] | None = None
) -> list[LabeledRow]:
    """Join the votes to the rows of fer2013.csv and label each face.

    A face is labeled by the most votes among the first seven columns, the first of equals: the rule
    that reproduces the paper's figure 8 to the last face. Names do not contain row numbers; of a
    name that occurs twice in fer2013new.csv, the first row counts. `contents` has all four files,
    `splits` is that of each row of fer2013.csv; or of faces that have FER+'s own `names`, which
    need no fer2013new.csv. The faces are in the order of the label.csv files. Raises ValueError,
    with the line, if a file is malformed, or does not fit the others.
    """
    rows = names is None and _rows_by_name(_read_csv(contents, NAMES)[1:], splits)
    files = (
        {} if names is None else {key: i for i, key in enumerate(zip(splits, names, strict=True))}
    )
    labeled = []
    for split, path in VOTES.items():
        for line, cells in enumerate(_read_csv(contents, path), start=1):
            where, votes = f"{path}, line {line}", cells[2:]
            if len(votes) != 10 or not all(re.fullmatch("[0-9]{1,2}", one) for one in votes):
                raise ValueError(f"{where}: expected a name, a box and ten votes. Obtain it again.")
            row = _row_of(cells[0], split, where, rows, splits, files)
            votes = np.array(votes, np.uint8)
            label = CANDIDATES[votes[: len(CANDIDATES)].argmax()]
            labeled.append(LabeledRow(row, split, label, votes))
    return labeled


def _row_of(name, split, where, rows, splits, files):
    """Row of a name in label.csv, by `rows` of fer2013new.csv or by the names of `files`."""
    if files:
        if (split, name.lower()) not in files:
            raise ValueError(
                f"{where}: there is no {name} among the files of {split}. Run "
                "generate_training_data.py of FER+ again."
            )
        return files[split, name.lower()]
    if name not in rows:
        raise ValueError(f"{where}: {name} is not in {NAMES}. Obtain both again.")
    if splits[rows[name]] != split:
        raise ValueError(
            f"{where}: {name} belongs to {splits[rows[name]]} in {NAMES}, not to {split}: a "
            "label.csv lies in the wrong folder. Obtain them again."
        )
    return rows[name]


def check_order(labeled: Sequence[LabeledRow], labels: Sequence[str]) -> None:
    """Check by FER-2013's own label of each row that votes are joined to the right faces."""
    agreement = np.mean([one.label == labels[one.row] for one in labeled])
    if agreement < LEAST_AGREEMENT:
        raise ValueError(
            f"FER+ and the images' own labels agree on {agreement:.0%} of the faces, not 63%: the "
            "rows are not in fer2013.csv's original order. Get it again, or build fer2013/original."
        )


def _rows_by_name(names, splits):
    """Row of fer2013.csv of each name in fer2013new.csv."""
    if len(names) != len(splits):
        raise ValueError(f"{NAMES} has {len(names):,} rows, the images {len(splits):,}: {REMEDY}")
    rows = {}
    for i, (cells, split) in enumerate(zip(names, splits, strict=True)):
        if len(cells) != 12 or SPLITS.get(cells[0]) != split:
            raise ValueError(f"{NAMES}, line {i + 2} does not fit row {i} of the images: {REMEDY}")
        if cells[1]:
            rows.setdefault(cells[1], i)
    return rows


def _read_csv(contents, path):
    try:
        text = contents[path].decode("utf-8-sig").rstrip()  # editors leave blank lines at the end
        rows = list(csv.reader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}); obtain it again.") from error
    if not rows:
        raise ValueError(f"{path} is empty; obtain it again.")
    return rows
