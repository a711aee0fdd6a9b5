"""Hyperparameter search on the validation split, by Optuna; the test split is not read.

The paper tunes lambda, the weight of its L2 penalty, on validation (section III). Learning rate,
dropout and width are searched with it.
"""

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import keras
import numpy as np
import pandas as pd

try:
    import optuna
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "Optuna is not installed: pip install 'keras-deep-emotion[tune]'"
    ) from None
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import atomic_write
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.single_machine import train

# ours: the ranges and choices that are searched.
LEARNING_RATES = {"adam": (3e-4, 1e-2), "sgd": (2e-2, 0.5)}
REGULARIZATION = (1e-6, 1e-2)
DROPOUT = (0.0, 0.6)
WIDTHS = {
    "wide": [8, 16, 24, 32, 40],
    "residual": [8, 16, 24, 32, 40],
    "paper": [6, 10, 16, 24],
    "resnet50": [64],
}
COLUMNS = ("trial", "learning_rate", "regularization", "dropout", "width", "val_accuracy")
FAILURES = 3  # ours: consecutive failed trials that end a search
JOURNAL = "search.journal"
# User attribute of a trial: the number of a trial that does not count, see `counted_trials`.
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

    Settings are drawn by a seeded TPE sampler. A trial is pruned once its validation accuracy is
    below the median of the earlier trials at the same epoch. Calling `tune` again with the same
    `output` continues a search; interrupted trials are repeated.

    Processes with the same `config` and `storage` share one search. Each needs its own `output`.

    Args:
        config: The settings that are not searched; its seed is the seed of the search too.
        output: Folder of the search, with the run of each trial in `trial_N`.
        trials: Total number of trials, over all calls and processes.
        data_dir: Folder of the built data sets; None for TFDS's default.
        storage: URL of a database (see `optuna.storages.RDBStorage`), or path of a journal file on
            a shared disk; None for a journal file in `output`.
        announce: Called with a line of text after each trial.

    Returns:
        Table with the columns `COLUMNS`, best first, also written to tuning.csv. `val_accuracy` is
        that of the best epoch; it is null if the trial failed.

    Raises:
        FileNotFoundError: If the data set is not built.
        ValueError: If `output` belongs to a search with other settings or is in use, or `storage`
            cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    open_dataset(Task.from_config(config), data_dir)
    folder = Run(output)
    if folder.has(Run.CONFIG) and folder.config != config:
        raise ValueError(f"{output} is a search with other settings: name another --output.")
    folder.write_config(config)
    with locked(folder.path):
        study = open_study(config, storage or str(folder / JOURNAL))
        repeat_interrupted(study, config, folder, shared=storage is not None)
        failures = 0
        while (trial := next_trial(study, config, trials)) is not None:
            try:
                run_trial(study, trial, config, folder, data_dir)
                failures = 0
            except Exception as error:
                study.tell(trial, state=TrialState.FAIL)
                announce(f"trial {trial.number} failed: {error}")
                failures += 1
                if failures == FAILURES:
                    raise
            else:
                announce(describe(study.trials[trial.number]))
    running = [one for one in counted_trials(study) if not one.state.is_finished()]
    if running:
        announce(
            f"{len(running)} trials are running in other processes. When they have ended, run the "
            "same command again for the complete table."
        )
    table = results_table(study)
    with atomic_write(folder / "tuning.csv") as temporary:
        table.to_csv(temporary, index=False)
    return table


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of trials, which the system releases if the process is killed."""
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ValueError(
            f"Another process is searching in {folder}: name another --output."
        ) from None
    try:
        yield
    finally:
        lock.release()


def open_study(config: TrainConfig, storage: str) -> optuna.Study:
    """Create or load the study of a configuration: its name is a digest of the settings."""
    try:
        if "://" in storage:
            opened = RDBStorage(storage)
        else:
            opened = JournalStorage(JournalFileBackend(storage, JournalFileOpenLock(storage)))
        return optuna.create_study(
            storage=opened,
            study_name=f"tune-{hashlib.sha256(config.to_json().encode()).hexdigest()[:16]}",
            load_if_exists=True,
            direction="maximize",
            # ours: five trials in full, then none is pruned in its first quarter.
            pruner=optuna.pruners.MedianPruner(5, n_warmup_steps=config.epochs // 4),
        )
    except Exception as error:  # of SQLAlchemy, of a driver, or of the file system
        raise ValueError(f"--storage cannot be opened: {error}") from error


def counted_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials of a search, without those that were repeated or started by mistake."""
    trials = study.get_trials(deepcopy=False)
    excluded = {trial.user_attrs.get(EXCLUDES) for trial in trials}
    return [trial for trial in trials if trial.number not in excluded]


