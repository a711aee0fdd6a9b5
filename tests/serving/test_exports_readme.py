"""The examples of exports/README.md, run as they stand against a server."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from skimage import data

from keras_deep_emotion.serving.local_server import LocalServer
from tfds_builders.contract import EMOTIONS

PAGE = (Path(__file__).parents[2] / "exports" / "README.md").read_text()


@pytest.fixture(scope="module")
def ports(export_dir):
    with LocalServer(export_dir.parent, "ferplus", port=0, rest_port=0) as running:
        yield running.port, running.rest_port


def example(language, number, ports):
    """A block of the page, with the ports of this server."""
    text = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number]
    rpc, rest = ports
    return text.replace("localhost:8500", f"127.0.0.1:{rpc}").replace(
        "localhost:8501", f"127.0.0.1:{rest}"
    )


def run(command, folder):
    Image.new("L", (60, 60), 90).save(folder / "face.png")
    Image.fromarray(data.astronaut()).save(folder / "photo.jpg")
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(ports, tmp_path):
    got = [
        json.loads(run(["sh", "-c", example("sh", number, ports)], tmp_path)) for number in range(5)
    ]
    status, predicted, explained, classified, photo = got
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    (row,) = predicted["predictions"]
    assert row["valid"] and row["class_name"] in EMOTIONS
    assert len(explained["outputs"]["saliency"][0]) == 48
    assert [label for label, _ in classified["results"][0]] == list(EMOTIONS)
    (row,) = photo["predictions"]
    assert row["faces"] == 1 and row["valid"]
    assert row["boxes"][0] == pytest.approx([178, 63, 90, 113], abs=6)


@pytest.mark.parametrize(("number", "lines"), [(0, 2), (1, 5)])
def test_python(number, lines, ports, tmp_path):
    printed = run([sys.executable, "-c", example("python", number, ports)], tmp_path)
    assert len(printed.splitlines()) >= lines
    assert any(emotion in printed for emotion in EMOTIONS)
