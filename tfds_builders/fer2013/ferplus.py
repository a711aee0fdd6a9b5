"""FER+: ten taggers' votes for each face of FER-2013, and the labels that the paper used.

Source: Barsoum et al., "Training Deep Networks for Facial Expression Recognition with
Crowd-Sourced Label Distribution" (2016), github.com/microsoft/FERPlus.
"""

import csv
import hashlib
import io
from typing import NamedTuple

import numpy as np

from tfds_builders.contract import EMOTIONS

# FER+'s ten vote columns, in the order of label.csv. NF: not a face.
FERPLUS_VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger",
    "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip

REPOSITORY = (
    "https://raw.githubusercontent.com/microsoft/FERPlus/ae2128abf776409c93e50cf7c9d87180673314e6"
)
NAMES = "fer2013new.csv"
VOTES = {
    "train": "FER2013Train/label.csv",
    "validation": "FER2013Valid/label.csv",
    "test": "FER2013Test/label.csv",
}
# Where each file lies in the repository, by how it ends in a folder of the user's.
PATHS = {NAMES: NAMES, **{path: f"data/{path}" for path in VOTES.values()}}
SHA256 = {
    NAMES: "9206e20d62f56475939f516847d61753e4860caeac9718b560129541b776fc2c",
    VOTES["train"]: "a82c40c825505cd30e139195c246bc38f8ac39de0e8968cbf15e1dab7837658c",
    VOTES["validation"]: "aad6298bed23cad816550362c2c00ae49b99513c7cae7d49651f347afd9ab860",
    VOTES["test"]: "425142295cc23872651271be9f45a99dac11af426f948d1b60967c8845b7bdf2",
}
# Only the first seven can be the label: contempt, unknown and NF are none of the paper's classes.
CANDIDATES = [EMOTIONS.index(name) for name in FERPLUS_VOTES[:7]]


# Share of FER+'s labels that FER-2013 has too: 0.63 in each split, 0.18 with rows out of place.
LEAST_AGREEMENT = 0.4


class Tagged(NamedTuple):
    """One face as FER+ judges it.

    Attributes:
        row: its row in fer2013.csv, from 0.
        split: "train", "validation" or "test".
        label: name of its emotion.
        votes: (10,) uint8, in the order of `FERPLUS_VOTES`.
    """

    row: int
    split: str
    label: str
    votes: np.ndarray


def find_files(sources):
    """Read the four files of FER+ where they lie beside the images.

    Args:
        sources: `Source` list.

    Returns:
        {key of `PATHS`: content} of those found.
    """
    found = {}
    for source in sources:
        for name in source.names:
            for path in PATHS:
                if path not in found and f"/{name}".endswith(f"/{path}"):
                    with source.open(name) as file:
                        found[path] = file.read()
    return found


def unknown_files(contents):
    """Names of the files that are not those of the repository's pinned commit, by SHA-256."""
    return [path for path in contents if hashlib.sha256(contents[path]).hexdigest() != SHA256[path]]


def read_votes(contents, usages):
    """Join the votes to the rows of fer2013.csv and label each face.

    A face is labelled by the most votes among the first seven columns, the first of equals: the
    rule by which the paper's figure 8 comes out to the last face. Names are no row numbers; of one
    that stands twice in fer2013new.csv, the first row counts.

    Args:
        contents: {key of `PATHS`: content} of all four files.
        usages: (rows,) split of each row of fer2013.csv: it must be the file that FER+ names.

    Returns:
        List of `Tagged`, in the order of the three label.csv.

    Raises:
        ValueError: a file is not what it must be, or does not fit fer2013.csv.
    """
    rows = {}
    names = _rows(contents[NAMES], NAMES)[1:]
    if len(names) != len(usages):
        raise ValueError(
            f"{NAMES} has {len(names):,} rows, the images {len(usages):,}: FER+ needs the whole "
            "fer2013.csv in its original order. Without it, build fer2013/original."
        )
    splits = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
    for i, row in enumerate(names):
        if len(row) != 12 or splits.get(row[0]) != usages[i]:
            raise ValueError(
                f"{NAMES}, line {i + 2} does not fit row {i} of the images: FER+ needs fer2013.csv "
                "in its original order. Without it, build fer2013/original."
            )
        if row[1]:
            rows.setdefault(row[1], i)
    tagged = []
    for split, path in VOTES.items():
        for line, row in enumerate(_rows(contents[path], path), start=1):
            where = f"{path}, line {line}"
            if len(row) != 12 or not all(vote.isdecimal() and int(vote) < 256 for vote in row[2:]):
                raise ValueError(f"{where}: expected a name, a box and ten votes. Obtain it again.")
            if row[0] not in rows:
                raise ValueError(f"{where}: {row[0]} is not in {NAMES}. Obtain both again.")
            if usages[rows[row[0]]] != split:
                raise ValueError(
                    f"{where}: {row[0]} belongs to {usages[rows[row[0]]]} in {NAMES}, not to "
                    f"{split}: a label.csv lies in the wrong folder. Obtain them again."
                )
            votes = np.array(row[2:], np.uint8)
            label = EMOTIONS[CANDIDATES[int(votes[:7].argmax())]]
            tagged.append(Tagged(rows[row[0]], split, label, votes))
    return tagged


def check_order(tagged, labels):
    """Refuse votes that belong to other faces than those they are joined to.

    Args:
        tagged: list of `Tagged`.
        labels: (rows,) FER-2013's own label of each row.

    Raises:
        ValueError: FER+ and FER-2013 agree on as few labels as by chance.
    """
    agreement = np.mean([one.label == labels[one.row] for one in tagged])
    if agreement < LEAST_AGREEMENT:
        raise ValueError(
            f"FER+ and the images' own labels agree on {agreement:.0%} of the faces, where 63% are "
            "expected: the rows are not in fer2013.csv's original order. Obtain it again, or build "
            "fer2013/original."
        )


def _rows(content, path):
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read ({error}); obtain it again.") from error
    if not rows:
        raise ValueError(f"{path} is empty; obtain it again.")
    return rows
