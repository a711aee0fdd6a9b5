"""Callbacks of training: validation, best model, backup, throughput."""

import contextlib
import csv
import datetime
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np

from keras_deep_emotion import stopping
from keras_deep_emotion.files import atomic_write, parse_json
from keras_deep_emotion.layers.batch_normalization import recompute_statistics
from keras_deep_emotion.runs import Run, read_arrays
from keras_deep_emotion.training.compile import averaged_weights

TRAIN_AGAIN = "Train again in another folder."
STATE = {"history": [{"epoch": int}], "best": [float, float]}  # of `Backup`, in JSON


class StopBetweenBatches(keras.callbacks.Callback):
    """Ends training before the next batch if a stop was requested, see `stopping`."""

    # Not the hooks at the end of a batch, which keep Keras from dispatching others' in a thread.
    def on_train_batch_begin(self, batch, logs=None):
        """Check before a batch of training."""
        stopping.check()

    def on_test_batch_begin(self, batch, logs=None):
        """Check before a batch of validation."""
        stopping.check()


class Throughput(keras.callbacks.Callback):
    """Logs `learning_rate` and `images_per_second`, the speed of training without validation.

    `images` is the number of training images in an epoch.
    """

    def __init__(self, images: int):
        super().__init__()
        self.images = images

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.start = time.perf_counter()
        self.stop = None

    def on_test_begin(self, logs=None):
        """Stop the clock: validation begins."""
        self.stop = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Log the rates."""
        logs["images_per_second"] = self.images / ((self.stop or time.perf_counter()) - self.start)
        rate = self.model.optimizer.learning_rate
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(rate))


class EpochTable(keras.callbacks.Callback):
    """Prints a row of a table after each epoch, and on a terminal how far the running epoch is.

    `lines` are printed above it, before training.
    """

    def __init__(self, lines: Sequence[str] = ()):
        super().__init__()
        self.lines = lines
        self.seconds: list[float] = []  # of each epoch

    def on_train_begin(self, logs=None):
        """Print what is trained, and the head of the table."""
        print(*self.lines, EPOCH_HEAD, sep="\n", flush=True)

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.epoch, self.start = epoch, time.monotonic()

    def on_train_batch_begin(self, batch, logs=None):
        """Draw how far the epoch is."""
        if sys.stdout.isatty():
            of = f"epoch {self.epoch + 1} of {self.params['epochs']}"
            print(f"\r{of}: step {batch + 1} of {self.params['steps']}", end="", flush=True)

    def on_epoch_end(self, epoch, logs=None):
        """Print the epoch's row over it."""
        self.seconds.append(time.monotonic() - self.start)
        left = (self.params["epochs"] - epoch - 1) * statistics.median(self.seconds)
        start = "\r\x1b[K" if sys.stdout.isatty() else ""
        print(start + epoch_row(epoch, self.params["epochs"], logs, left), flush=True)


EPOCH_HEAD = "  epoch  validation    loss   training    loss     rate  images/s  time left"


def epoch_row(epoch: int, epochs: int, logs: dict, left: float) -> str:
    """The logs of an epoch, counted from 0, under `EPOCH_HEAD`; `left` is in seconds.

    Accuracy and loss of validation, which are NaN if there was none, and of training.

    Example:
    >>> logs = {"accuracy": 0.5, "loss": 1.25, "val_accuracy": 0.25, "val_loss": 1.5}
    >>> logs |= {"learning_rate": 0.0, "images_per_second": 1559.4}
    >>> for line in (EPOCH_HEAD, epoch_row(2, 40, logs, 3700)):
    ...     print(line)
      epoch  validation    loss   training    loss     rate  images/s  time left
       3/40     25.00 %   1.500    50.00 %   1.250        0     1,559    1:01:40
    """
    accuracies = (f"{100 * logs[name]:.2f} %" for name in ("val_accuracy", "accuracy"))
    validated, trained = (f"{one:>10}" for one in accuracies)
    return (
        f"{f'{epoch + 1}/{epochs}':>7}  {validated}  {logs['val_loss']:6.3f} {trained}  "
        f"{logs['loss']:6.3f}  {float(logs['learning_rate']):7.2g}  "
        f"{logs['images_per_second']:8,.0f}  {datetime.timedelta(seconds=round(left))!s:>9}"
    )


