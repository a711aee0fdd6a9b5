"""report.html: everything in a run folder on one page, with its pictures, readable offline.

It is made from the files alone, without TensorFlow, so an old run's page can be made again anywhere.
"""

import dataclasses
from pathlib import Path

import jinja2

from keras_deep_emotion.files import read_json, write_text
from keras_deep_emotion.reports.commands import (
    WITHOUT_OPTION,
    changed_settings,
    fit_command,
)
from keras_deep_emotion.reports.embedding import embed_pictures
from keras_deep_emotion.reports.figures.curves import curves, training_facts
from keras_deep_emotion.reports.figures.evaluation import draw_evaluation
from keras_deep_emotion.reports.figures.saliency import (
    draw_mean_saliency,
    draw_mistakes,
    draw_saliency,
)
from keras_deep_emotion.reports.text import (
    attention_text,
    confusion_cells,
    count,
    emotion_rows,
    faithfulness_rows,
    headline_rows,
    interval_scale,
    mistake_rows,
    number,
    people_rows,
    percent,
    setting_text,
    verdict,
)
from keras_deep_emotion.runs import Run

PEOPLE_SHOWN = 12


VERSIONS = {
    "python": "Python",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "keras_deep_emotion": "keras-deep-emotion",
    "machine": "machine",
}


def write_report(run: Run) -> Path:
    """Draw all figures of a run from its files, and write its page; return the page's path."""
    for draw in (draw_evaluation, draw_saliency, draw_mistakes, draw_mean_saliency):
        draw(run.path)
    return write_page(run)


def write_page(run: Run | str | Path) -> Path:
    """Write report.html from the files in a run folder; sections without files are left out.

    Returns:
        Path of the page, one HTML file.

    Raises:
        FileNotFoundError: If the folder has no config.json.
        ValueError: If a file is damaged.
    """
    run = Run(run)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names come from users' files
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, count=count)
    write_text(run / Run.PAGE, environment.get_template("report.html.j2").render(contents(run)))
    return run / Run.PAGE


def contents(run: Run) -> dict:
    """The template's variables; None or empty where the folder lacks the file.

    Raises:
        ValueError: If a file is damaged.
    """
    config, task, report, history = run.config, run.task, run.report, run.history
    labels = run.labels if run.has(Run.LABELS) else (report or {}).get("classes", [])
    changed = changed_settings(config)
    faithfulness = read_json(run / Run.FAITHFULNESS)
    page = {
        "run": run.path.resolve().name,
        "title": task.title,
        "name": task.name,
        "variant": task.variant,
        "config": config,
        "settings": [
            (one, setting_text(value), one in changed)
            for one, value in dataclasses.asdict(config).items()
        ],
        "labels": labels,
        "report": report,
        "verdict": verdict(config, report) if report else "",
        "comparable": bool(report) and not task.differences_from_paper,
        "scale": interval_scale(report) if report else None,
        "rows": headline_rows(report) if report else [],
        "emotions": emotion_rows(report) if report else [],
        "people_shown": PEOPLE_SHOWN,
        "people": people_rows(report.get("per_person")) if report else [],
        "mistakes": mistake_rows(report.get("surest_mistakes")) if report else [],
        "attention": attention_text(report) if report else "",
        "confusion": confusion_cells(report) if report else [],
        "training": training_facts(history) if history is not None else None,
        "curves": curves(history) if history is not None else [],
        "pictures": embed_pictures(run, report, labels),
        "faithfulness": faithfulness_rows(faithfulness) if faithfulness else None,
        "commands": [task.build_command(), fit_command(config)],
        "unrepeatable": {one: changed[one] for one in WITHOUT_OPTION if one in changed},
        "versions": [
            (VERSIONS.get(key, key), value)
            for key, value in (read_json(run / Run.VERSIONS) or {}).items()
        ],
    }
    page["sections"] = sections(page)
    return page


def sections(page):
    """(anchor, title) of the sections that have something to show, in the order of the page."""
    drawn = page["pictures"]
    there = {
        "data": ("What was trained on what", True),
        "numbers": ("Numbers", page["report"]),
        "curves": ("How it learnt", page["curves"]),
        "confusion": ("What it takes for what", "confusion_matrix" in drawn),
        "calibration": ("How sure it is", "reliability" in drawn),
        "saliency": ("Where it looks", {"saliency", "occlusions"} & set(drawn)),
        "faithfulness": ("Whether the maps can be trusted", page["faithfulness"]),
        "attended": (
            "What the transformer attends to",
            "attended" in drawn or page["attention"],
        ),
        "mistakes": ("Its surest mistakes", "mistakes" in drawn or page["mistakes"]),
        "repeat": ("How to repeat it", True),
        "limits": ("What it is not", True),
    }
    return {anchor: title for anchor, (title, shown) in there.items() if shown}
