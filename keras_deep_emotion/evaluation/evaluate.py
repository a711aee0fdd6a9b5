"""Evaluate a run on its test split, and compare two runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from keras_deep_emotion.data.reading import class_names, open_dataset, read_examples, read_faces
from keras_deep_emotion.evaluation.attention import attention_statistics, transform_network
from keras_deep_emotion.evaluation.metrics import calibration, classification_report
from keras_deep_emotion.evaluation.predictions import (
    predictions_table,
    read_predictions,
    write_predictions,
)
from keras_deep_emotion.evaluation.statistics import mcnemar
from keras_deep_emotion.files import write_json
from keras_deep_emotion.models.operating_point import rebalance
from keras_deep_emotion.runs import Run

ATTENDED = 1024  # faces
BALANCES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of `operating_points`


def evaluate_run(
    run: str | Path | Run,
    data_dir: str | Path | None = None,
    flip: bool = False,
    output: str | Path | None = None,
    balance: float | None = None,
) -> dict[str, Any]:
    """Evaluate a run's model on its test split; write predictions.csv and report.json.

    With `flip`, the mean prediction for each image and its mirror image is evaluated too. `output`
    is the folder of the files, created if needed; None for the run's own. `balance` is that of
    `Run.load_model`.

    Returns the `metrics.classification_report` of the test split, with `dataset`, `protocol`,
    `split`, `paper_accuracy` (percent, or None) and `paper_differs` (why it does not compare).
    `deduplicated` is the report of the deduplicated part of the split, if there is one;
    `flip_averaged` the accuracy with mirror images, if `flip`; `attention` the
    `attention_statistics`, of the first `ATTENDED` faces, of a model with a spatial transformer. Of
    a calibrated run there are its `balance`, `operating_points`, see the function, and at balance 0
    `uncalibrated_error`, the calibration error without its temperature.

    Raises:
        FileNotFoundError: If the run is not finished, or the data set is not built.
        ValueError: If settings or model are damaged, the training diverged, or the split is empty.
    """
    run, output = Run.open(run), Run(output or run)
    task, size = run.task, run.config.image_size
    model, calibrated = run.load_model(balance), run.calibration
    builder, split = open_dataset(task, data_dir), task.splits["test"]
    run.check_labels(class_names(builder))
    output.path.mkdir(parents=True, exist_ok=True)
    table = predict_split(model, builder, split, size)
    write_predictions(table, output / Run.PREDICTIONS)
    # Evaluate the file's rounded probabilities, so that its readers get the same numbers.
    table = read_predictions(output / Run.PREDICTIONS)
    report = {
        "dataset": builder.info.full_name,
        "protocol": task.protocol,
        "split": split,
        "paper_accuracy": task.info.paper_accuracy,
        "paper_differs": task.differences_from_paper,
        **classification_report(table),
    }
    if calibrated:
        report["balance"] = calibrated["balance"] if balance is None else balance
        prior = np.array([calibrated["prior"][label] for label in run.labels])
        report["operating_points"] = operating_points(table, prior, report["balance"])
        if not report["balance"]:
            report["uncalibrated_error"] = uncalibrated_error(table, calibrated["temperature"])
    unique = f"{split}_deduplicated"
    if unique in builder.info.splits:
        examples = builder.as_dataset(split=unique).as_numpy_iterator()
        names = [example["name"].decode() for example in examples]
        report["deduplicated"] = classification_report(table[table["name"].isin(names)])
    if flip:
        averaged = classification_report(predict_split(model, builder, split, size, flip=True))
        headline = ("faces", "correct", "accuracy", "accuracy_interval")
        report["flip_averaged"] = {key: averaged[key] for key in headline}
    if any(layer.name == "theta" for layer in model.layers):
        _, images, _ = read_faces(builder, split, size, ATTENDED)
        theta = transform_network(model).predict(images, batch_size=256, verbose=0)
        report["attention"] = attention_statistics(theta)
    write_json(output / Run.REPORT, report)
    return report


def predict_split(
    model: keras.Model, builder, split: str, size: int, flip: bool = False
) -> pd.DataFrame:
    """Predict a split of a built data set: a `predictions.predictions_table`.

    `model` maps (batch, size, size, 1) grey levels 0..255 to probabilities. With `flip`, the
    predictions for each image and its mirror image are averaged.
    """
    classes = class_names(builder)
    names, subjects, labels, probabilities = [], [], [], [np.zeros((0, len(classes)), np.float32)]
    for batch in read_examples(builder, split, size).batch(256):
        names += [name.decode() for name in batch["name"].numpy()]
        subjects += [subject.decode() for subject in batch["subject"].numpy()]
        labels += batch["label"].numpy().tolist()
        predicted = model.predict_on_batch(batch["image"])
        if flip:
            predicted = (predicted + model.predict_on_batch(batch["image"][:, :, ::-1])) / 2
        probabilities.append(predicted)
    return predictions_table(names, subjects, labels, np.concatenate(probabilities), classes)


def operating_points(
    table: pd.DataFrame, prior: np.ndarray, balance: float
) -> list[dict[str, Any]]:
    """Metrics at each of `BALANCES`.

    Returns `balance`, `accuracy`, `accuracy_interval`, `balanced_accuracy` and, by class, `recall`.
    `table` has the predictions at `balance`; `prior` are the (classes,) shares in training.
    """
    points = []
    for one in BALANCES:
        adjusted = with_probabilities(
            table, lambda values, one=one: rebalance(values, prior, one - balance)
        )
        report = classification_report(adjusted)
        recall = {name: row["recall"] for name, row in report["per_class"].items()}
        names = ("accuracy", "accuracy_interval", "balanced_accuracy")
        points.append({"balance": one, **{name: report[name] for name in names}, "recall": recall})
    return points


def uncalibrated_error(table: pd.DataFrame, temperature: float) -> float:
    """Expected calibration error of predictions without the temperature that they have."""

    def sharpen(probabilities):
        powers = probabilities**temperature
        return powers / powers.sum(axis=1, keepdims=True)

    return calibration(with_probabilities(table, sharpen))["error"]


def with_probabilities(
    table: pd.DataFrame, function: Callable[[np.ndarray], np.ndarray]
) -> pd.DataFrame:
    """A `predictions_table` with a function applied to its (faces, classes) probabilities."""
    classes = table.columns[3:]
    return table.assign(**dict(zip(classes, function(table[classes].to_numpy()).T, strict=True)))


def load_predictions(folder: str | Path) -> pd.DataFrame:
    """Read the predictions that `evaluate_run` wrote to a folder.

    FileNotFoundError is raised if the run has no predictions, ValueError if they are damaged.
    """
    run = Run(folder)
    run.require(Run.PREDICTIONS)
    return read_predictions(run / Run.PREDICTIONS)


def compare_runs(folder: str | Path, other: str | Path) -> dict[str, Any]:
    """Compare the predictions in two folders on the same images; write against.json to the first.

    Returns the result of `statistics.mcnemar`, with the folders as `first` and `second`.

    Raises:
        FileNotFoundError: If a folder holds no predictions.
        ValueError: If they are damaged, or of different images or labels.
    """
    tables = load_predictions(folder), load_predictions(other)
    try:
        comparison = mcnemar(*tables)
    except ValueError as error:
        raise ValueError(f"{folder} and {other} cannot be compared. {error}") from error
    result = {"first": str(folder), "second": str(other), **comparison}
    write_json(Run(folder) / Run.COMPARISON, result)
    return result
