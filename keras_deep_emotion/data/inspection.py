"""What is in a built data set, and what a careful person would want to know before training on it.

Everything is judged on the faces as the network sees them (`data.prepare`): two images that differ
only outside the face box count as equal.
"""

import hashlib
from typing import NamedTuple

import numpy as np
import pandas as pd

from keras_deep_emotion.data.reading import read_examples

SIDE = 48


NEAR = 0.99  # ours: correlation of two faces above which they are near-duplicates


FEW = 10  # ours: faces of an emotion in a split below which a number on it means little


class Inspection(NamedTuple):
    """What `inspect` found.

    Attributes:
        faces: DataFrame, one row a face: split, name, subject, label, width, height, digest.
        counts: DataFrame of faces, one row a split, one column an emotion, and `all`.
        duplicates: DataFrame, one row a pair of splits: `exact` and `near` faces of the second
            split that also stand in the first (`near` counts the exact ones too).
        warnings: sentences.
        samples: (emotions, per_class, 48, 48) uint8, faces of the first split; zero where there
            are too few.
    """

    faces: pd.DataFrame
    counts: pd.DataFrame
    duplicates: pd.DataFrame
    warnings: list[str]
    samples: np.ndarray


def inspect_dataset(builder, per_class=10):
    """Read every split of a built data set and judge it.

    Args:
        builder: what `data.built_dataset` returns.
        per_class: how many faces of each emotion to keep as samples.

    Returns:
        `Inspection`.
    """
    classes = builder.info.features["label"].names
    splits = split_order(builder.info.splits)
    rows, thumbnails = [], {}
    samples = np.zeros((len(classes), per_class, SIDE, SIDE), np.uint8)
    kept = np.zeros(len(classes), int)
    for split in splits:
        small = []
        for example in read_examples(builder, split, SIDE, with_size=True).as_numpy_iterator():
            face = np.round(example["image"][..., 0]).astype(np.uint8)
            label = int(example["label"])
            if kept[label] < per_class and split == splits[0]:
                samples[label, kept[label]] = face
                kept[label] += 1
            small.append(face.reshape(12, 4, 12, 4).mean(axis=(1, 3)).ravel())
            height, width = example["size"]
            rows.append(
                {
                    "split": split,
                    "name": example["name"].decode(),
                    "subject": example["subject"].decode(),
                    "label": classes[label],
                    "width": int(width),
                    "height": int(height),
                    "digest": hashlib.sha256(face.tobytes()).hexdigest(),
                }
            )
        thumbnails[split] = standardized(np.array(small, np.float32).reshape(len(small), 144))
    faces = pd.DataFrame(rows)
    counts = (
        faces.groupby(["split", "label"])
        .size()
        .unstack(fill_value=0)
        .reindex(index=splits, columns=classes, fill_value=0)
    )
    counts["all"] = counts.sum(axis=1)
    duplicates = compare_splits(faces, thumbnails)
    return Inspection(
        faces, counts, duplicates, dataset_warnings(faces, counts, duplicates), samples
    )


def standardized(thumbnails):
    """Rows with mean 0 and norm 1, so that a dot product is a correlation; a flat row is 0."""
    centred = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, norm, out=np.zeros_like(centred), where=norm > 1e-3)


def near_duplicates(first, second, threshold=NEAR, chunk=2048):
    """Which rows of the second set correlate with any of the first above the threshold.

    Args:
        first: (n, features) from `standardized`.
        second: (m, features).
        threshold: correlation, -1 to 1.
        chunk: rows compared at once; bounds the memory.

    Returns:
        (m,) bool.
    """
    found = np.zeros(len(second), bool)
    for start in range(0, len(second), chunk):
        part = slice(start, start + chunk)
        for other in range(0, len(first), 8 * chunk):
            likeness = second[part] @ first[other : other + 8 * chunk].T
            found[part] |= likeness.max(axis=1, initial=-1) > threshold
    return found


def evaluation_pairs(splits):
    """Pairs of splits to compare, in their order.

    `_deduplicated` splits are parts of others and compared with training only.
    """
    splits = list(splits)
    return [
        (first, second)
        for i, first in enumerate(splits)
        for second in splits[i + 1 :]
        if not first.endswith("_deduplicated")
        and (first == "train" or not second.endswith("_deduplicated"))
    ]


def split_order(splits):
    """Training, validation, test, then the rest by name."""
    usual = ["train", "validation", "test"]
    return sorted(splits, key=lambda one: (usual.index(one) if one in usual else 3, one))


def compare_splits(faces, thumbnails):
    """DataFrame of exact and near duplicates between splits; see `Inspection`."""
    digests = faces.groupby("split")["digest"]
    known = {split: set(group) for split, group in digests}
    rows = []
    for first, second in evaluation_pairs(thumbnails):
        exact = faces.loc[faces["split"] == second, "digest"].isin(known[first]).to_numpy()
        near = exact | near_duplicates(thumbnails[first], thumbnails[second])
        rows.append((first, second, int(exact.sum()), int(near.sum())))
    return pd.DataFrame(rows, columns=["in", "and", "exact", "near"])


def dataset_warnings(faces, counts, duplicates):
    """Sentences on what a number from this data set would hide."""
    found = []
    for row in duplicates.itertuples(index=False):
        first, second, exact, near = row
        total = int(counts.loc[second, "all"])
        if exact:
            found.append(f"leak: {exact:,} of {total:,} faces in {second} also stand in {first}.")
        if near - exact:
            found.append(
                f"{near - exact:,} more faces in {second} look nearly like one in {first}."
            )
    for split, row in counts.iterrows():
        if str(split).startswith("fold_") or str(split).endswith("_deduplicated"):
            continue
        few = [f"{label} {count}" for label, count in row.drop("all").items() if count < FEW]
        if few:
            found.append(f"fewer than {FEW} faces in {split}: {', '.join(few)}.")
    people = faces[faces["subject"] != ""].groupby("subject")["split"].nunique()
    if people.empty:
        found.append("no person is named: nothing can keep a person's faces in one split.")
    elif (people > 1).any():
        found.append(f"{int((people > 1).sum())} of {len(people)} people stand in several splits.")
    labels = faces.drop_duplicates(["digest", "label"]).groupby("digest").size()
    if (labels > 1).any():
        found.append(f"{int((labels > 1).sum())} groups of equal faces carry different labels.")
    return found
