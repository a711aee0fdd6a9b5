import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_deep_emotion.data.mixup import mixup
from keras_deep_emotion.data.pipeline import (
    load_split,
    training_batches,
    validation_batches,
    vote_distribution,
)
from keras_deep_emotion.data.reading import open_dataset, read_examples
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.images import graph
from keras_deep_emotion.images.graph import (
    MAX_SCANS,
    decode_image,
    decode_untrusted,
    image_size,
    prepare_face,
)


def png(array, **kwargs):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG", **kwargs)
    return file.getvalue()


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_a_grey_face_of_the_networks_size_is_not_changed(random):
    face = random.integers(0, 256, (48, 48, 1)).astype(np.uint8)
    np.testing.assert_array_equal(prepare_face(face, 48), face)
    # Nor when it comes from a file, where it is decoded as RGB.
    np.testing.assert_array_equal(prepare_face(decode_image(png(face[..., 0])), 48), face)


def test_grey_of_colours_is_their_luma():
    colours = np.uint8([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]])
    grey = prepare_face(colours, 2).numpy()[..., 0]
    np.testing.assert_allclose(grey, [[76.245, 149.685], [29.07, 255]], atol=1e-3)
    transparent = np.concatenate([colours, np.zeros((2, 2, 1), np.uint8)], axis=2)
    np.testing.assert_array_equal(prepare_face(transparent, 2), prepare_face(colours, 2))


def test_shrinking_averages_rather_than_skips():
    stripes = np.zeros((480, 480, 1), np.uint8)
    stripes[::2] = 200
    np.testing.assert_allclose(prepare_face(stripes, 48), 100, atol=6)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_size_is_read_from_the_header_and_bounded(kind, monkeypatch):
    file = io.BytesIO()
    Image.new("L", (90, 70)).save(file, kind)
    content = file.getvalue()
    assert image_size(content).numpy().tolist() == [70, 90]
    monkeypatch.setattr(graph, "MAX_PIXELS", 70 * 90)
    assert decode_untrusted(content).shape == (70, 90, 3)
    monkeypatch.setattr(graph, "MAX_PIXELS", 70 * 90 - 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the image is too large"):
        decode_untrusted(content)


def test_only_the_face_box_is_seen(random):
    image = np.zeros((100, 200, 1), np.uint8)
    face = random.integers(0, 256, (48, 48, 1)).astype(np.uint8)
    image[20:68, 30:78] = face
    box = tf.constant([0.20, 0.15, 0.68, 0.39])
    np.testing.assert_array_equal(prepare_face(image, 48, box), face)


def test_prepare_is_the_same_in_a_graph_and_in_tf_data(random):
    image = random.integers(0, 256, (97, 61, 3)).astype(np.uint8)
    box = tf.constant([0.1, 0.2, 0.9, 0.8])
    eager = prepare_face(image, 48, box)
    mapped = tf.data.Dataset.from_tensors(image).map(lambda one: prepare_face(one, 48, box))
    np.testing.assert_array_equal(next(iter(mapped)), eager)


def test_examples_are_the_built_data_set_in_order(toon_faces_dir):
    builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
    first, again = (
        [example["name"].numpy() for example in read_examples(builder, "test[:5]", 48)]
        for _ in "ab"
    )
    assert first == again and len(set(first)) == 5
    example = next(iter(read_examples(builder, "test", 48)))
    raw = next(iter(builder.as_dataset(split="test")))
    assert example["image"].shape == (48, 48, 1)
    np.testing.assert_array_equal(example["image"], prepare_face(raw["image"], 48, raw["face"]))


def some_faces(count, classes=7):
    images = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((1, 2, 2, 1))
    labels = np.arange(count) % classes
    return FaceArrays(images, np.eye(classes, dtype=np.float32)[labels], labels)


def epochs_of(batches, count):
    """Numbers of the faces (their grey level) in each batch of some epochs."""
    iterator = batches.as_numpy_iterator()
    return [[next(iterator)[0][:, 0, 0, 0] for _ in range(3)] for _ in range(count)]


def test_an_epoch_holds_every_face_once_in_a_new_order():
    faces = some_faces(250)
    first, second = epochs_of(training_batches(faces, 100, seed=3), 2)
    assert [len(batch) for batch in first] == [100, 100, 50]  # the smaller batch is not dropped
    for epoch in (first, second):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(250))
    assert not np.array_equal(first[0], second[0])
    images, targets = next(iter(training_batches(faces, 100, seed=3)))
    np.testing.assert_array_equal(
        np.argmax(targets, axis=1), images.numpy()[:, 0, 0, 0].astype(int) % 7
    )


