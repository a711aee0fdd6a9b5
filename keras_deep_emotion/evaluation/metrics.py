"""Metrics of predictions: accuracy with its interval, per class, per person, and calibration."""

from typing import Any

import numpy as np
import pandas as pd

from keras_deep_emotion.evaluation.predictions import predicted_classes
from keras_deep_emotion.evaluation.statistics import wilson_interval

MISTAKES = 50  # ours: as many as a table on a page is searched by hand


def classification_report(table: pd.DataFrame) -> dict[str, Any]:
    """Compute the metrics of predictions.

    Args:
        table: A `predictions.predictions_table`, one row or more.

    Returns:
        Metrics that can be written as JSON: `faces`, `correct`, `accuracy`, `accuracy_interval`
        (95 %, Wilson); `balanced_accuracy` and `macro_f1`, means of recall and F1 over the classes
        that occur; `classes`; `per_class`, `faces`, `precision`, `recall` and `f1` of each (None
        where undefined); `confusion`, counts with a row for each true class and a column for each
        predicted class; `calibration`, see `calibration`; `per_person`, see `per_subject`;
        `surest_mistakes`, see `confident_mistakes`.

    Raises:
        ValueError: If the table is empty, a label is not one of the classes, or a probability is
            NaN.
    """
    classes = list(table.columns[3:])
    check_predictions(table, classes)
    true = table["label"].map(classes.index).to_numpy()
    predicted = table[classes].to_numpy().argmax(axis=1)
    size = len(classes)
    confusion = np.bincount(size * true + predicted, minlength=size**2).reshape(size, size)
    faces, predictions = confusion.sum(axis=1), confusion.sum(axis=0)
    hits = confusion.diagonal()
    present = faces > 0
    recall = hits / np.maximum(faces, 1)
    precision = hits / np.maximum(predictions, 1)
    f1 = 2 * hits / np.maximum(faces + predictions, 1)
    return {
        **accuracy_report(hits.sum(), len(table)),
        "balanced_accuracy": float(recall[present].mean()),
        "macro_f1": float(f1[present].mean()),
        "classes": classes,
        "per_class": {
            name: {
                "faces": int(faces[i]),
                "precision": float(precision[i]) if predictions[i] else None,
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


def check_predictions(table: pd.DataFrame, classes: list[str]) -> None:
    """Raise ValueError if a table is empty or has unknown labels or missing probabilities."""
    if table.empty:
        raise ValueError("There are no predictions to evaluate: the split holds no faces.")
    missing = int(table[classes].isna().any(axis=1).sum())
    if missing:
        raise ValueError(
            f"{missing:,} of {len(table):,} faces have no probabilities: the training has "
            "diverged. Train again with a lower --learning-rate."
        )
    unknown = sorted(set(table["label"]) - set(classes))
    if unknown:
        raise ValueError(f"Labels must be among {', '.join(classes)}. Received: {unknown[0]}")


def accuracy_report(correct: int, faces: int) -> dict[str, Any]:
    """`faces`, `correct`, `accuracy` and its 95 % Wilson interval `accuracy_interval`."""
    correct, faces = int(correct), int(faces)
    return {
        "faces": faces,
        "correct": correct,
        "accuracy": correct / faces,
        "accuracy_interval": list(wilson_interval(correct, faces)),
    }


def calibration(table: pd.DataFrame, bins: int = 15) -> dict[str, Any]:
    """Compare the probabilities of predicted classes with their accuracy, in `bins` of equal width.

    Returns `error`, the expected calibration error (Guo et al., 2017), 0 to 1; `bins`, for each bin
    that is not empty its bounds `low` and `high`, number of `faces`, mean `probability` and
    `accuracy`; `per_class`, the last three for the faces predicted as each class (None for none).
    """
    names, probabilities, correct = predicted_classes(table)

    def summary(mask):
        some = mask.any()
        return {
            "faces": int(mask.sum()),
            "probability": float(probabilities[mask].mean()) if some else None,
            "accuracy": float(correct[mask].mean()) if some else None,
        }

    bin_of = np.minimum((probabilities * bins).astype(int), bins - 1)
    filled = [
        {"low": i / bins, "high": (i + 1) / bins, **summary(bin_of == i)}
        for i in np.unique(bin_of).tolist()
    ]
    error = sum(one["faces"] * abs(one["probability"] - one["accuracy"]) for one in filled)
    return {
        "error": error / len(table),
        "bins": filled,
        "per_class": {name: summary(names == name) for name in table.columns[3:]},
    }


def per_subject(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Accuracy for each person, by name; faces of unknown persons (subject "") are left out."""
    correct = pd.Series(predicted_classes(table)[2])
    groups = correct.groupby(table["subject"].to_numpy())
    return {name: accuracy_report(group.sum(), len(group)) for name, group in groups if name}


def confident_mistakes(table: pd.DataFrame, count: int = MISTAKES) -> list[dict[str, Any]]:
    """The at most `count` misclassified faces with the highest probability, most confident first.

    Returns `name`, `subject`, `label` (true class), `answer` (predicted class) and `probability`;
    equals are in the table's order.
    """
    names, probabilities, correct = predicted_classes(table)
    mistakes = table[["name", "subject", "label"]].assign(answer=names, probability=probabilities)
    mistakes = mistakes[~correct].sort_values("probability", ascending=False, kind="stable")
    return mistakes.head(count).to_dict("records")
