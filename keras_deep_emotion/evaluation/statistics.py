"""Confidence intervals of accuracies, and tests of their differences."""

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from keras_deep_emotion.evaluation.predictions import predicted_classes

# ours: differences with p-values below it are called significant; it matches the 95 % intervals
SIGNIFICANCE_LEVEL = 0.05


def wilson_interval(correct: int, total: int) -> tuple[float, float]:
    """95 % confidence interval (low, high), 0 to 1, of a proportion correct / total (Wilson, 1927).

    It is valid for proportions near 0 and 1 and for small samples too.

    Raises:
        ValueError: If not 0 <= correct <= total, or total is 0.

    Example:
    >>> low, high = wilson_interval(81, 263)  # Newcombe (1998), table I
    >>> f"{low:.4f} to {high:.4f}"
    '0.2553 to 0.3662'
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"correct must be 0 to total >= 1. Received: {correct} of {total}")
    interval = stats.binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: np.ndarray) -> tuple[float, list[float]]:
    """Mean of (faces,) values, and its 95 % interval over the choice of faces (Student's t)."""
    mean = float(values.mean())
    half = stats.t.ppf(0.975, max(len(values) - 1, 1)) * stats.sem(values) if values.std() else 0.0
    return mean, [mean - float(half), mean + float(half)]


def sign_test(first: int, second: int) -> float:
    """Two-sided p-value of two counts under equal chances; 1.0 if both are 0."""
    if first + second == 0:
        return 1.0
    return float(stats.binomtest(first, first + second).pvalue)


def mcnemar(table: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    """Test whether two models differ on the same faces: the exact test of McNemar (1947).

    Both are a `predictions.predictions_table` of the same faces, in any order. Only faces that one
    model classifies correctly and the other does not are informative; the p-value is the
    `sign_test` of their counts. The interval is that of `paired_interval`; near p = 0.05 the two
    may disagree. Returns, for JSON, `faces`; the counts `both_right`, `only_first`, `only_second`
    and `both_wrong`; `difference` of the accuracies, first minus second; its 95 %
    `difference_interval`; `p_value`.

    Raises:
        ValueError: If there are no faces, a table has a name twice, or the tables have different
            names or labels.

    Example:
    >>> from keras_deep_emotion.evaluation.predictions import predictions_table
    >>> def predictions(*happy):
    ...     scores = [[1 - share, share] for share in happy]
    ...     return predictions_table("abc", [""] * 3, [1, 1, 1], scores, ["sadness", "happiness"])
    >>> result = mcnemar(predictions(0.9, 0.8, 0.7), predictions(0.9, 0.3, 0.2))
    >>> result["both_right"], result["only_first"], result["p_value"]
    (1, 2, 0.5)
    """
    other = match_faces(table, other)
    first, second = predicted_classes(table)[2], predicted_classes(other)[2]
    groups = (first & second, first & ~second, ~first & second, ~first & ~second)
    both_right, only_first, only_second, both_wrong = counts = [int(one.sum()) for one in groups]
    return {
        "faces": len(table),
        "both_right": both_right,
        "only_first": only_first,
        "only_second": only_second,
        "both_wrong": both_wrong,
        "difference": (only_first - only_second) / len(table),
        "difference_interval": list(paired_interval(*counts)),
        "p_value": sign_test(only_first, only_second),
    }


def match_faces(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Return `other` with its rows in the order of `table`; raise ValueError if they differ."""
    if table.empty:
        raise ValueError("There are no predictions to compare.")
    for one in (table, other):
        repeated = one["name"][one["name"].duplicated()]
        if len(repeated):
            raise ValueError(f"Names must be unique. Received: {repeated.iloc[0]} twice")
    unmatched = sorted(set(table["name"]) ^ set(other["name"]))
    if unmatched:
        raise ValueError(
            "Both runs must be evaluated on the same faces: choose runs of one data set, protocol "
            f"and fold. Received: {len(unmatched):,} in only one of them, such as {unmatched[0]}"
        )
    other = other.set_index("name").loc[table["name"]].reset_index()
    relabeled = np.flatnonzero(table["label"].to_numpy() != other["label"].to_numpy())
    if len(relabeled):
        name, label = table[["name", "label"]].iloc[relabeled[0]]
        raise ValueError(
            "Both runs must be evaluated with the same labels: choose runs of one data set and "
            f"variant. Received: {name} as {label} and as {other['label'].iloc[relabeled[0]]}"
        )
    return other


def paired_interval(both, only_first, only_second, neither) -> tuple[float, float]:
    """95 % confidence interval, -1 to 1, of a proportion minus another of the same faces.

    The arguments count the faces of both proportions, of one only and of neither. Source: Newcombe
    (1998), Statistics in Medicine 17, 2635-2650, method 10.
    """
    total = both + only_first + only_second + neither
    one, two = both + only_first, both + only_second
    low_one, high_one = (abs(bound - one / total) for bound in wilson_interval(one, total))
    low_two, high_two = (abs(bound - two / total) for bound in wilson_interval(two, total))
    # The correlation of the proportions, with the source's continuity correction.
    covariance = both * neither - only_first * only_second
    if covariance > 0:
        covariance = max(covariance - total / 2, 0)
    # The correlation is undefined where a proportion is 0 or 1.
    correlation = covariance / (math.sqrt(one * (total - one) * two * (total - two)) or 1)
    difference = (only_first - only_second) / total
    low = math.sqrt(low_one**2 - 2 * correlation * low_one * high_two + high_two**2)
    high = math.sqrt(high_one**2 - 2 * correlation * high_one * low_two + low_two**2)
    return difference - low, difference + high
