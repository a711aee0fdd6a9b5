"""Robustness: the accuracy of a run on its test split under changes of known size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from keras_deep_emotion.data.reading import class_names, open_dataset, read_faces
from keras_deep_emotion.evaluation.attention import attention_following
from keras_deep_emotion.evaluation.changes import CHANGES, apply_change
from keras_deep_emotion.evaluation.statistics import mean_interval, wilson_interval
from keras_deep_emotion.files import atomic_write, write_json
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.runs import Run, read_arrays, to_rewrite

FOLLOWED = 1000  # faces; ours


def evaluate_robustness(
    run: str | Path | Run,
    data_dir: str | Path | None = None,
    output: str | Path | None = None,
    progress: Callable[[int, int], Any] = lambda done, total: None,
    balance: float | None = None,
) -> dict[str, Any]:
    """Evaluate a run under each of `CHANGES`; write robustness.json and robustness.npz.

    `output` is the folder of the files, None for the run's own; `progress` is called with the
    number of changed splits that are done, and of all; `balance` is that of `Run.load_model`.
    Returns the content of robustness.json: that of `robustness_report`, with `dataset` and `split`,
    and for a model with a spatial transformer `follows`, its `attention_following`.

    Raises:
        FileNotFoundError, ValueError: As `evaluate_run`.
    """
    run, output = Run.open(run), Run(output or run)
    task, size = run.task, run.config.image_size
    builder, split = open_dataset(task, data_dir), task.splits["test"]
    run.check_labels(class_names(builder))
    model = fold_batch_normalization(run.load_model(balance))
    names, images, labels = read_faces(builder, split, size)
    correct = changed_answers(
        lambda faces: model.predict(faces, batch_size=256, verbose=0), images, labels, progress
    )
    output.path.mkdir(parents=True, exist_ok=True)
    with atomic_write(output / Run.ROBUST_ANSWERS) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, names=names, **correct)
    report = {"dataset": builder.info.full_name, "split": split, **robustness_report(correct)}
    if run.config.transformer:
        report["follows"] = attention_following(model, images[:FOLLOWED])
    write_json(output / Run.ROBUSTNESS, report)
    return report


def changed_answers(
    predict: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    progress: Callable[[int, int], Any] = lambda done, total: None,
) -> dict[str, np.ndarray]:
    """Whether a model is right on each face, unchanged and changed.

    Args:
        predict: A function of (count, side, side, 1) float32 grey levels to probabilities.
        images: (count, side, side, 1) grey levels 0..255.
        labels: (count,) integer classes.
        progress: As in `evaluate_robustness`.

    Returns:
        `clean` (count,) bool, and for each of `CHANGES`, by name, (levels, count) bool.
    """
    total = sum(len(change.levels) for change in CHANGES.values())
    correct = {"clean": predict(images).argmax(axis=1) == labels}
    done = 0
    for name, change in CHANGES.items():
        rows = []
        for level in change.levels:
            progress(done, total)
            faces = apply_change(name, level, images[..., 0])[..., None]
            rows.append(predict(faces).argmax(axis=1) == labels)
            done += 1
        correct[name] = np.stack(rows)
    progress(total, total)
    return correct


def robustness_report(correct: dict[str, np.ndarray]) -> dict[str, Any]:
    """Accuracies from the result of `changed_answers`.

    Returns, for JSON, `faces`; `clean`, the accuracy of unchanged faces; `mean`, that over all
    changes and levels, and its 95 % `mean_interval`; `changes`, by name, `title`, `unit`,
    `clean_level`, `mean`, and `levels`, a list with `level`, `accuracy` and its `interval`.
    """
    changes = {}
    for name, change in CHANGES.items():
        counts = correct[name].sum(axis=1).tolist()
        faces = correct[name].shape[1]
        changes[name] = {
            "title": change.title,
            "unit": change.unit,
            "clean_level": float(change.clean),
            "mean": float(correct[name].mean()),
            "levels": [
                {
                    "level": float(level),
                    "accuracy": count / faces,
                    "interval": list(wilson_interval(count, faces)),
                }
                for level, count in zip(change.levels, counts, strict=True)
            ],
        }
    mean, interval = mean_interval(mean_of_faces(correct))
    return {
        "faces": len(correct["clean"]),
        "clean": float(correct["clean"].mean()),
        "mean": mean,
        "mean_interval": interval,
        "changes": changes,
    }


def mean_of_faces(correct: dict[str, np.ndarray]) -> np.ndarray:
    """(faces,) share of all changes and levels on which a model is right."""
    return np.concatenate([correct[name] for name in CHANGES]).mean(axis=0)


def compare_robustness(folder: str | Path, other: str | Path) -> dict[str, Any]:
    """Compare two folders that `evaluate_robustness` wrote to, on the same faces.

    Returns `clean`, `all` and each of `CHANGES`, by name: [difference of the accuracies, the first
    minus the other, [its 95 % interval]], paired by face.

    Raises:
        FileNotFoundError: If a folder has no robustness.npz.
        ValueError: If one is damaged, or they are of different faces.
    """
    first, second = read_answers(folder), read_answers(other)
    order = {name: i for i, name in enumerate(second.pop("names"))}
    names = first.pop("names")
    if set(order) != set(names) or len(order) != len(names):
        raise ValueError(f"{folder} and {other} cannot be compared: they are of different faces.")
    rows = [order[name] for name in names]
    difference = {
        name: first[name].astype(float) - second[name][..., rows] for name in ("clean", *CHANGES)
    }
    result = {"clean": mean_interval(difference["clean"])}
    result |= {"all": mean_interval(mean_of_faces(difference))}
    return result | {name: mean_interval(difference[name].mean(axis=0)) for name in CHANGES}


def read_answers(folder: str | Path) -> dict[str, np.ndarray]:
    """The content of robustness.npz in a folder: `names`, and the result of `changed_answers`."""
    path = Run(folder) / Run.ROBUST_ANSWERS
    remedy = to_rewrite(path.parent, "evaluate --robustness")
    axes = {"names": 1, "clean": 1, **dict.fromkeys(CHANGES, 2)}
    answers = read_arrays(path, remedy, **axes)
    if answers is None:
        raise FileNotFoundError(
            f"{path} does not exist: call keras-deep-emotion evaluate {folder} --robustness first."
        )
    shapes = {name: (len(CHANGES[name].levels), len(answers["clean"])) for name in CHANGES}
    if any(answers[name].shape != shape for name, shape in shapes.items()):
        raise ValueError(f"{path} is damaged: its arrays are of different faces. {remedy}")
    return answers
