"""The data sets in one table: how to get them, how they are split, what the paper reached.

Standard library only: the command line reads it before TensorFlow is there.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dataset:
    """What is known of a data set before it is built.

    Attributes:
        title: its name in print.
        obtain: one clause that says where to get it and under what condition.
        protocols: ways to split it; the first is the default.
        variants: kinds of its labels or images, the default first; empty where there is one only.
        splits_in_one: whether one TFDS config of a variant holds the splits of every protocol;
            else each protocol is a config of its own.
        named_by_source: whether its variants are the user's own folders, known once built.
        folds: how many folds its `subjects` protocol has; 0 without one.
        paper_accuracy: test accuracy that the paper reports, percent; None where it has none.
    """

    title: str
    obtain: str
    protocols: tuple[str, ...] = ("paper", "subjects")
    variants: tuple[str, ...] = ()
    splits_in_one: bool = False
    named_by_source: bool = False
    folds: int = 10
    paper_accuracy: float | None = None


# Accuracies: the paper, tables I to IV.
DATASETS = {
    "toon_faces": Dataset(
        title="toon_faces",
        obtain="drawn by code, nothing to request",
        folds=6,
    ),
    "fer2013": Dataset(
        title="FER-2013",
        obtain=(
            "get fer2013.csv or fer2013.tar.gz at https://www.kaggle.com/c/"
            "challenges-in-representation-learning-facial-expression-recognition-challenge"
        ),
        protocols=("paper", "deduplicated"),
        variants=("ferplus", "original"),
        splits_in_one=True,
        folds=0,
        paper_accuracy=70.02,
    ),
    "ck_plus": Dataset(
        title="CK+",
        obtain="request it at https://www.jeffcohn.net/Resources/ (signed agreement)",
        variants=tuple(
            f"{frames}{neutral}{contempt}"
            for contempt in ("", "_contempt")
            for neutral in ("", "_neutral")
            for frames in ("peak", "last3")
        ),
        paper_accuracy=98.0,
    ),
    "jaffe": Dataset(
        title="JAFFE",
        obtain="request it at https://zenodo.org/records/3451524 (non-commercial research)",
        paper_accuracy=92.8,
    ),
    "ferg": Dataset(
        title="FERG",
        obtain=(
            "request it at https://grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html "
            "(signed agreement)"
        ),
        folds=6,
        paper_accuracy=99.3,
    ),
    "folder": Dataset(
        title="a folder of your own",
        obtain="name it with --source DIR; it holds a folder for each emotion",
        protocols=("paper",),
        splits_in_one=True,
        named_by_source=True,
        folds=0,
    ),
}


def parse_dataset(text: str) -> tuple[str, str | None]:
    """Split `name` or `name/variant` and check both.

    Returns:
        (name, variant): the variant is the default one if none is named, None where the data set
        has no variants.

    Raises:
        ValueError: there is no such data set, or no such variant of it.
    """
    name, _, variant = text.partition("/")
    if name not in DATASETS:
        raise ValueError(f"There is no data set {name!r}; there are: {', '.join(DATASETS)}.")
    variants = DATASETS[name].variants
    if DATASETS[name].named_by_source:
        return name, variant or None
    if variant and variant not in variants:
        known = ", ".join(f"{name}/{one}" for one in variants) or name
        # The name of a TFDS config, as `build-data` takes it, or of a protocol.
        hints = [
            f" The data set is {f'{name}/{one}' if one else name}, {protocol!r} its protocol (fit "
            f"--protocol {protocol})."
            for one in variants or (None,)
            for protocol in DATASETS[name].protocols
            if variant in (protocol, tfds_config(name, one, protocol))
        ]
        hint = hints[0] if hints else ""
        raise ValueError(f"There is no data set {text!r}; there is: {known}.{hint}")
    return name, variant or (variants[0] if variants else None)


def tfds_config(name: str, variant: str | None, protocol: str) -> str:
    """The TFDS config that holds a variant's splits under a protocol.

    Args:
        name: data set, a key of `DATASETS`.
        variant: one of its variants, None where it has none.
        protocol: one of its protocols.
    """
    if DATASETS[name].splits_in_one:
        return variant
    return f"{variant}_{protocol}" if variant else protocol


def parse_build(text: str) -> tuple[str, tuple[str, ...]]:
    """Split what `build-data` takes: `name`, `name/variant` or `name/config`.

    Returns:
        (name, configs): the TFDS configs to build, every protocol if none is named, and every
        variant whose splits come in one, else the default variant; none where the source names it.

    Raises:
        ValueError: there is no such data set, or no such part of it.
    """
    name, _, part = text.partition("/")
    parse_dataset(name)
    dataset = DATASETS[name]
    if dataset.named_by_source:
        if part:
            raise ValueError(
                f"The source names the part of {name} itself: {name}, without /{part}."
            )
        return name, ()
    configs = {
        variant: tuple(
            dict.fromkeys(tfds_config(name, variant, protocol) for protocol in dataset.protocols)
        )
        for variant in dataset.variants or (None,)
    }
    every = [config for group in configs.values() for config in group]
    if not part:
        return name, tuple(every) if dataset.splits_in_one else next(iter(configs.values()))
    if part in configs:
        return name, configs[part]
    if part in every:
        return name, (part,)
    known = ", ".join(f"{name}/{one}" for one in (dataset.variants or every))
    raise ValueError(f"There is no data set {text!r}; there is: {known}.")


def differences_from_paper(dataset: str, protocol: str) -> list[str]:
    """What keeps the paper's number from being compared with one of ours: clauses, maybe none.

    Args:
        dataset: name or name/variant, see `parse_dataset`.
        protocol: how it was split.
    """
    name, variant = parse_dataset(dataset)
    variants = DATASETS[name].variants
    apart = []
    if protocol != "paper":
        apart.append(f"the protocol here is {protocol}")
    if variant and variants and variant != variants[0]:
        apart.append(f"the faces and labels here are {variant}, the paper's {variants[0]}")
    return apart


def role_splits(name: str, protocol: str, fold: int | None) -> dict[str, str]:
    """TFDS split expression of each role under a protocol.

    Args:
        name: data set, a key of `DATASETS`.
        protocol: "paper", "deduplicated" or "subjects".
        fold: the fold to test on, for `subjects` only; the next one validates, the rest train.

    Returns:
        {"train": ..., "validation": ..., "test": ...}.

    Raises:
        ValueError: the data set has no such protocol, or the fold does not fit it.
    """
    dataset = DATASETS[name]
    if protocol not in dataset.protocols:
        raise ValueError(
            f"{dataset.title} has no protocol {protocol!r}; it has: {', '.join(dataset.protocols)}."
        )
    if protocol != "subjects":
        if fold is not None:
            raise ValueError(f"--fold goes with --protocol subjects. Received: {protocol}")
        ending = "_deduplicated" if protocol == "deduplicated" else ""
        return {"train": "train", "validation": f"validation{ending}", "test": f"test{ending}"}
    if fold is None:
        fold = 0
    if not 0 <= fold < dataset.folds:
        raise ValueError(
            f"{dataset.title} has folds 0 to {dataset.folds - 1}. Received: --fold {fold}"
        )
    validation = (fold + 1) % dataset.folds
    rest = [f"fold_{i}" for i in range(dataset.folds) if i not in (fold, validation)]
    return {"train": "+".join(rest), "validation": f"fold_{validation}", "test": f"fold_{fold}"}
