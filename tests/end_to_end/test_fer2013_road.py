"""The whole road on the real FER-2013: build, fit, export, and the same answers from both ends."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_deep_emotion.cli import main
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task

pytestmark = pytest.mark.slow


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_export_answers_as_the_model_on_a_hundred_test_faces(fer2013_dir, tmp_path):
    run_dir = tmp_path / "run"
    output = run(
        "fit", "--dataset", "fer2013", "--recipe", "paper", "--epochs", 1, "--run-dir", run_dir,
        "--data-dir", fer2013_dir,
    )  # fmt: skip
    assert "on 3,573 faces" in output and "; the paper: 70.02 %" in output
    # Predicting the commonest class alone would give 36.1 %.
    assert json.loads((run_dir / "report.json").read_text())["accuracy"] > 0.38

    files = []
    builder = open_dataset(Task.parse("fer2013"), fer2013_dir)
    for example in builder.as_dataset(split="test[:100]"):
        files.append(tmp_path / f"{len(files):03}.png")
        Image.fromarray(example["image"].numpy()[..., 0]).save(files[-1])
    run("export", run_dir, "--exports", tmp_path / "exports")
    export = tmp_path / "exports" / "fer2013"
    from_run, from_export = (
        [
            list(json.loads(line)["probabilities"].values())
            for line in run(
                "predict", "--faces=none", "--json", "--model", model, *files
            ).splitlines()
        ]
        for model in (run_dir, export)
    )
    assert np.shape(from_run) == (100, 7)
    np.testing.assert_allclose(from_export, from_run, atol=1e-4)
    # And both as predictions.csv has it, which was made from the TFRecords.
    import pandas as pd

    table = pd.read_csv(run_dir / "predictions.csv")
    np.testing.assert_allclose(from_run, table.iloc[:100, 3:], atol=1e-4)
