"""Run folders: what `fit` writes and every later command reads.

The names of the files in a run folder are defined here, as attributes of `Run`, and nowhere else.
"""

import contextlib
import itertools
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import printable_path, read_json, write_text

if TYPE_CHECKING:
    import keras
    import pandas as pd

SHIPPED = Path(__file__).parent / "weights"


class Run:
    """A folder with one training run: `run / Run.MODEL` is the path of its model.

    A folder with a run for each fold has `CONFIG` and `FOLDS`, and run folders `fold_0`, ...
    What reads a file raises ValueError if it is damaged.

    Args:
        path: The folder; it need not exist yet.
    """

    CONFIG = "config.json"  # all settings
    LABELS = "labels.txt"  # class names, in order
    VERSIONS = "versions.json"  # libraries and machine
    MODEL = "model.keras"  # best epoch on validation
    LITERT = "model.tflite"  # the same for LiteRT; of shipped weights
    HISTORY = "history.csv"  # metrics of each epoch
    BACKUP = "backup.npz"  # state for `fit --resume`
    LOGS = "logs"  # TensorBoard
    TEACHERS = "teachers.npy"  # predictions of the teachers for the training images
    PREDICTIONS = "predictions.csv"  # of the test split
    REPORT = "report.json"  # metrics on the test split
    COMPARISON = "against.json"
    CONFUSION_MATRIX = "confusion_matrix.png"
    RELIABILITY = "reliability.png"
    SALIENCY_MAPS = "saliency.npz"
    SALIENCY = "saliency.png"
    OCCLUSIONS = "occlusions.png"
    ATTENDED = "attended.png"
    MISTAKE_MAPS = "mistakes.npz"
    MISTAKES = "mistakes.png"
    FAITHFULNESS = "faithfulness.json"
    MEAN_MAPS = "mean_saliency.npz"
    MEAN_SALIENCY = "mean_saliency.png"
    PAGE = "report.html"
    FOLDS = "folds.json"  # metrics over all folds
    CARD = "MODEL_CARD.md"  # of shipped weights

    # Files derived from the current model.
    DERIVED = (
        PAGE, REPORT, PREDICTIONS, COMPARISON, CONFUSION_MATRIX, RELIABILITY, SALIENCY_MAPS,
        SALIENCY, OCCLUSIONS, ATTENDED, MISTAKE_MAPS, MISTAKES, FAITHFULNESS, MEAN_MAPS,
        MEAN_SALIENCY,
    )  # fmt: skip

    def __init__(self, path: "str | Path | Run"):
        self.path = path.path if isinstance(path, Run) else Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __str__(self) -> str:
        return str(self.path)

    def has(self, name: str) -> bool:
        """Whether the folder holds a file of this name."""
        return (self / name).is_file()

    @classmethod
    def open(cls, path: "str | Path | Run") -> "Run":
        """A run that has a trained model.

        Raises:
            FileNotFoundError: If the folder lacks settings, labels or model.
        """
        run = cls(path)
        for name in (cls.CONFIG, cls.LABELS, cls.MODEL):
            run.require(name)
        return run

    @classmethod
    def shipped(cls, name: str) -> "Run":
        """Weights that come with the package: a run folder that must not be written to.

        Raises:
            ValueError: If there are no weights of this name.
        """
        if name not in shipped_weights():
            known = ", ".join(shipped_weights()) or "none"
            raise ValueError(f"There are no weights {name!r}; there are: {known}.")
        return cls(SHIPPED / name)

    def require(self, name: str, kind: str = "a finished run") -> None:
        """Raise FileNotFoundError if the folder lacks a file that this kind of run has."""
        if self.has(name):
            return
        first = self.fold(0)
        if first.path.is_dir():
            raise FileNotFoundError(
                f"{self} holds a run for each fold: name one of them, such as {first}."
            )
        raise FileNotFoundError(
            f"{self} is not {kind}: it has no {name}. Name a folder that `python cli.py fit` made."
        )

    def fold(self, number: int) -> "Run":
        """The run of one fold, in a folder of all folds."""
        return Run(self / f"fold_{number}")

    @property
    def config(self) -> TrainConfig:
        """The settings; FileNotFoundError is raised if the folder has none."""
        self.require(self.CONFIG, "a run")
        return TrainConfig.from_json(self / self.CONFIG)

    @property
    def task(self) -> Task:
        """What the run is trained and tested on."""
        return Task.from_config(self.config)

    @property
    def labels(self) -> list[str]:
        """Class names, in the order of the model's outputs."""
        return (self / self.LABELS).read_text(encoding="utf-8").split()

    @property
    def report(self) -> dict | None:
        """Metrics on the test split, see `evaluation.evaluate_run`; None before evaluation."""
        return read_json(self / self.REPORT)

    @property
    def history(self) -> "pd.DataFrame | None":
        """Metrics of each epoch, with `epoch` counted from 1; None before the first epoch."""
        import pandas as pd

        path = self / self.HISTORY
        if not path.is_file():
            return None
        try:
            history = pd.read_csv(path)
        except pd.errors.EmptyDataError:
            return None
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        missing = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"} - set(history.columns)
        if missing:
            raise ValueError(f"{path} is damaged: it has no column {', '.join(sorted(missing))}.")
        history["epoch"] += 1  # Keras counts from 0
        return None if history.empty else history

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are trained and the run was evaluated after the last.

        A report is not enough: an interrupted run can be evaluated too.
        """
        if not (self.has(self.PAGE) and self.has(self.HISTORY)):
            return False
        history = self.history
        return history is not None and len(history) == self.config.epochs

    def load_model(self) -> "keras.Model":
        """Load the best model, uncompiled: (batch, size, size, 1) grey levels to probabilities."""
        import keras

        import keras_deep_emotion.layers  # noqa: F401  (registers the layers)

        try:
            return keras.saving.load_model(self / self.MODEL, compile=False)
        except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self / self.MODEL} is damaged: {error}") from error

    def write_config(self, config: TrainConfig) -> None:
        """Create the folder, with its settings; ValueError is raised if its name is not UTF-8."""
        if printable_path(self.path) != str(self.path):
            raise ValueError(
                f"{printable_path(self.path)} is not UTF-8, which TensorFlow needs: name another "
                "folder."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self / self.CONFIG, config.to_json())

    def write_labels(self, labels: list[str]) -> None:
        """Write the class names."""
        write_text(self / self.LABELS, "".join(f"{label}\n" for label in labels))

    def delete_derived(self) -> None:
        """Delete the files derived from the current model, which is about to change."""
        for name in self.DERIVED:
            (self / name).unlink(missing_ok=True)


def new_run(task: Task, parent: str | Path = "runs") -> Run:
    """Create a folder `<parent>/<dataset>-<protocol>-<time>`, numbered if the name is taken."""
    fold = None if task.fold is None else f"fold{task.fold}"
    parts = [task.name, task.variant, task.protocol, fold, time.strftime("%Y%m%d-%H%M%S")]
    name = "-".join(part for part in parts if part)
    for number in itertools.count(1):
        path = Path(parent) / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return Run(path)


def shipped_weights() -> list[str]:
    """Names of the trained models that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{Run.MODEL}"))


def best_epoch(history: "pd.DataFrame") -> "pd.Series | None":
    """The row of the epoch with the highest validation accuracy, then the lowest loss, if any."""
    ranked = history.dropna(subset=["val_accuracy"]).sort_values(
        ["val_accuracy", "val_loss"], ascending=[False, True], kind="stable"
    )
    return None if ranked.empty else ranked.iloc[0]
