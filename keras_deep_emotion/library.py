"""The package as a library: one word for whatever holds a model."""

from pathlib import Path

from keras_deep_emotion import predict, serving
from keras_deep_emotion.runs import shipped_weights, weights_dir


def load(model):
    """Open a trained model.

    Args:
        model: name of weights that come with the package (`ferplus`); a run folder that `fit` made;
            an export, a version's folder or the folder of versions; or the URL of a server,
            `grpc://HOST:8500/NAME` or `http://HOST:8501/NAME`. A folder of the name of shipped
            weights is written `./NAME`.

    Returns:
        `predict.Model`: `labels`, `predict(images)` and `explain(images)`.

    Raises:
        FileNotFoundError: there is no such folder, or it is neither a run nor an export.
        ConnectionError: the server does not answer.
        ValueError: the model is damaged.
    """
    if "://" in str(model):
        return serving.connect(str(model))
    if model in shipped_weights():
        return predict.load(weights_dir(model))
    if not Path(model).exists():
        raise FileNotFoundError(
            f"There is no folder {model}, and no weights of that name come with the package; there "
            f"are: {', '.join(shipped_weights())}. Name those, a run, an export or a server's URL."
        )
    return predict.load(model)
