"""What several tests share: one built data set, one tiny trained run, one export per session."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from keras_deep_emotion.runs import Run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest


@pytest.fixture(scope="session")
def benchmark_program():
    """Imports a program of benchmarks/, which is no package, by its name."""

    def imported(name):
        path = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return imported


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Folder of the data sets that this session builds."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def toon_faces_dir(data_dir):
    """`data_dir` with toon_faces built in its paper protocol."""
    from keras_deep_emotion.data.building import build_dataset

    list(build_dataset("toon_faces", data_dir=data_dir))
    return data_dir


@pytest.fixture(scope="session")
def run_dir(toon_faces_dir, tmp_path_factory):
    """A run folder of two epochs on toon_faces."""
    from keras_deep_emotion.config import TrainConfig
    from keras_deep_emotion.training.single_machine import fit

    folder = tmp_path_factory.mktemp("runs") / "toon"
    fit(
        TrainConfig.from_recipe("paper", dataset="toon_faces", epochs=2, seed=1),
        folder,
        toon_faces_dir,
    )
    return folder


@pytest.fixture(scope="session")
def export_dir(run_dir, tmp_path_factory):
    """The run, exported as version 1."""
    from keras_deep_emotion.serving.export import export_run

    return export_run(run_dir, parent=tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="session")
def reproduced(toon_faces_dir, tmp_path_factory):
    """(folder, table) of `reproduce` on toon_faces: every protocol and fold, one epoch each."""
    from keras_deep_emotion.experiments.reproduction import reproduce

    folder = tmp_path_factory.mktemp("reproduced")
    changes = {"recipe": "paper", "epochs": 1, "batch_size": 64}
    return folder, reproduce(["toon_faces"], folder, data_dir=toon_faces_dir, **changes)


@pytest.fixture(scope="session")
def fer2013_dir(data_dir):
    """`data_dir` with the real FER-2013 built, in both labellings."""
    source = os.environ.get("FER2013_DIR")
    if not source:
        pytest.skip("FER2013_DIR names no folder with the real fer2013.csv")
    from keras_deep_emotion.data.building import build_dataset

    list(build_dataset("fer2013", Path(source), data_dir))
    return data_dir


@pytest.fixture(scope="session")
def detector():
    """The detector of faces."""
    from keras_deep_emotion.images.faces import Detector

    return Detector()


@pytest.fixture(scope="session")
def ferplus():
    """The shipped weights of FER-2013, opened."""
    from keras_deep_emotion.inference.loading import load_folder

    return load_folder(Run.shipped("ferplus").path)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium, see `chromium`."""
    from chromium import CHROMIUM, DRIVER, chromium

    if not (CHROMIUM.is_file() and DRIVER.is_file()):
        pytest.skip("Chromium is not installed: apt-get install chromium chromium-driver")
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture(scope="session")
def run_without():
    """Run a command in a process that lacks a package: `run_without("mtcnn", "predict", ...)`."""

    def run(package, *arguments):
        code = (
            "import sys, importlib.util as u; real = u.find_spec\n"
            f"u.find_spec = lambda name, *a: None if name == {package!r} else real(name, *a)\n"
            "from keras_deep_emotion.cli import main\n"
            f"main({list(arguments)!r})"
        )
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    return run
