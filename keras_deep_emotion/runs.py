"""Run folders: what `fit` writes and every later command reads.

The names of the files in a run folder are defined here, as attributes of `Run`, and nowhere else.
"""

import contextlib
import io
import itertools
import shlex
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import (
    check_table,
    locked,
    parse_labels,
    printable_path,
    read_json,
    read_text,
    write_text,
)

if TYPE_CHECKING:
    import keras
    import numpy as np
    import pandas as pd

# Ours: bytes that the arrays of an .npz file may take, or twice its size if that is more.
MOST_BYTES = 2**28
SHIPPED = Path(__file__).parent / "weights"
# Settings that a network must share with the one whose weights it takes.
NETWORK_SETTINGS = ("network", "width", "transformer", "theta_reach", "theta_rate", "image_size")
# Schemas of the files that later commands read, see `files.check_schema`.
SHARE = (float, None)  # None where it is undefined
COUNTS = {"faces": int, "correct": int, "accuracy": float, "accuracy_interval": [float, float]}
CALIBRATED = {"faces": int, "probability": SHARE, "accuracy": SHARE}
METRICS = {  # of `evaluation.classification_report`
    **COUNTS,
    "balanced_accuracy": float,
    "macro_f1": float,
    "classes": [str],
    "per_class": {str: {"faces": int, "precision": SHARE, "recall": SHARE, "f1": SHARE}},
    "confusion": [[int]],
    "calibration": {
        "error": float,
        "bins": [{"low": float, "high": float, **dict.fromkeys(CALIBRATED, float)}],
        "per_class": {str: CALIBRATED},
    },
    "per_person": {str: COUNTS},
    "surest_mistakes": [
        {**dict.fromkeys(("name", "subject", "label", "answer"), str), "probability": float}
    ],
}
CALIBRATION = {
    **dict.fromkeys(("temperature", "balance"), float),
    "prior": {str: float},
    "validation_error": [float, float],
}
OPERATING_POINT = {
    **dict.fromkeys(("balance", "accuracy", "balanced_accuracy"), float),
    "accuracy_interval": [float, float],
    "recall": {str: SHARE},
}
PAPER = {"paper_accuracy": SHARE, "paper_differs?": [str]}
REPORT = {
    **PAPER,
    **dict.fromkeys(("dataset", "protocol", "split"), str),
    **METRICS,
    "deduplicated?": COUNTS,
    "flip_averaged?": COUNTS,
    "attention?": (dict.fromkeys(("mean", "spread"), [float] * 6), None),
    "balance?": float,
    "uncalibrated_error?": float,
    "operating_points?": [OPERATING_POINT],
    "litert?": {"quantize": str, "bytes": int, "accuracy": float, "agreement": float},
}
FOLDS = {**PAPER, "accuracies": [float], "mean": float, "spread": float, "pooled": METRICS}
INTERVAL = {"mean": float, "interval": [float, float]}
FAITHFULNESS = {
    "faces": int,
    "scores": {str: {str: {**INTERVAL, "ahead?": INTERVAL}}},
    "randomisation": {str: INTERVAL},
    "regions?": {str: {"faces": int, **dict.fromkeys(("upper", "middle", "lower", "rim"), float)}},
}
ROBUSTNESS = {
    **dict.fromkeys(("dataset", "split"), str),
    "faces": int,
    "clean": float,
    "mean": float,
    "mean_interval": [float, float],
    "follows?": {str: INTERVAL},
    "changes": {
        str: {
            **dict.fromkeys(("title", "unit"), str),
            **dict.fromkeys(("clean_level", "mean"), float),
            "levels": [{"level": float, "accuracy": float, "interval": [float, float]}],
        }
    },
}


