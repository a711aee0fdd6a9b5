"""Text of reports: formatted numbers, sentences, and the lines that commands print.

Shares are written as 84.92 %, with a no-break space in HTML.
"""

from typing import Any

import numpy as np
import pandas as pd

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.statistics import SIGNIFICANCE_LEVEL

# Of the transform's numbers, whose unit is half the image: a tenth of a pixel of 48.
CONSTANT_THETA = 0.004
NO_BREAK = "\u00a0"
DEDUPLICATED = "without duplicates of training faces"
FLIP_AVERAGED = "averaged with mirror images"
METHODS = {  # of faithfulness.json; others are shown by their own name
    "saliency": "this run's maps",
    "gaussian": "centered Gaussian",
    "random": "random pixels",
    "random, smooth": "random regions",
}
MEASURES = {  # of faithfulness.json: title, explanation
    "deletion": (
        "Deletion",
        "area under the probability of the predicted class while the most important pixels are "
        "hidden first; lower is better.",
    ),
    "insertion": (
        "Insertion",
        "the same area while the most important pixels are shown first; higher is better.",
    ),
    "pointing": (
        "Pointing game",
        "share of faces whose most important pixel lies in the mouth, the eyes or the brows; "
        "higher is better.",
    ),
}


def percent(share: float | None, digits: int = 2) -> str:
    """A share in percent, with a no-break space; a dash if missing."""
    return "–" if pd.isna(share) else f"{100 * share:.{digits}f}{NO_BREAK}%"


def plain_percent(share: float | None, digits: int = 2) -> str:
    """A share in percent, in ASCII; a hyphen if missing."""
    return "-" if pd.isna(share) else f"{100 * share:.{digits}f} %"


def interval_text(share: float, bounds: list[float]) -> str:
    """A share and its interval in percent, in ASCII.

    >>> interval_text(0.5, [0.25, 1])
    '50.00 % (25.00 to 100.00)'
    """
    return f"{plain_percent(share)} ({100 * bounds[0]:.2f} to {100 * bounds[1]:.2f})"


