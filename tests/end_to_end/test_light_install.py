"""The guide's installation without TensorFlow, in an environment of its own."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "phones-boards-browsers.md"


@pytest.mark.slow
def test_photos_are_predicted_without_tensorflow_installed(tmp_path):
    text = GUIDE.read_text().split("## Raspberry Pi")[1].split("\n## ")[0]
    (install,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"

    def run(*command):
        done = subprocess.run([python, *command], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    lock = ["--quiet", "--constraint", str(ROOT / "requirements.lock")]
    for line in install.splitlines():
        arguments = line.replace("FOLDER_OR_WHEEL", str(ROOT)).split()[1:]
        run("-m", "pip", *arguments, *lock)
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg")
    assert run("-c", example).startswith("happiness [")
    assert "happiness" in run(python.with_name("keras-deep-emotion"), "predict", "photo.jpg")
    installed = run("-m", "pip", "list")
    for name in ("tensorflow", "keras ", "pandas", "matplotlib"):
        assert f"\n{name}" not in installed
    size = subprocess.run(
        ["du", "-sm", tmp_path / "venv" / "lib"], capture_output=True, text=True, check=True
    )
    assert int(size.stdout.split()[0]) < 500  # MB; with TensorFlow 2,800
