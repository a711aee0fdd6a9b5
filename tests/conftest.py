"""What tests share: one built data set, one small run, one export, built once for all workers."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # before TensorFlow starts its threads; children too
    # Not TensorFlow's inter-op threads: a server must load a version while it runs another.
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(name, "1")
    # A shell that starts the tests with `&` or `nohup` has them, and what they start, ignore Ctrl-C
    # or SIGHUP.
    for name in ("SIGINT", "SIGHUP"):
        if signal.getsignal(getattr(signal, name)) == signal.SIG_IGN:
            signal.signal(getattr(signal, name), signal.SIG_DFL)

import pytest
from filelock import FileLock


def pytest_xdist_auto_num_workers():
    """Two workers where there are two cores or more."""
    return min(2, os.cpu_count() or 1)


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Make a folder once for all workers: `shared("name", make)` calls `make(folder)`."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def folder_of(name, make):
        folder, done = root / "shared" / name, root / "shared" / f"{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(root / "shared" / f"{name}.lock"):
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return folder_of


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
def toon_faces_dir(shared):
    """A folder with toon_faces in protocol `standard`: 2,520 pictures, 504 of them for the test."""
    from keras_deep_emotion.data.building import build_dataset

    return shared(
        "toon_faces", lambda folder: list(build_dataset("toon_faces/standard", data_dir=folder))
    )


@pytest.fixture(scope="session")
def tiny_faces_dir(shared):
    """toon_faces of 84 pictures in both protocols (63, 7 and 14; 14 a fold), to train quickly."""
    from few_faces import few_toon_faces

    from keras_deep_emotion.data.building import build_dataset

    def build(folder):
        with few_toon_faces():
            list(build_dataset("toon_faces", data_dir=folder))

    return shared("tiny_faces", build)


@pytest.fixture(scope="session")
def run_config():
    """The settings of `run_dir`."""
    from keras_deep_emotion.config import TrainConfig

    return TrainConfig.from_recipe("paper", dataset="toon_faces", epochs=2, seed=1)


@pytest.fixture(scope="session")
def run_dir(toon_faces_dir, run_config, shared):
    """A run of two epochs on toon_faces, half of whose predictions are right; never changed."""
    from keras_deep_emotion.training.single_machine import fit

    return shared("toon", lambda folder: fit(run_config, folder, toon_faces_dir))


@pytest.fixture(scope="session")
def export_dir(run_dir, shared):
    """The run, exported as version 1."""
    from keras_deep_emotion.serving.export import export_run

    return shared("exports", lambda folder: export_run(run_dir, parent=folder)) / "toon_faces" / "1"


# Settings of a training in half the time, where the network does not matter.
SMALL = {"epochs": 1, "batch_size": 64, "image_size": 32, "transformer": False}


@pytest.fixture(scope="session")
def small_settings():
    """Settings of the quickest training of recipe `paper`."""
    return SMALL


@pytest.fixture(scope="session")
def reproduced(tiny_faces_dir, shared):
    """(folder, table) of `reproduce` on tiny faces: every protocol and fold, `SMALL`."""
    import pandas as pd

    from keras_deep_emotion.experiments.reproduction import reproduce

    settings = {"recipe": "paper", "data_dir": tiny_faces_dir, **SMALL}
    folder = shared("reproduced", lambda folder: reproduce(["toon_faces"], folder, **settings))
    table = pd.read_csv(folder / "reproduction.csv", dtype=str, keep_default_na=False)
    return folder, table


@pytest.fixture(scope="session")
def fer2013_dir(shared):
    """A folder with the real FER-2013, in both labellings."""
    source = os.environ.get("FER2013_DIR")
    if not source:
        pytest.skip("FER2013_DIR names no folder with the real fer2013.csv")
    from keras_deep_emotion.data.building import build_dataset

    return shared("fer2013", lambda folder: list(build_dataset("fer2013", Path(source), folder)))


@pytest.fixture(scope="session")
def detector():
    """The detector of faces."""
    from keras_deep_emotion.images.faces import Detector

    return Detector()


@pytest.fixture(scope="session")
def ferplus():
    """The shipped weights of FER-2013, opened."""
    from keras_deep_emotion import load

    return load("ferplus")


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


@pytest.fixture
def no_port():
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