def number(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals; a dash if missing."""
    return "–" if pd.isna(value) else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """A whole number with thousands separators; a dash if missing."""
    return "–" if pd.isna(value) else f"{value:,.0f}"


def setting_text(value: Any) -> str:
    """A setting as the page shows it."""
    # By repr: 1 and 1.0 equal True.
    return {"None": "none", "True": "yes", "False": "no"}.get(repr(value), str(value))


def evaluation_lines(report: dict[str, Any]) -> list[str]:
    """The lines that `evaluate` prints of the report of `evaluation.evaluate_run`."""
    balance = f", balance {report['balance']:g}" if report.get("balance") else ""
    lines = [
        f"{report['dataset']}, protocol {report['protocol']}, split {report['split']}{balance}",
        accuracy_summary(report, report["paper_accuracy"], report["paper_differs"]),
        mean_scores(report),
    ]
    if unique := report.get("deduplicated"):
        lines += [f"{DEDUPLICATED}: {text(unique)}" for text in (accuracy_summary, mean_scores)]
    if "flip_averaged" in report:
        lines.append(f"{FLIP_AVERAGED}: {accuracy_summary(report['flip_averaged'])}")
    if "attention" in report:
        lines.append(f"spatial transformer: {attention_summary(report['attention'])}")
    lines += class_lines(report)
    if "operating_points" in report:
        lines += balance_lines(report["operating_points"])
    if report["per_person"]:
        lines.append(people_summary(report["per_person"]))
    if report["surest_mistakes"]:
        lines.append("most confident mistakes (true -> predicted):")
    for mistake in report["surest_mistakes"][:5]:
        classes = f"{mistake['label']} -> {mistake['answer']}"
        probability = plain_percent(mistake["probability"])
        lines.append(f"{probability:>9}  {classes:<24}  {mistake['name']}")
    return lines


def class_lines(report: dict[str, Any]) -> list[str]:
    """A table of the classes: faces, precision, recall and mean probability of each."""
    lines = [f"{'':<12}{'faces':>7}{'precision':>11}{'recall':>10}{'probability':>13}"]
    for name, row in report["per_class"].items():
        probability = report["calibration"]["per_class"][name]["probability"]
        lines.append(
            f"{name:<12}{row['faces']:>7,}{plain_percent(row['precision']):>11}"
            f"{plain_percent(row['recall']):>10}{plain_percent(probability):>13}"
        )
    return lines


def robustness_lines(report: dict[str, Any], against: dict | None = None) -> list[str]:
    """The lines that `evaluate --robustness` prints of `evaluation.evaluate_robustness`.

    `against` is the result of `compare_robustness`.
    """

    def points(name):
        if against is None:
            return ""
        mean, (low, high) = against[name]
        return f"   {100 * mean:+5.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"

    lines = [
        f"unchanged {plain_percent(report['clean'])}; mean of all changes and levels "
        f"{interval_text(report['mean'], report['mean_interval'])}"
    ]
    if against is not None:
        lines.append(f"ahead of the other: unchanged{points('clean')}, all changes{points('all')}")
    for name, change in report["changes"].items():
        levels = "  ".join(
            f"{one['level']:>4g}: {plain_percent(one['accuracy']):>8}" for one in change["levels"]
        )
        lines.append(f"{change['title']:<16}{levels}  ({change['unit']}){points(name)}")
    if "follows" in report:
        lines.append(f"spatial transformer: {following_summary(report['follows'])}")
    return lines


def following_summary(follows: dict[str, dict]) -> str:
    """One clause: how far the transformer follows, from `evaluation.attention_following`.

    Example:
    >>> one = {"mean": -0.001, "interval": [-0.004, 0.002]}
    >>> following_summary({"move": one, "turn": {"mean": 0.531, "interval": [0.49, 0.57]}})
    'follows the face by 0 % (0 to 0) of a move, 53 % (49 to 57) of a turn'
    """
    names = {"move": "of a move", "scale": "of a change of size", "turn": "of a turn"}
    parts = []
    for name, one in follows.items():
        mean, low, high = (round(100 * share) for share in (one["mean"], *one["interval"]))
        parts.append(f"{mean} % ({low} to {high}) {names[name]}")
    return f"follows the face by {', '.join(parts)}"


def balance_lines(points: list[dict[str, Any]]) -> list[str]:
    """A table of `operating_points`: accuracy, balanced accuracy and recall of each class."""
    titles = f"{'balance':<8}{'accuracy, 95 % interval':>26}{'balanced':>10}"
    lines = [f"{titles}  recall: {', '.join(points[0]['recall'])}"]
    for one in points:
        interval = interval_text(one["accuracy"], one["accuracy_interval"])
        recall = "".join(f"{plain_percent(value, 0):>6}" for value in one["recall"].values())
        lines.append(
            f"{one['balance']:<8g}{interval:>26}{plain_percent(one['balanced_accuracy']):>10}"
            f"  {recall}"
        )
    return lines


def accuracy_summary(report: dict, paper_accuracy: float | None = None, paper_differs=()) -> str:
    """One line: accuracy, its interval, and the paper's accuracy in percent, if it has one.

    `paper_differs` says why the two do not compare, see `Task.differences_from_paper`.
    """
    low, high = (100 * bound for bound in report["accuracy_interval"])
    interval = f"95 % interval {low:.2f} to {high:.2f}"
    accuracy = plain_percent(report["accuracy"])
    line = f"accuracy {accuracy} on {report['faces']:,} faces ({interval})"
    if not paper_accuracy:
        return line
    line += f"; the paper: {paper_accuracy:.2f} %"
    return f"{line}, not comparable: {' and '.join(paper_differs)}" if paper_differs else line


def mean_scores(report: dict[str, Any]) -> str:
    """One line: balanced accuracy, macro F1 and calibration error."""
    before = report.get("uncalibrated_error")
    return (
        f"balanced accuracy {plain_percent(report['balanced_accuracy'])}, "
        f"macro F1 {report['macro_f1']:.3f}, "
        f"calibration error {report['calibration']['error']:.3f}"
        + ("" if before is None else f" ({before:.3f} before calibration)")
    )


def people_summary(people: dict[str, dict]) -> str:
    """One line: lowest and highest accuracy among people; of equals, whoever has more faces.

    Examples:
    >>> people = {"ann": {"accuracy": 0.5, "faces": 4}, "bob": {"accuracy": 0.75, "faces": 8}}
    >>> people_summary(people)
    '2 people: lowest accuracy ann 50.00 % of 4 faces, highest bob 75.00 % of 8 faces'
    >>> people["bob"]["accuracy"] = 0.5
    >>> people_summary(people)
    '2 people: accuracy 50.00 % on each'
    """
    lowest = min(people, key=lambda name: (people[name]["accuracy"], -people[name]["faces"]))
    highest = max(people, key=lambda name: (people[name]["accuracy"], people[name]["faces"]))
    lowest, highest = (
        f"{name} {plain_percent(people[name]['accuracy'])} of {people[name]['faces']:,} faces"
        for name in (lowest, highest)
    )
    if len(people) == 1:
        return f"one person: {lowest}"
    accuracies = {person["accuracy"] for person in people.values()}
    if len(accuracies) == 1:
        return f"{len(people)} people: accuracy {plain_percent(accuracies.pop())} on each"
    return f"{len(people)} people: lowest accuracy {lowest}, highest {highest}"


def attention_summary(attention: dict[str, list[float]]) -> str:
    """One clause: which region the spatial transformer attends to, and whether it varies.

    Example:
    >>> attention_summary({"mean": [1.01, 0, 0.1, 0, 0.8, -0.0001], "spread": [0, 0, 0, 0, 0, 0.1]})
    'attends to 100 % of the width and 80 % of the height on average, shifted from the center by \
+5 % and 0 %; the transform varies among faces by up to 0.100 (standard deviation)'
    """
    zoom_x, _, shift_x, _, zoom_y, shift_y = attention["mean"]
    # A region may reach beyond the face: that is all of it.
    width, height = (plain_percent(min(abs(zoom), 1.0), 0) for zoom in (zoom_x, zoom_y))
    shifts = [round(50 * shift) for shift in (shift_x, shift_y)]
    text = f"attends to {width} of the width and {height} of the height on average"
    if any(shifts):
        right, down = (f"{shift:+d} %" if shift else "0 %" for shift in shifts)
        text += f", shifted from the center by {right} and {down}"
    text += "; the transform "
    largest = max(attention["spread"])
    if largest < CONSTANT_THETA:
        return text + "is the same for every face, to a fraction of a pixel"
    return text + f"varies among faces by up to {largest:.3f} (standard deviation)"


def comparison_summary(comparison: dict[str, Any]) -> str:
    """Two lines: the accuracies of two runs compared by `evaluation.mcnemar`, and the test."""
    faces, p = comparison["faces"], comparison["p_value"]
    only_first, only_second = comparison["only_first"], comparison["only_second"]
    first, second = ((comparison["both_right"] + n) / faces for n in (only_first, only_second))
    low, high = (100 * bound for bound in comparison["difference_interval"])
    return (
        f"this run {plain_percent(first)}, the other {plain_percent(second)}: "
        f"{100 * comparison['difference']:+.2f} points "
        f"on the same {faces:,} faces (95 % interval {low:+.2f} to {high:+.2f})\n"
        f"the difference is {'not ' * (p >= SIGNIFICANCE_LEVEL)}significant: only this run is "
        f"right on {only_first:,} faces, only the other on {only_second:,} "
        f"(McNemar's test, {'p < 0.0001' if p < 0.0001 else f'p = {p:.4f}'})"
    )


def maximum_text(lost: float) -> str:
    """The largest loss of probability in a map, in percentage points.

    >>> maximum_text(0.9951), maximum_text(0.3), maximum_text(0.0123), maximum_text(0.0007)
    ('at most 100 points', 'at most 30 points', 'at most 1.2 points', 'less than 0.1 points')
    """
    points = 100 * lost
    if points < 0.1:
        return "less than 0.1 points"
    return f"at most {points:.{int(points < 9.95)}f} points"


def decisive_text(decisive: np.ndarray) -> str:
    """What a (height, width) map of the decisive region says.

    >>> decisive_text(np.zeros((2, 2), bool)), decisive_text(np.eye(2, dtype=bool))
    ('no single region decides', '50 % of the face decides')
    >>> decisive_text(np.ones((2, 2), bool))
    'any square changes the answer'
    """
    share = float(np.mean(decisive))
    if share in (0.0, 1.0):
        return "any square changes the answer" if share else "no single region decides"
    return f"{100 * min(max(share, 0.01), 0.99):.0f} % of the face decides"


def explanation_lines(maps: dict[str, np.ndarray]) -> list[str]:
    """The lines that `explain` prints of the arrays of `saliency.save_explanation`."""
    lines = []
    for i, (name, shares) in enumerate(zip(maps["name"], maps["probabilities"], strict=True)):
        answer = str(maps["classes"][shares.argmax()])
        if "label" in maps:
            answer = f"{maps['classes'][maps['label'][i]]} -> {answer}"
        most = maximum_text(float(maps["saliency"][i].max()))
        effect = f"{most}, {decisive_text(maps['decisive'][i])}"
        lines.append(f"{answer:<24}{100 * shares.max():>7.1f} %  {effect:<50}  {name}")
    return lines


def saliency_lines(result: dict[str, Any]) -> list[str]:
    """The lines that `explain --score` prints of the result of `saliency.benchmark_saliency`."""

    def interval(score, form=".3f"):
        low, high = score["interval"]
        return f"{score['mean']:{form}} ({low:{form}} to {high:{form}})"

    lines = [f"{result['faces']} faces of {result['dataset']}, {result['split']}"]
    titles = {
        "deletion": "deletion area (lower is better)",
        "insertion": "insertion area (higher is better)",
        "pointing": "pointing game (share of hits)",
    }
    for measure, maps in result["scores"].items():
        lines.append(titles[measure])
        for name, score in maps.items():
            line = f"  {name:<16}{interval(score)}"
            if "ahead" in score:
                line += f"; advantage of saliency {interval(score['ahead'], '+.3f')}"
            lines.append(line)
    lines.append("mean map of each predicted class: share in each third of the rows, in the rim")
    for name, region in result["regions"].items():
        upper, middle, lower, rim = (
            plain_percent(region[key], 0) for key in ("upper", "middle", "lower", "rim")
        )
        lines.append(
            f"  {name:<12}{region['faces']:>6,} faces: upper {upper}, middle {middle}, "
            f"lower {lower}; rim {rim}"
        )
    lines.append("rank correlation with maps of shuffled weights (near 0: maps depend on weights)")
    lines += [f"  {name:<16}{interval(one)}" for name, one in result["randomisation"].items()]
    return lines


def paper_comparison(config: TrainConfig, report: dict[str, Any]) -> str:
    """The paper's accuracy, and whether it compares with the run's, in sentences."""
    accuracy = report["paper_accuracy"]
    if not accuracy:
        return "The paper reports no accuracy on this data set."
    text = f"The paper reports {accuracy:.2f}{NO_BREAK}%. "
    differences = Task.from_config(config).differences_from_paper
    if differences:
        return f"{text}The two are not comparable: {' and '.join(differences)}."
    text += "The protocol matches: splits of the paper's sizes."
    if config.recipe != "paper":
        text += f" Recipe {config.recipe} is not the paper's network and settings."
    return text


def confusion_text(report: dict[str, Any]) -> str:
    """A confusion matrix in words, with its three most common mistakes."""
    mistakes, classes = np.array(report["confusion"]), report["classes"]
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:3]
    common = [
        f"{classes[row]} as {classes[column]} ({mistakes[row, column]:,})"
        for row, column in (divmod(cell, len(classes)) for cell in order)
        if mistakes[row, column]
    ]
    return (
        f"Confusion matrix of {report['faces']:,} test faces: a row for each true emotion, a "
        f"column for each predicted one. {percent(report['accuracy'])} lie on the diagonal. "
        + (f"Most common mistakes: {', '.join(common)}." if common else "No mistakes.")
    )


def faithfulness_rows(scores: dict[str, dict]) -> list[tuple[str, list]]:
    """Rows of the table of faithfulness: title of a method, its score by each measure or None."""
    columns = [scores[measure] for measure in MEASURES if measure in scores]
    methods = dict.fromkeys(method for column in columns for method in column)
    return [(METHODS.get(one, one), [column.get(one) for column in columns]) for one in methods]
