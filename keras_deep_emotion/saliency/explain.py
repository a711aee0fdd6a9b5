"""Explain a model's predictions: saliency maps, most important windows, attended regions.

`reports` draws the results like the paper's figures 11 and 12.
"""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion.data.reading import open_dataset, read_examples
from keras_deep_emotion.files import atomic_write
from keras_deep_emotion.images.inputs import load_pixels
from keras_deep_emotion.images.preprocessing import prepare_face
from keras_deep_emotion.images.reading import UnreadableImage
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.occlusion import fill_image, gather_windows, occlude
from keras_deep_emotion.saliency.windows import DEFAULT_WINDOWS, Windows, window_starts

TOP_WINDOWS = 9  # the paper, figure 11
MISTAKES = 6


class Classifier(NamedTuple):
    """A model to explain. Any object with these attributes will do, such as a predictor.

    Attributes:
        labels: Class names.
        size: Side of the images, pixels.
        classify: Graph code from (batch, size, size, 1) float32 grey levels 0..255 to
            (batch, classes) probabilities.
        network: The Keras model, or None if its layers cannot be read.
    """

    labels: list[str]
    size: int
    classify: Any
    network: keras.Model | None = None

    @classmethod
    def from_network(cls, network: keras.Model, labels: list[str]) -> "Classifier":
        """The classifier of a Keras model."""
        folded = fold_batch_normalization(network)
        size = network.input.shape[1]
        return cls(labels, size, lambda images: folded(images, training=False), network)

    @classmethod
    def from_run(cls, run: Run) -> "Classifier":
        """The classifier of a run."""
        return cls.from_network(run.load_model(), run.labels)


class Explanation(NamedTuple):
    """Explanations of images, arrays with one entry an image.

    Attributes:
        probabilities: (count, classes) float32.
        class_id: (count,) int64, the explained class.
        saliency, decisive: (count, size, size), see `occlusion.SaliencyMaps`.
        lost, answer: (count, rows, columns), see `occlusion.Occlusions`.
        theta: (count, 6) float32 transforms; None without a transformer.
        attended: (count, size, size) float32 grey levels 0..255, the transformed images, or None.
    """

    probabilities: np.ndarray
    class_id: np.ndarray
    saliency: np.ndarray
    decisive: np.ndarray
    lost: np.ndarray
    answer: np.ndarray
    theta: np.ndarray | None
    attended: np.ndarray | None


def explain_faces(
    model: Classifier,
    images: np.ndarray,
    class_id: np.ndarray | None = None,
    windows: Windows = DEFAULT_WINDOWS,
) -> Explanation:
    """Explain the predictions for (count, size, size, 1) images of grey levels 0..255.

    `class_id` is (count,) integers, the class to explain; None for the predicted class.

    Raises:
        ValueError: If windows do not fit the images.
    """
    images = tf.convert_to_tensor(images, tf.float32)

    @tf.function(autograph=False)
    def compute(images):
        occlusions = occlude(model.classify, images, class_id, *windows)
        return occlusions, gather_windows(occlusions, images.shape[1:3], *windows[:2])

    occlusions, maps = compute(images)
    theta, attended = attended_regions(model.network, images)
    tensors = {**occlusions._asdict(), **maps._asdict()}
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    return Explanation(**arrays, theta=theta, attended=attended)


def attended_regions(network: keras.Model | None, images) -> tuple:
    """Transforms and transformed images, `theta` and `attended` of `Explanation`."""
    if network is None or not any(layer.name == "attended" for layer in network.layers):
        return None, None
    theta, attended = _attended_model(network).predict_on_batch(images)
    return theta, (attended[..., 0].astype(np.float32) + 1) * 127.5  # from the network's -1..1


@functools.lru_cache(maxsize=1)  # the demo asks for one face after another
def _attended_model(network):
    outputs = [network.get_layer(name).output for name in ("theta", "attended")]
    return keras.Model(network.input, outputs)


def top_windows(lost: np.ndarray, count: int = TOP_WINDOWS) -> list[tuple[int, int]]:
    """(row, column) of at most `count` windows, the highest probability lost first.

    Adjacent windows are nearly the same: of those less than a sixth of the grid apart in both
    directions, only the first is kept.
    """
    rows, columns = lost.shape
    chosen: list[tuple[int, int]] = []
    for place in np.argsort(-lost, axis=None, kind="stable").tolist():
        row, column = divmod(place, columns)
        near = (abs(row - y) < rows / 6 and abs(column - x) < columns / 6 for y, x in chosen)
        if len(chosen) < count and not any(near):
            chosen.append((row, column))
    return chosen


def occluded_faces(image, filled, places, window: int, stride: int) -> np.ndarray:
    """One (size, size) image with the window at each (row, column) hidden: (places, size, size)."""
    starts = window_starts(len(image), window, stride)
    faces = np.repeat(np.asarray(image)[None], len(places), axis=0)
    for face, place in zip(faces, places, strict=True):
        hidden = tuple(slice(starts[i], starts[i] + window) for i in place)
        face[hidden] = filled[hidden]
    return faces


