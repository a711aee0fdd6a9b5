"""What the environment holds does not reach into a command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SHADOWS = ("keras", "tensorflow", "numpy", "click", "test", "tempfile")
# Environment variables, each set as somebody has it; None: not set.
ENVIRONMENTS = {
    "locale C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "no home": {"HOME": None},
    "a home that cannot be written": {"HOME": "/proc/none", "MPLCONFIGDIR": "/proc/none"},
    "no TMPDIR": {"TMPDIR": "/none"},
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "without docstrings": {"PYTHONOPTIMIZE": "2"},
    "a narrow terminal": {"COLUMNS": "20", "TERM": "dumb", "NO_COLOR": "1"},
    "no width": {"COLUMNS": "0"},
    "no threads": {"OMP_NUM_THREADS": "0"},
    "no such backends": {"KERAS_BACKEND": "torch", "MPLBACKEND": "TkAgg"},
    "no such data": {"TFDS_DATA_DIR": "/proc/none", "TZ": "Mars/Phobos"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a crop, modules named as others are, and a home with a keras.json."""
    folder = tmp_path_factory.mktemp("environment")
    Image.linear_gradient("L").resize((48, 48)).save(folder / "face.png")
    for name in SHADOWS:
        (folder / f"{name}.py").write_text(f"raise SystemExit('{name} of the current folder')")
    (folder / ".keras").mkdir()
    settings = {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first"}
    (folder / ".keras" / "keras.json").write_text(json.dumps(settings | {"epsilon": 0.001}))
    return folder


def run_command(*arguments, cwd, **variables):
    """Run a command in a folder with changed variables; return what it printed."""
    environment = {**os.environ, **variables}
    environment = {name: value for name, value in environment.items() if value is not None}
    done = subprocess.run(
        [sys.executable, ROOT / "cli.py", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    errors = re.sub(r".* \.\.\. \d:\d\d:\d\d\n", "", done.stderr)  # what takes long says so
    assert (done.returncode, errors) == (0, ""), done.stdout + done.stderr
    return done.stdout


PREDICT = ("predict", "--faces", "none", "--csv", "face.png")


@pytest.fixture(scope="module")
def expected(folder):
    """What the command prints in this environment."""
    return run_command(*PREDICT, cwd=folder)


@pytest.mark.parametrize("variables", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_predictions_are_the_same_in_any_environment(variables, folder, expected):
    assert run_command(*PREDICT, cwd=folder, **variables) == expected
    assert "predict" in run_command("--help", cwd=folder, **variables)


@pytest.mark.slow
def test_a_training_is_the_same_in_any_environment(folder, tiny_faces_dir, tmp_path):
    def train(name, **variables):
        options = ("--recipe", "paper", "--no-transformer", "--epochs", "2")
        folders = ("--data-dir", tiny_faces_dir, "--run-dir", tmp_path / name)
        run_command("fit", "--dataset", "toon_faces", *options, *folders, cwd=folder, **variables)
        history = pd.read_csv(tmp_path / name / "history.csv")
        return history.drop(columns="images_per_second")

    variables = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1", "HOME": "."}
    variables |= {"TF_USE_LEGACY_KERAS": "1", "PYTHONWARNINGS": "error", "PYTHONOPTIMIZE": "2"}
    expected = train("expected", HOME=str(tmp_path))
    assert len(expected) == 2
    pd.testing.assert_frame_equal(train("found", **variables), expected, rtol=1e-5)
    made = [path.name for path in (tmp_path / "found").rglob("*")]
    assert made and not [name for name in made if {*name} & {*'<>:"|?*\\'}]  # not on Windows


@pytest.mark.slow
def test_an_export_is_verified_beside_modules_named_as_others_are(folder, tmp_path):
    """Its loader runs in a process of its own; the folder's name looks like a pattern."""
    exports = tmp_path / "run [2024]"
    options = ("--weights", "ferplus-paper", "--exports", exports)
    said = run_command("export", *options, cwd=folder)
    assert f"exported and verified: {exports / 'ferplus-paper' / '1'}" in said


WINDOWS = """
import importlib, os, pkgutil, signal, sys
sys.modules.update(dict.fromkeys(["fcntl", "pwd", "grp", "resource"]))  # cannot be imported
for module, names in (
    (os, ["fork", "geteuid", "getuid", "mkfifo", "killpg", "setsid"]),
    (signal, ["SIGALRM", "SIGHUP", "setitimer", "ITIMER_REAL"]),
):
    for name in names:
        delattr(module, name)
import keras_deep_emotion, tfds_builders
for package in (keras_deep_emotion, tfds_builders):
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(info.name)
from keras_deep_emotion.cli import main
main(sys.argv[1:])
"""


@pytest.mark.slow
def test_without_what_only_posix_has_every_module_imports_and_predicts(folder):
    command = ("predict", "--faces", "none", "--csv", folder / "face.png")
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS, *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == run_command(*command, cwd=ROOT)
