"""Inspect a built data set: counts, people, duplicates across splits, and warnings.

Faces are compared as the network gets them (`images.preprocessing.prepare_face`): two images that
differ outside the face box only are equal.
"""

import hashlib
import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from keras_deep_emotion.data.reading import class_names, read_examples

SIDE = 48  # pixels
CORRELATION = 0.99  # ours: above it, two faces are near duplicates
COLUMNS = ("split", "name", "subject", "label", "width", "height", "digest")  # of a face
FEW = 10  # ours: an emotion with fewer faces in a split is warned of


class Inspection(NamedTuple):
    """What `inspect_dataset` returns.

    Attributes:
        faces: One row a face, with `COLUMNS`.
        counts: Number of faces, one row a split, one column an emotion, and `all`.
        duplicates: One row a pair of splits: number of faces of the second that have an `exact` or
            `near` duplicate in the first (`near` includes the exact ones).
        warnings: Sentences.
        samples: (emotions, per_class, 48, 48) uint8, faces of the first split; zero if there are
            too few.
    """

    faces: pd.DataFrame
    counts: pd.DataFrame
    duplicates: pd.DataFrame
    warnings: list[str]
    samples: np.ndarray


def inspect_dataset(builder: tfds.core.DatasetBuilder, per_class: int = 10) -> Inspection:
    """Read and inspect every split of a built data set, with samples of each emotion."""
    classes = class_names(builder)
    splits = split_order(builder.info.splits)
    rows, thumbnails = [], {}
    samples = np.zeros((len(classes), per_class, SIDE, SIDE), np.uint8)
    sampled = np.zeros(len(classes), int)
    for split in splits:
        small = []
        for example in read_examples(builder, split, SIDE, with_size=True).as_numpy_iterator():
            face = np.round(example["image"][..., 0]).astype(np.uint8)
            label = int(example["label"])
            if sampled[label] < per_class and split == splits[0]:
                samples[label, sampled[label]] = face
                sampled[label] += 1
            small.append(face.reshape(12, 4, 12, 4).mean(axis=(1, 3)).ravel())
            name, subject = (example[key].decode() for key in ("name", "subject"))
            height, width = example["size"].tolist()
            digest = hashlib.sha256(face.tobytes()).hexdigest()
            rows.append((split, name, subject, classes[label], width, height, digest))
        thumbnails[split] = standardize(np.array(small, np.float32).reshape(len(small), 144))
    faces = pd.DataFrame(rows, columns=COLUMNS)
    counts = pd.crosstab(faces["split"], faces["label"])
    counts = counts.reindex(index=splits, columns=classes, fill_value=0)
    counts["all"] = counts.sum(axis=1)
    duplicates = count_duplicates(faces, thumbnails)
    warnings = dataset_warnings(faces, counts, duplicates)
    return Inspection(faces, counts, duplicates, warnings, samples)


def standardize(thumbnails: np.ndarray) -> np.ndarray:
    """Scale rows to mean 0 and norm 1: dot products are correlations. Constant rows become 0."""
    centered = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centered, axis=1, keepdims=True)
    return np.divide(centered, norm, out=np.zeros_like(centered), where=norm > 1e-3)


def near_duplicates(first: np.ndarray, second: np.ndarray, chunk: int = 2048) -> np.ndarray:
    """Whether each row of `second` correlates with a row of `first` above `CORRELATION`.

    Both are (count, pixels) from `standardize`. `chunk` rows are compared at once.
    """
    duplicate = np.zeros(len(second), bool)
    for start in range(0, len(second), chunk):
        rows = slice(start, start + chunk)
        for other in range(0, len(first), 8 * chunk):
            correlations = second[rows] @ first[other : other + 8 * chunk].T
            duplicate[rows] |= correlations.max(axis=1, initial=-1) > CORRELATION
    return duplicate


def split_order(splits) -> list[str]:
    """Sort splits: training, validation, test, then the others by name."""
    usual = ["train", "validation", "test"]
    return sorted(splits, key=lambda one: (usual.index(one) if one in usual else 3, one))


def count_duplicates(faces: pd.DataFrame, thumbnails: dict[str, np.ndarray]) -> pd.DataFrame:
    """Count exact and near duplicates between splits; see `Inspection`."""
    digests = {split: faces.loc[faces["split"] == split, "digest"] for split in thumbnails}
    rows = []
    for first, second in itertools.combinations(thumbnails, 2):
        if first != "train" and any(one.endswith("_deduplicated") for one in (first, second)):
            continue  # parts are compared with training only
        exact = digests[second].isin(set(digests[first])).to_numpy()
        near = exact | near_duplicates(thumbnails[first], thumbnails[second])
        rows.append((first, second, int(exact.sum()), int(near.sum())))
    return pd.DataFrame(rows, columns=["in", "and", "exact", "near"])


def dataset_warnings(faces, counts, duplicates) -> list[str]:
    """Sentences on what makes results on this data set misleading."""
    warnings = []
    for first, second, exact, near in duplicates.itertuples(index=False):
        if exact:
            total = int(counts.loc[second, "all"])
            warnings.append(f"leak: {exact:,} of {total:,} faces in {second} are also in {first}.")
        if near > exact:
            more = f"{near - exact:,} more faces in {second}"
            warnings.append(f"{more} are nearly equal to one in {first}.")
    for split, row in counts.drop(columns="all").iterrows():
        few = [f"{label} {count}" for label, count in row[row < FEW].items()]
        if few and not split.startswith("fold_") and not split.endswith("_deduplicated"):
            warnings.append(f"fewer than {FEW} faces in {split}: {', '.join(few)}.")
    splits = faces[faces["subject"] != ""].groupby("subject")["split"].nunique()
    if splits.empty:
        warnings.append("no person is named: the splits may share people.")
    elif (splits > 1).any():
        warnings.append(f"{(splits > 1).sum()} of {len(splits)} people are in several splits.")
    labels = faces.groupby("digest")["label"].nunique()
    if (labels > 1).any():
        warnings.append(f"{(labels > 1).sum()} groups of equal faces have different labels.")
    return warnings
