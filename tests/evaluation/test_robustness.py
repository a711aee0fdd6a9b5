"""Changes of faces by known amounts, and the accuracy of a run under them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.evaluation.changes import CHANGES, apply_change
from keras_deep_emotion.evaluation.robustness import (
    changed_answers,
    compare_robustness,
    read_answers,
    robustness_report,
)
from keras_deep_emotion.runs import Run


@pytest.fixture
def faces():
    """Eight images with a bright square of 10 pixels, whose center is that of the image."""
    images = np.full((8, 48, 48), 40, np.float32)
    images[:, 19:29, 19:29] = 200
    return images


def center(image):
    weight = image - 40
    return np.array([(weight * axis).sum() for axis in np.mgrid[:48, :48]]) / weight.sum()


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_keeps_shape_and_levels_and_is_repeatable(name, faces):
    for level in CHANGES[name].levels:
        got = apply_change(name, level, faces, seed=3)
        assert got.shape == faces.shape and got.min() >= 0 and got.max() <= 255
        np.testing.assert_array_equal(got, np.round(got))
        np.testing.assert_array_equal(got, apply_change(name, level, faces, seed=3))


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_changes_at_the_clean_level(name, faces):
    got = apply_change(name, CHANGES[name].clean, faces)
    assert np.abs(got - faces).max() <= (2 if name == "jpeg" else 0)


def test_a_move_is_of_its_length(faces):
    got = apply_change("shift", 6, faces)
    moves = [center(image) - 23.5 for image in got]
    np.testing.assert_allclose(np.linalg.norm(moves, axis=1), 6, atol=0.1)
    assert np.ptp(moves, axis=0).min() > 4  # in many directions


def test_a_scale_changes_the_size(faces):
    for level in (0.6, 1.4):
        got = apply_change("scale", level, faces)
        np.testing.assert_allclose((got - 40).sum() / (faces - 40).sum(), level**2, rtol=0.03)


def test_a_turn_goes_both_ways_by_its_degrees():
    images = np.zeros((40, 49, 49), np.float32)
    images[:, 24, 30:40] = 255  # to the right of the center
    got = apply_change("turn", 45, images)
    y, x = np.mgrid[:49, :49] - 24
    angles = [np.degrees(np.arctan2((y * one).sum(), (x * one).sum())) for one in got]
    np.testing.assert_allclose(np.abs(angles), 45, atol=1)
    assert 8 < np.sum(np.array(angles) > 0) < 32


def test_light_noise_and_blur_have_the_size_that_they_say(faces):
    np.testing.assert_array_equal(apply_change("brightness", 0.5, faces), faces / 2)
    assert np.ptp(apply_change("contrast", 0.4, faces)) == pytest.approx(64, abs=1)
    assert apply_change("gamma", 2.0, faces)[0, 0, 0] == round(255 * (40 / 255) ** 2)
    grey = np.full((4, 48, 48), 128, np.float32)
    assert apply_change("noise", 25, grey).std() == pytest.approx(25, rel=0.03)
    dot = np.zeros((1, 48, 48), np.float32)
    dot[0, 24, 24] = 255 * 40
    blurred = CHANGES["blur"].apply(dot, 2.0, None)[0]
    variance = (blurred.sum(0) * (np.arange(48) - 24) ** 2).sum() / blurred.sum()
    assert variance == pytest.approx(4, rel=0.02)


def test_amounts_in_pixels_grow_with_the_image():
    large = np.full((2, 96, 96), 40, np.float32)
    large[:, 38:58, 38:58] = 200
    got = apply_change("shift", 6, large)[0] - 40
    at = [(got * axis).sum() / got.sum() - 47.5 for axis in np.mgrid[:96, :96]]
    assert np.linalg.norm(at) == pytest.approx(12, abs=0.2)


def test_hidden_parts_are_black_and_the_rest_is_kept(faces):
    mouth = apply_change("mouth", 25, faces)
    assert not mouth[:, 36:].any()
    np.testing.assert_array_equal(mouth[:, :36], faces[:, :36])
    eyes = apply_change("eyes", 25, faces)
    rows = np.flatnonzero((eyes == 0).all((0, 2)))
    assert (rows[0], rows[-1]) == (13, 24)


def test_answers_and_report_of_a_model_that_looks_at_brightness():
    images = np.full((10, 48, 48, 1), 100, np.float32)
    images[5:] = 180
    labels = np.repeat([0, 1], 5)

    def predict(faces):
        bright = faces.mean(axis=(1, 2, 3)) > 140
        return np.stack([~bright, bright], axis=1).astype(np.float32)

    steps = []
    correct = changed_answers(predict, images, labels, lambda *done: steps.append(done))
    assert (steps[0], steps[-1]) == ((0, 60), (60, 60))
    report = robustness_report(correct)
    assert (report["clean"], report["faces"]) == (1.0, 10)
    accuracy = {
        name: [one["accuracy"] for one in change["levels"]]
        for name, change in report["changes"].items()
    }
    assert accuracy["turn"] == [1.0] * 5
    # 180 falls below 140 at 0.7 and less, 100 rises to 140 at 1.4 (not above) and to 180 at 1.8.
    assert accuracy["brightness"] == [0.5, 0.5, 0.5, 1.0, 0.5]
    assert report["changes"]["brightness"]["mean"] == pytest.approx(0.6)
    shares = np.mean([one for levels in accuracy.values() for one in levels])
    assert report["mean"] == pytest.approx(shares)


def write_answers(folder, names, wrong=()):
    folder.mkdir()
    clean = np.array([name not in wrong for name in names])
    rows = {name: np.tile(clean, (len(change.levels), 1)) for name, change in CHANGES.items()}
    np.savez(folder / Run.ROBUST_ANSWERS, names=np.array(names), clean=clean, **rows)
    return folder


def test_two_runs_are_compared_face_by_face(tmp_path):
    first = write_answers(tmp_path / "first", list("abcd"))
    second = write_answers(tmp_path / "second", list("dcba"), wrong="a")
    result = compare_robustness(first, second)
    assert result["clean"][0] == result["all"][0] == result["noise"][0] == 0.25
    low, high = result["all"][1]
    assert low < 0 < 0.25 < high  # four faces say little
    assert compare_robustness(first, first)["all"] == (0.0, [0.0, 0.0])


def test_other_faces_and_damaged_files_are_refused(tmp_path):
    first = write_answers(tmp_path / "first", list("abcd"))
    second = write_answers(tmp_path / "second", list("abce"))
    with pytest.raises(ValueError, match="they are of different faces"):
        compare_robustness(first, second)
    with pytest.raises(FileNotFoundError, match="evaluate .* --robustness first"):
        compare_robustness(first, tmp_path)
    (second / Run.ROBUST_ANSWERS).write_bytes(b"PK")
    with pytest.raises(ValueError, match="is damaged.* evaluate --robustness RUN$"):
        read_answers(second)
    Run(second).write_config(TrainConfig())
    with pytest.raises(ValueError, match=f"is damaged.* evaluate --robustness {second}$"):
        read_answers(second)


@pytest.mark.slow
def test_evaluate_says_how_a_run_holds_under_changes(run_dir, tiny_faces_dir, tmp_path):
    command = ["evaluate", str(run_dir), "--robustness", "--data-dir", str(tiny_faces_dir)]
    result = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "one")])
    assert result.exit_code == 0, result.output
    assert "mean of all changes and levels" in result.output
    report = Run(tmp_path / "one").robustness
    assert len(report["changes"]) == 12
    assert report["clean"] == Run(tmp_path / "one").report["accuracy"]
    assert report["faces"] == 14
    assert report["changes"]["noise"]["levels"][0]["level"] == 5.0
    assert (tmp_path / "one" / Run.ROBUSTNESS_FIGURE).stat().st_size > 20_000
    command += ["--output", str(tmp_path / "two"), "--against", str(tmp_path / "one")]
    result = CliRunner().invoke(main, command)
    assert "ahead of the other: unchanged    +0.0 points" in result.output
    saved = json.loads((tmp_path / "two" / Run.ROBUSTNESS).read_text())
    assert saved == report  # seeded
