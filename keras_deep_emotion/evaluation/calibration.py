"""Calibrate a trained run: fit the temperature of its probabilities on the validation split."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from keras_deep_emotion.data.reading import class_names, label_counts, open_dataset, read_faces
from keras_deep_emotion.evaluation.metrics import calibration
from keras_deep_emotion.evaluation.predictions import predictions_table
from keras_deep_emotion.files import atomic_write, write_json
from keras_deep_emotion.models.operating_point import at_operating_point
from keras_deep_emotion.runs import Run

RANGE = (0.1, 10.0)  # ours: of temperatures


def calibrate_run(
    run: str | Path | Run, data_dir: str | Path | None = None
) -> dict[str, Any] | None:
    """Fit a run's temperature on its validation split; write it into model.keras.

    Every road from there (evaluation, LiteRT, ONNX, exports) has the calibrated probabilities, at
    the `balance` of the run's settings. Also writes calibration.json, and returns its content:
    `temperature`; `balance`; `prior`, see `training_prior`; `validation_error`, the
    expected calibration error before and after, at balance 0. A second call gives the same. Does
    nothing, and returns None, if the training diverged.

    Raises:
        FileNotFoundError, ValueError: As `evaluate_run`.
    """
    run = Run.open(run)
    task, model, balance = run.task, run.load_model(), run.config.balance
    builder = open_dataset(task, data_dir)
    labels = class_names(builder)
    run.check_labels(labels)
    names, images, classes = read_faces(builder, task.splits["validation"], run.config.image_size)
    scores = keras.Model(model.input, model.get_layer("logits").output)
    logits = scores.predict(images, batch_size=256, verbose=0).astype(np.float64)
    if not np.isfinite(logits).all():
        return None
    temperature = fit_temperature(logits, classes)
    counts = label_counts(builder, task.splits["train"])
    prior = training_prior(counts, run.config.class_balance)

    def error(temperature):
        probabilities = softmax(logits / temperature)
        people = [""] * len(names)
        return calibration(predictions_table(names, people, classes, probabilities, labels))[
            "error"
        ]

    result = {
        "temperature": temperature,
        "balance": balance,
        "prior": dict(zip(labels, prior.tolist(), strict=True)),
        "validation_error": [error(1.0), error(temperature)],
    }
    with atomic_write(run / Run.MODEL) as temporary:
        at_operating_point(model, temperature, prior, balance).save(temporary)
    write_json(run / Run.CALIBRATION, result)
    return result


def training_prior(counts: np.ndarray, class_balance: float) -> np.ndarray:
    """The share of each class in what a network learned from: (classes,), above 0, of sum 1.

    `counts` (classes,) are numbers of faces, which training weighs by `class_balance`. A class
    without a face has the share of the most frequent one: no balance favours it.

    Example:
    >>> import numpy as np
    >>> training_prior(np.array([16, 4, 0]), 0.0).round(3)
    array([0.444, 0.111, 0.444])
    >>> training_prior(np.array([16, 4, 0]), 0.5).round(3)
    array([0.4, 0.2, 0.4])
    """
    shares = np.where(counts > 0, counts, counts.max()) ** (1 - class_balance)
    return shares / shares.sum()


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of the least cross-entropy (Guo et al., 2017).

    `logits` (count, classes); `labels` (count,) integers. Returns 1 if no label is wrong: the
    least cross-entropy is then at 0.

    Example:
    >>> import numpy as np
    >>> logits = np.array([[4.0, 0.0]] * 4)  # 98 % sure
    >>> round(float(softmax(logits / fit_temperature(logits, np.array([0, 0, 0, 1])))[0, 0]), 3)
    0.75
    """
    if (logits.argmax(axis=1) == labels).all():
        return 1.0

    def loss(log_temperature):
        scaled = logits / np.exp(log_temperature)
        return np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(labels)), labels])

    found = minimize_scalar(loss, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of (count, classes) logits."""
    return np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
