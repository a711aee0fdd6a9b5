"""The wheel in an environment of its own, away from the checkout, and the sdist."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the sdist, and the wheel that was made of it."""
    folder = tmp_path_factory.mktemp("dist")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--out-dir", folder, ROOT], check=True)
    return folder


@pytest.fixture(scope="module")
def script(built, tmp_path_factory):
    """The wheel's console script, in an environment whose other packages are those of this one."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    # -I: without the folders of PYTHONPATH, in which pip would find this checkout installed.
    install = ["-I", "-m", "pip", "install", "--quiet", "--no-deps", wheel]
    subprocess.run([python, *install], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # The .pth files of those packages, such as this checkout's, are not read.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    found = subprocess.run(
        [python, "-c", "import keras_deep_emotion; print(keras_deep_emotion.__file__)"],
        cwd=folder, env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()).is_relative_to(packages)
    return python.with_name("keras-deep-emotion")


def test_the_first_commands_work_from_the_wheel(script, tmp_path):
    environment = {"PATH": f"{script.parent}:{os.defpath}", "HOME": str(tmp_path)}

    def run(*arguments):
        done = subprocess.run(
            ["keras-deep-emotion", *map(str, arguments)], cwd=tmp_path, env=environment,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg")
    assert "happiness" in run("predict", "photo.jpg")
    random = np.random.default_rng(0)
    for emotion in ("anger", "happiness"):
        for i in range(20):
            path = tmp_path / "faces" / emotion / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            levels = random.integers(0, 128, (48, 48)) + 128 * (emotion == "anger")
            Image.fromarray(levels.astype(np.uint8)).save(path)
    name = re.search(r"folder/faces\w*", run("build-data", "folder", "--source", "faces"))[0]
    said = run("fit", "--dataset", name, "--recipe", "paper", "--epochs", 1)
    (run_dir,) = tmp_path.glob("runs/folder-faces*-paper-2*")
    assert str(run_dir.relative_to(tmp_path)) in said
    said = run("export", "--weights", "ferplus-paper")
    for name in ("models.config", "compose.yaml", "batching.config", "monitoring.config"):
        assert (tmp_path / "exports" / name).is_file()
        assert f"wrote exports/{name}\n" in said
    command = "keras-deep-emotion serve exports/ferplus-paper --local --port 0 --rest-port 0"
    with subprocess.Popen(
        command.split(), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            lines = "".join(server.stdout.readline() for _ in range(4))
            url = re.search(r"REST: (http://\S+)/v1/models/", lines)[1]
            assert "happiness" in run("predict", "--server", f"{url}/ferplus-paper", "photo.jpg")
        finally:
            server.terminate()


def test_the_sdist_holds_what_its_tests_need(built, tmp_path):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    tests = ["tests/end_to_end/test_readme.py", "tests/test_architecture.py", "tests/test_files.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
