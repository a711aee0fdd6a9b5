"""From a built data set to batches of faces: the only preprocessing there is.

Training, evaluation, prediction and the export all make their pixels with `prepare`, so that they
cannot drift apart.
"""

import shlex
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401  (registers the builders)
from keras_deep_emotion.datasets import DATASETS, parse_dataset, tfds_config
from keras_deep_emotion.emotions import EMOTIONS, FERPLUS_VOTES
from keras_deep_emotion.image_files import PNG_START
from keras_deep_emotion.mixup import mixed

# Ours: what a file of a few kilobytes may cost. A photograph of a telephone has 12 million pixels;
# a progressive JPEG about ten scans, each as dear as the whole picture.
MOST_PIXELS = 4096 * 4096
MOST_SCANS = 64


def to_grey(image):
    """Luma of an image (ITU-R BT.601).

    Args:
        image: (..., height, width, channels), uint8 or float, of 1 (grey), 3 (RGB) or 4 (RGBA,
            alpha left out) channels.

    Returns:
        (..., height, width, 1) float32 in the image's range; a grey image comes out as it went in,
        to the bit, also when it is stored as RGB.
    """
    image = tf.cast(image, tf.float32)
    if image.shape[-1] == 1:
        return image
    red, green, blue = (image[..., i : i + 1] for i in range(3))
    # 0.299 R + 0.587 G + 0.114 B, in the form that is exact where all three are equal.
    return green + 0.299 * (red - green) + 0.114 * (blue - green)


def prepare(image, size, face=None):
    """Crop an image to its face, make it grey and bring it to the network's size.

    Args:
        image: (height, width, channels) uint8 or float, levels 0..255, 1, 3 or 4 channels.
        size: side of the result, pixels.
        face: (4,) float32, ymin, xmin, ymax, xmax in shares of the sides, or None for the whole
            image.

    Returns:
        (size, size, 1) float32 grey levels 0..255. A grey image of that size is not changed.
    """
    if face is not None:
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        corners = tf.cast(tf.round(face * tf.concat([sides, sides], 0)), tf.int32)
        image = image[corners[0] : corners[2], corners[1] : corners[3]]
    grey = to_grey(image)
    # Without antialias, shrinking skips pixels: errors reach 117 grey levels.
    return tf.ensure_shape(tf.image.resize(grey, (size, size), antialias=True), (size, size, 1))


def decode(image_bytes):
    """Decode one JPEG or PNG file.

    Args:
        image_bytes: scalar string tensor.

    Returns:
        (height, width, 3) uint8; of an animation the first frame. CMYK becomes RGB, 16 bits
        become 8, alpha is left out.
    """
    # channels=1 would refuse CMYK files.
    return tf.io.decode_image(image_bytes, channels=3, expand_animations=False)


def sides(image_bytes):
    """Height and width of one JPEG or PNG file, from its header: nothing is decoded.

    Args:
        image_bytes: scalar string tensor.

    Returns:
        (2,) int64, pixels.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are neither, or are cut off before the header's
            end.
    """

    def of_png():  # PNG specification, 11.2.2: width, then height
        header = tf.strings.substr(image_bytes, 16, 8)
        return tf.io.decode_raw(header, tf.int32, little_endian=False)[::-1]

    def of_jpeg():
        return tf.image.extract_jpeg_shape(image_bytes)[:2]

    is_png = tf.strings.substr(image_bytes, 0, len(PNG_START)) == PNG_START
    return tf.cast(tf.reshape(tf.cond(is_png, of_png, of_jpeg), (2,)), tf.int64)


