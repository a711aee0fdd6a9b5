"""The run folder: what `fit` leaves and every later command takes.

`config.json` (settings), `labels.txt`, `model.keras` (best on validation), `history.csv`, `logs/`
(TensorBoard), `predictions.csv` (test), `report.json`, figures, `versions.json`, `report.html`.
"""

import contextlib
import itertools
import json
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

import keras_deep_emotion.normalization  # noqa: F401  (layers of the models that are opened)
import keras_deep_emotion.spatial_transformer  # noqa: F401  (layers of the models that are opened)
from keras_deep_emotion import report as reports
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data import built_dataset, examples
from keras_deep_emotion.datasets import (
    DATASETS,
    differences_from_paper,
    parse_dataset,
    role_splits,
)
from keras_deep_emotion.evaluation import evaluate, mcnemar, predictions_table, read_predictions
from keras_deep_emotion.files import written_whole

SHIPPED = Path(__file__).parent / "weights"

# What says something of the model that a run has at the moment.
OF_THE_MODEL = (
    "report.html",
    "report.json",
    "predictions.csv",
    "against.json",
    "confusion_matrix.png",
    "reliability.png",
    "saliency.png",
    "saliency.npz",
    "occlusions.png",
    "attended.png",
    "mistakes.png",
    "faithfulness.json",
    "mean_saliency.png",
)


def new_run_dir(config, parent="runs"):
    """Make a folder `<parent>/<dataset>-<protocol>-<time>`; one that another took gets a number."""
    name, variant = parse_dataset(config.dataset)
    parts = [name, variant, config.protocol]
    if config.fold is not None:
        parts.append(f"fold{config.fold}")
    stem = "-".join(part for part in parts if part)
    name = f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        run_dir = Path(parent) / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            run_dir.mkdir(parents=True)
            return run_dir


def shipped_weights():
    """Names of the trained models that come with the package, each a run folder of its own."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/model.keras"))


def weights_dir(name):
    """Folder of a trained model that comes with the package; like a run's, to be read only.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in shipped_weights():
        known = ", ".join(shipped_weights()) or "none"
        raise ValueError(f"There are no weights {name!r}; there are: {known}.")
    return SHIPPED / name


def predict_split(model, builder, split, size, batch_size=256, flip=False):
    """Predict a split of a built data set.

    Args:
        model: a Keras model from faces to probabilities.
        builder: what `built_dataset` returns.
        split: TFDS split expression.
        size: side of the faces, pixels.
        batch_size: faces at once.
        flip: average the answers to each face and to its mirror image.

    Returns:
        DataFrame as from `evaluation.predictions_table`.
    """
    columns = {"name": [], "subject": [], "label": []}
    probabilities = []
    for batch in examples(builder, split, size).batch(batch_size):
        for key, values in columns.items():
            values.extend(batch[key].numpy())
        answers = model.predict_on_batch(batch["image"])
        if flip:
            answers = (answers + model.predict_on_batch(batch["image"][:, :, ::-1])) / 2
        probabilities.append(answers)
    classes = builder.info.features["label"].names
    return predictions_table(
        [name.decode() for name in columns["name"]],
        [subject.decode() for subject in columns["subject"]],
        columns["label"],
        np.concatenate(probabilities) if probabilities else np.zeros((0, len(classes))),
        classes,
    )


def open_run(run_dir):
    """Open a run folder.

    Args:
        run_dir: a folder that `fit` made.

    Returns:
        (config, model, labels): `TrainConfig`, `keras.Model`, list of names.

    Raises:
        FileNotFoundError: the folder is no run, or has no model yet.
        ValueError: its settings or its model are damaged.
    """
    run_dir = Path(run_dir)
    for part in ("config.json", "labels.txt", "model.keras"):
        refuse_without(run_dir, part)
    config = TrainConfig.from_json(run_dir / "config.json")
    try:
        model = keras.saving.load_model(run_dir / "model.keras", compile=False)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{run_dir / 'model.keras'} is damaged: {error}") from error
    return config, model, (run_dir / "labels.txt").read_text().split()


def is_finished(run_dir):
    """Whether a run has all its epochs and was judged after the last of them.

    That there is a report does not say so: one that was stopped can be judged too.
    """
    run_dir = Path(run_dir)
    if not all((run_dir / part).is_file() for part in ("report.html", "history.csv")):
        return False
    config = TrainConfig.from_json(run_dir / "config.json")
    return len(pd.read_csv(run_dir / "history.csv")) == config.epochs


def forget_judgement(run_dir):
    """Remove what a run's folder says of a model that will not stay as it is."""
    for name in OF_THE_MODEL:
        (Path(run_dir) / name).unlink(missing_ok=True)


def refuse_without(run_dir, part):
    """Raise FileNotFoundError if a run folder lacks a file."""
    if (run_dir / part).is_file():
        return
    if (run_dir / "fold_0").is_dir():
        raise FileNotFoundError(
            f"{run_dir} holds a run for each fold: name one of them, such as {run_dir / 'fold_0'}."
        )
    raise FileNotFoundError(
        f"{run_dir} is not a finished run: it has no {part}. "
        "Name a folder that `python cli.py fit` made."
    )