class AveragedEvaluation(keras.callbacks.Callback):
    """Validates the weights that are kept: averaged, with recomputed normalization statistics.

    `values` are the weights of the network as they were last validated, a list of arrays.

    Args:
        network: The network that is trained, without augmentation.
        images: (count, size, size, 1) training images for `recompute_statistics` of
            `layers.batch_normalization`; None keeps the moving statistics.
        start: Weights of the network before training, of which `share` is mixed into those that
            are kept (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022).
        share: 0 to 1.
    """

    def __init__(
        self,
        network: keras.Model,
        images: np.ndarray | None = None,
        start: Sequence[np.ndarray] = (),
        share: float = 0.0,
    ):
        super().__init__()
        self.network = network
        self.images = images
        self.start = start
        self.share = share
        self.values = None

    def on_test_begin(self, logs=None):
        """Replace the weights by those that are kept."""
        self.training_values = self.network.get_weights()
        with averaged_weights(self.model):
            self.values = self.network.get_weights()
        self.values = self.mixed(self.values)
        self.network.set_weights(self.values)
        if self.images is not None:
            recompute_statistics(self.network, self.images)
            self.values = self.network.get_weights()

    def mixed(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Weights of the network with the share of its start's."""
        if not self.share:
            return values
        pairs = zip(values, self.start, strict=True)
        return [(1 - self.share) * value + self.share * start for value, start in pairs]

    def on_test_end(self, logs=None):
        """Restore the weights that are trained."""
        self.network.set_weights(self.training_values)

    @contextlib.contextmanager
    def validated_weights(self) -> Iterator[None]:
        """Give the network the validated weights within the context."""
        self.network.set_weights(self.values)
        try:
            yield
        finally:
            self.network.set_weights(self.training_values)


class BestModel(keras.callbacks.Callback):
    """Saves the model of the epoch with the highest validation accuracy, then the lowest loss.

    `epoch` is the epoch that was saved last, from 0; None before.

    Args:
        averaged: The `AveragedEvaluation` that comes before it.
        kept: A network with the same weights to save; its precision may differ.
        path: A `.keras` file.
        best: (accuracy, -loss) to beat.
    """

    def __init__(
        self,
        averaged: AveragedEvaluation,
        kept: keras.Model,
        path: str | Path,
        best: tuple[float, float] = (-1.0, 0.0),
    ):
        super().__init__()
        self.averaged = averaged
        self.kept = kept
        self.path = Path(path)
        self.best = tuple(best)
        self.epoch = None

    def on_epoch_end(self, epoch, logs=None):
        """Save if this epoch is the best so far; one that diverged is worse than any other."""
        score = (logs["val_accuracy"], -logs["val_loss"])
        if not math.isfinite(logs["val_loss"]):
            score = (-1.0, 1.0)  # still saved if it is the first: `evaluate` says what happened
        if score > self.best:
            self.best, self.epoch = score, epoch
            self.kept.set_weights(self.averaged.values)
            with atomic_write(self.path) as temporary:
                self.kept.save(temporary)


class Backup(keras.callbacks.Callback):
    """Saves the complete state of training after each epoch, in one file, with `history` so far.

    `start` are the arrays of which a share is mixed into what is kept, see `AveragedEvaluation`.

    Any interruption loses at most the running epoch. It comes after the callbacks that write the
    run, so that they have completed the epoch.
    """

    def __init__(
        self,
        run: Run,
        best: BestModel,
        history: Sequence[dict] = (),
        start: Sequence[np.ndarray] = (),
    ):
        super().__init__()
        self.start = list(start)
        self.run = run
        self.best = best
        self.history = list(history)

    def on_epoch_end(self, epoch, logs=None):
        """Write backup.npz and history.csv."""
        self.history.append(history_row(epoch, logs))
        state = {"history": self.history, "best": self.best.best}
        values = map(keras.ops.convert_to_numpy, state_variables(self.model))
        arrays = {str(i): np.asarray(value) for i, value in enumerate([*values, *self.start])}
        with atomic_write(self.run / Run.BACKUP) as temporary, open(temporary, "wb") as file:
            np.savez(file, state=json.dumps(state), **arrays)
        write_history(self.run, self.history)


def history_row(epoch: int, logs: dict) -> dict:
    """The logs of an epoch as a row of history.csv."""
    return {"epoch": epoch, **{key: float(logs[key]) for key in sorted(logs)}}


def write_history(run: Run, history: list[dict]) -> None:
    """Write the metrics of the epochs so far, dicts, as history.csv."""
    with atomic_write(run / Run.HISTORY) as temporary:
        columns = dict.fromkeys(key for row in history for key in row)
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, columns, lineterminator="\n")
            table.writeheader()
            table.writerows(history)


def state_variables(trainer: keras.Model) -> list[keras.Variable]:
    """All variables of a training: weights, optimizer, random seeds."""
    return [*trainer.variables, *trainer.optimizer.variables]


def restore_backup(
    path: Path, trainer: keras.Model, start_shapes: Sequence[tuple[int, ...]] = ()
) -> dict:
    """Restore a trainer's variables from a `Backup`; return its `history`, `best` and `start`."""
    trainer.optimizer.build(trainer.trainable_variables)
    variables = state_variables(trainer)
    backup = read_arrays(path, TRAIN_AGAIN, state=0)
    state = parse_json(str(backup.pop("state")), path, STATE, TRAIN_AGAIN)
    values = [backup.get(str(i)) for i in range(len(backup))]
    if any(value is None or value.dtype.kind not in "fiub" for value in values):
        raise ValueError(f"{path} is damaged: it does not hold the variables. {TRAIN_AGAIN}")
    if [row["epoch"] for row in state["history"]] != list(range(len(state["history"]))):
        raise ValueError(f"{path} is damaged: its epochs do not count from 0. {TRAIN_AGAIN}")
    values, start = values[: len(variables)], values[len(variables) :]
    expected = [tuple(one.shape) for one in variables], list(start_shapes)
    if ([value.shape for value in values], [value.shape for value in start]) != expected:
        raise ValueError(
            f"{path} belongs to another network: was config.json changed? {TRAIN_AGAIN}"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return state | {"start": start}
