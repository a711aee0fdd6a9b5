"""Open and read data sets that `build-data` has built."""

import atexit
import contextlib
import itertools
import os
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401  (registers the builders)
from keras_deep_emotion.data.records import check_records
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import is_plain, plain_path
from keras_deep_emotion.images.graph import prepare_face

_links = contextlib.ExitStack()  # to folders whose paths TFDS would take for patterns
_linked: dict[str, Path] = {}  # what the links lead to
atexit.register(_links.close)


def tfds_builder(
    name: str, config: str | tfds.core.BuilderConfig | None, data_dir: str | Path | None = None
) -> tfds.core.DatasetBuilder:
    """The builder of a data set's config; `data_dir` as in `open_dataset`, whatever its name."""
    # Not TFDS's own default, which takes an empty TFDS_DATA_DIR for the current folder.
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    data_dir = os.path.expanduser(data_dir)
    if not is_plain(data_dir):
        path = Path(data_dir).absolute()
        data_dir = next((link for link, target in _linked.items() if target == path), None)
        if data_dir is None:
            data_dir = _links.enter_context(plain_path(path))  # as long as the builder: it reads
            _linked[data_dir] = path
    return tfds.builder(name, config=config, data_dir=data_dir)


def data_path(builder: tfds.core.DatasetBuilder) -> Path:
    """The folder of a builder's TFRecords; `builder.data_path` may lead there by a link."""
    path = Path(builder.data_path)
    for link, target in _linked.items():
        if path.is_relative_to(link):
            return target / path.relative_to(link)
    return path


def open_dataset(task: Task, data_dir: str | Path | None = None) -> tfds.core.DatasetBuilder:
    """Open the built data set of a task, ready to read.

    `data_dir` is the folder of the built data sets; None for TFDS's default (TFDS_DATA_DIR, else
    ~/tensorflow_datasets).

    Raises:
        FileNotFoundError: If the data set is not built; the message says how to build it.
        ValueError: If its files are damaged.
    """
    config = task.tfds_config
    if task.info.named_by_source:
        if task.variant is None:
            raise FileNotFoundError(
                "Which folder? Name it with --source DIR, which `fit` takes; or as folder/NAME, as "
                "`keras-deep-emotion build-data folder --source DIR` prints it. DIR holds a folder "
                "for each emotion."
            )
        config = tfds.core.BuilderConfig(name=config)  # not among the builder's own configs
    try:
        builder = tfds_builder(task.name, config, data_dir)
        is_prepared = builder.is_prepared()
    except OSError:
        raise
    except Exception as error:  # of its JSON files, of any type
        reason = str(error).rpartition('": ')[2].partition("\n")[0][:200]
        raise ValueError(
            f"The built data set {task.dataset} is damaged: {reason.rstrip('.')}. Delete its "
            f"folder, and build it again: {task.build_command(data_dir)}"
        ) from error
    if not is_prepared:
        raise FileNotFoundError(
            f"{task.info.title} is not built in {data_path(builder).parents[1]}; "
            f"{task.info.obtain}. To build it: {task.build_command(data_dir)}"
        )
    check_records(data_path(builder))
    return builder


def class_names(builder: tfds.core.DatasetBuilder) -> list[str]:
    """Class names of a data set, in the order of its labels."""
    return builder.info.features["label"].names


def absent_classes(builder: tfds.core.DatasetBuilder, split: str) -> list[str]:
    """Names of the classes that no face of a split shows."""
    counts = label_counts(builder, split)
    return [name for name, count in zip(class_names(builder), counts, strict=True) if not count]


def label_counts(builder: tfds.core.DatasetBuilder, split: str) -> np.ndarray:
    """Number of faces of each class in a split, in the order of the labels: (classes,) integers."""
    skipped = {"image": tfds.decode.SkipDecoding()}
    examples = builder.as_dataset(split=split, decoders=skipped).batch(1024)
    labels = np.concatenate([batch["label"] for batch in examples.as_numpy_iterator()])
    return np.bincount(labels, minlength=len(class_names(builder)))


def read_examples(
    builder: tfds.core.DatasetBuilder, split: str, size: int, with_size: bool = False
) -> tf.data.Dataset:
    """Read a split, a TFDS expression such as "test" or "fold_1+fold_2", in its fixed order.

    Yields dicts of `image`, (size, size, 1) float32 grey levels 0..255, and the data set's other
    features unchanged (`label` int64, `name` and `subject` strings, ...); `with_size` adds the
    native (height, width) as `size`.
    """

    def prepared(example):
        image = prepare_face(example["image"], size, example["face"])
        native = {"size": tf.shape(example["image"])[:2]} if with_size else {}
        return {**example, **native, "image": image}

    dataset = builder.as_dataset(split=split, shuffle_files=False)
    return dataset.map(prepared, num_parallel_calls=tf.data.AUTOTUNE)


def read_faces(
    builder: tfds.core.DatasetBuilder, split: str, size: int, most: int = -1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a split into memory: names (count,), images (count, size, size, 1), labels (count,).

    `most` is the number of faces to read, from the first; -1 for all.
    """
    batches = read_examples(builder, split, size).take(most).batch(1024)
    columns = ("name", "image", "label")
    rows = [[batch[name].numpy() for name in columns] for batch in batches]
    names, images, labels = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return np.array([name.decode() for name in names]), images, labels


def held_faces(
    task: Task, size: int, data_dir: str | Path | None = None, count: int = 200
) -> tuple[np.ndarray, str]:
    """Faces that a task's model has not been trained on: (count, size, size, 1), and their origin.

    They are the first of the test split; drawn faces if the data set is not built. `count` is the
    most that are returned.
    """
    try:
        builder = open_dataset(task, data_dir)
    except FileNotFoundError:
        faces = [tf.constant(face) for face in _draw_faces(count)]
        return np.stack([prepare_face(face, size) for face in faces]), f"{len(faces)} drawn faces"
    examples = read_examples(builder, task.splits["test"], size).take(count)
    faces = np.stack([example["image"].numpy() for example in examples])
    return faces, f"{len(faces)} faces of the test split of {task.dataset}"


def _draw_faces(count):
    from tfds_builders.contract import EMOTIONS
    from tfds_builders.toon_faces.drawing import CHARACTERS, TAKES, draw

    parts = itertools.islice(itertools.product(range(TAKES), CHARACTERS, EMOTIONS), count)
    for take, character, emotion in parts:
        yield np.asarray(draw(character, emotion, take).face_image)
