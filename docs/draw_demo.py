"""Take docs/demo.png, a picture of the demo's page, in Chromium.

`PYTHONPATH=tests python docs/draw_demo.py`
"""

import io
import tempfile
from pathlib import Path

from chromium import chromium, set_screen
from PIL import Image
from selenium.webdriver.support.ui import WebDriverWait

from keras_deep_emotion.cli.demo import model_sentence
from keras_deep_emotion.cli.options import ModelChoice
from keras_deep_emotion.demo import Demo
from keras_deep_emotion.images import Detector

ROOT = Path(__file__).parent.parent
WIDTH, HEIGHT = 1280, 1080  # pixels
EXAMPLE = "#examples button:nth-child(2)"  # Eileen Collins
READY = "return document.querySelector('.heat') && !document.querySelector('.tile.waits')"


def main() -> None:
    """Open the page, click an example, and save a picture of the answer."""
    choice = ModelChoice(None, "ferplus", None, 30.0, None, False)
    with (
        tempfile.TemporaryDirectory() as profile,
        Demo(choice.open(), Detector(), model_sentence(choice), port=0) as page,
        chromium(profile) as browser,
    ):
        set_screen(browser, WIDTH, HEIGHT)
        browser.get(page.url)
        wait = WebDriverWait(browser, 60)
        wait.until(lambda _: browser.find_elements("css selector", EXAMPLE))[0].click()
        wait.until(lambda _: browser.execute_script(READY))
        picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    # A palette makes the file half as large.
    picture.quantize().save(ROOT / "docs" / "demo.png", optimize=True)


if __name__ == "__main__":
    main()
