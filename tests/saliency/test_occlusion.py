import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_deep_emotion.saliency.occlusion import fill_image, occlude, occlusion_saliency
from keras_deep_emotion.saliency.windows import (
    Windows,
    gather_windows,
    occlude_by_windows,
    window_starts,
)


def reads_one_pixel(row, column):
    """Two classes; the probability of class 1 is the pixel's grey level over 255."""

    def predict(images):
        share = images[:, row, column, 0] / 255
        return tf.stack([1 - share, share], axis=1)

    return predict


@pytest.mark.parametrize(
    ("side", "window", "stride", "expected"),
    [
        (48, 8, 2, list(range(0, 41, 2))),
        (10, 4, 4, [0, 4, 6]),  # the last one flush with the edge
        (10, 10, 3, [0]),
        (5, 1, 1, [0, 1, 2, 3, 4]),
    ],
)
def test_window_starts(side, window, stride, expected):
    assert window_starts(side, window, stride) == expected


@pytest.mark.parametrize(
    ("window", "stride", "message"),
    [
        (11, 1, "window must be between 1 and the image's side=10. Received: 11"),
        (4, 5, "stride must be between 1 and window=4. Received: 5"),
        (4, 0, "stride must be between 1"),
    ],
)
def test_windows_that_do_not_fit_are_refused(window, stride, message):
    with pytest.raises(ValueError, match=message):
        window_starts(10, window, stride)


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_map_of_a_model_that_reads_one_pixel(chunk):
    """Windows of 4 at 0, 3, 6 cover pixel 4 from start 3 only: the map is that window's share."""
    images = np.full((3, 10, 10, 1), 10, np.float32)
    images[:, 4, 4] = [[204], [51], [255]]
    result = occlusion_saliency(
        reads_one_pixel(4, 4), tf.constant(images), window=4, stride=3, chunk=chunk
    )
    np.testing.assert_array_equal(result.class_id, [1, 0, 1])
    # How many windows cover each row or column: starts 0, 3, 6.
    covered = np.array([1, 1, 1, 2, 1, 1, 2, 1, 1, 1])
    inside = np.zeros(10)
    inside[3:7] = 1
    share = np.outer(inside, inside) / np.outer(covered, covered)
    # Hidden, the pixel is 0: class 1 loses all that it had, class 0 gains.
    np.testing.assert_allclose(result.saliency[0], 0.8 * share, atol=1e-6)
    np.testing.assert_allclose(result.saliency[1], -0.2 * share, atol=1e-6)
    np.testing.assert_array_equal(result.decisive[0], np.outer(inside, inside) > 0)
    assert not result.decisive[1].numpy().any()


def test_last_rows_are_covered():
    images = np.zeros((1, 11, 11, 1), np.float32)
    images[:, 10, 10] = 255
    result = occlusion_saliency(reads_one_pixel(10, 10), tf.constant(images), window=4, stride=4)
    assert result.saliency[0, 10, 10] == 1
    assert result.decisive[0, 10, 10]
    assert np.isfinite(result.saliency).all()


def test_a_given_class_is_watched():
    images = np.full((2, 6, 6, 1), 204, np.float32)
    result = occlusion_saliency(
        reads_one_pixel(0, 0), tf.constant(images), class_id=[0, 1], window=3, stride=3
    )
    np.testing.assert_array_equal(result.class_id, [0, 1])
    np.testing.assert_allclose(result.saliency[:, 0, 0], [-0.8, 0.8], atol=1e-6)
    # Class 0 is not the answer to start with, and hiding other regions leaves it so.
    assert result.decisive[0, 5, 5] and not result.decisive[1, 5, 5]


def test_runs_as_one_graph_of_any_batch_and_takes_an_empty_one():
    signature = [tf.TensorSpec((None, 6, 6, 1), tf.float32)]
    function = tf.function(
        lambda images: occlusion_saliency(reads_one_pixel(1, 1), images, window=3, stride=2),
        input_signature=signature,
        autograph=False,
    )
    for batch in (1, 5, 0):
        assert function(tf.zeros((batch, 6, 6, 1))).saliency.shape == (batch, 6, 6)


def reads_a_block(images):
    """Class 1's probability is the mean grey level of rows 2..3, columns 5..7, over 255."""
    share = tf.reduce_mean(images[:, 2:4, 5:8, 0], axis=(1, 2)) / 255
    return tf.stack([1 - share, share], axis=1)


