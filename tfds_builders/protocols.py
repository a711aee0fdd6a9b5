"""Which split an example belongs to: pure functions of names, labels and a seed.

No random state and no file order enters: the same names give the same splits on every machine.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

SEED = 0  # part of every data set's definition: another seed is another data set


def shuffle_rank(name: str, seed: int = SEED) -> str:
    """Sort key that puts names in a fixed random order: the SHA-256 of `seed:name`, in hex."""
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()


def stratified_split(
    labels: Mapping[str, str], validation: float, test: float, seed: int = SEED
) -> dict[str, str]:
    """Split names so that every label has the same shares in each part.

    Args:
        labels: label of each name.
        validation: share of each label that goes to validation, 0 to 1.
        test: share of each label that goes to test, 0 to 1.
        seed: another seed gives another split.

    Returns:
        "train", "validation" or "test" for each name. Shares are rounded within each label.

    Raises:
        ValueError: the shares are negative or leave nothing to train on.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError(
            "validation and test must be shares of 0 or more whose sum is below 1. "
            f"Received: validation={validation}, test={test}"
        )
    by_label = defaultdict(list)
    for name, label in labels.items():
        by_label[label].append(name)
    splits = {}
    for names in by_label.values():
        names.sort(key=lambda name: shuffle_rank(name, seed))
        tests = round(test * len(names))
        validations = round(validation * len(names))
        for place, name in enumerate(names):
            if place < tests:
                splits[name] = "test"
            elif place < tests + validations:
                splits[name] = "validation"
            else:
                splits[name] = "train"
    return splits


def sized_split(
    labels: Mapping[str, str], validation: int, test_per_label: int, seed: int = SEED
) -> dict[str, str]:
    """Split names into parts of given sizes: the same number of each label in test.

    Args:
        labels: label of each name.
        validation: names in validation, shared among the labels in proportion to what test left
            of them (largest remainders first).
        test_per_label: names of each label in test.
        seed: another seed gives another split.

    Returns:
        "train", "validation" or "test" for each name.

    Raises:
        ValueError: a label has too few names, or nothing is left to train on.
    """
    by_label = defaultdict(list)
    for name in sorted(labels, key=lambda name: shuffle_rank(name, seed)):
        by_label[labels[name]].append(name)
    rest = {label: len(names) - test_per_label for label, names in sorted(by_label.items())}
    total = sum(rest.values())
    if min(rest.values(), default=0) < 0 or not 0 <= validation < total:
        raise ValueError(
            f"{len(labels)} names of {len(by_label)} labels do not give {test_per_label} of each "
            f"label to test, {validation} to validation and any to training."
        )
    exact = {label: validation * count / total for label, count in rest.items()}
    shares = {label: int(share) for label, share in exact.items()}
    by_remainder = sorted(rest, key=lambda label: shares[label] - exact[label])
    for label in by_remainder[: validation - sum(shares.values())]:
        shares[label] += 1
    splits = {}
    for label, names in by_label.items():
        for place, name in enumerate(names):
            if place < test_per_label:
                splits[name] = "test"
            elif place < test_per_label + shares[label]:
                splits[name] = "validation"
            else:
                splits[name] = "train"
    return splits


def subject_folds(subjects: Iterable[str], folds: int, seed: int = SEED) -> dict[str, int]:
    """Deal people into folds of nearly equal size, so that no two folds share a person.

    Args:
        subjects: the people, in any order and with repetitions.
        folds: how many folds, 2 or more and at most the number of people.
        seed: another seed deals otherwise.

    Returns:
        The fold, 0 to folds - 1, of each person.

    Raises:
        ValueError: there are fewer people than folds.
    """
    people = sorted(set(subjects), key=lambda subject: shuffle_rank(subject, seed))
    if not 2 <= folds <= len(people):
        raise ValueError(f"folds must be between 2 and {len(people)} people. Received: {folds}")
    return {subject: place % folds for place, subject in enumerate(people)}
