"""report.html of a run folder: one page that holds all of it, pictures too, and fetches nothing.

Made of the files that are there, without TensorFlow: the page of an old run can be made anew
anywhere.
"""

import base64
import dataclasses
import io
import json
import math
import shlex
from pathlib import Path

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.datasets import DATASETS, differences_from_paper, parse_dataset
from keras_deep_emotion.evaluation import attention_summary
from keras_deep_emotion.files import written_whole

# Blue and vermilion of Okabe and Ito: told apart by every reader, and in grey by their lightness.
VALIDATION = {"color": "#0072b2", "linestyle": "-", "marker": "o"}
TRAINING = {"color": "#d55e00", "linestyle": "--", "marker": "s"}
# What `fit` has no option for.
WITHOUT_OPTION = ("image_size",)
SCREEN_DPI = 96  # CSS: pixels of an inch
# Letters in a picture are 9 points or so. A phone's width may shrink them to this share: small
# print, and the picture is seen whole. One that would have to shrink more scrolls, and is drawn
# larger.
SMALLEST, SCROLLING = 0.58, 0.75
PHONE = 358  # CSS pixels
COLUMN = 730  # of the text, CSS pixels
PEOPLE_SHOWN = 12
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
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
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


def fit_command(config):
    """The command that trains with these settings: what differs from the recipe's, and no more.

    Args:
        config: `TrainConfig`. Its `image_size` is not in it: `fit` has no option for that.

    Returns:
        One line for a shell, `python cli.py fit --dataset ...`.
    """
    words = ["python", "cli.py", "fit", "--dataset", config.dataset, "--recipe", config.recipe]
    for name, value in changed_settings(config).items():
        option = name.replace("_", "-")
        if name in WITHOUT_OPTION:
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return shlex.join(words)


def build_command(dataset):
    """The command that builds a data set, name or name/variant."""
    name, _ = parse_dataset(dataset)
    # The variants of `folder` are made by building it.
    shown = name if DATASETS[name].named_by_source else dataset
    sources = {"toon_faces": "", "folder": " --source DIR"}
    return f"python cli.py build-data {shown}{sources.get(name, ' --source DIR_OR_ARCHIVE')}"


def changed_settings(config):
    """{name: value} of the settings that differ from the recipe's, but for the data set."""
    recipe = TrainConfig.from_recipe(config.recipe, dataset=config.dataset)
    settings = dataclasses.asdict(config)
    return {name: value for name, value in settings.items() if value != getattr(recipe, name)}


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


def read_history(path):
    """history.csv as a DataFrame with `epoch` counted from 1; None if there is no epoch in it.

    Raises:
        ValueError: it is no table, or lacks the columns of one.
    """
    if not path.is_file():
        return None
    try:
        history = pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from None
    lacking = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"} - set(history.columns)
    if lacking:
        raise ValueError(f"{path} is damaged: it has no column {', '.join(sorted(lacking))}.")
    history["epoch"] += 1  # Keras counts from 0, people from 1
    return None if history.empty else history


def kept_epoch(history):
    """The epoch whose model is kept: highest validation accuracy, of equals the least loss.

    Returns:
        Its row of `history`; None where every validation accuracy is NaN.
    """
    ranked = history.dropna(subset=["val_accuracy"]).sort_values(
        ["val_accuracy", "val_loss"], ascending=[False, True], kind="stable"
    )
    return None if ranked.empty else ranked.iloc[0]


def curves_figure(history, name):
    """Draw how a number went over the epochs, in training and on validation.

    Args:
        history: DataFrame with `epoch` and the columns `name` and `val_<name>`.
        name: "accuracy" or "loss".

    Returns:
        The figure, small: its letters can be read on a phone.
    """
    figure = Figure(figsize=(4.2, 3.1), layout="constrained")
    axes = figure.subplots()
    few = len(history) <= 12
    for label, column, style in (
        ("validation", f"val_{name}", VALIDATION),
        ("training", name, TRAINING),
    ):
        style = {**style, "marker": style["marker"] if few else None, "markersize": 4}
        axes.plot(history["epoch"], history[column], label=label, linewidth=1.8, **style)
    kept = kept_epoch(history)
    if kept is not None:
        label = f"kept: epoch {kept['epoch']:.0f}"
        axes.axvline(kept["epoch"], color="0.35", linestyle=":", linewidth=1.2)
        axes.plot(
            kept["epoch"],
            kept[f"val_{name}"],
            marker="*",
            markersize=13,
            color="black",
            markeredgecolor="white",
            linestyle="none",
            label=label,
            zorder=5,
        )
    axes.set_xlabel("epoch")
    axes.set_title(name, loc="left", fontsize=11, fontweight="bold")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
    if name == "accuracy":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(fontsize=9, frameon=False)
    return figure


