"""From predictions to figures that can be published: accuracy with its interval, per class too.

NumPy and pandas only: a predictions.csv can be judged anywhere.
"""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
from sklearn import metrics

COLUMNS = ("name", "subject", "label")
# Of the six numbers, whose unit is half a face: a tenth of a pixel of 48.
SAME_FOR_ALL = 0.004


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
        ValueError: the file lacks the columns of one.
    """
    table = pd.read_csv(path, keep_default_na=False)
    if tuple(table.columns[:3]) != COLUMNS or len(table.columns) < 5:
        raise ValueError(f"{path} must have the columns name, subject, label and one a class.")
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


def evaluate(table):
    """Judge predictions.

    Args:
        table: as from `predictions_table`, one row or more.

    Returns:
        dict that can be written as JSON: `faces`, `correct`, `accuracy`, `accuracy_interval` (95 %,
        Wilson), `balanced_accuracy` (mean recall over the classes that occur), `macro_f1` (over
        the same), `classes`, `per_class` (precision, recall, f1, faces of each; precision is null
        where a class was never predicted), `confusion` (rows: true class, columns: predicted),
        `calibration` (see there).

    Raises:
        ValueError: the table is empty, or a label is none of its classes.
    """
    if table.empty:
        raise ValueError("There are no predictions to judge: the split holds no faces.")
    classes = list(table.columns[3:])
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
    }


def calibration(table, bins=15):
    """How far the probability that a model gives its answers is the share that are right.

    Args:
        table: as from `predictions_table`, one row or more.
        bins: of equal width, of the answers' probabilities.

    Returns:
        dict: `error`, the expected calibration error (Guo et al., 2017), 0 to 1; `bins`, for each
        that holds faces their number, mean `probability` and `accuracy`; `per_class`, the same
        of all faces that were given this answer (null where none was).
    """
    classes = list(table.columns[3:])
    scores = table[classes].to_numpy()
    guess = scores.argmax(axis=1)
    sure = scores.max(axis=1)
    right = np.array(classes)[guess] == table["label"].to_numpy()

    def group(chosen):
        return {
            "faces": int(chosen.sum()),
            "probability": float(sure[chosen].mean()) if chosen.any() else None,
            "accuracy": float(right[chosen].mean()) if chosen.any() else None,
        }

    place = np.minimum((sure * bins).astype(int), bins - 1)
    groups = [group(place == i) for i in range(bins) if (place == i).any()]
    error = sum(one["faces"] * abs(one["probability"] - one["accuracy"]) for one in groups)
    return {
        "error": error / len(table),
        "bins": groups,
        "per_class": {name: group(guess == i) for i, name in enumerate(classes)},
    }


def summary(report, paper_accuracy=None):
    """One sentence: accuracy, its interval, and the paper's number where it has one.

    Args:
        report: what `evaluate` returns.
        paper_accuracy: percent, or None.
    """
    low, high = (100 * bound for bound in report["accuracy_interval"])
    line = (
        f"accuracy {100 * report['accuracy']:.2f} % on {report['faces']:,} faces "
        f"(95 % interval {low:.2f} to {high:.2f})"
    )
    return line + (f"; the paper: {paper_accuracy:.2f} %" if paper_accuracy else "")


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