def save_explanation(
    path, model, images, names, truth=None, class_id=None, windows=DEFAULT_WINDOWS
) -> Path:
    """Explain images, arguments as in `explain_faces`, and save what `reports` draws as .npz.

    The arrays are those of `Explanation`, `name`, `classes`, `image` (count, size, size), `label`
    (the true classes, if known), and of the `top_windows` `window` (count, 9, 2) rows and columns
    (-1 where there are fewer) and `occluded` (count, 9, size, size), the images with them hidden.
    """
    explanation = explain_faces(model, images, class_id, windows)
    window, stride, filling = windows
    filled = fill_image(tf.constant(images, tf.float32), filling, window)[..., 0].numpy()
    images = images[..., 0]
    places = np.full((len(images), TOP_WINDOWS, 2), -1)
    occluded = np.zeros((len(images), TOP_WINDOWS, *images.shape[1:]), np.float32)
    for i, lost in enumerate(explanation.lost):
        top = top_windows(lost)
        places[i, : len(top)] = top
        occluded[i, : len(top)] = occluded_faces(images[i], filled[i], top, window, stride)
    arrays = {key: value for key, value in explanation._asdict().items() if value is not None}
    if truth is not None:
        arrays["label"] = truth
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays |= {"name": names, "classes": model.labels, "image": images}
    with atomic_write(path) as temporary:
        np.savez_compressed(temporary, window=places, occluded=occluded, **arrays)
    return path


def explain_split(
    run: Run,
    data_dir: str | Path | None = None,
    output: str | Path | None = None,
    split: str = "test",
    per_class: int = 1,
    windows: Windows = DEFAULT_WINDOWS,
) -> Path:
    """Explain `per_class` images of each class of a run's split; return the path of saliency.npz.

    The explained class is the true one. `split` is "train", "validation" or "test", of which the
    first images are taken; `output` is the folder of the file, None for the run's own.

    Raises:
        ValueError: If windows do not fit the images, `per_class` is below 1, or the split is empty.
    """
    task, size = run.task, run.config.image_size
    window_starts(size, *windows[:2])  # checked before data are read
    examples = first_per_class(open_dataset(task, data_dir), task.splits[split], size, per_class)
    labels = [int(example["label"]) for example in examples]
    names = [example["name"].numpy().decode() for example in examples]
    images = np.stack([example["image"].numpy() for example in examples])
    path, model = Run(output or run) / Run.SALIENCY_MAPS, Classifier.from_run(run)
    return save_explanation(path, model, images, names, labels, labels, windows)


def first_per_class(builder, split: str, size: int, per_class: int) -> list[dict]:
    """The first `per_class` examples of each class of a split, or as many as it has."""
    if per_class < 1:
        raise ValueError(f"--per-class must be 1 or more. Received: {per_class}")
    classes = builder.info.features["label"].num_classes
    groups: dict[int, list] = {label: [] for label in range(classes)}
    for example in read_examples(builder, split, size):
        group = groups[int(example["label"])]
        if len(group) < per_class:
            group.append(example)
        if all(len(group) == per_class for group in groups.values()):
            break
    if not any(groups.values()):
        raise ValueError(f"Split {split} holds no faces.")
    return [example for group in groups.values() for example in group]


def explain_mistakes(run: Run, data_dir: str | Path | None = None) -> Path | None:
    """Explain the most confident mistakes of an evaluated run; write mistakes.npz if any."""
    mistakes = run.report["surest_mistakes"][:MISTAKES]
    if not mistakes:
        return None
    builder, split = open_dataset(run.task, data_dir), run.task.splits["test"]
    names = [mistake["name"] for mistake in mistakes]
    images = {}
    for example in read_examples(builder, split, run.config.image_size):
        name = example["name"].numpy().decode()
        if name in names:
            images[name] = example["image"].numpy()
    truth = [run.labels.index(mistake["label"]) for mistake in mistakes]
    faces, model = np.stack([images[name] for name in names]), Classifier.from_run(run)
    return save_explanation(run / Run.MISTAKE_MAPS, model, faces, names, truth)


def explain_run(run: Run, data_dir: str | Path | None = None) -> None:
    """Explain one test image of each class and the most confident mistakes of a run."""
    explain_split(run, data_dir)
    explain_mistakes(run, data_dir)


def explain_files(
    model: Classifier,
    files: list[str | Path],
    output: str | Path,
    windows: Windows = DEFAULT_WINDOWS,
) -> tuple[Path, list[tuple[Path, str]]]:
    """Explain the predictions for image files of cropped faces; write saliency.npz to `output`.

    Files may have any format that `images.open_photo` reads. Returns the path of the file and a
    list of (file, reason) that could not be read.

    Raises:
        ValueError: If windows do not fit the images, or no file could be read.
    """
    window_starts(model.size, *windows[:2])
    names, images, unreadable = [], [], []
    for file in files:
        try:
            images.append(prepare_face(load_pixels(file), model.size))
            names.append(str(file))
        except UnreadableImage as error:
            unreadable.append((Path(file), str(error)))
    if not names:
        raise ValueError("; ".join(f"{file}: {error}" for file, error in unreadable) + ".")
    path = Run(output) / Run.SALIENCY_MAPS
    return save_explanation(path, model, np.stack(images), names, windows=windows), unreadable