def decode_bounded(image_bytes):
    """`decode`, of a file from a stranger: one that would cost too much is refused beforehand.

    Args:
        image_bytes: scalar string tensor.

    Returns:
        As `decode`.

    Raises:
        tf.errors.InvalidArgumentError: the file is neither JPEG nor PNG, damaged or cut off, has
            more than `MOST_PIXELS` pixels, or is a JPEG of more than `MOST_SCANS` scans.
    """
    scans = tf.size(tf.strings.split(image_bytes, b"\xff\xda")) - 1  # ITU T.81, B.2.3
    # In a PNG file these bytes are chance.
    is_png = tf.strings.substr(image_bytes, 0, len(PNG_START)) == PNG_START
    bounds = [
        tf.debugging.Assert(
            tf.reduce_prod(sides(image_bytes)) <= MOST_PIXELS, ["the image is too large"]
        ),
        tf.debugging.Assert(is_png | (scans <= MOST_SCANS), ["the JPEG has too many scans"]),
    ]
    with tf.control_dependencies([bound for bound in bounds if bound is not None]):
        return decode(tf.identity(image_bytes))


def built_dataset(dataset, protocol="paper", data_dir=None):
    """Open a data set that `build-data` has written.

    Args:
        dataset: `name` or `name/variant`, as in `datasets.DATASETS`.
        protocol: how it is split.
        data_dir: folder of the TFRecords, or None for TFDS's own (TFDS_DATA_DIR, else
            ~/tensorflow_datasets).

    Returns:
        A `tfds.core.DatasetBuilder`, ready to read.

    Raises:
        ValueError: there is no such data set.
        FileNotFoundError: it is not built; the message says how to.
    """
    name, variant = parse_dataset(dataset)
    known = DATASETS[name]
    if known.named_by_source and variant is None:
        raise FileNotFoundError(
            "Which folder? Name it with --source DIR, which `fit` takes; or as folder/NAME, as "
            "`python cli.py build-data folder --source DIR` prints it. DIR holds a folder for each "
            "emotion."
        )
    config = tfds_config(name, variant, protocol)
    if known.named_by_source:  # such a config stands in no list
        config = tfds.core.BuilderConfig(name=config)
    builder = tfds.builder(name, config=config, data_dir=data_dir)
    if not builder.is_prepared():
        # The variants of `folder` are made by building it.
        command = f"python cli.py build-data {name if known.named_by_source else dataset}"
        if name != "toon_faces":
            command += " --source DIR_OR_ARCHIVE"
        if data_dir:
            command += f" --data-dir {shlex.quote(str(data_dir))}"
        raise FileNotFoundError(
            f"{known.title} is not built in {Path(builder.data_path).parents[1]}. "
            f"To build it ({known.obtain}): {command}"
        )
    return builder


def examples(builder, split, size, with_size=False):
    """Read a split in its fixed order.

    Args:
        builder: what `built_dataset` returns.
        split: TFDS split expression, such as "test" or "fold_1+fold_2".
        size: side of the faces, pixels.
        with_size: give the native image's (height, width) too, as `size`.

    Returns:
        `tf.data.Dataset` of dicts: `image` (size, size, 1) float32 grey levels 0..255, and the
        data set's other features as they are (`label` int64, `name` and `subject` strings, ...).
    """

    def prepared(example):
        image = prepare(example["image"], size, example["face"])
        native = {"size": tf.shape(example["image"])[:2]} if with_size else {}
        return {**example, **native, "image": image}

    dataset = builder.as_dataset(split=split, shuffle_files=False)
    return dataset.map(prepared, num_parallel_calls=tf.data.AUTOTUNE)


class Faces(NamedTuple):
    """A split in memory.

    Attributes:
        images: (count, size, size, 1) float32 grey levels 0..255.
        targets: (count, classes) float32, what the network is to answer; rows sum to 1.
        labels: (count,) int64.
    """

    images: np.ndarray
    targets: np.ndarray
    labels: np.ndarray


