"""From a built data set to batches of faces: the only preprocessing there is.

Training, evaluation, prediction and the export all make their pixels with `prepare`, so that they
cannot drift apart.
"""

from pathlib import Path

import tensorflow as tf
import tensorflow_datasets as tfds

import tfds_builders  # noqa: F401  (registers the builders)
from keras_deep_emotion.datasets import DATASETS, parse_dataset, tfds_config

# A JPEG or PNG file starts with one of these (ITU T.81, B.1.1.3; PNG specification, 5.2).
JPEG_START = b"\xff\xd8\xff"
PNG_START = b"\x89PNG\r\n\x1a\n"


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
            "Which folder? Name it with --source DIR; it holds a folder for each emotion."
        )
    config = tfds_config(name, variant, protocol)
    if known.named_by_source:  # such a config stands in no list
        config = tfds.core.BuilderConfig(name=config)
    builder = tfds.builder(name, config=config, data_dir=data_dir)
    if not builder.is_prepared():
        command = f"python cli.py build-data {dataset}"
        if name != "toon_faces":
            command += " --source DIR_OR_ARCHIVE"
        if data_dir:
            command += f" --data-dir {data_dir}"
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


def training_batches(builder, split, size, batch_size, shuffle_seed=None):
    """Batches of a split for `Model.fit`, decoded once and kept in memory.

    Args:
        builder: what `built_dataset` returns.
        split: TFDS split expression.
        size: side of the faces, pixels.
        batch_size: faces in a batch; the last batch of an epoch may be smaller, none is dropped.
        shuffle_seed: draw a new order each epoch from this seed; None keeps the fixed order.

    Returns:
        `tf.data.Dataset` of ((batch, size, size, 1) float32, (batch,) int64).
    """
    dataset = examples(builder, split, size)
    dataset = dataset.map(lambda example: (example["image"], example["label"])).cache()
    if shuffle_seed is not None:
        count = dataset.cardinality().numpy()
        dataset = dataset.shuffle(count, seed=shuffle_seed, reshuffle_each_iteration=True)
    return dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)