def judged_split(config, data_dir=None, role="test"):
    """Where the faces lie that a run is judged on.

    Args:
        config: `TrainConfig`.
        data_dir: where the data sets are built, None for TFDS's own place.
        role: "test", or another part of the run's protocol: "train", "validation".

    Returns:
        (builder, TFDS split expression).
    """
    name, _ = parse_dataset(config.dataset)
    builder = built_dataset(config.dataset, config.protocol, data_dir)
    return builder, role_splits(name, config.protocol, config.fold)[role]


def judge(run_dir, data_dir=None, flip=False, output=None):
    """Judge a run's kept model on its test split; write predictions.csv, report.json, figures.

    Args:
        run_dir: a folder that `fit` made.
        data_dir: where the data sets are built, None for TFDS's own place.
        flip: judge the average over each face and its mirror image too, apart.
        output: folder for the files, made if it is not there; None for the run's own.

    Returns:
        The report that is written: that of `evaluation.evaluate` with what was tested; where the
        data set has a deduplicated test split, `deduplicated` is what `evaluate` says of that
        part; `flip_averaged` is the accuracy, interval and faces of the average, if asked for;
        with a transformer, `attention` is what `attention` returns.
    """
    output = Path(output or run_dir)
    config, model, _ = open_run(run_dir)
    builder, split = judged_split(config, data_dir)
    output.mkdir(parents=True, exist_ok=True)
    predict_split(model, builder, split, config.image_size).to_csv(
        output / "predictions.csv", index=False
    )
    # From the file, so that whoever judges it gets these very numbers.
    table = read_predictions(output / "predictions.csv")
    result = {
        "dataset": builder.info.full_name,
        "protocol": config.protocol,
        "split": split,
        "paper_accuracy": DATASETS[parse_dataset(config.dataset)[0]].paper_accuracy,
        "paper_differs": differences_from_paper(config.dataset, config.protocol),
        **evaluate(table),
    }
    unique = f"{split}_deduplicated"
    if unique in builder.info.splits:
        names = [
            example["name"].decode()
            for example in builder.as_dataset(split=unique).as_numpy_iterator()
        ]
        result["deduplicated"] = evaluate(table[table["name"].isin(names)])
    if flip:
        averaged = predict_split(model, builder, split, config.image_size, flip=True)
        result["flip_averaged"] = headline(evaluate(averaged))
    if any(layer.name == "theta" for layer in model.layers):
        result["attention"] = attention(model, builder, split, config.image_size)
    with written_whole(output / "report.json") as aside:
        aside.write_text(json.dumps(result, indent=2) + "\n")
    reports.save_confusion_matrix(result, output / "confusion_matrix.png")
    reports.save_reliability(result, output / "reliability.png")
    return result


def judged_predictions(folder):
    """The predictions that `judge` left in a folder.

    Args:
        folder: a run's, or what `judge` was given as output.

    Returns:
        DataFrame as from `evaluation.predictions_table`.

    Raises:
        FileNotFoundError: there are none.
        ValueError: they are damaged.
    """
    path = Path(folder) / "predictions.csv"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is not a finished run: it has no predictions.csv. "
            "Name a folder that `python cli.py fit` or `evaluate --output` made."
        )
    return read_predictions(path)


def compare(folder, other):
    """Compare the predictions in two folders; write against.json into the first.

    Args:
        folder: where `judge` left its files.
        other: the same of another run, on the same faces.

    Returns:
        dict that is written: `first` and `second`, the folders, and what `evaluation.mcnemar` says.

    Raises:
        FileNotFoundError: a folder holds no predictions.
        ValueError: they are damaged, or of other faces or labels.
    """
    tables = judged_predictions(folder), judged_predictions(other)
    try:
        found = mcnemar(*tables)
    except ValueError as error:
        raise ValueError(f"{folder} and {other} cannot be compared. {error}") from error
    result = {"first": str(folder), "second": str(other), **found}
    (Path(folder) / "against.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def attention(model, builder, split, size, faces=1024):
    """How much the spatial transformer's regions differ from the whole face and among faces.

    A transformer can die in training: then every face gets the same region, and nothing but this
    says so.

    Args:
        model: a network with a layer `theta`.
        builder: what `built_dataset` returns.
        split: TFDS split expression.
        size: side of the faces, pixels.
        faces: how many to look at, the first of the split.

    Returns:
        dict of two lists of six, rows of the 2 x 3 matrix: `mean` of the transforms, and `spread`,
        their standard deviation.
    """
    look = keras.Model(model.input, model.get_layer("theta").output)
    batches = examples(builder, split, size).take(faces).batch(256)
    theta = np.concatenate([look.predict_on_batch(batch["image"]) for batch in batches])
    return {"mean": theta.mean(axis=0).tolist(), "spread": theta.std(axis=0).tolist()}


def headline(report):
    """The numbers of a report that fit in a line."""
    return {key: report[key] for key in ("faces", "correct", "accuracy", "accuracy_interval")}