class Run:
    """A folder with one training run: `run / Run.MODEL` is the path of its model.

    A folder with a run for each fold has `CONFIG` and `FOLDS`, and run folders `fold_0`, ...
    What reads a file raises ValueError if it is damaged.

    Args:
        path: The folder; it need not exist yet.
    """

    CONFIG = "config.json"  # all settings
    LABELS = "labels.txt"  # class names, in order
    VERSIONS = "versions.json"  # libraries, machine and precision
    MODEL = "model.keras"  # best epoch on validation
    LITERT = "model.tflite"  # the same for LiteRT; of shipped weights
    HISTORY = "history.csv"  # metrics of each epoch
    BACKUP = "backup.npz"  # state for `fit --resume`
    LOGS = "logs"  # TensorBoard
    TEACHERS = "teachers.npy"  # predictions of the teachers for the training images
    PREDICTIONS = "predictions.csv"  # of the test split
    REPORT = "report.json"  # metrics on the test split
    CALIBRATION = "calibration.json"  # temperature of the probabilities, share of each class
    COMPARISON = "against.json"
    ROBUSTNESS = "robustness.json"  # accuracy under changes of the test split
    ROBUST_ANSWERS = "robustness.npz"  # on which faces it is right, for `evaluate --against`
    ROBUSTNESS_FIGURE = "robustness.png"
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
        PAGE, CALIBRATION, REPORT, PREDICTIONS, COMPARISON, ROBUSTNESS, ROBUST_ANSWERS,
        ROBUSTNESS_FIGURE, CONFUSION_MATRIX, RELIABILITY, SALIENCY_MAPS,
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

    @classmethod
    def named(cls, name: str | Path) -> "Run":
        """A finished run, or shipped weights; errors as of `open`."""
        return cls.open(cls.shipped(name) if name in shipped_weights() else name)

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
            f"{self} is not {kind}: it has no {name}. Name a folder that `keras-deep-emotion fit` "
            "made."
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
        config = self.config
        try:
            return Task.from_config(config)
        except ValueError as error:
            raise ValueError(f"{self / self.CONFIG} is of no known task. {error}") from None

    @property
    def labels(self) -> list[str]:
        """Class names, in the order of the model's outputs."""
        self.require(self.LABELS)
        return parse_labels(read_text(self / self.LABELS), self / self.LABELS)

    def check_labels(self, names: list[str]) -> None:
        """Raise ValueError if the run's class names are not those of its data set."""
        if self.labels != list(names):
            raise ValueError(
                f"{self / self.LABELS} has {', '.join(self.labels)}, and the data set has "
                f"{', '.join(names)}. Restore it from a copy, or train again in another folder."
            )

    @property
    def report(self) -> dict | None:
        """Metrics on the test split, see `evaluation.evaluate_run`; None before evaluation."""
        path = self / self.REPORT
        report = read_json(path, REPORT, to_rewrite(self, "evaluate"))
        if report:
            check_classes(report, path, to_rewrite(self, "evaluate"))
        return report

    @property
    def folds(self) -> dict | None:
        """Metrics over all folds, see `experiments.fit_folds`; None before they are finished."""
        path = self / self.FOLDS
        remedy = to_rewrite(self, "fit --resume")
        folds = read_json(path, FOLDS, remedy)
        if folds:
            check_classes(folds["pooled"], path, remedy)
        return folds

    @property
    def faithfulness(self) -> dict | None:
        """Scores of the maps, see `saliency.benchmark_saliency`; None before `explain --score`."""
        remedy = to_rewrite(self, "explain --score")
        return read_json(self / self.FAITHFULNESS, FAITHFULNESS, remedy)

    @property
    def calibration(self) -> dict | None:
        """What `evaluation.calibrate_run` found; None before it."""
        path = self / self.CALIBRATION
        remedy = to_rewrite(self, "fit --resume")
        found = read_json(path, CALIBRATION, remedy)
        if found and (set(found["prior"]) != set(self.labels) or min(found["prior"].values()) <= 0):
            raise ValueError(f"{path} is damaged: it is of other classes. {remedy}")
        if found and found["temperature"] <= 0:
            raise ValueError(f"{path} is damaged: temperature must be above 0. {remedy}")
        return found

    @property
    def robustness(self) -> dict | None:
        """Accuracy under changes, see `evaluation.evaluate_robustness`; None before it."""
        remedy = to_rewrite(self, "evaluate --robustness")
        return read_json(self / self.ROBUSTNESS, ROBUSTNESS, remedy)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of libraries, and the machine; empty if they are not known."""
        return read_json(self / self.VERSIONS, {str: str}, "Delete it; nothing needs it.") or {}

    @property
    def history(self) -> "pd.DataFrame | None":
        """Metrics of each epoch, with `epoch` counted from 1; None before the first epoch."""
        import pandas as pd

        path = self / self.HISTORY
        if not path.is_file():
            return None
        check_table(path)
        try:
            history = pd.read_csv(path)
        except pd.errors.EmptyDataError:
            return None
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {str(error).strip()}") from None
        missing = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"} - set(history.columns)
        if missing:
            raise ValueError(f"{path} is damaged: it has no column {', '.join(sorted(missing))}.")
        texts = [name for name in history if not pd.api.types.is_numeric_dtype(history[name])]
        if texts or history["epoch"].tolist() != list(range(len(history))):
            problem = f"{texts[0]} is not a number" if texts else "epochs must count from 0"
            raise ValueError(f"{path} is damaged: {problem}. {to_rewrite(self, 'fit --resume')}")
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

    def load_model(self, balance: float | None = None) -> "keras.Model":
        """Load the best model, uncompiled: (batch, size, size, 1) grey levels to probabilities.

        `balance` is that of `models.at_operating_point`; None for that of the run's settings.

        Raises:
            ValueError: If it is damaged, of another shape, or far larger than our networks, see
                `models.loading`.
        """
        from keras_deep_emotion.models.loading import load_network

        path, size, classes = self / self.MODEL, self.config.image_size, len(self.labels)
        with open(path, "rb"):  # Keras says of a file that cannot be read that it does not exist
            pass
        try:
            model = load_network(path)
            shapes = model.input_shape, model.output_shape
        except Exception as error:  # of any type, by the layer whose settings are damaged
            reason = str(error).partition("\n")[0][:300].rstrip(".") or type(error).__name__
            raise ValueError(
                f"{path} is damaged: {reason}. Restore it from a copy, or train again in another "
                "folder."
            ) from error
        expected = (None, size, size, 1), (None, classes)
        if shapes != expected:
            raise ValueError(
                f"{path} does not belong to {self.CONFIG} and {self.LABELS}: it maps {shapes[0]} "
                f"to {shapes[1]}, and they say {expected[0]} and {classes} classes. Restore the "
                "files from a copy, or train again in another folder."
            )
        if balance is None:
            return model
        import numpy as np

        from keras_deep_emotion.models.operating_point import at_operating_point

        found = self.calibration
        if found is None:
            raise ValueError(
                f"{self} has no {self.CALIBRATION}, which --balance needs. "
                + to_rewrite(self, "fit --resume")
            )
        prior = np.array([found["prior"][label] for label in self.labels])
        return at_operating_point(model, found["temperature"], prior, balance)

    def operating_point(self, balance: float | None = None) -> dict | None:
        """`prior` and `balance` of `load_model(balance)`, for files made of it; None if unknown."""
        found = self.calibration
        if found is None:
            return None
        return {
            "prior": found["prior"],
            "balance": found["balance"] if balance is None else balance,
        }

    def write_config(self, config: TrainConfig) -> None:
        """Create the folder, with its settings; ValueError is raised if its name is not UTF-8."""
        if printable_path(self.path) != str(self.path):
            raise ValueError(
                f"{printable_path(self.path)} is not UTF-8, which TensorFlow needs: name another "
                "folder."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self / self.CONFIG, config.to_json())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder, created if missing; raise ValueError if another does."""
        self.path.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.path.resolve(), wait=False))
            except BlockingIOError:
                message = f"Another process is training {self}. Wait until it ends, or stop it."
                raise ValueError(message) from None
            yield

    def write_labels(self, labels: list[str]) -> None:
        """Write the class names."""
        write_text(self / self.LABELS, "".join(f"{label}\n" for label in labels))

    def files(self) -> list[Path]:
        """The files of a run that there are, and the folders of its logs and folds."""
        names = [value for name, value in vars(Run).items() if name.isupper()]
        paths = [self / name for name in names if isinstance(name, str)]
        return [*filter(Path.exists, paths), *sorted(self.path.glob("fold_*"))]

    def delete_derived(self) -> None:
        """Delete the files derived from the current model, which is about to change."""
        # The latter by `explain --split` and `evaluate --balance`.
        folders = (self.path.glob(f"{name}-*") for name in ("explanation", "balance"))
        for folder in (self.path, *itertools.chain.from_iterable(folders)):
            for name in self.DERIVED:
                (folder / name).unlink(missing_ok=True)


