"""Open a model, wherever it is."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from keras_deep_emotion.exports import LITERT, is_saved_model, newest_version
from keras_deep_emotion.files import quiet_stderr
from keras_deep_emotion.inference.array_predictors import (
    PACKAGES,
    LiteRTPredictor,
    ONNXPredictor,
    is_installed,
)
from keras_deep_emotion.inference.predictor import Predictor
from keras_deep_emotion.runs import Run, shipped_weights


def load(
    model: str | Path,
    runtime: str | None = None,
    trust: bool = False,
    balance: float | None = None,
) -> Predictor:
    """Open a trained model: `predict` crops, `analyze` photos, `explain` predictions.

    Args:
        model: Name of weights that come with the package, such as "ferplus"; a run folder; an
            export: a version's folder, the folder of versions, or a .tflite or .onnx file; or the
            URL of a server, `grpc://HOST:8500/NAME` or `http://HOST:8501/NAME`. Write `./NAME` for
            a folder with the name of shipped weights.
        runtime: What computes the predictions: "litert", which opens at once and needs no
            TensorFlow, "keras", which has the layers (`network`), "saved_model" or "onnx". None
            for the first that the model has: LiteRT, which all shipped weights have, if it is
            installed, then the others.
        trust: Open a SavedModel whose operations could do more than compute, such as write files.
        balance: Operating point, see `Predictor.set_balance`; None for the model's own.

    Raises:
        FileNotFoundError: If the path does not exist, or is neither a run nor an export.
        ConnectionError: If the server does not answer.
        ModuleNotFoundError: If the runtime is not installed.
        ValueError: If the model is damaged, has no such runtime, or knows no balance.

    Example:
    >>> import numpy as np
    >>> from keras_deep_emotion import load
    >>> model = load("ferplus")
    >>> model.runtime
    'litert'
    >>> model.predict(np.zeros((60, 50))).shape
    (1, 7)
    """
    opened = _open(model, runtime, trust)
    if balance is not None:
        opened.set_balance(balance)
    return opened


def _open(model, runtime, trust):
    if "://" in str(model):
        if runtime is not None:
            raise ValueError(f"{model} is a server, which has one runtime: leave it out.")
        with quiet_stderr():
            from keras_deep_emotion.inference.client import connect

        return connect(str(model))
    if model in shipped_weights():
        return load_path(Run.shipped(model).path, runtime)
    if not Path(model).exists():
        raise FileNotFoundError(
            f"There is no folder {model}, and no weights of that name come with the package; there "
            f"are: {', '.join(shipped_weights())}. Name those, a run, an export or a server's URL."
        )
    return load_path(model, runtime, trust)


def load_path(path: str | Path, runtime: str | None = None, trust: bool = False) -> Predictor:
    """Open a run, an export, or its newest version; arguments and errors as in `load`."""
    openers = runtimes(Path(path), trust)
    if runtime is None:
        runtime = next((name for name in openers if is_installed(name)), [*openers][-1])
    if runtime not in openers:
        raise ValueError(
            f"{path} has no model for the runtime {runtime!r}; it has: {', '.join(openers)}."
        )
    if not is_installed(runtime):
        package = PACKAGES[runtime].replace("_", "-")
        raise ModuleNotFoundError(f"{package} is not installed: pip install {package}")
    return openers[runtime]()


def runtimes(path: Path, trust: bool = False) -> dict[str, Callable[[], Predictor]]:
    """What can open a model, by name, the first choice first; FileNotFoundError if nothing can."""
    if path.is_file() and path.suffix == ".tflite":
        return {"litert": partial(LiteRTPredictor, path)}
    if path.is_file() and path.suffix == ".onnx":
        return {"onnx": partial(ONNXPredictor, path)}
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; name a run or an export.")
    if Run(path).has(Run.CONFIG):
        run = Run.open(path)
        return _light(run / Run.LITERT) | {"keras": partial(_open_keras, run)}
    if not is_saved_model(path):
        newest = newest_version(entry.name for entry in path.iterdir() if is_saved_model(entry))
        if newest is None:
            raise FileNotFoundError(
                f"{path} is neither a run (no {Run.CONFIG}) nor an export (no saved_model.pb); "
                "`keras-deep-emotion fit` makes the one, `keras-deep-emotion export RUN` the other."
            )
        path = path / newest
    return _light(path / LITERT) | {"saved_model": partial(_open_saved_model, path, trust)}


def _light(path):
    return {"litert": partial(LiteRTPredictor, path)} if path.is_file() else {}


def _open_keras(run):
    with quiet_stderr():
        from keras_deep_emotion.inference.tensorflow_predictors import KerasPredictor
    return KerasPredictor(run)


def _open_saved_model(path, trust):
    with quiet_stderr():
        from keras_deep_emotion.inference.tensorflow_predictors import SavedModelPredictor
    return SavedModelPredictor(path, trust)
