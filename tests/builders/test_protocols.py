import random

import pytest

from tfds_builders.protocols import sized_split, stratified_split, subject_folds

LABELS = {f"{label}_{i:03}": label for label in ("calm", "glad") for i in range(50)}

TEST = ["calm_011", "calm_039", "glad_043", "glad_046"]
VALIDATION = ["calm_015", "calm_032", "glad_000", "glad_034"]


def test_shares_hold_within_each_label():
    splits = stratified_split(LABELS, validation=0.1, test=0.2)
    for label in ("calm", "glad"):
        parts = [splits[name] for name in LABELS if LABELS[name] == label]
        assert [parts.count(part) for part in ("train", "validation", "test")] == [35, 5, 10]


def test_order_of_names_does_not_matter_and_seed_does():
    names = list(LABELS)
    random.Random(1).shuffle(names)
    shuffled = {name: LABELS[name] for name in names}
    first = stratified_split(LABELS, 0.1, 0.2)
    assert stratified_split(shuffled, 0.1, 0.2) == first
    assert stratified_split(LABELS, 0.1, 0.2, seed=1) != first


def test_a_split_is_the_same_on_every_machine():
    splits = stratified_split(LABELS, 0.04, 0.04)
    # Two of 50 each: those with the smallest SHA-256 of `0:name`, written down once.
    assert [name for name in LABELS if splits[name] == "test"] == TEST
    assert [name for name in LABELS if splits[name] == "validation"] == VALIDATION


@pytest.mark.parametrize("shares", [(0.5, 0.5), (-0.1, 0.2)])
def test_shares_that_leave_no_training_are_refused(shares):
    with pytest.raises(ValueError, match="below 1"):
        stratified_split(LABELS, *shares)


def test_folds_are_even_and_keep_people_whole():
    people = [f"S{i:03}" for i in range(23)]
    folds = subject_folds(people * 3, 10)
    assert set(folds) == set(people)
    sizes = [list(folds.values()).count(fold) for fold in range(10)]
    assert sorted(sizes) == [2] * 7 + [3] * 3
    assert folds == subject_folds(reversed(people), 10)


def test_more_folds_than_people_are_refused():
    with pytest.raises(ValueError, match="between 2 and 3 people"):
        subject_folds(["a", "b", "c", "a"], 4)


def test_sizes_are_exact_and_even_over_labels():
    """JAFFE's numbers: 213 images give 120 / 23 / 70, ten of each emotion in test."""
    counts = {"AN": 30, "DI": 29, "FE": 32, "HA": 31, "NE": 30, "SA": 31, "SU": 30}
    labels = {f"{label}{i}": label for label, count in counts.items() for i in range(count)}
    splits = sized_split(labels, validation=23, test_per_label=10)
    sizes = {part: list(splits.values()).count(part) for part in ("train", "validation", "test")}
    assert sizes == {"train": 120, "validation": 23, "test": 70}
    for label in counts:
        parts = [splits[name] for name in labels if labels[name] == label]
        assert parts.count("test") == 10
        assert parts.count("validation") in (3, 4)
    assert sized_split(dict(reversed(labels.items())), 23, 10) == splits


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="100 names of 2 labels cannot be split into 51 of each"):
        sized_split(LABELS, validation=1, test_per_label=51)
