"""Search for settings on the validation split, by KerasTuner; the test split is not looked at.

The paper tunes lambda, the weight of its penalty, on validation (section III); here dropout,
learning rate and widths are searched with it.
"""

import contextlib
import dataclasses
import os
import shutil
import socket
from pathlib import Path

import keras
import pandas as pd

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import atomic_write
from keras_deep_emotion.training.single_machine import train

# What is searched and where: (lowest, highest) on a logarithmic scale, or the choices.
LEARNING_RATES = {"adam": (3e-4, 1e-2), "sgd": (2e-2, 0.5)}


REGULARIZATION = (1e-6, 1e-2)


LINEAR = {"dropout": (0.0, 0.6)}


WIDTHS = {
    "wide": [8, 16, 24, 32, 40],
    "residual": [8, 16, 24, 32, 40],
    "paper": [6, 10, 16, 24],
    "resnet50": [64],
}


def keras_tuner():
    """KerasTuner, an optional library.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    try:
        import keras_tuner as library
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "KerasTuner is not installed: pip install 'keras-deep-emotion[tune]'"
        ) from None
    return library


def search_space(config):
    """`keras_tuner.HyperParameters` of the settings that are searched.

    Args:
        config: `TrainConfig`; the rates hang on its optimiser, the widths on its network.
    """
    space = keras_tuner().HyperParameters()
    space.Float("learning_rate", *LEARNING_RATES[config.optimizer], sampling="log")
    space.Float("regularization", *REGULARIZATION, sampling="log")
    for name, (low, high) in LINEAR.items():
        space.Float(name, low, high)
    space.Choice("width", WIDTHS[config.network])
    return space


def tune(config, output, trials=20, data_dir=None, serve=None, join=None):
    """Train with one choice of settings after another and say which was best on validation.

    Each trial is a folder of its own below `output`. A search that was stopped goes on when called
    again with the same `output`. On several machines, one process serves the search and trains
    nothing; the others join it, each with an `output` of its own.

    Args:
        config: `TrainConfig` of the settings that are not searched.
        output: folder of the search.
        trials: how many choices to try in all.
        data_dir: where the data sets are built, None for TFDS's own place.
        serve: "HOST:PORT" to hand out trials at, or None.
        join: "HOST:PORT" to take trials from, or None.

    Returns:
        DataFrame, best first: `trial`, the settings searched, `val_accuracy` (null where the trial
        failed); of one that joined another's search, empty. Also written to tuning.csv.

    Raises:
        FileNotFoundError: the data set is not built.
        ModuleNotFoundError: KerasTuner is not installed.
        ValueError: both `serve` and `join` are given, or an address is none; or `output` is of a
            search with other settings.
    """
    library = keras_tuner()
    task = Task.from_config(config)
    if not serve:
        open_dataset(task, data_dir)
    output = Path(output)
    settings = output / "config.json"
    if settings.is_file() and TrainConfig.from_json(settings) != config:
        raise ValueError(f"{output} is a search with other settings: name another --output.")
    output.mkdir(parents=True, exist_ok=True)
    with atomic_write(settings) as aside:
        aside.write_text(config.to_json())

    class Trainer(library.engine.base_tuner.BaseTuner):
        """Runs a trial by our own training."""

        def _populate_initial_space(self):
            """Take up what another process of the search left; the space itself is known."""
            if Path(self.oracle._get_oracle_fname()).exists():
                self.oracle.reload()

        def run_trial(self, trial):
            """Validation accuracy of one choice of settings."""
            chosen = dataclasses.replace(config, **trial.hyperparameters.values)
            run_dir = output / f"trial_{trial.trial_id}"
            told = run_dir / "config.json"
            # Of one who joins: searches number their trials alike.
            if run_dir.exists() and not (told.is_file() and told.read_text() == chosen.to_json()):
                shutil.rmtree(run_dir)
            run_dir.mkdir(parents=True, exist_ok=True)
            with atomic_write(told) as aside:
                aside.write_text(chosen.to_json())
            keras.backend.clear_session()  # or the networks of all trials before stay in memory
            return {"val_accuracy": train(chosen, run_dir, data_dir)}

    with distributed(serve, join):
        oracle = library.oracles.BayesianOptimizationOracle(
            objective=library.Objective("val_accuracy", "max"),
            max_trials=trials,
            hyperparameters=search_space(config),
            seed=config.seed + 1,  # of 0 KerasTuner draws one
        )
        tuner = Trainer(oracle, directory=str(output), project_name="search")
        # KerasTuner saves that a trial is over before it strikes it off those that are running.
        oracle._retry_queue = [
            trial for trial in oracle._retry_queue if trial not in oracle.end_order
        ]
        tuner.search()
        if join:
            return pd.DataFrame()
    rows = [
        {"trial": trial.trial_id, **trial.hyperparameters.values, "val_accuracy": trial.score}
        for trial in oracle.trials.values()
    ]
    table = pd.DataFrame(rows).sort_values("val_accuracy", ascending=False, ignore_index=True)
    with atomic_write(output / "tuning.csv") as aside:
        table.to_csv(aside, index=False)
    return table


@contextlib.contextmanager
def distributed(serve, join):
    """While it lasts, KerasTuner's chief or one of its workers: by its environment variables.

    Args:
        serve: "HOST:PORT" of the chief that this process is, or None.
        join: "HOST:PORT" of the chief that this process works for, or None.
    """
    if serve and join:
        raise ValueError("A process either serves a search or joins one, not both.")
    settings = {}
    if address := serve or join:
        host, separator, port = address.rpartition(":")
        if not (separator and host and port.isdecimal()):
            raise ValueError(f"An address must be HOST:PORT. Received: {address}")
        worker = f"worker-{socket.gethostname()}-{os.getpid()}"
        settings = {
            "KERASTUNER_TUNER_ID": "chief" if serve else worker,
            "KERASTUNER_ORACLE_IP": host,
            "KERASTUNER_ORACLE_PORT": port,
        }
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]
