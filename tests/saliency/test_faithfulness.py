import numpy as np
import pytest

from keras_deep_emotion.saliency.faithfulness import (
    area_under_curve,
    baseline_maps,
    bootstrap_mean,
    causal_curve,
    compare_with_baselines,
    mean_maps,
    pointing_game,
    rank_correlation,
    score_faithfulness,
    shuffle_weights,
)


def reads_two_pixels(images):
    """Class 1's probability: the mean of pixels (0, 0) and (1, 1), over 255."""
    share = (images[:, 0, 0, 0] + images[:, 1, 1, 0]) / 510
    return np.stack([1 - share, share], axis=1)


WHITE = np.full((1, 2, 2, 1), 255, np.float32)
BLACK = np.zeros_like(WHITE)
RIGHT = np.array([[[4.0, 1], [2, 3]]])  # the two pixels that are read come first


def test_curves_and_areas_of_a_model_that_reads_two_pixels():
    deletion = causal_curve(reads_two_pixels, WHITE, BLACK, RIGHT, [1], steps=4)
    np.testing.assert_allclose(deletion, [[1, 0.5, 0, 0, 0]])
    assert area_under_curve(deletion) == pytest.approx(
        [(0.5 + 0.5 + 0) / 4]
    )  # trapezoids: .75, .25, 0, 0
    insertion = causal_curve(reads_two_pixels, BLACK, WHITE, RIGHT, [1], steps=4)
    np.testing.assert_allclose(insertion, [[0, 0.5, 1, 1, 1]])
    worst = causal_curve(reads_two_pixels, WHITE, BLACK, -RIGHT, [1], steps=4)
    np.testing.assert_allclose(worst, [[1, 1, 1, 0.5, 0]])
    other = causal_curve(reads_two_pixels, WHITE, BLACK, RIGHT, [0], steps=2)
    np.testing.assert_allclose(other, [[0, 1, 1]])


def test_the_pointing_game_asks_for_the_hottest_pixel():
    maps = np.zeros((3, 10, 10))
    maps[0, 2, 7] = 1
    maps[1, 2, 4] = 1
    maps[2, 4:7, 4:7] = 1  # flat: its middle is taken
    parts = np.array([[[0.2, 0.7, 0.3, 0.8], [0.5, 0.5, 0.6, 0.6]]] * 3)
    np.testing.assert_array_equal(pointing_game(maps, parts), [True, False, True])


def test_baselines_know_nothing_and_differ():
    maps = baseline_maps(50, 12, window=4, seed=1)
    assert list(maps) == ["random", "random, smooth", "gaussian"]
    for one in maps.values():
        assert one.shape == (50, 12, 12)
    # The mean of 16 numbers has a quarter of the spread of one.
    assert maps["random, smooth"].std() == pytest.approx(maps["random"].std() / 4, rel=0.15)
    # Neighbours share 12 of 16 pixels.
    smooth = maps["random, smooth"]
    pairs = np.corrcoef(smooth[:, :, 1:].ravel(), smooth[:, :, :-1].ravel())[0, 1]
    assert pairs == pytest.approx(0.75, abs=0.06)
    hill = maps["gaussian"][0]
    np.testing.assert_allclose(hill, hill[::-1, ::-1])
    assert hill[5, 5] == hill.max()
    assert hill[5, 8] / hill[5, 5] == pytest.approx(np.exp((0.5**2 - 2.5**2) / 18))


def test_intervals_are_those_of_the_mean():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap_mean(values)
    assert found["mean"] == pytest.approx(values.mean())
    low, high = found["interval"]
    # The normal one: 1.96 standard errors either way.
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_ahead_is_better_whichever_way_the_score_goes():
    scores = {"saliency": [0.1, 0.2], "random": [0.4, 0.4]}
    for lower_is_better, ahead in ((True, 0.25), (False, -0.25)):
        compared = compare_with_baselines(scores, lower_is_better)
        assert compared["random"]["ahead"]["mean"] == pytest.approx(ahead)
        assert "ahead" not in compared["saliency"]


def test_scrambled_weights_are_the_same_values_elsewhere():
    weights = [np.arange(30.0).reshape(5, 6), np.arange(4.0)]
    for before, after in zip(weights, shuffle_weights(weights), strict=True):
        assert before.shape == after.shape
        np.testing.assert_array_equal(np.sort(after, axis=None), before.ravel())
    assert (shuffle_weights(weights)[0] != weights[0]).any()


def test_likeness_is_of_ranks_and_none_of_a_flat_map():
    ramp = np.arange(9.0).reshape(1, 3, 3)
    np.testing.assert_allclose(rank_correlation(ramp, ramp**3), [1])
    np.testing.assert_allclose(rank_correlation(ramp, -ramp), [-1])
    np.testing.assert_allclose(rank_correlation(ramp, np.ones_like(ramp)), [0])


def test_mean_maps_say_where_each_class_lies():
    maps = np.zeros((4, 12, 12))
    maps[0, 5, 5] = 3  # the middle third
    maps[1, 11, 5], maps[1, 0, 0] = 1, -9  # the lower third, in the rim; below 0 counts as 0
    maps[2, 2, 2] = 1
    maps[3] = -1  # nowhere: left out
    found = mean_maps(maps, [0, 0, 2, 2], ["a", "b", "c"])
    assert list(found) == ["a", "c"]
    a, c = found["a"], found["c"]
    assert (a["faces"], a["upper"], a["middle"], a["lower"], a["rim"]) == (2, 0, 0.5, 0.5, 0.5)
    assert a["map"][5, 5] == a["map"][11, 5] == 0.5
    assert (c["faces"], c["upper"], c["rim"]) == (1, 1, 0)  # row 2 is the first of the inside


def test_a_map_that_is_right_beats_all_baselines():
    random = np.random.default_rng(0)
    images = random.integers(128, 256, (40, 12, 12, 1)).astype(np.float32)
    maps = np.zeros((40, 12, 12))
    maps[:, 1, 9] = 1
    parts = np.tile([[[1 / 12, 9 / 12, 2 / 12, 10 / 12]]], (40, 1, 1))

    def reads_one_pixel(faces):
        share = faces[:, 1, 9, 0] / 255
        return np.stack([1 - share, share], axis=1)

    class_id = np.ones(40, int)
    scores = score_faithfulness(
        reads_one_pixel, images, np.zeros_like(images), maps, class_id, window=3, parts=parts
    )
    for score in scores.values():
        for name, found in score.items():
            if name != "saliency":
                assert found["ahead"]["interval"][0] > 0
    assert scores["pointing"]["saliency"]["mean"] == 1
    # The pixel goes in the first of 48 steps: what is left is half a step.
    expected = images[:, 1, 9, 0].mean() / 255 / 96
    assert scores["deletion"]["saliency"]["mean"] == pytest.approx(expected)
