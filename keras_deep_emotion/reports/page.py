"""report.html: the contents of a run folder on one page that needs no network.

The page is made from the saved files, without TensorFlow.
"""

import base64
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from markupsafe import Markup

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import write_text
from keras_deep_emotion.program import as_typed
from keras_deep_emotion.reports import text
from keras_deep_emotion.reports.commands import WITHOUT_OPTION, changed_settings, fit_command
from keras_deep_emotion.reports.embedding import embed_figures
from keras_deep_emotion.reports.figures.curves import (
    balance_figure,
    embed_curves,
    embed_drawing,
    training_summary,
)
from keras_deep_emotion.reports.figures.evaluation import draw_evaluation
from keras_deep_emotion.reports.figures.robustness import draw_robustness
from keras_deep_emotion.reports.figures.saliency import (
    draw_mean_saliency,
    draw_mistakes,
    draw_saliency,
)
from keras_deep_emotion.reports.templates import render
from keras_deep_emotion.reports.verdict import verdict
from keras_deep_emotion.runs import Run

PEOPLE_SHOWN = 8
VERSION_TITLES = {
    "python": "Python",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "keras_deep_emotion": "keras-deep-emotion",
}


def write_report(run: Run) -> Path:
    """Draw all figures of a run from its files, and write its page; return the page's path."""
    for draw in (
        draw_evaluation,
        draw_robustness,
        draw_saliency,
        draw_mistakes,
        draw_mean_saliency,
    ):
        draw(run.path)
    return write_page(run)


def write_page(run: str | Path | Run) -> Path:
    """Write report.html from the files in a run folder that there are; return its path.

    Raises FileNotFoundError without config.json, ValueError if a file is damaged.
    """
    run = Run(run)
    write_text(run / Run.PAGE, render("report.html.j2", **contents(run)))
    return run / Run.PAGE


def contents(run: Run) -> dict[str, Any]:
    """The template's variables; None or empty if the folder lacks their file."""
    config, task, history = run.config, run.task, run.history
    changed = changed_settings(config)
    script = render("sort.js.j2")
    versions = {"precision": config.precision} | run.versions
    page = {
        "script": Markup(script),
        # The page's own script runs, and no other: names come from users' files.
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "run": run.path.resolve().name,
        "task": task,
        "config": config,
        "settings": [
            (name, text.setting_text(value), name in changed)
            for name, value in dataclasses.asdict(config).items()
        ],
        "labels": run.labels if run.has(Run.LABELS) else [],
        **report_contents(config, run.report, run.faithfulness),
        **robustness_contents(run.robustness),
        **faithfulness_contents(run.faithfulness),
        "training": None if history is None else training_summary(history),
        "curves": [] if history is None else embed_curves(history),
        "pictures": embed_figures(run),
        "commands": [*map(as_typed, (task.build_command(), fit_command(config)))],
        "without_option": {name: changed[name] for name in WITHOUT_OPTION if name in changed},
        "versions": [(VERSION_TITLES.get(name, name), value) for name, value in versions.items()],
    }
    return {**page, "sections": sections(page)}


def report_contents(
    config: TrainConfig, report: dict[str, Any] | None, faithfulness: dict[str, Any] | None
) -> dict[str, Any]:
    """The variables from report.json, with the verdict."""
    if report is None:
        return {"report": None, "attention": "", "confusion_text": "Confusion matrix."}
    parts = {"deduplicated": text.DEDUPLICATED, "flip_averaged": text.FLIP_AVERAGED}
    parts = {f"test, {title}": report[key] for key, title in parts.items() if key in report}
    differences = Task.from_config(config).differences_from_paper
    attention, points = report.get("attention"), report.get("operating_points")
    return {
        "report": report,
        "verdict": verdict(report, differences, faithfulness),
        "comparison": text.paper_comparison(config, report),
        "rows": {"test": report, **parts},
        "people_shown": PEOPLE_SHOWN,
        "attention": text.attention_summary(attention) if attention else "",
        "confusion_text": text.confusion_text(report),
        "balance": embed_drawing(balance_figure(points), "balance") if points else None,
    }


def robustness_contents(robustness: dict[str, Any] | None) -> dict[str, Any]:
    """The variables from robustness.json."""
    follows = robustness and robustness.get("follows")
    return {
        "robustness": robustness,
        "following": text.following_summary(follows) if follows else "",
    }


def faithfulness_contents(faithfulness: dict[str, Any] | None) -> dict[str, Any]:
    """The variables from faithfulness.json."""
    scores = faithfulness["scores"] if faithfulness else {}
    return {
        "faithfulness": faithfulness,
        "measures": [title for measure, title in text.MEASURES.items() if measure in scores],
        "methods": text.faithfulness_rows(scores),
    }


def sections(page: dict[str, Any]) -> dict[str, str]:
    """Titles of the sections that have contents, by anchor, in the order of the page."""
    pictures, report = set(page["pictures"]), page["report"]
    mistakes = report and report["surest_mistakes"]
    shown = {
        "numbers": ("Metrics", report),
        "confusion": ("Confusion matrix", "confusion_matrix" in pictures),
        "calibration": ("Calibration", "reliability" in pictures),
        "mistakes": ("Mistakes", "mistakes" in pictures or mistakes),
        "saliency": ("Saliency", {"saliency", "occlusions"} & pictures),
        "faithfulness": ("Faithfulness", page["faithfulness"]),
        "attended": ("Spatial transformer", "attended" in pictures or page["attention"]),
        "robustness": ("Robustness", page["robustness"] and "robustness" in pictures),
        "data": ("Training", True),
        "repeat": ("Reproduction", True),
        "limits": ("Limitations", True),
    }
    return {anchor: title for anchor, (title, has_contents) in shown.items() if has_contents}