def to_rewrite(run: Run | Path, command: str) -> str:
    """The remedy for a damaged file of a run: the command that writes it again."""
    # A folder of other results, such as those of shipped weights, is no argument of a command.
    name = shlex.quote(str(run)) if Run(run).has(Run.CONFIG) else "RUN"
    return f"To write it again: keras-deep-emotion {command} {name}"


def check_classes(metrics: dict, path: Path, remedy: str) -> None:
    """Raise ValueError if parts of `METRICS` are of other classes, or of no faces."""
    classes, rows = metrics["classes"], metrics["confusion"]
    parts = (metrics["per_class"], metrics["calibration"]["per_class"])
    parts += tuple(point["recall"] for point in metrics.get("operating_points", ()))
    sizes = {len(classes), len(rows), *map(len, rows)}
    if len(sizes) > 1 or any(set(part) != set(classes) for part in parts) or not metrics["faces"]:
        raise ValueError(f"{path} is damaged: its parts are of different classes. {remedy}")


def read_arrays(path: Path, remedy: str, **axes: int) -> "dict[str, np.ndarray] | None":
    """The arrays of an .npz file; None if it does not exist.

    `axes` has the number of axes of each array that must be there. ValueError is raised if the file
    is damaged; it ends in `remedy`.
    """
    import numpy as np

    if not path.is_file():
        return None
    content = path.read_bytes()  # OSError: it cannot be read
    file = io.BytesIO(content)
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > max(MOST_BYTES, 2 * len(content)):
            raise ValueError(f"it would take {size:,} bytes of memory")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            content = dict(arrays)
    except Exception as error:  # of any type: ZIP, zlib, the header's parser
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} is damaged: {reason}. {remedy}") from None
    for name, count in axes.items():
        if name not in content or content[name].ndim != count:
            raise ValueError(f"{path} is damaged: {name} must have {count} axes. {remedy}")
    return content


def new_run(config: TrainConfig, parent: str | Path = "runs") -> Run:
    """Create a folder `<parent>/<dataset>-<recipe>-<time>`, numbered if the name is taken.

    A protocol other than "standard" and a fold stand before the time.
    """
    task = Task.from_config(config)
    protocol = None if task.protocol == Task.protocol else task.protocol
    fold = None if task.fold is None else f"fold{task.fold}"
    parts = [task.name, task.variant, config.recipe, protocol, fold, time.strftime("%Y%m%d-%H%M%S")]
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
    ranked = history.dropna(subset=["val_accuracy", "val_loss"]).sort_values(
        ["val_accuracy", "val_loss"], ascending=[False, True], kind="stable"
    )
    return None if ranked.empty else ranked.iloc[0]
