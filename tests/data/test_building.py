"""Interrupted builds are discarded, and the next build succeeds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from few_faces import few_toon_faces
from tensorflow_datasets.core import shuffle

from keras_deep_emotion.data.building import build_dataset, limit_shuffle_memory
from keras_deep_emotion.data.reading import data_path, open_dataset, read_examples, tfds_builder
from keras_deep_emotion.data.task import Task

ROOT = Path(__file__).parents[2]


def start(data_dir):
    return subprocess.Popen(
        [
            sys.executable,
            "cli.py",
            "build-data",
            "toon_faces/standard",
            "--data-dir",
            str(data_dir),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell that starts the tests with `&` has them, and what they start, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until_writing(data_dir):
    deadline = time.monotonic() + 60
    while not list(data_dir.glob("toon_faces/standard/incomplete.*")):
        assert time.monotonic() < deadline, "the build never began"
        time.sleep(0.1)
    time.sleep(1)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_is_not_taken_for_whole(sign, tmp_path):
    process = start(tmp_path)
    wait_until_writing(tmp_path)
    os.kill(process.pid, sign)
    output = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    assert "Traceback" not in output
    left = list(tmp_path.glob("toon_faces/standard/incomplete.*"))
    assert len(left) == (1 if sign == signal.SIGKILL else 0)
    with pytest.raises(FileNotFoundError, match="toon_faces is not built in"):
        open_dataset(Task.parse("toon_faces"), tmp_path)
    # What a killed build left goes with the next one, which is whole.
    with few_toon_faces():
        (builder,) = build_dataset("toon_faces/standard", data_dir=tmp_path)
    assert sum(split.num_examples for split in builder.info.splits.values()) == 84
    names = {path.name for path in (tmp_path / "toon_faces" / "standard").iterdir()}
    assert names == {"1.0.0", ".lock"}


@pytest.mark.slow
def test_two_builds_at_once_make_one(tmp_path):
    processes = [start(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert all("train                     1,764 images" in output for output in outputs)
    assert {path.name for path in (tmp_path / "toon_faces" / "standard").iterdir()} == {
        "1.0.0",
        ".lock",
    }


def test_a_split_of_more_than_256_megabytes_is_sorted_on_disk(tmp_path, monkeypatch):
    """Fails when TFDS no longer has the limit that `limit_shuffle_memory` sets."""
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", shuffle.MAX_MEM_BUFFER_SIZE)
    limit_shuffle_memory()
    assert shuffle.MAX_MEM_BUFFER_SIZE == 256 * 2**20
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 3)
    shuffler = shuffle.Shuffler(tmp_path, "salt")
    shuffler.add(0, b"abc")
    assert not list(tmp_path.iterdir())
    shuffler.add(1, b"d")
    assert list(tmp_path.iterdir())
    assert sorted(data for _, data in shuffler) == [b"abc", b"d"]


@pytest.mark.parametrize("name", ["run [2024]", "?", "a\\b"])
def test_a_folder_whose_name_looks_like_a_pattern(name, tmp_path):
    other = {"run [2024]": "run 2", "?": "b", "a\\b": "ab"}[name]  # matches the pattern
    for one, takes in ((other, 2), (name, 1)):
        with few_toon_faces(takes):
            list(build_dataset("toon_faces/standard", data_dir=tmp_path / one))
    found = open_dataset(Task.parse("toon_faces"), tmp_path / name)
    assert data_path(found) == tmp_path / name / "toon_faces" / "standard" / "1.0.0"
    assert sum(split.num_examples for split in found.info.splits.values()) == 42
    assert len(list(read_examples(found, "train+validation+test", 48))) == 42
    with pytest.raises(FileNotFoundError) as error:
        open_dataset(Task.parse("jaffe"), tmp_path / name)
    assert f"not built in {tmp_path / name}/jaffe;" in str(error.value)


def test_the_default_folder_is_at_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home [1]"))
    for empty in ("", "~/tensorflow_datasets"):  # an empty variable is not the current folder
        monkeypatch.setenv("TFDS_DATA_DIR", empty)
        builder = tfds_builder("toon_faces", "standard")
        path = tmp_path / "home [1]" / "tensorflow_datasets" / "toon_faces" / "standard" / "1.0.0"
        assert data_path(builder) == path
    assert list(tmp_path.iterdir()) == []