def repeat_interrupted(study: optuna.Study, config: TrainConfig, folder: Run, shared: bool) -> None:
    """Queue the settings of interrupted trials again.

    Those are the running trials whose run is in `folder`: this process holds the lock of it.
    """
    counted = {trial.number for trial in counted_trials(study)}
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        run = trial_run(folder, trial.number)
        if shared and not has_settings(run, dataclasses.replace(config, **trial.params)):
            continue  # of another process
        if trial.number in counted:
            study.enqueue_trial(trial.params, user_attrs={EXCLUDES: trial.number})
        study.tell(trial.number, state=TrialState.FAIL)


def next_trial(study: optuna.Study, config: TrainConfig, trials: int) -> optuna.Trial | None:
    """Start a trial; None if all are started."""
    counted = counted_trials(study)
    if len(counted) >= trials and all(trial.state != TrialState.WAITING for trial in counted):
        return None
    trial = study.ask()
    if sum(one.number < trial.number for one in counted_trials(study)) >= trials:
        # Two processes asked for the last trial at the same time.
        trial.set_user_attr(EXCLUDES, trial.number)
        study.tell(trial, state=TrialState.FAIL)
        return None
    # Seeded by the number: processes and continued searches would repeat one sequence of draws.
    seed = np.random.SeedSequence([config.seed, trial.number]).generate_state(1)[0]
    study.sampler = optuna.samplers.TPESampler(seed=int(seed))
    return trial


def suggest_settings(trial: optuna.Trial, config: TrainConfig) -> dict:
    """Draw the settings of a trial; the ranges depend on optimizer and network."""
    return {
        "learning_rate": trial.suggest_float(
            "learning_rate", *LEARNING_RATES[config.optimizer], log=True
        ),
        "regularization": trial.suggest_float("regularization", *REGULARIZATION, log=True),
        "dropout": trial.suggest_float("dropout", *DROPOUT),
        "width": trial.suggest_categorical("width", WIDTHS[config.network]),
    }


def run_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    config: TrainConfig,
    folder: Run,
    data_dir: str | Path | None,
) -> None:
    """Train with the settings of a trial and tell the study the result."""
    chosen = dataclasses.replace(config, **suggest_settings(trial, config))
    run = trial_run(folder, trial.number)
    interrupted = trial_run(folder, trial.user_attrs.get(EXCLUDES))
    if has_settings(interrupted, chosen):
        shutil.rmtree(run.path, ignore_errors=True)
        interrupted.path.rename(run.path)  # and training continues from its backup
    elif run.path.exists() and not has_settings(run, chosen):
        shutil.rmtree(run.path)  # of another search
    run.write_config(chosen)
    keras.backend.clear_session()  # else the networks of all trials stay in memory
    pruning = Pruning(trial)
    accuracy = train(chosen, run, data_dir, callbacks=[pruning])
    if pruning.pruned:
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, accuracy)


class Pruning(keras.callbacks.Callback):
    """Reports each epoch's validation accuracy to a trial, and stops training if it is pruned."""

    def __init__(self, trial: optuna.Trial):
        super().__init__()
        self.trial = trial
        self.pruned = False

    def on_epoch_end(self, epoch, logs=None):
        """Report the epoch."""
        self.trial.report(logs["val_accuracy"], epoch)
        if self.trial.should_prune():
            self.pruned = self.model.stop_training = True


def trial_run(folder: Run, number: int | None) -> Run:
    """The run of a trial."""
    return Run(folder / f"trial_{number}")


def has_settings(run: Run, config: TrainConfig) -> bool:
    """Whether a folder is a run with these settings."""
    return run.has(Run.CONFIG) and run.config == config


def best_accuracy(trial: FrozenTrial) -> float | None:
    """Validation accuracy of the best epoch; None if the trial failed."""
    if trial.state == TrialState.PRUNED:
        return max(trial.intermediate_values.values(), default=None)
    return trial.value


def describe(trial: FrozenTrial) -> str:
    """One line on a finished trial."""
    settings = ", ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
    ending = " (pruned)" if trial.state == TrialState.PRUNED else ""
    return f"trial {trial.number}: {settings}: val_accuracy {best_accuracy(trial):.4f}{ending}"


def results_table(study: optuna.Study) -> pd.DataFrame:
    """The finished trials, best first; see `tune`."""
    rows = [
        {"trial": trial.number, **trial.params, "val_accuracy": best_accuracy(trial)}
        for trial in counted_trials(study)
        if trial.state.is_finished()
    ]
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"val_accuracy": float})
    return table.sort_values("val_accuracy", ascending=False, ignore_index=True)
