"""Open a model, wherever it is."""

from pathlib import Path

from keras_deep_emotion.exports import is_saved_model, newest_version
from keras_deep_emotion.inference.client import ServerPredictor, connect
from keras_deep_emotion.inference.predictors import ExportPredictor, RunPredictor
from keras_deep_emotion.runs import Run, shipped_weights


def load(model: str | Path) -> RunPredictor | ExportPredictor | ServerPredictor:
    """Open a trained model: a predictor with `labels`, `predict(images)` and `explain(images)`.

    Args:
        model: Name of weights that come with the package, such as "ferplus"; a run folder; an
            export, a version's folder or the folder of versions; or the URL of a server,
            `grpc://HOST:8500/NAME` or `http://HOST:8501/NAME`. Write `./NAME` for a folder with the
            name of shipped weights.

    Raises:
        FileNotFoundError: If the folder does not exist, or is neither a run nor an export.
        ConnectionError: If the server does not answer.
        ValueError: If the model is damaged.

    Example:
    >>> import numpy as np
    >>> from keras_deep_emotion import load
    >>> model = load("ferplus")
    >>> model.predict([np.zeros((60, 50))]).shape
    (1, 7)
    """
    if "://" in str(model):
        return connect(str(model))
    if model in shipped_weights():
        return RunPredictor(Run.shipped(model))
    if not Path(model).exists():
        raise FileNotFoundError(
            f"There is no folder {model}, and no weights of that name come with the package; there "
            f"are: {', '.join(shipped_weights())}. Name those, a run, an export or a server's URL."
        )
    return load_folder(model)


def load_folder(path: str | Path) -> RunPredictor | ExportPredictor:
    """Open a run, a version of an export, or its newest version; else raise FileNotFoundError."""
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; name a run or an export.")
    if Run(path).has(Run.CONFIG):
        return RunPredictor(Run.open(path))
    if not is_saved_model(path):
        newest = newest_version(entry.name for entry in path.iterdir() if is_saved_model(entry))
        if newest is None:
            raise FileNotFoundError(
                f"{path} is neither a run (no {Run.CONFIG}) nor an export (no saved_model.pb); "
                "`python cli.py fit` makes the one, `python cli.py export RUN` the other."
            )
        path = path / newest
    return ExportPredictor(path)
