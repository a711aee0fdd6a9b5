"""People are followed by place and size, and their probabilities smoothed."""

from types import SimpleNamespace

import numpy as np
import pytest

from keras_deep_emotion.inference.tracking import PATIENCE, Tracker
from keras_deep_emotion.reports import timeline
from keras_deep_emotion.reports.timeline import Timeline


def follow(frames, **options):
    """Numbers of the faces in frames of (x, y, side), ten a second."""
    tracker, numbers = Tracker(**options), []
    for i, faces in enumerate(frames):
        boxes = np.array([(x, y, side, side) for x, y, side in faces]).reshape(-1, 4)
        numbers.append(tracker.update(boxes, np.full((len(faces), 2), 0.5), i / 10)[0])
    return numbers


def test_numbers_are_those_of_the_first_frame_whatever_the_order():
    assert follow([[(0, 0, 50), (200, 0, 40)], [(195, 0, 40), (5, 0, 50)]]) == [[1, 2], [2, 1]]


def test_people_who_cross_keep_their_numbers():
    frames = [[(10 * i, 0, 60), (300 - 10 * i, 20, 60)] for i in range(31)]
    assert follow(frames) == [[1, 2]] * 31


def test_a_face_that_is_hidden_for_a_while_goes_on():
    frames = [[(10 * i, 0, 60)] if not 5 < i < 15 else [] for i in range(20)]
    assert {number for numbers in follow(frames) for number in numbers} == {1}


def test_who_is_away_for_longer_is_a_new_person():
    away = [[]] * (int(PATIENCE * 10) + 1)
    assert follow([[(0, 0, 60)], *away, [(0, 0, 60)]])[-1] == [2]


@pytest.mark.parametrize("apart", [1.0, PATIENCE + 0.5, 4.0])
def test_who_is_seen_in_each_frame_goes_on_however_far_frames_are_apart(apart):
    tracker, rows = Tracker(), np.full((1, 2), 0.5)
    boxes = [np.array([[70 * i, 0, 60, 60]]) for i in range(6)]  # more than a face's width each
    assert [tracker.update(boxes[i], rows, apart * i)[0] for i in range(6)] == [[1]] * 6


def test_a_face_far_away_is_another_however_long_ago():
    tracker, rows = Tracker(), np.full((1, 2), 0.5)
    boxes = [np.array([[x, 0, 60, 60]]) for x in (0, 130)]
    assert [tracker.update(boxes[i], rows, 60.0 * i)[0] for i in range(2)] == [[1], [2]]


def test_a_false_face_takes_a_number_and_nobody_elses():
    frames = [[(0, 0, 60)], [(0, 0, 60), (400, 300, 25)], [(0, 0, 60)]]
    assert follow(frames) == [[1], [1, 2], [1]]


def test_a_face_of_another_size_in_the_same_place_is_another():
    assert follow([[(0, 0, 60)], [(0, 0, 150)]]) == [[1], [2]]


def test_smoothing_is_an_exponential_moving_average_of_uneven_times():
    tracker = Tracker(smooth=2.0)
    box = np.array([[0, 0, 50, 50]])
    got = [
        tracker.update(box, np.array([[value, 1 - value]]), seconds)[1][0, 0]
        for value, seconds in ((1.0, 0.0), (0.0, 0.5), (0.0, 1.5))
    ]
    assert got == pytest.approx([1.0, np.exp(-0.25), np.exp(-0.75)])


def test_each_person_is_smoothed_alone():
    tracker = Tracker(smooth=1.0)
    boxes = np.array([[0, 0, 50, 50], [200, 0, 50, 50]])
    tracker.update(boxes, np.array([[1.0, 0.0], [0.0, 1.0]]), 0.0)
    _, rows = tracker.update(boxes[::-1], np.array([[0.0, 1.0], [1.0, 0.0]]), 0.1)
    np.testing.assert_allclose(rows, [[0, 1], [1, 0]], atol=1e-12)


def frame(seconds, **people):
    tracks = [int(name[1:]) for name in people]
    rows = np.array(list(people.values())).reshape(-1, 2)
    return SimpleNamespace(seconds=seconds, tracks=tracks, probabilities=rows)


def test_a_timeline_has_the_means_of_its_bins(monkeypatch):
    monkeypatch.setattr(timeline, "BINS", 4)
    monkeypatch.setattr(timeline, "FIRST_BIN", 1.0)
    curves = Timeline(["no", "yes"])
    for second in range(8):
        curves.add(frame(second, p1=[second / 10, 1 - second / 10]))
    times, rows = curves.curve(1)
    assert curves.width == 2 and times.tolist() == [1, 3, 5, 7]
    np.testing.assert_allclose(rows[:, 0], [0.05, 0.25, 0.45, 0.65])
    np.testing.assert_allclose(rows.sum(axis=1), 1)


@pytest.mark.parametrize("apart", [1 / 30, 1 / 3, 4.0])
def test_a_curve_breaks_where_its_person_is_not_seen(apart):
    curves = Timeline(["no", "yes"])
    for i in range(100):
        curves.add(frame(apart * i, **({} if 40 <= i < 70 else {"p1": [0.1, 0.9]})))
    times, rows = curves.curve(1)
    (gap,) = np.flatnonzero(np.isnan(rows[:, 0]))
    assert times[gap] == pytest.approx(apart * 54.5, abs=2 * curves.width)
    assert (np.diff(times) > 0).all() and np.nanmax(np.abs(rows - [0.1, 0.9])) < 1e-12


def test_a_curve_is_whole_at_every_rate_and_length():
    for apart in (1 / 30, 0.1, 1 / 3, 0.4, 1.0, 7.0):
        curves = Timeline(["no", "yes"])
        for i in range(1500):
            curves.add(frame(apart * i, p1=[0.1, 0.9]))
        assert not np.isnan(curves.curve(1)[1]).any(), apart


def test_what_no_line_leads_to_is_alone():
    values = np.array([1, np.nan, 1, 1, np.nan, 1])
    assert timeline._alone(values).tolist() == [True, False, False, False, False, True]


def test_the_memory_of_a_timeline_has_a_bound(monkeypatch, tmp_path):
    monkeypatch.setattr(timeline, "KEPT", 3)
    curves = Timeline(["no", "yes"])
    for second in range(5000):  # a new person every ten seconds, and one who is always there
        curves.add(frame(second, p1=[0.2, 0.8], **{f"p{second // 10 + 2}": [0.5, 0.5]}))
    assert curves.people == 501 and 1 in curves._sums and len(curves._sums) <= 6
    assert len(curves._sums[1]) <= timeline.BINS
    curves.draw(tmp_path / "film.mp4", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5000
