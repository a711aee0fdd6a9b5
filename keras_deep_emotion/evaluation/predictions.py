"""TODO."""

import numpy as np
import pandas as pd

COLUMNS = ("name", "subject", "label")


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


def predicted_classes(table):
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
