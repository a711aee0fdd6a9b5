import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_deep_emotion.data import built_dataset, decode, examples, prepare, training_batches


def png(array, **kwargs):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", **kwargs)
    return file.getvalue()


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_a_grey_face_of_the_networks_size_is_not_changed(random):
    face = random.integers(0, 256, (48, 48, 1)).astype(np.uint8)
    np.testing.assert_array_equal(prepare(face, 48), face)
    # Nor when it comes from a file, where it is decoded as RGB.
    np.testing.assert_array_equal(prepare(decode(png(face[..., 0])), 48), face)


def test_grey_of_colours_is_their_luma():
    colours = np.uint8([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]])
    grey = prepare(colours, 2).numpy()[..., 0]
    np.testing.assert_allclose(grey, [[76.245, 149.685], [29.07, 255]], atol=1e-3)
    transparent = np.concatenate([colours, np.zeros((2, 2, 1), np.uint8)], axis=2)
    np.testing.assert_array_equal(prepare(transparent, 2), prepare(colours, 2))


def test_shrinking_averages_rather_than_skips():
    stripes = np.zeros((480, 480, 1), np.uint8)
    stripes[::2] = 200
    np.testing.assert_allclose(prepare(stripes, 48), 100, atol=6)


def test_only_the_face_box_is_seen(random):
    image = np.zeros((100, 200, 1), np.uint8)
    face = random.integers(0, 256, (48, 48, 1)).astype(np.uint8)
    image[20:68, 30:78] = face
    box = tf.constant([0.20, 0.15, 0.68, 0.39])
    np.testing.assert_array_equal(prepare(image, 48, box), face)


def test_prepare_is_the_same_in_a_graph_and_in_tf_data(random):
    image = random.integers(0, 256, (97, 61, 3)).astype(np.uint8)
    box = tf.constant([0.1, 0.2, 0.9, 0.8])
    eager = prepare(image, 48, box)
    mapped = tf.data.Dataset.from_tensors(image).map(lambda one: prepare(one, 48, box))
    np.testing.assert_array_equal(next(iter(mapped)), eager)


def test_examples_are_the_built_data_set_in_order(toon_faces_dir):
    builder = built_dataset("toon_faces", data_dir=toon_faces_dir)
    first, again = (
        [example["name"].numpy() for example in examples(builder, "test[:5]", 48)] for _ in "ab"
    )
    assert first == again and len(set(first)) == 5
    example = next(iter(examples(builder, "test", 48)))
    raw = next(iter(builder.as_dataset(split="test")))
    assert example["image"].shape == (48, 48, 1)
    np.testing.assert_array_equal(example["image"], prepare(raw["image"], 48, raw["face"]))


def test_an_epoch_holds_every_face_once_in_a_new_order(toon_faces_dir):
    builder = built_dataset("toon_faces", data_dir=toon_faces_dir)
    batches = training_batches(builder, "validation", 48, 100, shuffle_seed=3)

    def epoch():
        images, labels = zip(*batches.as_numpy_iterator(), strict=True)
        return [len(one) for one in labels], np.concatenate(images), np.concatenate(labels)

    sizes, images, labels = epoch()
    count = builder.info.splits["validation"].num_examples
    assert sizes == [100, 100, count - 200]  # the last, smaller batch is not dropped
    _, other_images, other_labels = epoch()
    assert not np.array_equal(labels, other_labels)

    def fingerprint(faces):
        return np.sort(faces.reshape(count, -1).sum(axis=1))

    np.testing.assert_allclose(fingerprint(images), fingerprint(other_images))
    fixed = training_batches(builder, "validation", 48, 500)
    in_order = [example["label"].numpy() for example in examples(builder, "validation", 48)]
    np.testing.assert_array_equal(next(iter(fixed))[1], in_order)


def test_a_data_set_that_is_not_built_says_how_to(tmp_path):
    with pytest.raises(FileNotFoundError, match="FER-2013 is not built in") as caught:
        built_dataset("fer2013/original", data_dir=tmp_path)
    assert "python cli.py build-data fer2013/original --source DIR_OR_ARCHIVE" in str(caught.value)
    with pytest.raises(FileNotFoundError, match="build-data ck_plus/last3 --source"):
        built_dataset("ck_plus/last3", data_dir=tmp_path)
