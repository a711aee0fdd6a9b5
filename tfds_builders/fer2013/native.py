"""FER-2013 as people hold it: its CSV, Kaggle's other CSV, folders of JPEG files."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from tfds_builders.face_tables import COLUMNS, SIDE, read_headers, read_rows
from tfds_builders.sources import Source, check_size, read_images

# Codes 0 to 6 of the column `emotion` of fer2013.csv.
FER2013_CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
# Names of the folders of JPEG files.
FER2013_FOLDERS = {
    "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness",
    "neutral": "neutral", "sad": "sadness", "surprise": "surprise",
}  # fmt: skip
EMOTION = {*FER2013_FOLDERS, *FER2013_FOLDERS.values()}
SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
# Read before other files with the same columns, such as CK+'s ckextended.csv.
KNOWN = ("fer2013.csv", "icml_face_data.csv")
FILE_NAME = re.compile(r"(Training|PublicTest|PrivateTest)_\d+(?:\.\w+)+", re.IGNORECASE)
# As the script of FER+ writes them, in a folder for each split.
FERPLUS_NAME = re.compile(r"fer\d{7}\.png", re.IGNORECASE)
FERPLUS_FOLDERS = {"train": "FER2013Train", "validation": "FER2013Valid", "test": "FER2013Test"}


class Faces(NamedTuple):
    """All faces, in the order of the file."""

    images: np.ndarray  # (count, 48, 48) uint8 grey levels
    labels: list[str]  # (count,) names of the emotions; "" in the form "ferplus"
    splits: list[str]  # (count,) "train", "validation" or "test"
    names: list[str]  # (count,) the row (`row_00000`) or the file, the same on every machine
    form: str  # "csv", to whose rows FER+ refers, "folders", or "ferplus": the names are FER+'s


def read_faces(sources: Sequence[Source]) -> Faces:
    """Read FER-2013 from a CSV file, in a folder before in an archive, or from JPEG folders.

    Raises FileNotFoundError if there is neither, ValueError if a row or file is not valid.
    """
    without_usage, others = None, []
    for source in sources:
        headers = read_headers(source)
        for name in sorted(headers, key=lambda name: PurePosixPath(name).name.lower() not in KNOWN):
            header = headers[name]
            if set(COLUMNS) <= set(header):
                return read_csv(source, name)
            if header == ["emotion", "pixels"]:
                without_usage = name
            others.append(f"{name} ({', '.join(header)[:60] or 'empty'})")
    by_emotion = None
    for source in sources:
        pictures, _ = source.pictures()
        for pattern, read in ((FILE_NAME, read_folders), (FERPLUS_NAME, read_ferplus_folders)):
            files = [name for name in pictures if pattern.fullmatch(PurePosixPath(name).name)]
            if files:
                return read(source, files)
        folders = (name for name in pictures if PurePosixPath(name).parent.name.lower() in EMOTION)
        by_emotion = by_emotion or next(folders, None)
    if by_emotion:
        raise FileNotFoundError(
            f"{by_emotion} and others lie in folders of emotions, but their names do not give the "
            "official split of FER-2013, as Training_3908.jpg does: build them by "
            "keras-deep-emotion fit --dataset folder --source DIR"
        )
    if without_usage:
        raise FileNotFoundError(
            f"{without_usage} has no Usage column: it holds only Kaggle's training rows, without "
            "validation and test; get fer2013.csv or icml_face_data.csv."
        )
    raise FileNotFoundError(
        "FER-2013 was not found: neither a CSV with the columns emotion, pixels, Usage, nor an "
        "archive that holds one, nor folders train/<emotion>/Training_<n>.jpg, nor "
        "FER2013Train/fer<n>.png"
        f"{', only ' + ', '.join(others[:3]) if others else ''}; name with --source what you "
        "downloaded from Kaggle."
    )


def read_csv(source: Source, name: str) -> Faces:
    """Read fer2013.csv or icml_face_data.csv."""
    images, labels, splits = [], [], []
    for row in read_rows(source, name, FER2013_CODES):
        if row.usage not in SPLITS:
            raise ValueError(
                f"{row.where}: Usage must be one of {', '.join(SPLITS)}. Found: {row.usage[:20]!r}"
            )
        images.append(row.pixels)
        labels.append(row.emotion)
        splits.append(SPLITS[row.usage])
    names = [f"row_{i:05}" for i in range(len(images))]
    return Faces(np.stack(images), labels, splits, names, "csv")


def read_folders(source: Source, files: Sequence[str]) -> Faces:
    """Read JPEG files at `{train,test}/<emotion>/<Usage>_<n>.jpg`; names give the split."""
    images = _read_faces(source, files, "name the files that you downloaded from Kaggle")
    labels, splits, names = map(list, zip(*map(_place, sorted(images)), strict=True))
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(
            f"{repeated[0]} exists twice; name the one folder that holds train/ and test/."
        )
    pixels = np.stack([images[name] for name in sorted(images)])
    return Faces(pixels, labels, splits, names, "folders")


def read_ferplus_folders(source: Source, files: Sequence[str]) -> Faces:
    """Read PNG files at `FER2013{Train,Valid,Test}/fer<n>.png`, as the script of FER+ writes."""
    splits = {folder.lower(): split for split, folder in FERPLUS_FOLDERS.items()}
    parts = {file: splits.get(PurePosixPath(file).parent.name.lower()) for file in files}
    if lost := [file for file, split in parts.items() if split is None]:
        raise ValueError(
            f"{lost[0]} must lie in a folder named {', '.join(FERPLUS_FOLDERS.values())}, which "
            "gives its split."
        )
    images = _read_faces(source, files, "run generate_training_data.py of FER+ again")
    names = [PurePosixPath(file).name.lower() for file in images]
    pixels = np.stack(list(images.values()))
    return Faces(pixels, [""] * len(names), [parts[file] for file in images], names, "ferplus")


def _read_faces(source, files, remedy):
    """{file: (48, 48) uint8 grey levels}; ValueError if one has colors or another size."""
    images = {}
    for image in read_images(source, files):
        check_size(image, SIDE, remedy)
        levels = np.atleast_3d(image.pixels)
        if np.any(levels != levels[..., :1]):
            raise ValueError(f"{image.name} must be grey. Found: colors; {remedy}.")
        images[image.name] = levels[..., 0]
    if not images:
        raise ValueError("None of the image files can be decoded; obtain FER-2013 again.")
    return images


def _place(path):
    """(label, split, name) of a JPEG file by its path."""
    *_, part, folder, file = ("", "", *PurePosixPath(path).parts)
    label = FER2013_FOLDERS.get(folder.lower())
    if label is None:
        raise ValueError(
            f"{path} must lie in a folder named {', '.join(FER2013_FOLDERS)}. Found: {folder!r}"
        )
    usage = next(one for one in SPLITS if file.lower().startswith(one.lower()))
    expected = "train" if usage == "Training" else "test"
    if part.lower() in ("train", "test") and part.lower() != expected:
        raise ValueError(f"{path} lies under {part}/ but its name says {usage}.")
    return label, SPLITS[usage], f"{folder}/{file}"
