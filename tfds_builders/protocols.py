"""Which split an example belongs to: pure functions of names, labels and a seed.

Neither a random state nor the order of files matters: the same names give the same splits on every
machine.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

SEED = 0  # part of every data set's definition: another seed is another data set
# The paper, section IV-A, of CK+: 70 % train, 10 % validation, 20 % test.
STANDARD_SHARES = {"validation": 0.1, "test": 0.2}


def shuffle_rank(name: str, seed: int = SEED) -> str:
    """Sort key that puts names in a fixed random order: the SHA-256 of `seed:name`, in hex."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def stratified_split(
    labels: Mapping[str, str], validation: float, test: float, seed: int = SEED
) -> dict[str, str]:
    """Split names into "train", "validation" and "test" with the same shares of every label.

    Shares are rounded within each label. Raises ValueError if one is below 0, or their sum is 1 or
    more.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError(
            "validation and test must be shares of 0 or more whose sum is below 1. "
            f"Received: validation={validation}, test={test}"
        )
    return {
        name: part
        for names in _shuffled_by_label(labels, seed).values()
        for name, part in _cut(names, round(validation * len(names)), round(test * len(names)))
    }


def sized_split(labels: Mapping[str, str], validation: int, test_per_label: int) -> dict[str, str]:
    """Split names into parts of given sizes, with equally many names of each label in test.

    Validation is shared among the labels in proportion to what test left of them (largest
    remainders first). Raises ValueError if there are too few names.
    """
    by_label = _shuffled_by_label(labels, SEED)
    rest = {label: len(names) - test_per_label for label, names in sorted(by_label.items())}
    total = sum(rest.values())
    if min(rest.values(), default=0) < 0 or not 0 <= validation < total:
        raise ValueError(
            f"{len(labels)} names of {len(by_label)} labels cannot be split into {test_per_label} "
            f"of each label for test, {validation} for validation and some for training."
        )
    exact = {label: validation * count / total for label, count in rest.items()}
    shares = {label: int(share) for label, share in exact.items()}
    by_remainder = sorted(rest, key=lambda label: shares[label] - exact[label])
    for label in by_remainder[: validation - sum(shares.values())]:
        shares[label] += 1
    return {
        name: part
        for label, names in by_label.items()
        for name, part in _cut(names, shares[label], test_per_label)
    }


def subject_folds(subjects: Iterable[str], folds: int) -> dict[str, int]:
    """Assign people to folds 0, 1, ... of nearly equal size, so that no two share a person.

    Raises ValueError if `folds` is below 2 or exceeds the number of people.
    """
    people = sorted(set(subjects), key=shuffle_rank)
    if not 2 <= folds <= len(people):
        raise ValueError(f"folds must be between 2 and {len(people)} people. Received: {folds}")
    return {subject: place % folds for place, subject in enumerate(people)}


def protocol_split(
    protocol: str, subjects: Mapping[str, str], folds: int, standard: Callable[[], dict[str, str]]
) -> dict[str, str]:
    """Split names by protocol "standard" (by `standard()`) or "subjects" (fold_0, fold_1, ...).

    `subjects` is the person or character of each name.
    """
    if protocol == "standard":
        return standard()
    if protocol == "subjects":
        fold = subject_folds(subjects.values(), folds)
        return {name: f"fold_{fold[subject]}" for name, subject in subjects.items()}
    raise ValueError(f"protocol must be 'standard' or 'subjects'. Received: {protocol!r}")


def _shuffled_by_label(labels, seed):
    """Names of each label, in the order of `shuffle_rank`."""
    by_label = defaultdict(list)
    for name in sorted(labels, key=lambda name: shuffle_rank(name, seed)):
        by_label[labels[name]].append(name)
    return by_label


def _cut(names, validation, test):
    """(name, part) pairs: the first names are for test, the next for validation."""
    parts = ["test"] * test + ["validation"] * validation + ["train"] * len(names)
    return zip(names, parts, strict=False)
