import numpy as np
import pytest
import tensorflow as tf

from keras_deep_emotion.saliency import occlusion_saliency, window_starts


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