def curves(history):
    """Accuracy and loss over the epochs, as `picture` gives pictures."""
    found = []
    for name in ("accuracy", "loss"):
        figure = curves_figure(history, name)
        file = io.BytesIO()
        # No date and fixed ids: the same run gives the same page.
        with matplotlib.rc_context({"svg.hashsalt": name}):
            figure.savefig(file, format="svg", metadata={"Date": None})
        first, last = history.iloc[0], history.iloc[-1]
        show = percent if name == "accuracy" else number
        kept = kept_epoch(history)
        alt = (
            f"Curves of {name} over {len(history)} epoch{'s' if len(history) > 1 else ''}. "
            f"Validation goes from {show(first[f'val_{name}'])} to {show(last[f'val_{name}'])}, "
            f"training from {show(first[name])} to {show(last[name])}."
        )
        if kept is not None:
            alt += (
                f" Kept is epoch {kept['epoch']:.0f}, with {show(kept[f'val_{name}'])} on "
                "validation."
            )
        width, height = (round(side * SCREEN_DPI) for side in figure.get_size_inches())
        found.append(shown(data_uri("image/svg+xml", file.getvalue()), width, height, alt))
    return found


def training_facts(history):
    """Epochs done, the kept one and faces a second, of history.csv."""
    kept = kept_epoch(history)
    speed = history.get("images_per_second")
    return {
        "epochs": len(history),
        "kept": None if kept is None else int(kept["epoch"]),
        "val_accuracy": None if kept is None else float(kept["val_accuracy"]),
        "speed": None if speed is None else float(speed.median()),
    }


def pictures(run_dir, report, labels):
    """{stem: `picture`} of the PNGs that a run folder holds, with what they show in words."""
    names = ", ".join(labels)
    texts = {
        "confusion_matrix": confusion_text(report) if report else "Confusion matrix.",
        "reliability": reliability_text(report) if report else "Reliability diagram.",
        "saliency": (
            f"Faces of each emotion, {names}, one a row: the face; the same face with the regions "
            "lit up whose hiding costs the true emotion probability."
        ),
        "occlusions": (
            "One row for each face: the whole face, then the same with a different region hidden "
            "each time, the most telling first, each with the answer that the model then gives "
            "and the probability lost."
        ),
        "mean_saliency": (
            "For each answer the mean face with what the maps of all its faces have in common, and "
            "below it how much of the map lies in each third of the face."
        ),
        "attended": (
            "Faces with an outline around the region that the spatial transformer attends to, and "
            "below each what the network sees of it."
        ),
        "mistakes": (
            "Faces that the model was surest of and wrong about, each beside a map of the regions "
            "that its answer relies on."
        ),
    }
    return {
        stem: picture(run_dir / f"{stem}.png", alt)
        for stem, alt in texts.items()
        if (run_dir / f"{stem}.png").is_file()
    }


def picture(path, alt):
    """A PNG for the page.

    Args:
        path: of the PNG.
        alt: what it shows, for who cannot see it.

    Returns:
        dict: `source`, a data URI; `width` and `height` in CSS pixels, those of its printed size;
        `wide`, whether it is wider than the text; `least`, the width that it keeps on a phone, 0
        if it fits; `alt`.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with Image.open(path) as image:
            image.verify()
            width, height = image.size
            dpi = image.info.get("dpi", (SCREEN_DPI, SCREEN_DPI))[0] or SCREEN_DPI
    except (OSError, SyntaxError) as error:  # what PIL raises of half a PNG
        raise ValueError(f"{path} is damaged: {error}") from None
    width, height = (round(side * SCREEN_DPI / dpi) for side in (width, height))
    return shown(data_uri("image/png", path.read_bytes()), width, height, alt)


def shown(source, width, height, alt):
    """The dict that `picture` returns, of a picture's own size in CSS pixels."""
    scrolls = SMALLEST * width > PHONE
    return {
        "source": source,
        "width": width,
        "height": height,
        "wide": width > COLUMN,
        "least": min(round(SCROLLING * width), COLUMN) if scrolls else 0,
        "alt": alt,
    }


def data_uri(kind, content):
    """Bytes of a MIME type as a URI that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


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
    apart = differences_from_paper(config.dataset, report["protocol"])
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