def test_the_map_of_a_model_that_reads_a_block_is_that_block():
    images = np.full((1, 9, 9, 1), 255, np.float32)
    result = occlusion_saliency(reads_a_block, tf.constant(images), window=1, stride=1)
    expected = np.zeros((9, 9))
    expected[2:4, 5:8] = 1 / 6  # one of six pixels hidden
    np.testing.assert_allclose(result.saliency[0], expected, atol=1e-6)
    assert not result.decisive.numpy().any()
    # Windows of three: rows 0..2 and 3..5 hold half of the block each, columns 3..5 and 6..8 one
    # and two of its three. Two thirds of half is a third: never enough to turn the answer; ...
    wide = occlusion_saliency(reads_a_block, tf.constant(images), window=3, stride=3)
    np.testing.assert_allclose(wide.saliency.numpy()[0, 0, [0, 3, 6]], [0, 1 / 6, 1 / 3], atol=1e-6)
    assert not wide.decisive.numpy().any()
    # ... of four by four, the one at row 0, column 4 hides all of it.
    four = occlusion_saliency(reads_a_block, tf.constant(images), window=4, stride=4)
    expected = np.zeros((9, 9), bool)
    expected[0:4, 4:9] = True  # column 8 is of the last window, flush with the edge: it hides 2 / 3
    np.testing.assert_array_equal(four.decisive[0], expected)


def test_what_each_window_did_is_told_apart():
    images = np.full((2, 6, 6, 1), 255, np.float32)
    found = occlude(reads_one_pixel(0, 5), tf.constant(images), window=3, stride=3)
    np.testing.assert_allclose(found.lost, [[[0, 1], [0, 0]]] * 2)
    np.testing.assert_array_equal(found.answer, [[[1, 0], [1, 1]]] * 2)


def test_no_more_than_a_chunk_is_predicted_at_once():
    sizes = []

    def predict(images):
        tf.py_function(lambda count: sizes.append(int(count)), [tf.shape(images)[0]], [])
        return reads_one_pixel(0, 0)(images)

    function = tf.function(
        lambda images: occlude(predict, images, window=3, stride=3, chunk=16).lost,
        input_signature=[tf.TensorSpec((None, 6, 6, 1), tf.float32)],
        autograph=False,
    )
    assert function(tf.zeros((100, 6, 6, 1))).shape == (100, 2, 2)
    # Four windows and the whole face of each of a hundred; the probe for its shape is of one.
    assert sorted(sizes)[-32:] == [16] * 32 and max(sizes) == 16


def test_fillings():
    images = np.zeros((2, 8, 8, 2), np.float32)
    images[0, :4, :, 0] = 200
    images[1, ..., 1] = 90
    images = tf.constant(images)
    assert not fill_image(images, "zero", 4).numpy().any()
    mean = fill_image(images, "mean", 4).numpy()
    np.testing.assert_allclose(mean[0, ..., 0], 100)
    np.testing.assert_allclose(mean[1, ..., 1], 90)
    blurred = fill_image(images, "blur", 4).numpy()
    np.testing.assert_allclose(blurred[1, ..., 1], 90, rtol=1e-5)  # flat stays flat, at the rim too
    column = blurred[0, :, 3, 0]
    assert (np.diff(column) < 0).all() and 100 < column[3] < 150 and 50 < column[4] < 100
    with pytest.raises(ValueError, match="filling must be one of zero, mean, blur. Received: x"):
        fill_image(images, "x", 4)


@pytest.mark.parametrize(("filling", "lost"), [("zero", 0.4), ("mean", 0.2)])
def test_the_filling_is_what_the_model_sees(filling, lost):
    images = np.zeros((1, 2, 2, 1), np.float32)
    images[0, 0] = 102  # 0.4 of 255; the mean is half of it
    found = occlude(
        reads_one_pixel(0, 0), tf.constant(images), [1], window=1, stride=1, filling=filling
    )
    np.testing.assert_allclose(found.lost[0], [[lost, 0], [0, 0]], atol=1e-6)


def test_any_keras_model_of_colour_pictures_will_do():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((12, 10, 3)), keras.layers.Flatten(), keras.layers.Dense(4, "softmax")]
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3)).astype(np.float32)
    result = occlusion_saliency(model, tf.constant(images), window=5, stride=3, chunk=7)
    assert result.saliency.shape == (2, 12, 10)
    # The corner is covered by the first window alone.
    hidden = images.copy()
    hidden[:, :5, :5] = 0
    change = model.predict(images, verbose=0) - model.predict(hidden, verbose=0)
    expected = change[np.arange(2), result.class_id.numpy()]
    np.testing.assert_allclose(result.saliency[:, 0, 0], expected, atol=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(8, 2), (5, 5), (3, 2)])
@pytest.mark.parametrize("filling", ["zero", "mean", "blur"])
def test_numpy_makes_the_maps_of_the_graph(window, stride, filling):
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (3, 16, 16, 1)).astype(np.float32)
    weights = random.normal(0, 0.01, (256, 4)).astype(np.float32)

    def softmax(scores):
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    settings = (window, stride, filling)
    windows = Windows(*settings)
    occlusions = occlude_by_windows(
        lambda faces: softmax(faces.reshape(len(faces), -1) @ weights), images, None, windows
    )
    got = gather_windows(occlusions, 16, windows)
    expected = occlusion_saliency(
        lambda faces: tf.nn.softmax(tf.reshape(faces, (-1, 256)) @ weights),
        tf.constant(images), None, *settings,
    )  # fmt: skip
    assert 0 < got.decisive.mean() < 1
    for one, other in zip(got, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype.as_numpy_dtype, tuple(other.shape))
        np.testing.assert_allclose(one, other, atol=1e-5)
