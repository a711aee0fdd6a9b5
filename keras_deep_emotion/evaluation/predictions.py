"""Tables of predictions, as predictions.csv in a run folder holds them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from keras_deep_emotion.files import atomic_write, check_table, csv_text, from_csv_text

COLUMNS = ("name", "subject", "label")


def predictions_table(
    names: Sequence[str],
    subjects: Sequence[str],
    labels: Sequence[int],
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> pd.DataFrame:
    """Build a table of predictions: `name`, `subject`, `label` and a column for each class.

    Args:
        names: (count,) file or row of each face in the native data.
        subjects: (count,) person or character of each face, "" where unknown.
        labels: (count,) integers, true class; the table has its name.
        probabilities: (count, classes) float.
        classes: Class names, in the order of the columns of `probabilities`.
    """
    table = pd.DataFrame(np.asarray(probabilities), columns=list(classes))
    label_names = [classes[int(label)] for label in labels]
    for column, values in zip(COLUMNS[::-1], (label_names, subjects, names), strict=True):
        table.insert(0, column, list(values))
    return table


def write_predictions(table: pd.DataFrame, path: str | Path) -> None:
    """Write a `predictions_table` as predictions.csv.

    Names and subjects that spreadsheets, R or pandas would change, such as JAFFE's person NA, which
    they take for a missing value, have an apostrophe before them; see `files.csv_text`.
    """
    safe = {column: table[column].map(csv_text) for column in COLUMNS[:2]}
    with atomic_write(path) as temporary:
        table.assign(**safe).to_csv(temporary, index=False)


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Read predictions.csv as a `predictions_table`; missing probabilities are NaN.

    Raises:
        ValueError: If the file is not a table, or lacks required columns.
    """
    check_table(path)
    text = dict.fromkeys(COLUMNS, str)  # names such as 007 and 1e3 are not numbers
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=text)
    except ValueError as error:  # an empty file, ragged rows, or not UTF-8
        raise ValueError(f"{path} is damaged: {str(error).strip()}") from error
    if tuple(table.columns[:3]) != COLUMNS or len(table.columns) < 5:
        raise ValueError(f"{path} must have the columns name, subject, label and one a class.")
    # A diverged network has empty cells, which pandas would keep as text.
    for column in COLUMNS[:2]:
        table[column] = table[column].map(from_csv_text)
    classes = table.columns[3:]
    numbers = table[classes].apply(pd.to_numeric, errors="coerce")
    is_good = numbers.apply(lambda one: one.between(0, 1)) | (table[classes] == "")
    if not is_good.all(axis=None):
        raise ValueError(f"{path} is damaged: a probability is not a number between 0 and 1.")
    if not table["label"].isin(classes).all():
        raise ValueError(f"{path} is damaged: a label is not among {', '.join(classes)}.")
    table[classes] = numbers
    return table


def predicted_classes(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The predicted class of each face of a `predictions_table`.

    Returns (count,) arrays: name of the most probable class (the first of equals), its probability,
    and whether it is the true class.
    """
    classes = table.columns[3:]
    scores = table[classes].to_numpy()
    names = np.array(classes, dtype=str)[scores.argmax(axis=1)]
    return names, scores.max(axis=1), names == table["label"].to_numpy()
