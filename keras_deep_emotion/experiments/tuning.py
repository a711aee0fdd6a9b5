"""Hyperparameter search on the validation split, by Optuna; the test split is not read.

The paper tunes lambda, the weight of its L2 penalty, on validation (section III). Learning rate,
dropout and width are searched with it.
"""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import filelock
import keras
import numpy as np
import pandas as pd

from keras_deep_emotion.program import install_command

try:
    import optuna
except ModuleNotFoundError:
    raise ModuleNotFoundError(f"Optuna is not installed: {install_command('tune')}") from None
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from keras_deep_emotion import stopping
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import atomic_write, refuse_links
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.single_machine import train

# ours: the ranges and choices of the search.
LEARNING_RATES = {"adam": (3e-4, 1e-2), "sgd": (2e-2, 0.5)}
REGULARIZATION = (1e-6, 1e-2)
DROPOUT = (0.0, 0.6)
WIDTHS = {
    **dict.fromkeys(("wide", "residual"), [8, 16, 24, 32, 40]),
    "paper": [6, 10, 16, 24],
    "resnet50": [64],
}
COLUMNS = ("trial", "learning_rate", "regularization", "dropout", "width", "val_accuracy")
FAILURES = 3  # ours: consecutive failed trials that end a search
# User attribute of a trial: number of a trial that does not count, see `counted_trials`.
EXCLUDES = "excludes"


