"""The command `serve`, and the container's command."""

import csv
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from local_servers import wait_until

from keras_deep_emotion.cli import main, options
from keras_deep_emotion.serving.docker import docker_command, engine_available
from keras_deep_emotion.stopping import SIGNALS

ROOT = Path(__file__).parents[2]


def serve(*arguments, **kwargs):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "cli.py", "serve", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def invoke(*arguments):
    """The command in this process, whose signal handlers are kept."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        return CliRunner().invoke(main, ["serve", *map(str, arguments)])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "option"), [(signal.SIGINT, "--local"), (signal.SIGTERM, "--stand-in")]
)
def test_the_command_serves_until_a_signal(shared_folder, number, option):
    with serve(shared_folder, option, "--port", 0, "--rest-port", 0) as process:
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[:2] == [
            f"Local server, for development only: in production serve {shared_folder} with "
            "tensorflow/serving.\n",
            "face: version 1 is served.\n",
        ]
        url = re.fullmatch(r"REST: (http://127\.0\.0\.1:\d+/v1/models/face)\n", lines[2])[1]
        assert re.fullmatch(r"gRPC: 127\.0\.0\.1:\d+\n", lines[3])
        with urllib.request.urlopen(url, timeout=30) as response:
            assert json.load(response)["model_version_status"][0]["state"] == "AVAILABLE"
        begun = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - begun < 2
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["{folder}/none"], 1, "none is not an export: it has no versions"),
        (["{folder}/.."], 1, "`keras-deep-emotion export RUN` makes one; name exports/NAME"),
        (["{folder}", "--label", "stable"], 2, "'stable' is not like stable=2"),
        (["{folder}", "--name", "a/b"], 2, "letters, digits, _, . and - only."),
        (["{folder}", "--port", "8501"], 2, "--port and --rest-port are both 8501."),
        (
            ["{folder}", "--docker", "--keep", "2"],
            2,
            "--keep is an option of the local server: add --local.",
        ),
        (["{folder}", "--docker", "--timeout", "2"], 2, "--timeout is an option of the local"),
        (
            ["{folder}", "--local", "--rest-port", "0", "--host", "192.0.2.1"],
            1,
            "192.0.2.1 is no address of this machine; name another with --host.",
        ),
    ],
)
def test_mistakes_at_the_terminal(shared_folder, arguments, status, says):
    arguments = [argument.replace("{folder}", str(shared_folder)) for argument in arguments]
    result = invoke(*arguments)
    assert result.exit_code == status, result.output
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra(shared_folder, missing, monkeypatch):
    """It is said before TensorFlow is loaded."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == missing else find_spec(name)
    )
    monkeypatch.delitem(sys.modules, "keras_deep_emotion.serving.local_server", raising=False)
    monkeypatch.delattr(options, "load_tensorflow")
    result = invoke(shared_folder, "--local")
    assert result.exit_code == 1
    assert result.output == (
        "Error: The local server needs Starlette and uvicorn: pip install "
        "'starlette>=0.40' 'uvicorn>=0.30'\n"
    )


def test_help_does_not_show_the_former_name():
    result = invoke("--help")
    assert "--docker / --local" in result.output and "stand-in" not in result.output


def test_the_containers_command():
    assert docker_command("/models of mine/face", "face") == [
        *("docker", "run", "--rm", "--init"),
        *("--publish", "127.0.0.1:8500:8500", "--publish", "127.0.0.1:8501:8501"),
        *("--mount", 'type=bind,"source=/models of mine/face",target=/models/face,readonly'),
        *("--env", "MODEL_NAME=face"),
        "tensorflow/serving",
    ]
    command = docker_command("/m/face", "face", 3, "::1", 9000, 9001)
    assert command[5:8:2] == ["[::1]:9000:8500", "[::1]:9001:8501"]
    assert command[9] == 'type=bind,"source=/m/face/3",target=/models/face/3,readonly'


def test_the_container_gets_a_folder_of_any_name():
    folder = '/a:b, "c" [1]'
    mount = docker_command(folder, "face")[9]
    # Docker reads a mount as a line of CSV.
    assert next(csv.reader([mount]))[1] == f"source={folder}"


def fake_docker(folder, version_status):
    """A `docker` of ours: it answers `version`, and as a container it waits to be ended."""
    folder.mkdir()
    script = folder / "docker"
    script.write_text(
        f"#!/bin/sh\nif [ $1 = version ]; then exit {version_status}; fi\n"
        f'echo "$@" > {folder}/arguments\nexec sleep 60\n'
    )
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_an_engine_that_answers_gets_the_container(shared_folder, tmp_path):
    environment = fake_docker(tmp_path / "bin", 0)
    with serve(shared_folder, "--port", 8600, env=environment) as process:
        line = process.stdout.readline()
        assert line.startswith("docker run --rm --init --publish 127.0.0.1:8600:8500 ")
        written = tmp_path / "bin" / "arguments"
        wait_until(lambda: written.exists() and written.read_text().endswith("\n"))
        assert f"docker {written.read_text()}".split() == " ".join(shlex.split(line)).split()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_an_engine_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake_docker(tmp_path / "bin", 1)["PATH"])
    assert not engine_available()
    monkeypatch.setenv("PATH", "/nowhere")
    assert not engine_available()
