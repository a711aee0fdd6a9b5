"""benchmarks/ensemble.py: the mean of several runs' answers, on validation."""

import pandas as pd
import pytest
from click.testing import CliRunner

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.evaluate import predict_split
from keras_deep_emotion.runs import Run


@pytest.fixture(scope="module")
def ensemble(benchmark_program):
    return benchmark_program("ensemble")


def test_probabilities_are_averaged_and_judged(ensemble):
    faces = {"name": ["a", "b"], "subject": ["", ""], "label": ["fear", "anger"]}
    one = pd.DataFrame({**faces, "anger": [0.6, 0.7], "fear": [0.4, 0.3]})
    other = pd.DataFrame({**faces, "anger": [0.1, 0.5], "fear": [0.9, 0.5]})
    mean = ensemble.mean_prediction([one, other])
    assert mean["anger"].tolist() == pytest.approx([0.35, 0.6])
    assert mean["fear"].tolist() == pytest.approx([0.65, 0.4])
    assert one["anger"].tolist() == [0.6, 0.7]
    assert ensemble.row("one", one, mean) == "| one | 50.00% | 100.00% |"


def test_a_run_with_itself_is_the_run_on_validation(ensemble, run_dir, toon_faces_dir):
    arguments = [str(run_dir), str(run_dir), "--data-dir", str(toon_faces_dir)]
    done = CliRunner().invoke(ensemble.main, arguments)
    assert done.exit_code == 0, done.output
    *_, first, second, together = done.output.splitlines()
    run = Run(run_dir)
    config, model = run.config, run.load_model()
    table = predict_split(
        model,
        open_dataset(Task.parse("toon_faces"), toon_faces_dir),
        "validation",
        config.image_size,
    )
    right = (table[table.columns[3:]].idxmax(axis=1) == table["label"]).mean()
    assert first.startswith(f"| {run_dir.name} | {right:.2%} | ")
    assert first == second
    assert together == first.replace(run_dir.name, "together")


def test_a_default_variant_may_be_named():
    unnamed, named, other = (
        Task.from_config(TrainConfig(dataset=dataset))
        for dataset in ("fer2013", "fer2013/ferplus", "fer2013/original")
    )
    assert unnamed == named
    assert other != named


def test_runs_on_different_data_are_refused(ensemble, run_dir):
    done = CliRunner().invoke(ensemble.main, [str(run_dir), str(Run.shipped("ferplus").path)])
    assert done.exit_code == 2
    assert "Name runs of one data set, protocol and fold" in done.output
