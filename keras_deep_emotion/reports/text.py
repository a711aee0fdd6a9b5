"""What the page says of a report: sentences, rows of tables, numbers as text."""

import math

import numpy as np

from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.statistics import SIGNIFICANCE_LEVEL

# Of the six numbers, whose unit is half a face: a tenth of a pixel of 48.
CONSTANT_THETA = 0.004


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
    verdict = "within chance" if p >= SIGNIFICANCE_LEVEL else "more than chance"
    return (
        f"{first:.2f} % here, {second:.2f} % there: {100 * comparison['difference']:+.2f} points "
        f"on the same {faces:,} faces (95 % interval {low:+.2f} to {high:+.2f})\n"
        f"the difference is {verdict}: {comparison['only_first']:,} faces only this one gets "
        f"right, {comparison['only_second']:,} only the other "
        f"(McNemar, {'p < 0.0001' if p < 0.0001 else f'p = {p:.4f}'})"
    )


def accuracy_summary(report, paper_accuracy=None, paper_differs=()):
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
    if largest < CONSTANT_THETA:
        return text + "the same for every face but for a fraction of a pixel: it looks at none"
    return text + f"its numbers differ among faces by up to {largest:.3f} (standard deviation)"


NO_BREAK = "\u00a0"


# Of faithfulness.json; what has no title here stands under its own name.
METHODS = {
    "saliency": "this run's map",
    "gaussian": "a hill in the middle",
    "random": "random pixels",
    "random, smooth": "random regions",
}


MEASURES = {
    "deletion": (
        "Deletion",
        "The answer's probability while the most telling places are hidden first: "
        "lower is more faithful.",
    ),
    "insertion": (
        "Insertion",
        "The answer's probability while they are shown first: higher is more faithful.",
    ),
    "pointing": (
        "Pointing",
        "Share of faces whose most telling place lies where the expression was drawn: "
        "higher is better.",
    ),
}


def verdict(config, report):
    """The paper's number, and what keeps it from being compared with ours, in sentences.

    Args:
        config: `TrainConfig`.
        report: report.json.
    """
    accuracy = report.get("paper_accuracy")
    if not accuracy:
        return "The paper has no number for these data."
    text = f"The paper reports {accuracy:.2f}{NO_BREAK}%. "
    apart = Task.from_config(config).differences_from_paper
    if apart:
        return text + f"The two do not compare: {' and '.join(apart)}."
    text += "The protocol matches: splits of the paper's sizes."
    if config.recipe != "paper":
        text += f" Recipe {config.recipe} is not the paper's network and settings."
    return text


def interval_scale(report):
    """Places on a line from 0 to 100 %: accuracy, its interval, the paper's number."""
    low, high = report["accuracy_interval"]
    return {
        "low": 100 * low,
        "width": 100 * (high - low),
        "point": 100 * report["accuracy"],
        "paper": report.get("paper_accuracy"),
    }


def headline_rows(report):
    """(title, report) of what was judged: all test faces, those without duplicates, the average."""
    rows = [("test", report)]
    for key, title in (
        ("deduplicated", "test without faces that stand in training"),
        ("flip_averaged", "each face averaged with its mirror image"),
    ):
        if key in report:
            rows.append((title, report[key]))
    return rows


def emotion_rows(report):
    """One dict an emotion: faces, recall, precision, f1, how often answered and how surely."""
    given = report.get("calibration", {}).get("per_class", {})
    nothing = {"faces": None, "probability": None}
    return [
        {
            "name": name,
            **row,
            "named": given.get(name, nothing)["faces"],
            "probability": given.get(name, nothing)["probability"],
        }
        for name, row in report["per_class"].items()
    ]


def people_rows(people):
    """Rows of the table of people, worst first.

    Args:
        people: as `evaluation.per_person` gives them, or None.
    """
    rows = [
        {
            "name": name,
            "faces": row["faces"],
            "accuracy": row["accuracy"],
            "interval": row["accuracy_interval"],
        }
        for name, row in (people or {}).items()
    ]
    return sorted(rows, key=lambda row: row["accuracy"])


def mistake_rows(mistakes):
    """Rows of the table of mistakes.

    Args:
        mistakes: as `evaluation.surest_mistakes` gives them, or None.
    """
    keys = ("name", "label", "answer", "probability")
    return [{key: row[key] for key in keys} for row in mistakes or []]


def attention_text(report):
    """What the transformer does, as a sentence; nothing where the run has none."""
    if not report.get("attention"):
        return ""
    return f"On the test faces it {attention_summary(report['attention'])}."


def confusion_cells(report):
    """Rows of (true class, cells): of each cell its count and its share of the row."""
    confusion = np.array(report["confusion"])
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    return [
        (name, list(zip(counts.tolist(), row.tolist(), strict=True)))
        for name, counts, row in zip(report["classes"], confusion, shares, strict=True)
    ]


def confusion_text(report):
    """A confusion matrix in words: its size and the three commonest mistakes."""
    confusion = np.array(report["confusion"])
    classes = report["classes"]
    text = (
        f"Confusion matrix of {report['faces']:,} test faces, rows the true emotion, columns the "
        f"predicted: {percent(report['accuracy'])} lie on the diagonal."
    )
    wrong = confusion - np.diag(confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:3]
    places = [np.unravel_index(place, wrong.shape) for place in order]
    common = [
        f"{classes[row]} taken for {classes[column]} ({wrong[row, column]:,})"
        for row, column in places
        if wrong[row, column]
    ]
    return text + (f" Commonest mistakes: {', '.join(common)}." if common else " No mistakes.")


def reliability_text(report):
    """A reliability diagram in words."""
    text = "Reliability diagram: probability that the model gives against the share that is right."
    error = report.get("calibration", {}).get("error")
    return text + ("" if error is None else f" Expected calibration error {number(error)}.")


def faithfulness_rows(found):
    """The tables of faithfulness.json.

    Args:
        found: as `write_page` reads it: `faces`, `scores` of measure and method, `randomisation`.

    Returns:
        dict: `faces`; `measures`, (title, explanation) of each; `rows`, of each method its title
        and a score or None for each measure; `randomisation`, (which weights, score) of each.
        A score has `mean` and `interval`.
    """
    scores = found.get("scores", {})
    measures = [one for one in MEASURES if one in scores]
    # In the file's order, ours first.
    known = dict.fromkeys(method for measure in measures for method in scores[measure])
    return {
        "faces": found.get("faces"),
        "measures": [MEASURES[one] for one in measures],
        "rows": [
            (METHODS.get(method, method), [scores[measure].get(method) for measure in measures])
            for method in known
        ],
        "randomisation": list(found.get("randomisation", {}).items()),
    }


def setting_text(value):
    """A setting as the page shows it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def missing(value):
    """Whether there is no number."""
    return value is None or math.isnan(value)


def percent(share, digits=1):
    """A share as percent; a dash where there is none."""
    return "–" if missing(share) else f"{100 * share:.{digits}f}{NO_BREAK}%"


def number(value, digits=3):
    """A number with its decimals; a dash where there is none."""
    return "–" if missing(value) else f"{value:.{digits}f}"


def count(value):
    """A whole number with its thousands; a dash where there is none."""
    return "–" if missing(value) else f"{value:,.0f}"
