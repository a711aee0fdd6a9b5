"""Bulk scoring on several machines: a Dask scheduler with two workers, one of them killed."""

import contextlib
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_deep_emotion.cli import main

pytest.importorskip("distributed")
ROOT = Path(__file__).parents[2]
FACES = 80


@pytest.fixture
def faces(tmp_path):
    """Folder of drawn faces."""
    folder, random = tmp_path / "faces", np.random.default_rng(0)
    folder.mkdir()
    for i in range(FACES):
        small = Image.fromarray(random.integers(0, 256, (6, 6, 3)).astype(np.uint8))
        small.resize((56, 56)).save(folder / f"{i:02d}.png")
    return folder


@contextlib.contextmanager
def started(*command, log, **environment):
    """A process of Dask's; killed in the end."""
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *command],
            cwd=log.parent,
            stdout=file,
            stderr=file,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **environment,
            },
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def scoring(*arguments, address):
    """The command `score`, started, on a Dask scheduler."""
    dask = ("--runner", "dask", "--", f"--dask_client_address={address}")
    return subprocess.Popen(
        [sys.executable, "cli.py", *arguments, *dask],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, log):
    """Wait for up to five minutes; show the end of a log if it takes longer."""
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.01)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.slow
def test_two_workers_one_of_them_killed(faces, export_dir, tmp_path, no_port):
    arguments = ["score", str(export_dir), "--input", str(faces), "--part-size", "1"]
    alone = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "alone")])
    assert alone.exit_code == 0, alone.output

    address, output = f"tcp://127.0.0.1:{no_port}", tmp_path / "dask"
    quiet, log = ("--no-dashboard", "--host", "127.0.0.1"), tmp_path / "scheduler.log"
    worker = ("worker", address, "--no-nanny", "--nthreads", "1", *quiet)
    with (
        started("scheduler", "--port", str(no_port), *quiet, log=log),
        started(*worker, log=tmp_path / "one.log") as killed,
        started(*worker, log=tmp_path / "two.log") as kept,
    ):
        wait_for(lambda: log.read_text().count("Register worker") == 2, log)
        client = scoring(*arguments, "--output", str(output), address=address)
        # Both have scored a part: each opens the model once, and says on which part it works.
        wait_for(lambda: len(list(output.glob("part-*"))) >= 4, log)
        killed.kill()
        assert len(list(output.glob("part-*"))) < FACES
        stdout, stderr = client.communicate(timeout=300)
        assert kept.poll() is None
    assert client.returncode == 0, stderr
    assert killed.returncode == -9 and "Remove worker" in log.read_text()
    assert files(output) == files(tmp_path / "alone")
    # Of Dask, which logs that a worker is lost, the screen shows nothing.
    first, *others = stderr.splitlines()
    assert first == f"inputs: {FACES}, parts: {FACES}"
    assert all(line.startswith("parts done: ") for line in others)
    assert stdout.splitlines()[-1] == f"inputs: {FACES}, scored: {FACES}, damaged: 0"


@pytest.mark.slow
def test_parts_whose_workers_die_are_given_up(faces, export_dir, tmp_path, no_port):
    address, output = f"tcp://127.0.0.1:{no_port}", tmp_path / "dask"
    quiet, log = ("--no-dashboard", "--host", "127.0.0.1"), tmp_path / "scheduler.log"
    once = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    worker = ("worker", address, "--no-nanny", "--nthreads", "1", *quiet)
    with (
        started("scheduler", "--port", str(no_port), *quiet, log=log, **once),
        started(*worker, log=tmp_path / "worker.log") as killed,
    ):
        client = scoring(
            "score", str(export_dir), "--input", str(faces), "--part-size", "1",
            "--output", str(output), address=address,
        )  # fmt: skip
        wait_for(lambda: any(output.glob("part-*")), log)
        killed.kill()
        _, stderr = client.communicate(timeout=300)
    assert client.returncode == 1
    error = stderr.splitlines()[-1]
    assert error.startswith("Error: Dask gave up: every worker that took one of the parts died, ")
    assert error.endswith("finished parts are kept, and the same command continues the job.")
    assert any(output.glob("part-*")) and "Traceback" not in stderr


def test_mistakes(faces, export_dir, tmp_path, monkeypatch):
    def said(*options):
        arguments = [export_dir, "--input", faces, "--output", tmp_path / "out", *options]
        result = CliRunner().invoke(main, ["score", *map(str, arguments)])
        assert result.exit_code == 1 and not (tmp_path / "out").exists()
        return result.stderr

    assert said("--runner", "Dask") == (
        "Error: Which scheduler? Start one with `dask scheduler`, and name it after `--`: "
        "--runner dask -- --dask_client_address=tcp://HOST:8786.\n"
    )
    refused = said("--runner", "dask", "--", "--dask_client_address=x", "--dask_npartitions=two")
    assert "argument --dask_npartitions: invalid int value: 'two'." in refused
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "distributed" else real(name)
    )
    absent = said("--runner", "dask")
    assert absent.startswith("Error: Dask is not installed: pip install 'apache-beam>=")
    assert "'dask>=" in absent and "'distributed>=" in absent
