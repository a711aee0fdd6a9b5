"""Links in a stranger's folder: nothing is written through them."""

import os
import shutil

import pytest

from keras_deep_emotion import files
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.experiments import folds, reproduction, tuning
from keras_deep_emotion.reports.page import write_page
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training import single_machine


@pytest.fixture
def secret(tmp_path):
    """A folder with a file that nobody may change."""
    folder = tmp_path / "secret"
    folder.mkdir()
    (folder / "file").write_text("mine")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert (folder / "file").read_text() == "mine"


@pytest.fixture
def run(tmp_path):
    """A copy of the smaller shipped run."""
    shutil.copytree(Run.shipped("ferplus-paper").path, tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_to_a_file_is_replaced(run, secret, link):
    for name in (Run.PAGE, Run.VERSIONS, Run.HISTORY):
        link(secret / "file", run / name)
    config = run.config
    (run / Run.CONFIG).unlink()
    link(secret / "file", run / Run.CONFIG)
    run.write_config(config)
    files.write_json(run / Run.VERSIONS, {})
    (run / Run.HISTORY).unlink()
    write_page(run)
    for name in (Run.CONFIG, Run.VERSIONS, Run.PAGE):
        assert not (run / name).is_symlink() and (run / name).stat().st_nlink == 1


def test_a_broken_link_creates_nothing_where_it_leads(tmp_path, secret):
    (tmp_path / "report.json").symlink_to(secret / "new")
    files.write_json(tmp_path / "report.json", {})
    assert not (tmp_path / "report.json").is_symlink()


def test_the_sweep_follows_no_link_and_waits_for_no_pipe(tmp_path, secret):
    names = [f"partial.0123456{i}.x" for i in range(3)]
    (tmp_path / names[0]).symlink_to(secret)
    (tmp_path / names[1]).symlink_to(secret / "file")
    os.mkfifo(tmp_path / names[2])
    for name in names:
        os.utime(tmp_path / name, (1, 1), follow_symlinks=False)
    os.utime(secret, (1, 1))
    files.write_text(tmp_path / "x", "")
    assert (tmp_path / "x").exists()


@pytest.mark.parametrize("place", ["logs", "logs/train", "fold_0", "trial_0"])
def test_a_folder_that_is_a_link_is_refused(run, secret, place):
    (run / place).parent.mkdir(exist_ok=True)
    (run / place).symlink_to(secret)
    config = TrainConfig.from_recipe("paper", dataset="toon_faces")
    with pytest.raises(ValueError, match=f"{place} is a link, and nothing is written through"):
        single_machine.train(config, run)
    with pytest.raises(ValueError, match=f"{place} is a link"):
        reproduction.reproduce(["toon_faces"], run.path, data_dir=secret)


def test_all_folds_and_searches_refuse_links(tmp_path, secret, tiny_faces_dir):
    config = TrainConfig.from_recipe("paper", dataset="toon_faces", protocol="subjects")
    run = Run(tmp_path / "run")
    run.write_config(config)
    (run / "fold_0").symlink_to(secret)
    with pytest.raises(ValueError, match="fold_0 is a link"):
        folds.fit_folds(config, run.path, tiny_faces_dir, resumed=True)
    config = TrainConfig.from_recipe("paper", dataset="toon_faces")
    for name in (".lock", "search.journal", "trial_0"):
        search = Run(tmp_path / f"search{name}")
        search.write_config(config)
        (search / name).symlink_to(secret if name == "trial_0" else secret / "file")
        with pytest.raises(ValueError, match=f"{name} is a link"):
            tuning.tune(config, search.path, 1, tiny_faces_dir)


@pytest.mark.parametrize("place", ["job", "job/lock", "job/inputs", "job/counts", "job/partial"])
def test_a_job_writes_through_no_link(tmp_path, secret, place):
    from keras_deep_emotion.scoring.job import exclusive_job

    out = tmp_path / "out"
    (out / place).parent.mkdir(parents=True)
    (out / place).symlink_to(secret / "file" if place == "job/lock" else secret)
    with pytest.raises(ValueError, match="is a link, and nothing is written through links"):
        with exclusive_job(str(out)):
            pass
    (out / place).unlink()
    with exclusive_job(str(out)):
        assert (out / "job" / "lock").exists()


def test_what_is_no_link_is_accepted(run, tmp_path):
    (tmp_path / "link").symlink_to(run.path)  # named by its user
    files.refuse_links(tmp_path / "link")
    files.refuse_links(tmp_path / "none")
    (run / Run.REPORT).rename(tmp_path / "report")
    (run / Run.REPORT).symlink_to(tmp_path / "report")  # read, or replaced
    files.refuse_links(run.path)
