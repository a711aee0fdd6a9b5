"""What a training run does between epochs: keep the best model, keep what resuming needs, log."""

import contextlib
import json
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from keras_deep_emotion.files import written_whole
from keras_deep_emotion.normalization import refresh_statistics
from keras_deep_emotion.trainer import averaged_weights


class Throughput(keras.callbacks.Callback):
    """Adds `images_per_second` of training, without validation, and `learning_rate` to the logs.

    Args:
        images: how many images an epoch holds.
    """

    def __init__(self, images):
        super().__init__()
        self.images = images

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.start = time.perf_counter()
        self.stop = None

    def on_test_begin(self, logs=None):
        """Stop it: training is over, validation begins."""
        self.stop = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Log the rates."""
        logs["images_per_second"] = self.images / ((self.stop or time.perf_counter()) - self.start)
        logs["learning_rate"] = float(
            keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        )


class Settled(keras.callbacks.Callback):
    """Validates what is kept: averaged weights, with statistics of faces as they are.

    Args:
        network: the network that is trained, without what only training needs.
        faces: (count, size, size, 1) training faces, not augmented, of which batch normalisation's
            statistics are taken, see `normalization.refresh_statistics`; None leaves the moving
            ones.

    Attributes:
        values: weights of `network` as the last epoch was validated, arrays.
    """

    def __init__(self, network, faces=None):
        super().__init__()
        self.network = network
        self.faces = faces
        self.values = None

    def on_test_begin(self, logs=None):
        """Put them in."""
        self.learning = self.network.get_weights()
        with averaged_weights(self.model):
            self.values = self.network.get_weights()
        self.network.set_weights(self.values)
        if self.faces is not None:
            refresh_statistics(self.network, self.faces)
            self.values = self.network.get_weights()

    def on_test_end(self, logs=None):
        """Go back to those that learn."""
        self.network.set_weights(self.learning)

    @contextlib.contextmanager
    def in_place(self):
        """Put what was validated into the network for a moment."""
        self.network.set_weights(self.values)
        try:
            yield
        finally:
            self.network.set_weights(self.learning)


class BestModel(keras.callbacks.Callback):
    """Keeps the model of the epoch with the highest validation accuracy (of equals, least loss).

    Written beside and renamed, so that `path` is whole at any moment.

    Args:
        settled: the `Settled` that goes before.
        kept: a network of the same weights that is written; it may compute in another precision.
        path: a `.keras` file.
        best: (accuracy, -loss) to beat.
    """

    def __init__(self, settled, kept, path, best=(-1.0, 0.0)):
        super().__init__()
        self.settled = settled
        self.kept = kept
        self.path = Path(path)
        self.best = tuple(best)

    def on_epoch_end(self, epoch, logs=None):
        """Save if this epoch is the best so far."""
        score = (logs["val_accuracy"], -logs["val_loss"])
        if score > self.best:
            self.best = score
            self.kept.set_weights(self.settled.values)
            with written_whole(self.path) as aside:
                self.kept.save(aside)


class Backup(keras.callbacks.Callback):
    """Keeps all that an unfinished run needs to go on as if it had never stopped.

    One file, written beside and renamed after each epoch: whatever stops the run, at most the
    running epoch is lost. The last of the callbacks, so that the others are done with the epoch.

    Args:
        path: a `.npz` file.
        best: the `BestModel` of the run.
        history: dicts of the epochs so far; each epoch is added.
    """

    def __init__(self, path, best, history=()):
        super().__init__()
        self.path = Path(path)
        self.best = best
        self.history = list(history)

    def on_epoch_end(self, epoch, logs=None):
        """Write the state; and history.csv beside it."""
        self.history.append({"epoch": epoch, **{key: float(logs[key]) for key in sorted(logs)}})
        state = {"history": self.history, "best": self.best.best}
        arrays = {str(i): np.asarray(value) for i, value in enumerate(training_state(self.model))}
        with written_whole(self.path) as aside, open(aside, "wb") as file:
            np.savez(file, state=json.dumps(state), **arrays)
        write_history(self.path.parent, self.history)


def write_history(run_dir, history):
    """Write the dicts of the epochs so far as history.csv."""
    with written_whole(Path(run_dir) / "history.csv") as aside:
        pd.DataFrame(history).to_csv(aside, index=False)


def training_state(trainer):
    """Values of all variables of a training: weights, the optimiser's, the random seeds'."""
    variables = [*trainer.variables, *trainer.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def restore(path, trainer):
    """Take a training up where a `Backup` left it.

    Args:
        path: the backup.
        trainer: compiled as it was then; its variables are set.

    Returns:
        dict of `history` (one dict an epoch) and `best`, as `BestModel` takes it.

    Raises:
        ValueError: the file is no backup of such a training.
    """
    trainer.optimizer.build(trainer.trainable_variables)
    variables = [*trainer.variables, *trainer.optimizer.variables]
    try:
        with open(path, "rb") as file, np.load(file) as backup:
            state = json.loads(str(backup["state"]))
            values = [backup[str(i)] for i in range(len(backup.files) - 1)]
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}. Train anew in another folder.") from None
    if [value.shape for value in values] != [tuple(one.shape) for one in variables]:
        raise ValueError(f"{path} is of another network: was config.json changed?")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return state