def test_an_epochs_order_is_of_its_number_and_the_seed():
    faces = some_faces(250)
    whole = epochs_of(training_batches(faces, 100, seed=3), 3)
    resumed = epochs_of(training_batches(faces, 100, seed=3, first_epoch=2), 1)
    for one, two in zip(whole[2], resumed[0], strict=True):
        np.testing.assert_array_equal(one, two)
    other = epochs_of(training_batches(faces, 100, seed=4), 1)
    assert not np.array_equal(other[0][0], whole[0][0])


def test_weights_go_with_their_faces():
    faces = some_faces(30)
    weights = np.arange(30, dtype=np.float32) / 10
    images, _, weight = next(iter(training_batches(faces, 30, seed=0, weights=weights)))
    np.testing.assert_allclose(weight, images.numpy()[:, 0, 0, 0] / 10)


def test_faces_are_mixed_with_their_opposites():
    images = np.array([0, 100, 200], np.float32).reshape(3, 1, 1, 1)
    targets = np.eye(3, dtype=np.float32)
    shares = np.array([0.25, 0.5, 1.0], np.float32)
    faces, mix = mixup(shares, images, targets)
    np.testing.assert_allclose(faces[:, 0, 0, 0], [150, 100, 200])
    np.testing.assert_allclose(mix, [[0.25, 0, 0.75], [0, 1, 0], [0, 0, 1]])


def test_a_mixed_faces_loss_is_the_mean_of_both_weighted_losses():
    shares, weights = np.array([[0.25, 0.5], [2.0, 6.0]], np.float32)
    targets = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    loss = -np.log([0.3, 0.7])  # of either class; the same answer for both faces
    own = weights * (targets @ loss)
    expected = shares * own + (1 - shares) * own[::-1]
    _, mix, both = mixup(shares, np.zeros((2, 1, 1, 1), np.float32), targets, weights)
    np.testing.assert_allclose(both * (mix @ loss), expected, rtol=1e-6)


def test_mixing_is_of_the_epochs_number_and_the_seed():
    faces = some_faces(2000)
    options = {"batch_size": 500, "seed": 3, "mixup": 0.4}
    plain = training_batches(faces, 500, seed=3).as_numpy_iterator()
    whole = training_batches(faces, **options).as_numpy_iterator()
    epochs = [[next(whole) for _ in range(4)] for _ in range(3)]
    resumed = next(training_batches(faces, first_epoch=2, **options).as_numpy_iterator())
    for one, two in zip(epochs[2][0], resumed, strict=True):
        np.testing.assert_array_equal(one, two)
    # Of the first epoch, the shares: from the faces (their numbers) and those that they became.
    (before, _), (after, targets) = next(plain), epochs[0][0]
    before, after = before[:, 0, 0, 0], after[:, 0, 0, 0]
    shares = (after - before[::-1]) / (before - before[::-1])
    assert np.all((shares > -1e-3) & (shares < 1.001))
    assert shares.mean() == pytest.approx(0.5, abs=0.06)
    assert shares.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.02)  # Beta(0.4, 0.4)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)


