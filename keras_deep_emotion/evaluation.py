"""From predictions to figures that can be published: accuracy with its interval, per class too.

No TensorFlow: a predictions.csv can be judged anywhere.
"""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
from sklearn import metrics

COLUMNS = ("name", "subject", "label")
# Of the six numbers, whose unit is half a face: a tenth of a pixel of 48.
SAME_FOR_ALL = 0.004
CHANCE = 0.05  # ours: p-values from here on are called chance; the level of the 95 % intervals


def predictions_table(names, subjects, labels, probabilities, classes):
    """Gather predictions in the form that a run folder keeps.

    Args:
        names: (count,) text, the native file or row of each face.
        subjects: (count,) text, "" where unknown.
        labels: (count,) integers, true class.
        probabilities: (count, classes) float.
        classes: names of the classes, in the order of the columns of `probabilities`.

    Returns:
        DataFrame with `name`, `subject`, `label` (its name) and one column of probability a class.
    """
    table = pd.DataFrame(np.asarray(probabilities), columns=list(classes))
    table.insert(0, "label", [classes[int(label)] for label in labels])
    table.insert(0, "subject", list(subjects))
    table.insert(0, "name", list(names))
    return table


def read_predictions(path):
    """Read a predictions.csv back, as `predictions_table` made it.

    Raises:
        ValueError: the file lacks the columns of one, or is no table at all.
    """
    # Names as they were written: 007 and 1e3 are no numbers.
    text = dict.fromkeys(COLUMNS, str)
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=text)
    except ValueError as error:  # of pandas: nothing in it, rows of different lengths, not UTF-8
        raise ValueError(f"{path} is damaged: {error}") from error
    if tuple(table.columns[:3]) != COLUMNS or len(table.columns) < 5:
        raise ValueError(f"{path} must have the columns name, subject, label and one a class.")
    # Of a network that has diverged they are empty, which pandas would keep as text.
    classes = table.columns[3:]
    table[classes] = table[classes].apply(pd.to_numeric, errors="coerce")
    return table


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


def answered(table):
    """What each face was taken for.

    Args:
        table: as from `predictions_table`.

    Returns:
        Three arrays of (count,): the name of the class answered (the first of equals), its
        probability from 0 to 1, and whether it is the true one.
    """
    classes = list(table.columns[3:])
    scores = table[classes].to_numpy()
    answers = np.array(classes)[scores.argmax(axis=1)]
    return answers, scores.max(axis=1), answers == table["label"].to_numpy()


def evaluate(table):
    """Judge predictions.

    Args:
        table: as from `predictions_table`, one row or more.

    Returns:
        dict that can be written as JSON: `faces`, `correct`, `accuracy`, `accuracy_interval` (95 %,
        Wilson), `balanced_accuracy` (mean recall over the classes that occur), `macro_f1` (over
        the same), `classes`, `per_class` (precision, recall, f1, faces of each; precision is null
        where a class was never predicted), `confusion` (rows: true class, columns: predicted),
        `calibration`, `per_person` and `surest_mistakes` (see there).

    Raises:
        ValueError: the table is empty, a label is none of its classes, or a probability no number.
    """
    if table.empty:
        raise ValueError("There are no predictions to judge: the split holds no faces.")
    classes = list(table.columns[3:])
    without = int(table[classes].isna().any(axis=1).sum())
    if without:
        raise ValueError(
            f"{without:,} of {len(table):,} faces have no probabilities: the training has "
            "diverged. Train anew with a lower --learning-rate."
        )
    position = {name: i for i, name in enumerate(classes)}
    unknown = sorted(set(table["label"]) - set(classes))
    if unknown:
        raise ValueError(f"Labels must be among {', '.join(classes)}. Received: {unknown[0]}")
    truth = table["label"].map(position).to_numpy()
    guess = table[classes].to_numpy().argmax(axis=1)
    confusion = metrics.confusion_matrix(truth, guess, labels=range(len(classes)))
    faces = confusion.sum(axis=1)
    guesses = confusion.sum(axis=0)
    hits = confusion.diagonal()
    correct = int(hits.sum())
    present = faces > 0
    f1 = 2 * hits / np.maximum(faces + guesses, 1)
    recall = hits / np.maximum(faces, 1)
    return {
        "faces": len(table),
        "correct": correct,
        "accuracy": correct / len(table),
        "accuracy_interval": list(wilson_interval(correct, len(table))),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
        "classes": classes,
        "per_class": {
            name: {
                "faces": int(faces[i]),
                "precision": float(hits[i] / guesses[i]) if guesses[i] else None,
                "recall": float(recall[i]) if present[i] else None,
                "f1": float(f1[i]) if present[i] else None,
            }
            for i, name in enumerate(classes)
        },
        "confusion": confusion.tolist(),
        "calibration": calibration(table),
        "per_person": per_person(table),
        "surest_mistakes": surest_mistakes(table),
    }


