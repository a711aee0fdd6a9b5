"""Cross-validation: one run for each fold of protocol "subjects"."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.reading import class_names, open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.evaluate import load_predictions
from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.files import refuse_links, write_json
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training import single_machine
from keras_deep_emotion.training.distillation import teacher_runs
from keras_deep_emotion.training.starting import start_run


def fit_folds(
    config: TrainConfig,
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    resumed: bool = False,
) -> dict:
    """Train and evaluate one run for each fold of protocol "subjects", in `run_dir`/fold_0, ...

    `fold` of the settings is ignored; `resumed` continues the folds of an existing folder. Returns
    the content of folds.json: `accuracies` of the folds in order, their `mean` and `spread`
    (standard deviation, n - 1), and `pooled`, the report over all test images: each person is
    predicted by a model that was not trained on that person.

    Raises:
        ValueError: If the data set has no such protocol, or a teacher may know images of a fold.
        FileExistsError, FileNotFoundError: As `fit`.
    """
    config = dataclasses.replace(config, fold=None)  # all folds, for `resume_run`
    run, task = Run(run_dir), Task.from_config(config)
    configs = [dataclasses.replace(config, fold=one.fold) for one in task.folds()]
    labels = class_names(open_dataset(task, data_dir))
    for one in configs:
        fold = run.fold(one.fold)
        if resumed and fold.has(Run.BACKUP):
            continue  # it holds all that is needed of other runs
        start_run(one)
        if not (resumed and fold.has(Run.TEACHERS)):
            teacher_runs(one, labels)
    if not resumed:
        single_machine.check_empty(run)
    refuse_links(run.path)
    run.write_config(config)
    accuracies, tables = [], []
    for one in configs:
        fold = run.fold(one.fold)
        accuracies.append(finished_report(one, fold, data_dir)["accuracy"])
        tables.append(load_predictions(fold.path))
    result = {
        "accuracies": accuracies,
        "mean": float(np.mean(accuracies)),
        "spread": float(np.std(accuracies, ddof=1)),
        "paper_accuracy": task.info.paper_accuracy,
        "paper_differs": task.differences_from_paper,
        "pooled": classification_report(pd.concat(tables)),
    }
    write_json(run / Run.FOLDS, result)
    return result


def finished_report(config: TrainConfig, run: Run, data_dir: str | Path | None) -> dict:
    """The report of a run, after starting or resuming it if it is not finished and evaluated."""
    if run.is_finished and is_evaluated(run, data_dir):
        return run.report
    if run.has(Run.CONFIG):
        return single_machine.resume(run.path, data_dir)
    return single_machine.fit(config, run.path, data_dir)


def is_evaluated(run: Run, data_dir: str | Path | None) -> bool:
    """Whether a run has a prediction for each face of its test split."""
    task = run.task
    try:
        table = load_predictions(run.path)
    except (FileNotFoundError, ValueError):  # missing or damaged
        return False
    splits = open_dataset(task, data_dir).info.splits
    return len(table) == splits[task.splits["test"]].num_examples


def resume_run(
    run_dir: str | Path, data_dir: str | Path | None = None, profile: bool = False
) -> dict:
    """Continue an interrupted run, of one fold or of all; see `training.resume` and `fit_folds`.

    Raises:
        FileNotFoundError, ValueError: As `training.resume`; also if `profile` is set for all folds.
    """
    run = Run(run_dir)
    if not run.task.is_all_folds:
        return single_machine.resume(run_dir, data_dir, profile)
    if profile:
        raise ValueError(f"--profile records one run, and {run} holds all folds.")
    return fit_folds(run.config, run_dir, data_dir, resumed=True)