def tune(
    config: TrainConfig,
    output: str | Path,
    trials: int = 20,
    data_dir: str | Path | None = None,
    storage: str | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> pd.DataFrame:
    """Search for the settings with the highest validation accuracy.

    Settings are drawn by a seeded TPE sampler. A trial is pruned when its validation accuracy is
    below the median of earlier trials at the same epoch. Calling `tune` again with the same
    `output` continues the search; interrupted trials are repeated. Processes with the same `config`
    and `storage` share one search; each needs an `output` of its own.

    Args:
        config: The settings that are not searched; its seed is the seed of the search too.
        output: Folder of the search, with the run of each trial in `trial_N`.
        trials: Total number of trials, over all calls and processes.
        data_dir: As in `data.open_dataset`.
        storage: URL of a database (see `optuna.storages.RDBStorage`), or path of a journal file on
            a shared disk; None for a journal file in `output`.
        announce: Called with a line of text after each trial.

    Returns the table of tuning.csv: `COLUMNS`, a row for each trial that has ended, best first.
    `val_accuracy` is that of the best epoch, NaN if the trial failed.

    Raises:
        FileNotFoundError: If the data set is not built.
        ValueError: If there is no such data set, protocol or fold, `output` belongs to a search
            with other settings or is in use, or `storage` cannot be opened.
        Exception: The error of the last of `FAILURES` failed trials in a row.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    open_dataset(Task.from_config(config), data_dir)
    folder = Run(output)
    if folder.has(Run.CONFIG) and folder.config != config:
        raise ValueError(f"{output} is a search with other settings: name another --output.")
    refuse_links(folder.path, ".lock", "search.journal")
    folder.write_config(config)
    try:
        with filelock.FileLock(folder / ".lock").acquire(timeout=0):
            study = open_study(config, storage or str(folder / "search.journal"))
            repeat_interrupted(study, config, folder, shared=storage is not None)
            run_trials(study, config, folder, trials, data_dir, announce)
    except filelock.Timeout:
        message = f"Another process is searching in {output}: name another --output."
        raise ValueError(message) from None
    counted = counted_trials(study)
    finished = [trial for trial in counted if trial.state.is_finished()]
    if running := len(counted) - len(finished):
        announce(
            f"{running} trials are running in other processes. When they have ended, run the same "
            "command again for the complete table."
        )
    settings = COLUMNS[1:-1]
    rows = [(one.number, *map(one.params.get, settings), best_accuracy(one)) for one in finished]
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"val_accuracy": float})
    table = table.sort_values("val_accuracy", ascending=False, ignore_index=True)
    with atomic_write(folder / "tuning.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table


def open_study(config: TrainConfig, storage: str) -> optuna.Study:
    """Create or load the study of a configuration, named by a digest of its settings."""
    try:
        if "://" not in storage:
            storage = JournalStorage(JournalFileBackend(storage, JournalFileOpenLock(storage)))
        return optuna.create_study(
            storage=storage,
            study_name=f"tune-{hashlib.sha256(config.to_json().encode()).hexdigest()[:16]}",
            load_if_exists=True,
            direction="maximize",
            # ours: five trials are never pruned, others not in the first quarter of their epochs.
            pruner=optuna.pruners.MedianPruner(5, n_warmup_steps=config.epochs // 4),
        )
    except Exception as error:  # from SQLAlchemy, a database driver or the file system
        raise ValueError(f"--storage cannot be opened: {error}") from error


def counted_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials of a search, except those that were repeated or started in excess."""
    trials = study.get_trials(deepcopy=False)
    excluded = {trial.user_attrs.get(EXCLUDES) for trial in trials}
    return [trial for trial in trials if trial.number not in excluded]


def repeat_interrupted(study: optuna.Study, config: TrainConfig, folder: Run, shared: bool) -> None:
    """Queue the settings of interrupted trials again: those of `folder`, whose lock is held."""
    counted = {trial.number for trial in counted_trials(study)}
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        run = Run(folder / f"trial_{trial.number}")
        if shared and not has_settings(run, dataclasses.replace(config, **trial.params)):
            continue  # it may be running in another process
        if trial.number in counted:
            study.enqueue_trial(trial.params, user_attrs={EXCLUDES: trial.number})
        study.tell(trial.number, state=TrialState.FAIL)


def run_trials(study, config, folder, trials, data_dir, announce):
    """Run trials until all are started; raise the error of the last of `FAILURES` in a row."""
    failures = 0
    while (trial := next_trial(study, config, trials)) is not None:
        try:
            run_trial(study, trial, config, folder, data_dir)
        except Exception as error:
            stopping.check()  # what became of a KeyboardInterrupt is no failure
            study.tell(trial, state=TrialState.FAIL)
            announce(f"trial {trial.number} failed: {error}")
            failures += 1
            if failures == FAILURES:
                raise
        else:
            failures = 0
            announce(summary(study.trials[trial.number]))
        stopping.check()


def next_trial(study: optuna.Study, config: TrainConfig, trials: int) -> optuna.Trial | None:
    """Start a trial; None if all are started."""
    counted = counted_trials(study)
    if len(counted) >= trials and all(trial.state != TrialState.WAITING for trial in counted):
        return None
    trial = study.ask()
    if sum(one.number < trial.number for one in counted_trials(study)) >= trials:
        # Two processes started the last trial at the same time.
        trial.set_user_attr(EXCLUDES, trial.number)
        study.tell(trial, state=TrialState.FAIL)
        return None
    # With one seed, each process and each continued search would draw the same settings.
    seed = np.random.SeedSequence([config.seed, trial.number]).generate_state(1)[0]
    study.sampler = optuna.samplers.TPESampler(seed=int(seed))
    return trial


def suggest_settings(trial: optuna.Trial, config: TrainConfig) -> dict:
    """Draw the settings of a trial; the ranges depend on optimizer and network."""
    rates = LEARNING_RATES[config.optimizer]
    return {
        "learning_rate": trial.suggest_float("learning_rate", *rates, log=True),
        "regularization": trial.suggest_float("regularization", *REGULARIZATION, log=True),
        "dropout": trial.suggest_float("dropout", *DROPOUT),
        "width": trial.suggest_categorical("width", WIDTHS[config.network]),
    }


def run_trial(study, trial, config, folder, data_dir):
    """Train with the settings of a trial and tell the study the result."""
    chosen = dataclasses.replace(config, **suggest_settings(trial, config))
    run = Run(folder / f"trial_{trial.number}")
    interrupted = Run(folder / f"trial_{trial.user_attrs.get(EXCLUDES)}")
    if run.path.exists() and not has_settings(run, chosen):
        shutil.rmtree(run.path)  # of another search
    if has_settings(interrupted, chosen) and not run.path.exists():
        interrupted.path.rename(run.path)  # training continues from its backup
    run.write_config(chosen)
    is_pruned = False

    def report(epoch, logs):
        nonlocal is_pruned
        trial.report(logs["val_accuracy"], epoch)
        if trial.should_prune():
            is_pruned = callback.model.stop_training = True

    callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
    accuracy = train(chosen, run, data_dir, callbacks=[callback])
    study.tell(trial, *((None, TrialState.PRUNED) if is_pruned else (accuracy,)))


def has_settings(run: Run, config: TrainConfig) -> bool:
    """Whether a folder is a run with these settings."""
    return run.has(Run.CONFIG) and run.config == config


def best_accuracy(trial: FrozenTrial) -> float | None:
    """Validation accuracy of the best epoch; None if the trial failed."""
    if trial.state == TrialState.PRUNED:
        return max(trial.intermediate_values.values(), default=None)
    return trial.value


def summary(trial: FrozenTrial) -> str:
    """One line on a finished trial."""
    settings = ", ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
    ending = " (pruned)" if trial.state == TrialState.PRUNED else ""
    return f"trial {trial.number}: {settings}: val_accuracy {best_accuracy(trial):.4f}{ending}"