def read_faces(builder, split, size, soft_labels=False, label_smoothing=0.0):
    """Read a split into memory, with the targets to train on.

    Args:
        builder: what `built_dataset` returns.
        split: TFDS split expression.
        size: side of the faces, pixels.
        soft_labels: take the shares of the taggers' votes as targets, where the data set has them.
        label_smoothing: else: share of 1 that is spread evenly over all classes.

    Returns:
        `Faces`, in the split's fixed order.
    """
    features = builder.info.features
    classes = features["label"].names
    voted = soft_labels and "votes" in features
    columns = ("image", "label", *(["votes"] if voted else []))
    dataset = examples(builder, split, size)
    dataset = dataset.map(lambda example: {key: example[key] for key in columns}).batch(1024)
    batches = list(dataset.as_numpy_iterator())
    if not batches:
        raise ValueError(f"Split {split} of {builder.info.full_name} holds no faces.")
    read = {key: np.concatenate([batch[key] for batch in batches]) for key in columns}
    one_hot = np.eye(len(classes), dtype=np.float32)[read["label"]]
    if voted:
        targets = vote_shares(read["votes"], one_hot)
    else:
        targets = one_hot * (1 - label_smoothing) + label_smoothing / len(classes)
    return Faces(read["image"], targets.astype(np.float32), read["label"])


def vote_shares(votes, one_hot):
    """Shares of taggers that saw each emotion (FER+'s "probability" targets).

    A single vote counts as a slip, as FER+'s authors have it; so do votes for none of the seven.

    Args:
        votes: (count, 10) integers, in the order of `emotions.FERPLUS_VOTES`.
        one_hot: (count, 7), the label, taken where no emotion has two votes.

    Returns:
        (count, 7) float32 in the order of `emotions.EMOTIONS`; rows sum to 1.
    """
    order = [FERPLUS_VOTES.index(name) for name in EMOTIONS]
    votes = votes[:, order].astype(np.float32)
    votes = np.where(votes > 1, votes, 0)
    total = votes.sum(axis=1, keepdims=True)
    return np.where(total > 0, votes / np.maximum(total, 1), one_hot).astype(np.float32)


def training_batches(faces, batch_size, seed, first_epoch=0, weights=None, mixup=0.0):
    """Batches for `Model.fit`, epoch after epoch without end.

    Each epoch's order and mixing are functions of seed and epoch alone, so that a training that is
    taken up again sees what it would have seen.

    Args:
        faces: `Faces`.
        batch_size: faces in a batch; the last batch of an epoch may be smaller, none is dropped.
        seed: integer.
        first_epoch: epoch to begin with, from 0.
        weights: (count,) float32 weight of each face in the loss, or None.
        mixup: mix each face with another of its batch, by a share drawn from Beta(mixup, mixup);
            0 mixes none. See `mixup.mixed`.

    Returns:
        `tf.data.Dataset` of ((batch, size, size, 1), (batch, classes)) float32, and (batch,) of
        weights where given; ceil(count / batch_size) batches an epoch.
    """
    count = len(faces.images)
    columns = [faces.images, faces.targets] + ([] if weights is None else [weights])
    columns = [tf.constant(column, tf.float32) for column in columns]

    def epoch_order(epoch):
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed=epoch_seed)
        shares = tf.ones(count)
        if mixup:
            one, other = tf.unstack(tf.random.stateless_gamma((2, count), epoch_seed, mixup))
            shares = one / (one + other)
        return tf.data.Dataset.from_tensor_slices((order, shares)).batch(batch_size)

    def gather(chosen, shares):
        batch = tuple(tf.gather(column, chosen) for column in columns)
        return mixed(shares, *batch) if mixup else batch

    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch_order)
    return untuned(dataset.map(gather).prefetch(2))


def validation_batches(faces, batch_size):
    """Batches for `Model.evaluate`, in fixed order, on the labels themselves."""
    one_hot = np.eye(faces.targets.shape[1], dtype=np.float32)[faces.labels]
    dataset = tf.data.Dataset.from_tensor_slices((faces.images, one_hot))
    return untuned(dataset.batch(batch_size).prefetch(2))


def untuned(dataset):
    """A data set that TensorFlow does not tune while it is read.

    Faces in memory leave nothing to tune, and the tuner's thread sleeps for ever longer times from
    which nothing wakes it: whoever drops the iterator waits, after Ctrl-C in a training too.

    Args:
        dataset: `tf.data.Dataset`.

    Returns:
        `tf.data.Dataset` of the same elements; what is made of it is not tuned either.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
