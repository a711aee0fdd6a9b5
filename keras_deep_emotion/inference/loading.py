"""Open a model, wherever it is."""

from pathlib import Path

from keras_deep_emotion.exports import is_saved_model, newest_version
from keras_deep_emotion.files import quiet_stderr
from keras_deep_emotion.inference import litert
from keras_deep_emotion.inference.predictor import Predictor
from keras_deep_emotion.runs import Run, shipped_weights

RUNTIMES = ("litert", "keras")


def load(model: str | Path, runtime: str | None = None) -> Predictor:
    """Open a trained model: `predict` crops, `analyze` photos, `explain` predictions.

    Args:
        model: Name of weights that come with the package, such as "ferplus"; a run folder; an
            export, a version's folder or the folder of versions; or the URL of a server,
            `grpc://HOST:8500/NAME` or `http://HOST:8501/NAME`. Write `./NAME` for a folder with the
            name of shipped weights.
        runtime: What computes the predictions of a run or of shipped weights: "litert", which
            starts in a tenth of a second and needs no TensorFlow, or "keras", which has the
            layers (`network`). None for LiteRT if it is installed and the run has a model for it,
            which all shipped weights have; else Keras.

    Raises:
        FileNotFoundError: If the folder does not exist, or is neither a run nor an export.
        ConnectionError: If the server does not answer.
        ModuleNotFoundError: If the runtime is not installed.
        ValueError: If the model is damaged, or has no such runtime.

    Example:
    >>> import numpy as np
    >>> from keras_deep_emotion import load
    >>> model = load("ferplus")
    >>> model.runtime
    'litert'
    >>> model.predict(np.zeros((60, 50))).shape
    (1, 7)
    """
    if runtime not in (None, *RUNTIMES):
        raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}. Received: {runtime!r}")
    if "://" in str(model):
        with quiet_stderr():
            from keras_deep_emotion.inference.client import connect

        return connect(str(model))
    if model in shipped_weights():
        return load_run(Run.shipped(model), runtime)
    if not Path(model).exists():
        raise FileNotFoundError(
            f"There is no folder {model}, and no weights of that name come with the package; there "
            f"are: {', '.join(shipped_weights())}. Name those, a run, an export or a server's URL."
        )
    return load_folder(model, runtime)


def load_folder(path: str | Path, runtime: str | None = None) -> Predictor:
    """Open a run, a version of an export, or its newest version; else raise FileNotFoundError."""
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; name a run or an export.")
    if Run(path).has(Run.CONFIG):
        return load_run(Run.open(path), runtime)
    if not is_saved_model(path):
        newest = newest_version(entry.name for entry in path.iterdir() if is_saved_model(entry))
        if newest is None:
            raise FileNotFoundError(
                f"{path} is neither a run (no {Run.CONFIG}) nor an export (no saved_model.pb); "
                "`python cli.py fit` makes the one, `python cli.py export RUN` the other."
            )
        path = path / newest
    with quiet_stderr():
        from keras_deep_emotion.inference.tensorflow_predictors import SavedModelPredictor
    return SavedModelPredictor(path)


def load_run(run: Run, runtime: str | None = None) -> Predictor:
    """Open the model of a run, see `load`."""
    if runtime is None:
        runtime = "litert" if run.has(Run.LITERT) and litert.is_available() else "keras"
    if runtime == "keras":
        with quiet_stderr():
            from keras_deep_emotion.inference.tensorflow_predictors import KerasPredictor
        return KerasPredictor(run)
    if not litert.is_available():
        raise ModuleNotFoundError("LiteRT is not installed: pip install ai-edge-litert")
    if not run.has(Run.LITERT):
        raise ValueError(f"{run} has no {Run.LITERT}; open it with runtime='keras'.")
    return litert.LiteRTPredictor(run)
