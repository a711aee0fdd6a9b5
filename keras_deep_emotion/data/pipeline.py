"""A split in memory, its targets, and the batches to train and validate on."""

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_deep_emotion.data.mixup import mixup as mix_faces
from keras_deep_emotion.data.reading import read_examples
from keras_deep_emotion.data.targets import FaceArrays, label_targets
from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013.ferplus import FERPLUS_VOTES


def load_split(
    builder: tfds.core.DatasetBuilder,
    split: str,
    size: int,
    soft_labels: bool = False,
    label_smoothing: float = 0.0,
) -> FaceArrays:
    """Read a split into memory, in its fixed order; arguments as in `read_examples`.

    Targets are the distribution of votes, with `soft_labels` and if the data set has votes;
    otherwise `label_smoothing` is the probability that is spread evenly over all classes. Raises
    ValueError if the split is empty.
    """
    classes = builder.info.features["label"].num_classes
    use_votes = soft_labels and "votes" in builder.info.features
    columns = ("image", "label", *(["votes"] if use_votes else []))
    dataset = read_examples(builder, split, size)
    dataset = dataset.map(lambda example: {key: example[key] for key in columns}).batch(1024)
    batches = list(dataset.as_numpy_iterator())
    if not batches:
        raise ValueError(f"Split {split} of {builder.info.full_name} holds no faces.")
    arrays = {key: np.concatenate([batch[key] for batch in batches]) for key in columns}
    smoothing = 0.0 if use_votes else label_smoothing
    targets = label_targets(arrays["label"], classes, smoothing)
    if use_votes:
        targets = vote_distribution(arrays["votes"], targets)
    return FaceArrays(arrays["image"], targets, arrays["label"])


def vote_distribution(votes: np.ndarray, one_hot: np.ndarray) -> np.ndarray:
    """Distribution of (count, 10) votes over `EMOTIONS` (FER+'s "probability" targets).

    Single votes are ignored as mistakes, as by FER+'s authors, and so are votes for other classes.
    `one_hot` labels are used if no emotion has two votes. Returns (count, 7) float32.
    """
    order = [FERPLUS_VOTES.index(name) for name in EMOTIONS]
    votes = votes[:, order].astype(np.float32)
    votes = np.where(votes > 1, votes, 0)
    total = votes.sum(axis=1, keepdims=True)
    return np.where(total > 0, votes / np.maximum(total, 1), one_hot).astype(np.float32)


def training_batches(
    faces: FaceArrays,
    batch_size: int,
    seed: int,
    first_epoch: int = 0,
    weights: np.ndarray | None = None,
    mixup: float = 0.0,
) -> tf.data.Dataset:
    """Batches for `Model.fit`, in an endless sequence of epochs that begins with `first_epoch`.

    The order and mixup of an epoch depend on its number and the seed only, so that a resumed
    training continues exactly. `weights` are the (count,) float32 weights of the faces in the loss;
    `mixup` is the parameter of the Beta distribution of shares, 0 for none.

    Yields (batch, size, size, 1) images and (batch, classes) targets, and (batch,) weights if
    given, all float32; ceil(count / batch_size) batches an epoch.
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
        return mix_faces(shares, *batch) if mixup else batch

    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch_order)
    return without_autotune(dataset.map(gather).prefetch(2))


def validation_batches(faces: FaceArrays, batch_size: int) -> tf.data.Dataset:
    """Batches for `Model.evaluate`, in order, with one-hot labels as targets."""
    one_hot = np.eye(faces.targets.shape[1], dtype=np.float32)[faces.labels]
    dataset = tf.data.Dataset.from_tensor_slices((faces.images, one_hot))
    return without_autotune(dataset.batch(batch_size).prefetch(2))


def without_autotune(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Turn off autotuning of a dataset and of those derived from it.

    It does not help for arrays in memory, and deleting an iterator (after Ctrl-C, for example)
    waits for the autotuning thread, which sleeps for longer and longer intervals.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
