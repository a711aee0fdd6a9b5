"""The verdict with which report.html begins: four sentences about the numbers of a run."""

from typing import Any

from keras_deep_emotion.reports.text import MEASURES, NO_BREAK, number, percent

CALIBRATED = 0.05  # ours: an expected calibration error that few uses would notice
CHANCE = "random, smooth"  # of faithfulness.json: maps as smooth as those of occlusion
UNRELATED = 0.5  # ours: the highest rank correlation with maps of randomized weights
UNSCORED = ("Not scored", ": explain --score compares them with random regions.")


def verdict(
    report: dict[str, Any], differences: list[str], faithfulness: dict[str, Any] | None
) -> dict[str, tuple[str, str]]:
    """Accuracy, weakest emotion and person, calibration, and trust in the maps.

    Arguments are `Run.report`, `Task.differences_from_paper` and `Run.faithfulness`. Returns the
    beginning of each sentence, to be emphasized, and its rest, by title.
    """
    return {
        "Accuracy": accuracy(report, differences),
        "Weakest": weakest(report),
        "Calibration": calibration(report["calibration"], report.get("uncalibrated_error")),
        "Saliency maps": trust(faithfulness),
    }


def accuracy(report: dict[str, Any], differences: list[str]) -> tuple[str, str]:
    """Accuracy, its interval, and the paper's accuracy if it has one."""
    low, high = (100 * bound for bound in report["accuracy_interval"])
    text = f" of {report['faces']:,} test faces (95{NO_BREAK}% interval {low:.2f} to {high:.2f})"
    if report["paper_accuracy"]:
        text += f"; the paper: {percent(report['paper_accuracy'] / 100)}"
        text += ", not comparable" * bool(differences)
    return percent(report["accuracy"]), f"{text}."


def weakest(report: dict[str, Any]) -> tuple[str, str]:
    """The emotion with the lowest recall, and the person with the lowest accuracy."""
    recalls = {name: row["recall"] for name, row in report["per_class"].items()}
    recalls = {name: recall for name, recall in recalls.items() if recall is not None}
    if not recalls:
        return "–", ""
    name, recall = lowest(recalls)
    text = f": {recall} recall"
    if name in report["classes"]:
        counts = report["confusion"][report["classes"].index(name)]
        row = dict(zip(report["classes"], counts, strict=True))
        faces = sum(row.values())
        text += f" of {faces:,} face{'s' * (faces != 1)}"
        del row[name]
        if any(row.values()):
            text += f", most often taken for {max(row, key=row.get)}"
    people = {name: row["accuracy"] for name, row in report["per_person"].items()}
    if len(people) > 1:
        text += "; of people, {}: {} accuracy".format(*lowest(people))
    return name, f"{text}."


def lowest(scores: dict[str, float]) -> tuple[str, str]:
    r"""The names with the lowest score, and the score.

    >>> lowest({"fear": 0.5, "anger": 0.75}), lowest({"fear": 0.5, "anger": 0.5, "joy": 0.75})
    (('fear', '50.00\xa0%'), ('fear and anger', '50.00\xa0%'))
    >>> lowest({"fear": 0.5, "anger": 0.5})
    ('all alike', '50.00\xa0%')
    """
    least = min(scores.values())
    names = [name for name, score in scores.items() if score == least]
    if len(names) == len(scores) > 1:
        return "all alike", percent(least)
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:]), percent(least)


def calibration(found: dict[str, Any], before: float | None) -> tuple[str, str]:
    """How far probabilities are from accuracy, and on which side."""
    error = found["error"]
    excess = sum(one["faces"] * (one["probability"] - one["accuracy"]) for one in found["bins"])
    first = "Overconfident" if excess > 0 else "Underconfident"
    was = "" if before is None else f" ({number(before)} before its temperature)"
    text = f": expected calibration error {number(error)}{was}."
    return "Well calibrated" if error <= CALIBRATED else first, text


def trust(faithfulness: dict[str, Any] | None) -> tuple[str, str]:
    """Whether the maps are better than random regions by each measure, and depend on the weights.

    Example:
    >>> ahead = {"deletion": [0.2, 0.3], "insertion": [-0.2, -0.1], "pointing": [-0.1, 0.1]}
    >>> scores = {
    ...     measure: {CHANCE: {"ahead": {"mean": sum(bounds) / 2, "interval": bounds}}}
    ...     for measure, bounds in ahead.items()
    ... }
    >>> print(*trust({"faces": 60, "scores": scores, "randomisation": {}}), sep="")
    ... # doctest: +NORMALIZE_WHITESPACE
    Partly trustworthy: compared with random regions, better in deletion (by 0.25), worse in
    insertion (by 0.15), no different in pointing game; 60 faces.
    """
    scores = faithfulness["scores"] if faithfulness else {}
    scores = {name: maps[CHANCE].get("ahead") for name, maps in scores.items() if CHANCE in maps}
    scores = {name: ahead for name, ahead in scores.items() if ahead}
    if not scores:
        return UNSCORED
    signs, parts = [], []
    for name, ahead in scores.items():
        low, high = ahead["interval"]
        signs.append((low > 0) - (high < 0))
        by = f" (by {abs(ahead['mean']):.2f})" if signs[-1] else ""
        way = ("no different", "better", "worse")[signs[-1]]
        title = MEASURES[name][0].lower() if name in MEASURES else name
        parts.append(f"{way} in {title}{by}")
    text = f": compared with random regions, {', '.join(parts)}; {faithfulness['faces']:,} faces."
    random = faithfulness["randomisation"].get("all layers")
    if random and random["mean"] > UNRELATED:
        return "Not trustworthy", f"{text} They hardly depend on the weights."
    if max(signs) < 1:
        return "Not trustworthy", text
    return "Trustworthy" if min(signs) > 0 else "Partly trustworthy", text
