"""report.html of a run folder: one page that holds all of it, pictures too, and fetches nothing.

Made of the files that are there, without TensorFlow: the page of an old run can be made anew
anywhere.
"""

import dataclasses
import json
from pathlib import Path

import jinja2

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.datasets import DATASETS, differences_from_paper, parse_dataset
from keras_deep_emotion.files import written_whole
from keras_deep_emotion.page.commands import (
    WITHOUT_OPTION,
    build_command,
    changed_settings,
    fit_command,
)
from keras_deep_emotion.page.curves import curves, read_history, training_facts
from keras_deep_emotion.page.pictures import pictures
from keras_deep_emotion.page.texts import (
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

PEOPLE_SHOWN = 12
VERSIONS = {
    "python": "Python",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "keras_deep_emotion": "keras-deep-emotion",
    "machine": "machine",
}


def write_page(run_dir):
    """Write report.html of what a run folder holds; a section whose files lack is left out.

    Args:
        run_dir: folder with config.json and, each if it is there, labels.txt, versions.json,
            history.csv, report.json, faithfulness.json, confusion_matrix.png, reliability.png,
            saliency.png, mean_saliency.png, occlusions.png, attended.png and mistakes.png.

    Returns:
        Path of the page: one HTML file, written whole.

    Raises:
        FileNotFoundError: the folder has no config.json.
        ValueError: a file of it is damaged.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "config.json").is_file():
        raise FileNotFoundError(
            f"{run_dir} is no run: it has no config.json. Name a folder that `python cli.py fit` "
            "made."
        )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names come from users' files
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, count=count)
    text = environment.get_template("report.html.j2").render(contents(run_dir))
    path = run_dir / "report.html"
    with written_whole(path) as aside:
        aside.write_text(text, encoding="utf-8")
    return path


def contents(run_dir):
    """All that the template shows.

    Args:
        run_dir: as `write_page` takes it, a Path.

    Returns:
        dict of the template's variables; None or empty where the folder lacks the file.

    Raises:
        ValueError: a file is damaged.
    """
    config = TrainConfig.from_json(run_dir / "config.json")
    report = read_json(run_dir / "report.json")
    history = read_history(run_dir / "history.csv")
    name, variant = parse_dataset(config.dataset)
    labels = (report or {}).get("classes", [])
    if (run_dir / "labels.txt").is_file():
        labels = (run_dir / "labels.txt").read_text().split()
    drawn = pictures(run_dir, report, labels)
    changed = changed_settings(config)
    faithfulness = read_json(run_dir / "faithfulness.json")
    page = {
        "run": run_dir.resolve().name,
        "title": DATASETS[name].title,
        "name": name,
        "variant": variant,
        "config": config,
        "settings": [
            (one, setting_text(value), one in changed)
            for one, value in dataclasses.asdict(config).items()
        ],
        "labels": labels,
        "report": report,
        "verdict": verdict(config, report) if report else "",
        "comparable": bool(report)
        and not differences_from_paper(config.dataset, report["protocol"]),
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
        "pictures": drawn,
        "faithfulness": faithfulness_rows(faithfulness) if faithfulness else None,
        "commands": [build_command(config.dataset), fit_command(config)],
        "unrepeatable": {one: changed[one] for one in WITHOUT_OPTION if one in changed},
        "versions": [
            (VERSIONS.get(key, key), value)
            for key, value in (read_json(run_dir / "versions.json") or {}).items()
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


def read_json(path):
    """What a file of JSON holds; None if it is not there.

    Raises:
        ValueError: it is no JSON.
    """
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
