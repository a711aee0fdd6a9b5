import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.experiments.tuning import search_space, tune

ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_a_search_shared_by_two_workers_and_read_again(toon_faces_dir, tmp_path):
    address = f"127.0.0.1:{free_port()}"
    options = ["--recipe", "paper", "--epochs", "1", "--trials", "4", "--data-dir", toon_faces_dir]
    chief, *workers = (
        subprocess.Popen(
            [sys.executable, "cli.py", "tune", *options, "--output", tmp_path / role, way, address],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for role, way in (("chief", "--serve"), ("one", "--join"), ("two", "--join"))
    )
    for worker in workers:
        output, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors[-3000:]
        assert "The search is over" in output
    output, errors = chief.communicate(timeout=60)
    assert chief.returncode == 0, errors[-3000:]
    table = pd.read_csv(tmp_path / "chief" / "tuning.csv")
    assert len(table) == 4 and table["val_accuracy"].is_monotonic_decreasing
    assert table["val_accuracy"].between(0.1, 1).all()
    assert "To train with the best: python cli.py fit --recipe paper --learning-rate" in output
    # Each trial ran in one place, with the settings of the table, without a look at the test.
    ran = {}
    for role in ("one", "two"):
        trials = list((tmp_path / role).glob("trial_*"))
        assert trials, f"worker {role} had nothing to do"
        ran.update({trial.name: trial for trial in trials})
    assert not list(tmp_path.glob("*/trial_*/report.json"))
    for row in table.itertuples():
        trial = ran.pop(f"trial_{row.trial}")
        config = json.loads((trial / "config.json").read_text())
        assert config["learning_rate"] == pytest.approx(row.learning_rate)
        assert config["width"] == row.width
        history = pd.read_csv(trial / "history.csv")
        assert history["val_accuracy"].max() == pytest.approx(row.val_accuracy, abs=1e-6)
    assert not ran
    # Called again, a search that is done trains nothing more.
    again = tune(TrainConfig.from_recipe("paper", epochs=1), tmp_path / "chief", 4, toon_faces_dir)
    assert list(again["val_accuracy"]) == pytest.approx(list(table["val_accuracy"]))
    assert not list((tmp_path / "chief").glob("trial_*"))


def test_a_trial_takes_no_score_of_another_search(toon_faces_dir, tmp_path):
    """A machine that joins keeps its folder, and each search numbers its trials from 0."""

    def search(seed, output):
        config = TrainConfig.from_recipe("paper", epochs=1, seed=seed, batch_size=512)
        return tune(config, output, 1, toon_faces_dir).iloc[0].to_dict()

    first = search(0, tmp_path / "a")
    for left in ("search", "config.json"):
        path = tmp_path / "a" / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    second = search(1, tmp_path / "a")
    assert second["learning_rate"] != first["learning_rate"]
    assert second == search(1, tmp_path / "b")  # and seed 1 is one search, not each time another


def test_the_space_holds_what_the_paper_tunes():
    values = search_space(TrainConfig()).values
    assert set(values) == {"learning_rate", "regularization", "dropout", "width"}
    assert TrainConfig(**values)  # all within what a run can have


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--serve", "here", "--join", "there"], "either serves a search or joins one"),
        (["--join", "there"], "An address must be HOST:PORT. Received: there"),
        (["--dataset", "jaffe"], "JAFFE is not built in"),
        (["--protocol", "deduplicated"], "toon_faces has no protocol 'deduplicated'"),
        (["--seed", "7"], "is a search with other settings: name another --output"),
    ],
)
def test_what_cannot_be_searched_is_refused(toon_faces_dir, tmp_path, options, says):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "config.json").write_text(TrainConfig().to_json())
    command = ["tune", "--output", tmp_path / "search", "--data-dir", toon_faces_dir, *options]
    result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exit_code == 1 and says in result.output


def test_a_search_has_a_trial_or_more():
    result = CliRunner().invoke(main, ["tune", "--trials", "0"])
    assert result.exit_code == 2 and "'--trials': 0 is not in the range" in result.output


def test_without_the_library_it_names_the_extra(toon_faces_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_tuner", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'keras-deep-emotion\[tune\]'"):
        tune(TrainConfig(), tmp_path, 1, toon_faces_dir)
