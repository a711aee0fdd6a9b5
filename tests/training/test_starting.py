"""`fit --start`: training that begins with the weights of another run."""

import dataclasses
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.models import build_model
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.starting import copy_start, logistic_regression, start_run


def paper(**changes):
    return TrainConfig.from_recipe("paper", **changes)


@pytest.fixture
def faces():
    images = np.random.default_rng(0).uniform(0, 255, (30, 48, 48, 1)).astype(np.float32)
    labels = np.arange(30) % 3
    return FaceArrays(images, np.eye(3, dtype=np.float32)[labels], labels)


def test_logistic_regression_separates_and_ignores_dead_units():
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 300)
    inputs = random.normal(0, 0.3, (300, 5)) + 40
    inputs[np.arange(300), labels] += 2
    inputs[:, 3] = 7 + random.normal(0, 1e-3, 300)  # a nearly dead unit
    inputs[:, 4] = 7  # a dead one
    weights, bias = logistic_regression(inputs, np.eye(3)[labels])
    assert (weights.shape, bias.shape) == ((5, 3), (3,))
    assert np.mean((inputs @ weights + bias).argmax(axis=1) == labels) > 0.98
    assert not weights[3:].any()


def test_the_same_classes_of_the_same_data_keep_every_weight(run_dir, run_config, faces):
    config = paper(dataset="toon_faces", start=str(run_dir))
    network, start = build_model(config), Run(run_dir).load_model()
    copy_start(network, config, faces, Run(run_dir).labels)
    for got, expected in zip(network.get_weights(), start.get_weights(), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_other_classes_get_a_last_layer_that_fits_the_faces(run_dir, faces):
    config = paper(dataset="jaffe", start=str(run_dir))
    network, start = build_model(config, 3), Run(run_dir).load_model()
    copy_start(network, config, faces, ["no", "maybe", "yes"])
    for layer in network.layers:
        if layer.name != "logits":
            old = start.layers[network.layers.index(layer)].get_weights()
            for got, expected in zip(layer.get_weights(), old, strict=True):
                np.testing.assert_array_equal(got, expected)
    probabilities = network.predict(faces.images, verbose=0)
    assert np.mean(probabilities.argmax(axis=1) == faces.labels) > 0.5  # of chance, a third


def test_another_network_and_knowledge_of_the_test_faces_are_refused(run_dir):
    with pytest.raises(ValueError, match="width must be 10, as of .* Received: width=12"):
        start_run(paper(dataset="jaffe", start=str(run_dir), width=12))
    other = paper(dataset="toon_faces", protocol="subjects", fold=2, start=str(run_dir))
    with pytest.raises(ValueError, match="may know its test images"):
        start_run(other)
    with pytest.raises(FileNotFoundError, match="is not a finished run"):
        start_run(paper(start="nowhere"))
    assert start_run(paper()) is None


def test_knowledge_of_the_test_faces_by_way_of_another_run_is_refused(run_dir, tmp_path):
    """`first` learned from all faces but fold 2's; `second`, of other faces, went on from it."""
    first, second = (Run(shutil.copytree(run_dir, tmp_path / name)) for name in "ab")
    first.write_config(paper(dataset="toon_faces", protocol="subjects", fold=2))
    for link in ({"start": str(first)}, {"teachers": f"{second},{first}"}):
        second.write_config(paper(dataset="jaffe", **link))
        known = paper(dataset="toon_faces", protocol="subjects", fold=3, start=str(second))
        with pytest.raises(ValueError, match="b learned from .*a, which was trained on other"):
            start_run(known)
        same = paper(dataset="toon_faces", protocol="subjects", fold=2, start=str(second))
        assert start_run(same).path == second.path
    shutil.rmtree(first.path)  # what is gone is not known
    assert start_run(known).path == second.path


def test_fit_takes_the_network_of_its_start(run_dir, tiny_faces_dir, tmp_path):
    run = Run(tmp_path / "run")
    command = ["fit", "--start", "ferplus-paper", "--dataset", "toon_faces", "--epochs", "1"]
    command += ["--data-dir", str(tiny_faces_dir), "--run-dir", str(run)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    config = run.config
    assert (config.recipe, config.network, config.width) == ("finetune", "paper", 10)
    assert (config.start, config.learning_rate) == ("ferplus-paper", 0.02)
    page = (run / Run.PAGE).read_text()
    assert "the weights of ferplus-paper" in page
    assert "<span>--start</span> <span>ferplus-paper</span>" in page
    again = CliRunner().invoke(main, ["fit", "--start", "nowhere", "--dataset", "toon_faces"])
    assert again.exit_code == 1 and "nowhere is not a finished run" in again.output
    Run(run).write_config(dataclasses.replace(config, transformer=False))
    aligned = ["fit", "--start", str(run), "--alignment", "3", "--dataset", "toon_faces"]
    refused = CliRunner().invoke(main, aligned)
    assert refused.exit_code == 2 and "--alignment is for --transformer." in refused.output
    none = CliRunner().invoke(main, ["fit", "--recipe", "finetune", "--dataset", "toon_faces"])
    assert none.exit_code == 2 and "goes on from other weights: name --start RUN." in none.output
