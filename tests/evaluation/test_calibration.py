"""Temperature and balance: fitted on validation, and the same on every road."""

import dataclasses
import json
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from keras_deep_emotion import load
from keras_deep_emotion.cli import main
from keras_deep_emotion.evaluation.calibration import calibrate_run, fit_temperature, softmax
from keras_deep_emotion.layers import OperatingPoint
from keras_deep_emotion.models import at_operating_point, rebalance
from keras_deep_emotion.runs import Run


def test_the_temperature_makes_probabilities_as_high_as_they_are_right():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 5))
    labels = np.array([random.choice(5, p=row) for row in softmax(logits)])
    assert fit_temperature(logits, labels) == pytest.approx(1, abs=0.05)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, abs=0.15)
    assert fit_temperature(logits, logits.argmax(axis=1)) == 1.0  # nothing is wrong


def test_balance_divides_by_the_classes_shares():
    probabilities = np.array([[0.6, 0.3, 0.1]])
    prior = np.array([0.6, 0.3, 0.1])
    np.testing.assert_allclose(rebalance(probabilities, prior, 1.0), [[1 / 3] * 3], atol=1e-6)
    half = np.sqrt(prior)
    expected = probabilities[0] / half / (probabilities[0] / half).sum()
    np.testing.assert_allclose(rebalance(probabilities, prior, 0.5)[0], expected, atol=1e-6)
    back = rebalance(rebalance(probabilities, prior, 0.7), prior, -0.7)
    np.testing.assert_allclose(back, probabilities, atol=1e-6)


def test_a_network_at_an_operating_point(run_dir):
    keras.backend.clear_session()  # names of operations count from 0 again, as in a new process
    model = Run(run_dir).load_model()
    images = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    raw = at_operating_point(model).predict(images, verbose=0)
    prior = np.array([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    cooled = at_operating_point(model, temperature=2.0, prior=prior, balance=0.5)
    expected = np.sqrt(raw) / np.sqrt(raw).sum(axis=1, keepdims=True)
    got = cooled.predict(images, verbose=0)
    np.testing.assert_allclose(got, rebalance(expected, prior, 0.5), atol=1e-5)
    # From a model that is at one already, not on top of it.
    again = at_operating_point(cooled).predict(images, verbose=0)
    np.testing.assert_allclose(again, raw, atol=1e-6)


def test_the_layer_keeps_its_settings_and_refuses_others():
    layer = OperatingPoint(2.0, [0.5, -0.5])
    got = keras.ops.convert_to_numpy(layer(np.array([[2.0, 4.0]], np.float32)))
    np.testing.assert_allclose(got, [[1.5, 1.5]])
    config = OperatingPoint.from_config(layer.get_config()).get_config()
    assert (config["temperature"], config["offsets"]) == (2.0, [0.5, -0.5])
    with pytest.raises(ValueError, match="temperature must be above 0. Received: temperature=0"):
        OperatingPoint(0)


def test_a_run_is_calibrated_once(run_dir, toon_faces_dir, tmp_path):
    run = Run(shutil.copytree(run_dir, tmp_path / "run"))
    found = run.calibration
    assert 0.1 < found["temperature"] < 10
    assert found["validation_error"][1] <= found["validation_error"][0] + 0.01
    # toon_faces have as many faces of each emotion.
    np.testing.assert_allclose(list(found["prior"].values()), 1 / 7)
    report = run.report
    assert report["calibration"]["error"] != report["uncalibrated_error"]
    again = calibrate_run(run, toon_faces_dir)
    assert again["temperature"] == pytest.approx(found["temperature"], rel=1e-4)
    assert run.calibration == again


def test_the_prior_is_of_what_was_learned(run_dir, toon_faces_dir, tmp_path, monkeypatch):
    """Classes without faces, and `class_balance`, which no built data set of the tests has."""
    counts = np.array([90, 0, 10, 40, 40, 10, 10])
    monkeypatch.setattr("keras_deep_emotion.evaluation.calibration.label_counts", lambda *_: counts)
    run = Run(shutil.copytree(run_dir, tmp_path / "run"))
    prior = [*calibrate_run(run, toon_faces_dir)["prior"].values()]
    np.testing.assert_allclose(prior, np.array([90, 90, 10, 40, 40, 10, 10]) / 290)
    run.write_config(dataclasses.replace(run.config, class_balance=1.0))
    prior = [*calibrate_run(run, toon_faces_dir)["prior"].values()]
    np.testing.assert_allclose(prior, 1 / 7)


@pytest.fixture
def skewed(run_dir, tmp_path):
    """A copy of the run whose training is said to have had mostly happy faces."""
    run = Run(shutil.copytree(run_dir, tmp_path / "skewed"))
    labels, rest = run.labels, 0.1
    prior = {name: 0.4 if name == "happiness" else rest for name in labels}
    content = run.calibration | {"prior": prior}
    (run / Run.CALIBRATION).write_text(json.dumps(content))
    return run


def test_a_balance_is_the_same_by_every_road(skewed, toon_faces_dir, tmp_path):
    images = np.random.default_rng(0).uniform(0, 255, (3, 48, 48, 1)).astype(np.float32)
    prior = np.array([skewed.calibration["prior"][name] for name in skewed.labels])
    own = load(skewed.path, runtime="keras").predict(images)
    expected = rebalance(own, prior, 0.5)
    opened = load(skewed.path, runtime="keras", balance=0.5)
    np.testing.assert_allclose(opened.predict(images), expected, atol=1e-5)
    baked = skewed.load_model(0.5).predict(images, verbose=0)
    np.testing.assert_allclose(baked, expected, atol=1e-5)
    exports = tmp_path / "exports"
    command = ["export", str(skewed), "--format", "litert", "--balance", "0.5", "--name", "m"]
    command += ["--exports", str(exports), "--data-dir", str(toon_faces_dir)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    light = load(exports / "m.tflite")
    assert light.balance == 0.5
    np.testing.assert_allclose(light.predict(images), expected, atol=1e-4)
    light.set_balance(0.0)
    np.testing.assert_allclose(light.predict(images), own, atol=1e-4)


def test_evaluate_shows_the_operating_points_and_takes_one(skewed, toon_faces_dir):
    before = (skewed / Run.REPORT).read_bytes()
    command = ["evaluate", str(skewed), "--data-dir", str(toon_faces_dir), "--balance", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert (skewed / Run.REPORT).read_bytes() == before  # that of the run's own balance stays
    report, whole = Run(skewed.path / "balance-1").report, Run(skewed).report
    assert report["balance"] == 1.0 and "uncalibrated_error" not in report
    points = {one["balance"]: one for one in report["operating_points"]}
    assert points[1.0]["accuracy"] == pytest.approx(report["accuracy"])
    assert points[0.0]["accuracy"] == pytest.approx(whole["accuracy"], abs=0.003)
    assert points[1.0]["recall"]["happiness"] <= points[0.0]["recall"]["happiness"]


def test_a_model_that_knows_no_shares_refuses_a_balance(skewed):
    (skewed / Run.CALIBRATION).unlink()
    with pytest.raises(ValueError, match="calibration.json, which --balance needs.*fit --resume"):
        skewed.load_model(0.5)
    with pytest.raises(ValueError, match="does not store the class frequencies"):
        load(skewed.path, runtime="keras", balance=0.5)
    with pytest.raises(ValueError, match="balance must be between 0 and 1. Received: 2"):
        load("ferplus").set_balance(2)
