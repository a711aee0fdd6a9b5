"""The example page of docs/guides, opened in a real browser with ONNX Runtime from npm."""

import functools
import http.server
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from skimage import data

from keras_deep_emotion import load
from keras_deep_emotion.cli import main

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder as the guide makes it, and its address."""
    if shutil.which("npm") is None:
        pytest.skip("npm, which the guide needs, is not installed")
    folder = tmp_path_factory.mktemp("site")
    text = (GUIDES / "phones-boards-browsers.md").read_text()
    (package,) = [line.split()[-1] for line in text.splitlines() if "npm pack" in line]
    command = ["npm", "pack", "--silent", "--cache", f"{folder}/cache", package]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with tarfile.open(folder / done.stdout.strip()) as packed:
        packed.extractall(folder, filter="data")
    (folder / "package" / "dist").rename(folder / "ort")
    shutil.copy(GUIDES / "browser.html", folder)
    options = ["--weights", "ferplus", "--format", "onnx", "--exports", str(folder)]
    done = CliRunner().invoke(main, ["export", *options, "--data-dir", str(folder)])
    assert done.exit_code == 0, done.output
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/browser.html"
        server.shutdown()


@pytest.mark.slow
def test_a_browser_answers_as_python_does(site, browser, tmp_path):
    folder, url = site
    model = load("ferplus", runtime="keras")
    face = Image.fromarray(data.astronaut()).crop((160, 40, 290, 190))
    small = face.convert("L").resize((48, 48))
    browser.get(url)
    wait = WebDriverWait(browser, 60)
    wait.until(lambda _: browser.find_element(By.ID, "file").is_enabled())
    for name, image in (
        ("color.png", face),
        ("grey.png", small),
        ("large.jpg", face.resize((700, 900))),
    ):
        image.save(tmp_path / name)
        browser.execute_script("document.getElementById('table').replaceChildren()")
        browser.find_element(By.ID, "file").send_keys(str(tmp_path / name))
        rows = wait.until(lambda _: browser.find_elements(By.TAG_NAME, "tr"))
        got = [float(row.get_attribute("data-probability")) for row in rows]
        (expected,) = model.predict(tmp_path / name)
        np.testing.assert_allclose(got, expected, atol=1e-3)
        assert [row.text.split()[0] for row in rows] == model.labels
        assert browser.find_element(By.ID, "status").text == model.labels[expected.argmax()]
    browser.save_screenshot(str(folder / "page.png"))
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
