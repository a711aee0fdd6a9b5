"""From predictions to figures that can be published: accuracy with its interval, per class too.

No TensorFlow: a predictions.csv can be judged anywhere.
"""

import numpy as np
from sklearn import metrics

from keras_deep_emotion.evaluation.predictions import predicted_classes
from keras_deep_emotion.evaluation.statistics import wilson_interval


def classification_report(table):
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
        "per_person": per_subject(table),
        "surest_mistakes": confident_mistakes(table),
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
    _, sure, right = predicted_classes(table)

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


def per_subject(table):
    """How well each person's faces are read.

    Args:
        table: as from `predictions_table`.

    Returns:
        dict from subject, in order of their names, to a dict: `faces`, `correct`, `accuracy`,
        `accuracy_interval` (95 %, Wilson). Faces of nobody known (subject "") are left out, so it
        is empty where the data set names no one.
    """
    subjects = table["subject"].to_numpy()
    right = predicted_classes(table)[2]
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


def confident_mistakes(table, count=12):
    """The wrong answers that were given the highest probability: the ones to look at first.

    Args:
        table: as from `predictions_table`.
        count: how many at most.

    Returns:
        list of dicts `name`, `subject`, `label` (true class), `answer`, `probability` (of the
        answer, 0 to 1), the surest first, those of equal probability in the table's order.
    """
    answers, sure, right = predicted_classes(table)
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
