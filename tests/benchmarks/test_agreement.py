"""benchmarks/agreement.py: people and model against FER+'s votes, by counts done by hand."""

import numpy as np
import pytest

from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013.ferplus import FERPLUS_VOTES

HAPPINESS, NEUTRAL = EMOTIONS.index("happiness"), EMOTIONS.index("neutral")


@pytest.fixture(scope="module")
def agreement(benchmark_program):
    return benchmark_program("agreement")


def votes(**counts):
    return np.array([[counts.get(name, 0) for name in FERPLUS_VOTES]])


@pytest.mark.parametrize(
    ("counts", "tagger", "happy", "neutral"),
    [
        # One of the six: five against four are left, who agree. One of the four: three of nine.
        ({"happiness": 6, "neutral": 4}, 0.6, 1.0, 0.0),
        # Whoever is left out, the other side has one more.
        ({"happiness": 5, "neutral": 5}, 0.0, 0.5, 0.5),
        # One of the five leaves a tie, of which half is theirs; without one of the four it is won.
        ({"happiness": 5, "neutral": 4, "unknown": 1}, 0.25, 0.75, 0.25),
        # Votes for none of the seven are wrong and make no label.
        ({"happiness": 2, "contempt": 8}, 0.2, 1.0, 0.0),
    ],
)
def test_each_tagger_is_held_against_the_other_nine(agreement, counts, tagger, happy, neutral):
    for answer, expected in ((HAPPINESS, happy), (NEUTRAL, neutral)):
        found = agreement.leave_one_out_accuracy(votes(**counts), np.array([answer]))
        assert found == pytest.approx((tagger, expected))


def test_shares_are_means_over_the_faces(agreement):
    both = np.concatenate([votes(happiness=6, neutral=4), votes(sadness=10)])
    found = agreement.leave_one_out_accuracy(both, np.array([NEUTRAL, EMOTIONS.index("sadness")]))
    assert found == pytest.approx((0.8, 0.5))


def test_new_votes_make_the_label_again_as_often_as_chance_has_it(agreement):
    assert agreement.resampled_accuracy(votes(happiness=10), np.array([HAPPINESS])) == 1
    # Seven and three: 8,497 + half of 1,029 ten-thousandths (binomial, more than five, just five).
    many = np.repeat(votes(happiness=7, neutral=3), 500, axis=0)
    found = agreement.resampled_accuracy(many, np.full(500, HAPPINESS))
    assert found == pytest.approx(0.9012, abs=0.005)
