"""Cards, and the weights that ship with theirs."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from keras_deep_emotion import load
from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.reading import open_dataset, read_examples, read_faces
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.changes import apply_change
from keras_deep_emotion.evaluation.evaluate import evaluate_run
from keras_deep_emotion.reports.model_card import render_model_card
from keras_deep_emotion.runs import SHIPPED, Run, shipped_weights


def test_a_runs_card_holds_its_own_numbers(run_dir):
    report = json.loads((run_dir / "report.json").read_text())
    card = render_model_card(TrainConfig.from_json(run_dir / "config.json"), report)
    assert "# toon_faces: recipe `paper`" in card
    assert f"| test | 504 | {100 * report['accuracy']:.2f} % |" in card
    row = re.search(r"^\| fear \| ([\d,]+) \| ([^|]+) \|", card, re.M)
    assert row.group(1) == str(report["per_class"]["fear"]["faces"])
    assert row.group(2) == f"{100 * report['per_class']['fear']['recall']:.2f} %"
    people = [one["accuracy"] for one in report["per_person"].values()]
    assert f"of the 6 people in the test split, the accuracy is {100 * min(people):.2f} %\n" in card
    assert f"  for one and {100 * max(people):.2f} % for another." in card
    assert "one of seven" in card and "do not identify people" not in card
    assert "## Misuse" in card and "FER-2013's pictures" not in card
    assert max(map(len, card.splitlines())) < 400


def test_a_card_says_what_a_training_started_from():
    report = Run.shipped("ferplus").report
    assert "trained from scratch" in render_model_card(TrainConfig(), report)
    card = render_model_card(TrainConfig(start="other"), report)
    assert "trained from the weights of `other`." in card and "that are kept" not in card
    card = render_model_card(TrainConfig(start="other", start_share=0.2), report)
    assert "the weights of `other`, of\nwhich 20 % are in those that are kept." in card


def test_a_card_says_of_which_balance_its_figures_are():
    report = Run.shipped("ferplus").report
    own = render_model_card(TrainConfig(), report)
    assert "This model favours" not in own and "`--balance 0.5` favours" in own
    card = render_model_card(TrainConfig(), report, balance=1.0)
    assert "in training, by `--balance 1`. All figures below are at balance\n0, unless" in card
    assert "`--balance 1` favours emotions that are rare in training: accuracy 76.74 %" in card


def test_a_card_says_how_many_people_are_identified():
    report = Run.shipped("ferplus").report
    assert "The data do not identify people" in render_model_card(TrainConfig(), report)
    report["per_person"] = {"ann": {"accuracy": 0.5}}
    card = render_model_card(TrainConfig(), report)
    assert "Only one person in the test split is identified" in card
    assert "do not identify people" not in card and "for another" not in card


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_cards_are_of_their_reports(name):
    folder = Run.shipped(name).path
    report = json.loads((folder / "report.json").read_text())
    config = TrainConfig.from_json(folder / "config.json")
    card = render_model_card(config, report, Run(folder).robustness)
    assert (folder / "MODEL_CARD.md").read_text() == card
    assert "Accuracy under changes of the test faces" in card and "tilted" not in card
    assert ("from the weights of `ferplus-camera-1`" in card) == (name == "ferplus-camera")
    # A model of FER+ is judged on the faces of the paper's figure 8.
    assert report["faces"] == 3573


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_numbers_come_out_again_on_the_real_faces(name, fer2013_dir, tmp_path):
    folder = Run.shipped(name).path
    kept = json.loads((folder / "report.json").read_text())
    found = evaluate_run(folder, fer2013_dir, output=tmp_path)
    # Another processor may round a face that lies between two answers to the other.
    for one, other in ((found, kept), (found["deduplicated"], kept["deduplicated"])):
        assert one["faces"] == other["faces"]
        assert abs(one["correct"] - other["correct"]) <= 2
    assert np.abs(np.subtract(found["confusion"], kept["confusion"])).sum() <= 4
    assert found["calibration"]["error"] == pytest.approx(kept["calibration"]["error"], abs=2e-3)
    assert not (folder / "predictions.csv").exists()


@pytest.mark.parametrize("name", shipped_weights())
def test_shipped_robustness_comes_out_again_on_the_real_faces(name, fer2013_dir):
    task = Run.shipped(name).task
    _, images, labels = read_faces(open_dataset(task, fer2013_dir), task.splits["test"], 48)
    kept = Run.shipped(name).robustness
    for change, level in (("noise", 25.0), ("turn", 45.0)):
        faces = apply_change(change, level, images[..., 0])[..., None]
        found = np.mean(load(name).classify(faces).argmax(axis=1) == labels)
        (expected,) = (
            one["accuracy"] for one in kept["changes"][change]["levels"] if one["level"] == level
        )
        assert found == pytest.approx(expected, abs=0.01)  # LiteRT's 8 bits


def test_weights_ship_and_are_small():
    assert "ferplus" in shipped_weights()
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 12_000_000


@pytest.mark.slow
def test_shipped_weights_need_no_training(toon_face, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        result = CliRunner().invoke(main, [str(one) for one in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    predict = ("predict", "--faces", "none", "--json")
    answer = json.loads(run(*predict, "--weights", "ferplus", toon_face))
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    # A toon face that smiles broadly: the network saw photographs alone.
    assert answer["emotion"] == "happiness"
    run("explain", "--weights", "ferplus", toon_face, "--faces", "none", "--stride", 4)
    assert (tmp_path / "runs" / "explanation" / "attended.png").exists()
    run("export", "--weights", "ferplus")
    exported = json.loads(run(*predict, "--model", "exports/ferplus", toon_face))
    by_keras = load("ferplus", runtime="keras").predict(toon_face)[0]
    got = list(exported["probabilities"].values())
    assert got == pytest.approx(by_keras.tolist(), abs=1e-4)
    assert list(answer["probabilities"].values()) == pytest.approx(got, abs=0.04)  # 8-bit weights


@pytest.fixture
def toon_face(toon_faces_dir, tmp_path):
    """A PNG file of a happy toon face, cropped."""
    builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
    happy = builder.info.features["label"].str2int("happiness")
    for example in read_examples(builder, "test", 96):
        if int(example["label"]) == happy:
            path = tmp_path / "face.png"
            path.write_bytes(tf.io.encode_png(tf.cast(example["image"], tf.uint8)).numpy())
            return path


def test_weights_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="There are no weights 'x'; there are: "):
        Run.shipped("x")
