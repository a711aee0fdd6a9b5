"""TODO."""

import math
from statistics import NormalDist

import numpy as np

from keras_deep_emotion.evaluation.predictions import predicted_classes

SIGNIFICANCE_LEVEL = (
    0.05  # ours: p-values from here on are called chance; the level of the 95 % intervals
)


def wilson_interval(correct, total, confidence=0.95):
    """Interval of a share (Wilson, 1927): it holds near 0 and 1 and for few faces too.

    Args:
        correct: how many were right.
        total: of how many, 1 or more.
        confidence: of the interval, above 0 and below 1.

    Returns:
        (low, high), shares from 0 to 1.

    Raises:
        ValueError: the counts are not 0 <= correct <= total, total >= 1.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"correct must be 0 to total >= 1. Received: {correct} of {total}")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = correct / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def mcnemar(table, other):
    """Whether two models differ on the same faces: the exact test of McNemar (1947).

    Only faces that one model gets right and the other wrong tell them apart. Were the models
    equally good, each such face would fall to either like a coin: the p-value is the two-sided
    binomial one. The interval is Newcombe's for paired shares (1998, Statistics in Medicine 17,
    2635-2650, method 10), from `wilson_interval`; near p = 0.05 the two may disagree a little.

    Args:
        table: as from `predictions_table`, one row or more.
        other: the same faces by another model, in any order.

    Returns:
        dict that can be written as JSON: `faces`; how many have `both_right`, `only_first`,
        `only_second`, `both_wrong`; `difference`, the first accuracy less the second, -1 to 1;
        `difference_interval` (95 %); `p_value`, 0 to 1.

    Raises:
        ValueError: there are no faces, a name stands twice in a table, or names or labels of the
            two are not the same.
    """
    if table.empty:
        raise ValueError("There are no predictions to compare.")
    for one in (table, other):
        twice = one["name"][one["name"].duplicated()]
        if len(twice):
            raise ValueError(
                f"Each face must stand in a table once. Received: {twice.iloc[0]} twice"
            )
    apart = sorted(set(table["name"]) ^ set(other["name"]))
    if apart:
        raise ValueError(
            "Both must be judged on the same faces: choose runs of one data set, protocol and "
            f"fold. Received: {len(apart):,} in only one of them, such as {apart[0]}"
        )
    other = other.set_index("name").loc[table["name"]].reset_index()
    relabelled = np.flatnonzero(table["label"].to_numpy() != other["label"].to_numpy())
    if len(relabelled):
        i = relabelled[0]
        raise ValueError(
            "Both must be judged by the same labels: choose runs of one data set and variant. "
            f"Received: {table['name'].iloc[i]} as {table['label'].iloc[i]} and as "
            f"{other['label'].iloc[i]}"
        )
    first, second = predicted_classes(table)[2], predicted_classes(other)[2]
    both_right, both_wrong = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    faces = len(table)
    return {
        "faces": faces,
        "both_right": both_right,
        "only_first": only_first,
        "only_second": only_second,
        "both_wrong": both_wrong,
        "difference": (only_first - only_second) / faces,
        "difference_interval": list(
            paired_interval(both_right, only_first, only_second, both_wrong)
        ),
        "p_value": sign_test(only_first, only_second),
    }


def sign_test(one, other):
    """Probability that a fair coin falls at least as unevenly, two-sided: 1 for none at all.

    Args:
        one: how often it fell on one side, 0 or more.
        other: on the other.
    """
    tosses = one + other
    ways, ways_of_i = 0, 1  # to have up to i heads, and i heads; in whole numbers, so exact
    for i in range(min(one, other) + 1):
        ways += ways_of_i
        ways_of_i = ways_of_i * (tosses - i) // (i + 1)
    return min(1.0, 2 * ways / 2**tosses)


def paired_interval(both, only_first, only_second, neither):
    """95 % interval of the difference of two shares of the same faces, as `mcnemar` says.

    Args:
        both: count of faces that count in both shares.
        only_first: in the first only.
        only_second: in the second only.
        neither: in none; all four together are 1 or more.

    Returns:
        (low, high) of the first share less the second, -1 to 1.
    """
    total = both + only_first + only_second + neither
    one, two = both + only_first, both + only_second
    low_one, high_one = (abs(bound - one / total) for bound in wilson_interval(one, total))
    low_two, high_two = (abs(bound - two / total) for bound in wilson_interval(two, total))
    # How much the shares move together; lessened where they do, the paper's continuity correction.
    together = both * neither - only_first * only_second
    if together > 0:
        together = max(together - total / 2, 0)
    # No correlation is defined where a share is 0 or 1.
    scale = math.sqrt(one * (total - one) * two * (total - two)) or 1
    shared = together / scale
    difference = (only_first - only_second) / total
    low = math.sqrt(low_one**2 - 2 * shared * low_one * high_two + high_two**2)
    high = math.sqrt(high_one**2 - 2 * shared * high_one * low_two + low_two**2)
    return difference - low, difference + high
