import dataclasses
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import optuna
import pandas as pd
import pytest
from click.testing import CliRunner

from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.experiments import tuning
from keras_deep_emotion.experiments.tuning import COLUMNS, suggest_settings, tune
from keras_deep_emotion.runs import Run

ROOT = Path(__file__).parents[2]
CONFIG = TrainConfig.from_recipe("paper", epochs=4)


@pytest.fixture
def trained(monkeypatch):
    """Replace training by a formula; the list of (folder, settings) that were trained."""
    done = []

    def train(config, run, data_dir, callbacks):
        done.append((run.path, config))
        accuracy = 0.9 - config.dropout
        for callback in callbacks:
            callback.set_model(FakeModel())
        for epoch in range(config.epochs):
            for callback in callbacks:
                callback.on_epoch_end(epoch, {"val_accuracy": accuracy * (epoch + 1) / 4})
                if callback.model.stop_training:
                    return accuracy * (epoch + 1) / 4
        return accuracy

    class FakeModel:
        stop_training = False

    monkeypatch.setattr(tuning, "train", train)
    return done


@pytest.mark.slow
def test_a_search_shared_by_two_processes_and_continued(tiny_faces_dir, tmp_path):
    common = ["--storage", tmp_path / "journal", "--data-dir", tiny_faces_dir]
    options = ["--recipe", "paper", "--epochs", "1", "--trials", "4", *common]
    workers = [
        subprocess.Popen(
            [sys.executable, "cli.py", "tune", *options, "--output", tmp_path / name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for worker in workers:
        output, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors[-3000:]
        command = f"{sys.executable} cli.py fit --dataset toon_faces --recipe paper "
        assert f"To train with the best: {command}" in output and "--epochs" not in output
    # Called again, a finished search trains nothing more and has every trial.
    before = list(tmp_path.glob("*/trial_*"))
    config = TrainConfig.from_recipe("paper", epochs=1)
    tune(config, tmp_path / "one", 4, tiny_faces_dir, str(tmp_path / "journal"))
    assert list(tmp_path.glob("*/trial_*")) == before
    table = pd.read_csv(tmp_path / "one" / "tuning.csv")
    assert len(table) == 4 and table["val_accuracy"].is_monotonic_decreasing
    assert table["val_accuracy"].between(0, 1).all()
    assert table["val_accuracy"].iloc[0] > 0.1  # of 7 faces
    # Each trial ran in one place, with the settings of the table, and no test split was read.
    ran = {}
    for name in ("one", "two"):
        trials = list((tmp_path / name).glob("trial_*"))
        assert trials, f"process {name} had nothing to do"
        ran.update({trial.name: trial for trial in trials})
    assert not list(tmp_path.glob("*/trial_*/report.json"))
    for row in table.itertuples():
        trial = ran.pop(f"trial_{row.trial}")
        settings = TrainConfig.from_json(trial / "config.json")
        assert settings.learning_rate == pytest.approx(row.learning_rate)
        assert settings.width == row.width
        history = pd.read_csv(trial / "history.csv")
        assert history["val_accuracy"].max() == pytest.approx(row.val_accuracy, abs=1e-6)
    assert not ran


def test_a_seed_gives_one_search_and_a_stopped_one_continues(tiny_faces_dir, tmp_path, trained):
    whole = tune(CONFIG, tmp_path / "whole", 6, tiny_faces_dir)
    assert tuple(whole.columns) == COLUMNS
    assert sorted(whole["trial"]) == list(range(6))
    assert whole["learning_rate"].nunique() == whole["dropout"].nunique() == 6
    tune(CONFIG, tmp_path / "parts", 2, tiny_faces_dir)
    trained.clear()
    parts = tune(CONFIG, tmp_path / "parts", 6, tiny_faces_dir)
    assert [path.name for path, _ in trained] == [f"trial_{number}" for number in range(2, 6)]
    pd.testing.assert_frame_equal(parts, whole)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "parts" / "tuning.csv"), whole)
    other = dataclasses.replace(CONFIG, seed=1)
    assert tune(other, tmp_path / "other", 1, tiny_faces_dir)["dropout"][0] not in set(
        whole["dropout"]
    )


def test_processes_of_one_storage_share_the_trials(tiny_faces_dir, tmp_path, trained):
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    tune(CONFIG, tmp_path / "one", 2, tiny_faces_dir, storage)
    table = tune(CONFIG, tmp_path / "two", 3, tiny_faces_dir, storage)
    assert [path.relative_to(tmp_path).as_posix() for path, _ in trained] == [
        "one/trial_0",
        "one/trial_1",
        "two/trial_2",
    ]
    assert sorted(table["trial"]) == [0, 1, 2]
    # Other settings are another search in the same storage.
    other = dataclasses.replace(CONFIG, epochs=5)
    assert list(tune(other, tmp_path / "three", 1, tiny_faces_dir, storage)["trial"]) == [0]


@pytest.mark.parametrize("is_shared", [False, True])
def test_an_interrupted_trial_is_repeated_and_counts_once(
    tiny_faces_dir, tmp_path, monkeypatch, trained, is_shared
):
    storage = str(tmp_path / "journal") if is_shared else None
    train, left = tuning.train, []

    def interrupted(config, run, data_dir, callbacks):
        left.append(config)
        (run / Run.BACKUP).write_text("epochs so far")
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(CONFIG, tmp_path / "search", 2, tiny_faces_dir, storage)
    monkeypatch.setattr(tuning, "train", train)
    said = []
    if is_shared:
        # Another process cannot know whether the trial still runs: it leaves it alone.
        table = tune(CONFIG, tmp_path / "other", 2, tiny_faces_dir, storage, said.append)
        assert list(table["trial"]) == [1]
        assert said[-1].startswith("1 trials are running in other processes.")
    table = tune(CONFIG, tmp_path / "search", 2, tiny_faces_dir, storage)
    assert len(table) == 2 and table["val_accuracy"].notna().all()
    repeated = next(path for path, config in trained if config == left[0])
    # It continues from its backup.
    assert (repeated / Run.BACKUP).read_text() == "epochs so far"
    assert repeated.parent.name == "search" and not (tmp_path / "search" / "trial_0").exists()


def test_a_trial_below_the_median_is_pruned(tiny_faces_dir, tmp_path, trained):
    said = []
    config = dataclasses.replace(CONFIG, epochs=8)
    table = tune(config, tmp_path, 12, tiny_faces_dir, announce=said.append)
    pruned = [line for line in said if line.endswith(" (pruned)")]
    assert len(said) == 12 and 1 <= len(pruned) <= 7  # the first five run in full
    assert not any(line.endswith("(pruned)") for line in said[:5])
    # After a quarter of the epochs, the third; its accuracy is that of the best epoch so far.
    for line in pruned:
        row = table[table["trial"] == int(line.split()[1].rstrip(":"))].iloc[0]
        assert row["val_accuracy"] == pytest.approx((0.9 - row["dropout"]) * 3 / 4)
        assert f"val_accuracy {row['val_accuracy']:.4f}" in line


def test_a_failed_trial_is_null_and_three_in_a_row_end_the_search(
    tiny_faces_dir, tmp_path, monkeypatch, trained
):
    train, said = tuning.train, []

    def failing(config, run, data_dir, callbacks):
        if run.path.name in ("trial_1", "trial_3", "trial_4", "trial_5"):
            raise MemoryError("too large")
        return train(config, run, data_dir, callbacks)

    monkeypatch.setattr(tuning, "train", failing)
    table = tune(CONFIG, tmp_path, 3, tiny_faces_dir, announce=said.append)
    assert "trial 1 failed: too large" in said
    assert table["trial"].iloc[-1] == 1 and np.isnan(table["val_accuracy"].iloc[-1])
    with pytest.raises(MemoryError, match="too large"):
        tune(CONFIG, tmp_path, 9, tiny_faces_dir)


def test_the_last_trial_is_started_by_one_of_two_processes(tmp_path, monkeypatch):
    study = tuning.open_study(CONFIG, str(tmp_path / "journal"))
    ask = study.ask

    def ask_after_another():
        monkeypatch.setattr(study, "ask", ask)
        assert tuning.next_trial(study, CONFIG, 1).number == 0
        return ask()

    monkeypatch.setattr(study, "ask", ask_after_another)
    assert tuning.next_trial(study, CONFIG, 1) is None
    assert [trial.number for trial in tuning.counted_trials(study)] == [0]
    assert tuning.next_trial(study, CONFIG, 2).number == 2


def test_a_trial_takes_no_result_of_another_search(tiny_faces_dir, tmp_path, trained):
    """A folder may hold trials of another search, which are numbered from 0 too."""
    other = dataclasses.replace(CONFIG, dropout=0.5)
    Run(tmp_path / "trial_0").write_config(other)
    (tmp_path / "trial_0" / Run.BACKUP).touch()
    tune(CONFIG, tmp_path, 1, tiny_faces_dir)
    assert not (tmp_path / "trial_0" / Run.BACKUP).exists()
    assert Run(tmp_path / "trial_0").config == trained[0][1]


def test_the_space_holds_what_the_paper_tunes():
    values = suggest_settings(optuna.create_study().ask(), TrainConfig())
    assert set(values) == {"learning_rate", "regularization", "dropout", "width"}
    assert TrainConfig(**values)  # all within what a run can have


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--storage", "here://there"], "--storage cannot be opened: "),
        (["--storage", "missing/journal"], "--storage cannot be opened: "),
        (["--dataset", "jaffe"], "JAFFE is not built in"),
        (["--protocol", "deduplicated"], "toon_faces has no protocol 'deduplicated'"),
        (["--seed", "7"], "is a search with other settings: name another --output"),
    ],
)
def test_what_cannot_be_searched_is_refused(tiny_faces_dir, tmp_path, options, says):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "config.json").write_text(TrainConfig().to_json())
    command = ["tune", "--output", tmp_path / "search", "--data-dir", tiny_faces_dir, *options]
    result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exit_code == 1 and says in result.output


def test_a_folder_in_use_is_refused(tiny_faces_dir, tmp_path):
    with filelock.FileLock(tmp_path / ".lock"):
        with pytest.raises(ValueError, match="Another process is searching in .*: name another"):
            tune(CONFIG, tmp_path, 1, tiny_faces_dir)


def test_a_search_has_a_trial_or_more():
    result = CliRunner().invoke(main, ["tune", "--trials", "0"])
    assert result.exit_code == 2 and "'--trials': 0 is not in the range" in result.output


def test_without_the_library_it_names_the_extra(run_without, monkeypatch):
    result = run_without("optuna", "tune")
    assert result.returncode == 1
    assert "Error: Optuna is not installed: pip install 'optuna>=4.0'" in result.stderr
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, tuning.__name__)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'optuna>=4\.0'"):
        import keras_deep_emotion.experiments.tuning  # noqa: F401