def test_validation_is_in_order_and_on_the_labels():
    faces = some_faces(5)._replace(targets=np.full((5, 7), 1 / 7, np.float32))
    images, targets = next(iter(validation_batches(faces, 10)))
    np.testing.assert_array_equal(images[:, 0, 0, 0], range(5))
    np.testing.assert_array_equal(targets, np.eye(7)[faces.labels])


def test_no_tuner_holds_up_the_end_of_a_training():
    faces = some_faces(10)
    for batches in (training_batches(faces, 5, seed=0), validation_batches(faces, 5)):
        assert batches.options().autotune.enabled is False


def test_votes_become_shares_without_slips():
    # FER+'s order: neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, ...
    votes = np.array(
        [
            [6, 0, 0, 3, 1, 0, 0, 0, 0, 0],  # one vote is a slip
            [0, 0, 0, 0, 5, 0, 0, 4, 1, 0],  # contempt is none of the seven
            [1, 1, 1, 1, 1, 1, 1, 1, 1, 1],  # nothing left: the label
        ],
        np.uint8,
    )
    one_hot = np.eye(7, dtype=np.float32)[[4, 0, 3]]
    shares = vote_distribution(votes, one_hot)
    expected = np.zeros((3, 7))
    expected[0, [4, 5]] = 6 / 9, 3 / 9  # neutral, sadness
    expected[1, 0] = 1  # anger
    expected[2, 3] = 1  # happiness
    np.testing.assert_allclose(shares, expected, atol=1e-7)


def test_faces_are_read_with_smoothed_labels_where_nobody_voted(toon_faces_dir):
    builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
    faces = load_split(builder, "test[:20]", 48, soft_labels=True, label_smoothing=0.07)
    assert faces.images.shape == (20, 48, 48, 1) and faces.images.dtype == np.float32
    np.testing.assert_allclose(faces.targets[range(20), faces.labels], 0.94, atol=1e-6)
    np.testing.assert_allclose(faces.targets.sum(axis=1), 1, atol=1e-6)
    example = next(iter(read_examples(builder, "test", 48)))
    np.testing.assert_array_equal(faces.images[0], example["image"])


def test_votes_are_the_targets_of_the_real_faces_where_asked_for(fer2013_dir):
    builder = open_dataset(Task.parse("fer2013/ferplus"), fer2013_dir)
    soft = load_split(builder, "train[:500]", 48, soft_labels=True)
    hard = load_split(builder, "train[:500]", 48)
    np.testing.assert_array_equal(hard.targets, np.eye(7)[hard.labels])
    np.testing.assert_allclose(soft.targets.sum(axis=1), 1, atol=1e-6)
    assert (soft.targets.max(axis=1) < 1).mean() > 0.3  # taggers disagree
    # The label is the most voted: no emotion of its face has a larger share.
    label_share = soft.targets[range(500), soft.labels]
    np.testing.assert_allclose(label_share, soft.targets.max(axis=1), atol=1e-6)


def test_a_data_set_that_is_not_built_says_how_to(tmp_path):
    with pytest.raises(FileNotFoundError, match="FER-2013 is not built in") as caught:
        open_dataset(Task.parse("fer2013/original"), tmp_path)
    assert "keras-deep-emotion build-data fer2013/original --source DIR_OR_ARCHIVE" in str(
        caught.value
    )
    with pytest.raises(FileNotFoundError, match="build-data ck_plus/last3 --source"):
        open_dataset(Task.parse("ck_plus/last3"), tmp_path)
    # Its variants are made by building it.
    with pytest.raises(FileNotFoundError, match="build-data folder --source"):
        open_dataset(Task.parse("folder/faces_12345678"), tmp_path)


def test_chance_bytes_of_a_large_png_are_no_scans():
    noise = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8)
    content = tf.io.encode_png(noise, compression=1)
    assert content.numpy().count(b"\xff\xda") > MAX_SCANS
    np.testing.assert_array_equal(decode_untrusted(content), noise)
