"""The supported data sets: how to obtain them, how they are split, what the paper reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a data set before it is built.

    Attributes:
        title: Name in print.
        obtain: Clause that says where to get it and on what terms.
        source: Placeholder of `build-data --source`; empty if no source is needed.
        protocols: Ways to split it, the default first.
        variants: Kinds of labels or images, the default first; empty if there is only one.
        splits_in_one: Whether one TFDS config of a variant holds the splits of every protocol;
            otherwise each protocol is a config of its own.
        named_by_source: Whether the variants are the user's folders, known once built.
        folds: Number of folds of protocol "subjects"; 0 without one.
        is_drawn: Whether its faces are drawings: a model of them knows no real faces.
        paper_accuracy: Test accuracy in percent that the paper reports, or None.
    """

    title: str
    obtain: str
    source: str = "DIR_OR_ARCHIVE"
    protocols: tuple[str, ...] = ("standard", "subjects")
    variants: tuple[str, ...] = ()
    splits_in_one: bool = False
    named_by_source: bool = False
    folds: int = 10
    is_drawn: bool = False
    paper_accuracy: float | None = None


# Accuracies: the paper, tables I to IV.
CATALOG = {
    "toon_faces": DatasetInfo("toon_faces", "it is drawn by code", "", folds=6, is_drawn=True),
    "fer2013": DatasetInfo(
        title="FER-2013",
        obtain="get fer2013.csv or fer2013.tar.gz at https://www.kaggle.com/c/"
        "challenges-in-representation-learning-facial-expression-recognition-challenge",
        protocols=("standard", "deduplicated"),
        variants=("ferplus", "original"),
        splits_in_one=True,
        folds=0,
        paper_accuracy=70.02,
    ),
    "ck_plus": DatasetInfo(
        title="CK+",
        obtain="request it at https://www.jeffcohn.net/Resources/ (signed agreement)",
        variants=tuple(
            f"{frames}{classes}"
            for classes in ("", "_neutral", "_contempt", "_neutral_contempt")
            for frames in ("peak", "last3")
        ),
        paper_accuracy=98.0,
    ),
    "jaffe": DatasetInfo(
        title="JAFFE",
        obtain="request it at https://zenodo.org/records/3451524 (non-commercial research)",
        paper_accuracy=92.8,
    ),
    "ferg": DatasetInfo(
        title="FERG",
        obtain="request it at https://grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html "
        "(signed agreement)",
        folds=6,
        is_drawn=True,
        paper_accuracy=99.3,
    ),
    "folder": DatasetInfo(
        title="a folder of your own",
        obtain="name it with --source DIR; it holds a folder for each emotion",
        source="DIR",
        protocols=("standard",),
        splits_in_one=True,
        named_by_source=True,
        folds=0,
    ),
}