def calibration(table, bins=15):
    """How far the probability that a model gives its answers is the share that are right.

    Args:
        table: as from `predictions_table`, one row or more.
        bins: of equal width, of the answers' probabilities.

    Returns:
        dict: `error`, the expected calibration error (Guo et al., 2017), 0 to 1; `bins`, for each
        that holds faces its bounds `low` and `high`, their number, mean `probability` and
        `accuracy`; `per_class`, the last three of all faces that were given this answer (null
        where none was).
    """
    classes = list(table.columns[3:])
    scores = table[classes].to_numpy()
    guess = scores.argmax(axis=1)
    _, sure, right = answered(table)

    def group(chosen):
        return {
            "faces": int(chosen.sum()),
            "probability": float(sure[chosen].mean()) if chosen.any() else None,
            "accuracy": float(right[chosen].mean()) if chosen.any() else None,
        }

    place = np.minimum((sure * bins).astype(int), bins - 1)
    groups = [
        {"low": i / bins, "high": (i + 1) / bins, **group(place == i)}
        for i in range(bins)
        if (place == i).any()
    ]
    error = sum(one["faces"] * abs(one["probability"] - one["accuracy"]) for one in groups)
    return {
        "error": error / len(table),
        "bins": groups,
        "per_class": {name: group(guess == i) for i, name in enumerate(classes)},
    }


def per_person(table):
    """How well each person's faces are read.

    Args:
        table: as from `predictions_table`.

    Returns:
        dict from subject, in order of their names, to a dict: `faces`, `correct`, `accuracy`,
        `accuracy_interval` (95 %, Wilson). Faces of nobody known (subject "") are left out, so it
        is empty where the data set names no one.
    """
    subjects = table["subject"].to_numpy()
    right = answered(table)[2]
    people = {}
    for subject in sorted(set(subjects) - {""}):
        own = right[subjects == subject]
        faces, correct = len(own), int(own.sum())
        people[subject] = {
            "faces": faces,
            "correct": correct,
            "accuracy": correct / faces,
            "accuracy_interval": list(wilson_interval(correct, faces)),
        }
    return people


def surest_mistakes(table, count=12):
    """The wrong answers that were given the highest probability: the ones to look at first.

    Args:
        table: as from `predictions_table`.
        count: how many at most.

    Returns:
        list of dicts `name`, `subject`, `label` (true class), `answer`, `probability` (of the
        answer, 0 to 1), the surest first, those of equal probability in the table's order.
    """
    answers, sure, right = answered(table)
    wrong = np.flatnonzero(~right)
    chosen = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    return [
        {
            "name": table["name"].iloc[i],
            "subject": table["subject"].iloc[i],
            "label": table["label"].iloc[i],
            "answer": str(answers[i]),
            "probability": float(sure[i]),
        }
        for i in chosen
    ]


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
    first, second = answered(table)[2], answered(other)[2]
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


def comparison_summary(comparison):
    """Two sentences: how far apart two runs are, and whether chance does as much.

    Args:
        comparison: what `mcnemar` returns.
    """
    faces = comparison["faces"]
    first, second = (
        100 * (comparison["both_right"] + comparison[only]) / faces
        for only in ("only_first", "only_second")
    )
    low, high = (100 * bound for bound in comparison["difference_interval"])
    p = comparison["p_value"]
    verdict = "within chance" if p >= CHANCE else "more than chance"
    return (
        f"{first:.2f} % here, {second:.2f} % there: {100 * comparison['difference']:+.2f} points "
        f"on the same {faces:,} faces (95 % interval {low:+.2f} to {high:+.2f})\n"
        f"the difference is {verdict}: {comparison['only_first']:,} faces only this one gets "
        f"right, {comparison['only_second']:,} only the other "
        f"(McNemar, {'p < 0.0001' if p < 0.0001 else f'p = {p:.4f}'})"
    )


def summary(report, paper_accuracy=None, paper_differs=()):
    """One sentence: accuracy, its interval, and the paper's number where it has one.

    Args:
        report: what `evaluate` returns.
        paper_accuracy: percent, or None.
        paper_differs: what keeps it from being compared, see `datasets.differences_from_paper`.
    """
    low, high = (100 * bound for bound in report["accuracy_interval"])
    line = (
        f"accuracy {100 * report['accuracy']:.2f} % on {report['faces']:,} faces "
        f"(95 % interval {low:.2f} to {high:.2f})"
    )
    if not paper_accuracy:
        return line
    line += f"; the paper: {paper_accuracy:.2f} %"
    if paper_differs:
        line += f", which does not compare: {' and '.join(paper_differs)}"
    return line


def attention_summary(attention):
    """One clause: what the spatial transformer does.

    Args:
        attention: what `runs.attention` returns.
    """
    zoom_x, _, shift_x, _, zoom_y, shift_y = attention["mean"]
    text = (
        f"attends to {zoom_x:.0%} of the width and {zoom_y:.0%} of the height on average, "
        f"{shift_x / 2:+.1%} and {shift_y / 2:+.1%} of them off the centre; "
    )
    largest = max(attention["spread"])
    if largest < SAME_FOR_ALL:
        return text + "the same for every face but for a fraction of a pixel: it looks at none"
    return text + f"its numbers differ among faces by up to {largest:.3f} (standard deviation)"
