"""Start a training from the weights of another run: its last layer first, then all of it.

Where the classes or the data set are others, the last layer is fitted to the features of the other
run's network before training begins (logistic regression). Training then changes all weights, at a
lower rate (recipe `finetune`). Source: Kumar et al., "Fine-Tuning can Distort Pretrained Features
and Underperform Out-of-Distribution" (2022).
"""

import contextlib

import keras
import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.models.operating_point import at_operating_point
from keras_deep_emotion.runs import NETWORK_SETTINGS, Run

DEAD = 0.01  # ours: share of the largest standard deviation of the features
PENALTY = 0.01  # ours: of the squared weights of the last layer, whose inputs are standardized


def open_earlier_run(name: str, config: TrainConfig) -> Run:
    """Open a run, or shipped weights, that a new run learns from.

    Raises:
        FileNotFoundError: If it is not a finished run.
        ValueError: If it may know the new run's test images: it, or a run that it learned from, was
            trained on other images of the same data set.
    """
    run, task = Run.named(name), Task.from_config(config)
    for one in with_ancestors(run):
        if not same_training_images(one.task, task):
            own = "" if one is run else f" learned from {one}, which"
            others = "pictures, or of another data set"
            remedy = others if task.info.named_by_source else "protocol and fold"
            raise ValueError(
                f"{name}{own} was trained on other images of {task.info.title} than this run will "
                f"be, and may know its test images. Name a run of the same {remedy}."
            )
    return run


def with_ancestors(run: Run) -> list[Run]:
    """A run, and those that it learned from: starts and teachers, if they are still there."""
    found, names = {}, [str(run)]
    while names:
        name = names.pop()
        with contextlib.suppress(FileNotFoundError):
            one = run if name == str(run) else Run.named(name)
            if str(one) not in found:
                found[str(one)] = one
                names += [*filter(None, [one.config.start]), *one.config.teacher_names]
    return [*found.values()]


def same_training_images(earlier: Task, new: Task) -> bool:
    """Whether two tasks have the same training split, or no image in common."""
    if earlier.name != new.name:
        return True
    if new.info.named_by_source and new.variant != earlier.variant:
        return False  # folders may share images
    if earlier.splits["train"] != new.splits["train"]:
        return False
    # Variants in one config differ in their labels only.
    return new.info.splits_in_one or earlier.tfds_config == new.tfds_config


def start_run(config: TrainConfig) -> Run | None:
    """Open the run that `config.start` names; return None if it names none.

    Raises:
        FileNotFoundError, ValueError: As `open_earlier_run`, or if its network is another.
    """
    if config.start is None:
        return None
    run = open_earlier_run(config.start, config)
    for name in NETWORK_SETTINGS:
        expected, received = getattr(run.config, name), getattr(config, name)
        if expected != received:
            raise ValueError(
                f"{name} must be {expected}, as of {config.start}, to start from its weights. "
                f"Received: {name}={received}"
            )
    return run


def copy_start(network: keras.Model, config: TrainConfig, faces: FaceArrays, labels: list[str]):
    """Set the weights of a network, from `build_model`, to those that its training starts from.

    `faces` are those to train on, `labels` their class names. Without a start nothing changes.

    Raises:
        FileNotFoundError, ValueError: As `start_run`.
    """
    run = start_run(config)
    if run is None:
        return
    start = at_operating_point(run.load_model())
    same_classes = run.labels == list(labels)
    layers = ([one for one in model.layers if one.weights] for model in (start, network))
    for old, new in zip(*layers, strict=True):  # `network` may pool otherwise, without weights
        if new.name != "logits" or same_classes:
            new.set_weights(old.get_weights())
    if not same_classes or run.task.name != Task.from_config(config).name:
        # The start's features are in float32, whatever the precision of the network.
        features = keras.Model(start.input, start.get_layer("logits").input)
        fit_last_layer(network.get_layer("logits"), features, faces)


def fit_last_layer(last: keras.layers.Dense, features: keras.Model, faces: FaceArrays) -> None:
    """Fit the last layer to the features of faces and their mirror images."""
    images = np.concatenate([faces.images, faces.images[:, :, ::-1]])
    inputs = features.predict(images.astype(np.float32), batch_size=256, verbose=0)
    targets = np.concatenate([faces.targets] * 2)
    last.set_weights(list(logistic_regression(inputs.astype(np.float64), targets)))


def logistic_regression(inputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (features, classes) and biases (classes,) of the least penalized cross-entropy.

    `inputs` (count, features) are standardized first, and `PENALTY` is that of the standardized
    inputs' weights; `targets` (count, classes) are probabilities.
    """
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0)
    # A unit that is nearly dead gets no weight: on other faces it may be far from its mean.
    spread = np.where(spread > DEAD * spread.max(), spread, np.inf)
    x, shape = (inputs - mean) / spread, (inputs.shape[1] + 1, targets.shape[1])

    def loss(flat):
        weights, bias = np.split(flat.reshape(shape), [-1])
        logits = x @ weights + bias
        logs = logits - logsumexp(logits, axis=1, keepdims=True)
        error = (np.exp(logs) - targets) / len(x)
        slope = np.concatenate([x.T @ error + PENALTY * weights, error.sum(axis=0)[None]])
        penalty = PENALTY / 2 * np.sum(weights**2)
        return penalty - np.mean(np.sum(targets * logs, axis=1)), slope.ravel()

    found = minimize(loss, np.zeros(np.prod(shape)), jac=True, method="L-BFGS-B")
    weights, bias = np.split(found.x.reshape(shape), [-1])
    weights = weights / spread[:, None]
    return weights, bias[0] - mean @ weights
