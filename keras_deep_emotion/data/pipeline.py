"""TODO."""

import numpy as np
import tensorflow as tf

from keras_deep_emotion.data.mixup import mixup as mix_batch
from keras_deep_emotion.data.reading import read_examples
from keras_deep_emotion.data.targets import FaceArrays, label_targets
from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013.ferplus import FERPLUS_VOTES


def load_split(builder, split, size, soft_labels=False, label_smoothing=0.0):
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
    dataset = read_examples(builder, split, size)
    dataset = dataset.map(lambda example: {key: example[key] for key in columns}).batch(1024)
    batches = list(dataset.as_numpy_iterator())
    if not batches:
        raise ValueError(f"Split {split} of {builder.info.full_name} holds no faces.")
    read = {key: np.concatenate([batch[key] for batch in batches]) for key in columns}
    targets = label_targets(read["label"], len(classes), 0.0 if voted else label_smoothing)
    if voted:
        targets = vote_distribution(read["votes"], targets)
    return FaceArrays(read["image"], targets, read["label"])


def vote_distribution(votes, one_hot):
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
            0 mixes none. See `mixup.mixup`.

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
        return mix_batch(shares, *batch) if mixup else batch

    dataset = tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(epoch_order)
    return without_autotune(dataset.map(gather).prefetch(2))


def validation_batches(faces, batch_size):
    """Batches for `Model.evaluate`, in fixed order, on the labels themselves."""
    one_hot = np.eye(faces.targets.shape[1], dtype=np.float32)[faces.labels]
    dataset = tf.data.Dataset.from_tensor_slices((faces.images, one_hot))
    return without_autotune(dataset.batch(batch_size).prefetch(2))


def without_autotune(dataset):
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
