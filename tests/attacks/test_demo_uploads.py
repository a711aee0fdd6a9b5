"""The demo: no picture outlives its process, and only its own page is answered."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

pytest.importorskip("gradio")

from keras_deep_emotion.demo import live, uploads
from keras_deep_emotion.demo.uploads import Picture, Pictures

ROOT = Path(__file__).parents[2]
MARK = b"\x89PNG picture that nobody may keep " * 50_000


class Running(NamedTuple):
    """A demo in its own process; `folder` is where it may write."""

    url: str
    folder: Path
    process: subprocess.Popen


@contextlib.contextmanager
def running(folder):
    """A demo, which is killed at the end."""
    environment = os.environ | {"TMPDIR": str(folder), "HOME": str(folder)}
    command = [sys.executable, "cli.py", "demo", "--port", "0", "--allow-host", "demo.example"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        try:
            url = re.search(r"http://\S+", process.stdout.readline())[0]
            yield Running(url, folder, process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A running page."""
    with running(tmp_path_factory.mktemp("demo")) as page:
        yield page


def request(url, method, path, body=None, headers=None):
    """(status, headers, content) of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        with connection.getresponse() as answer:
            return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def upload(url, content, name="me.png", **headers):
    """The answer to a form with a file."""
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x", **headers}
    body = head.encode() + content + b"\r\n--x--\r\n"
    return request(url, "POST", "/gradio_api/upload", body, headers)


def files_with(mark, folder):
    """Files in a folder that contain some bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if mark in path.read_bytes()]


@pytest.mark.slow
def test_a_killed_demo_leaves_no_picture(tmp_path):
    with running(tmp_path) as page:
        for _ in range(3):
            assert upload(page.url, MARK)[0] == 200
        places = [os.readlink(path) for path in Path(f"/proc/{page.process.pid}/fd").glob("*")]
        assert not [place for place in places if str(tmp_path) in place and os.path.isfile(place)]
    assert not files_with(MARK[:99], tmp_path)
    (left,) = tmp_path.glob("deep-emotion-*")
    os.utime(left, (1, 1))
    with running(tmp_path):
        assert not left.exists()  # swept away by the next


def test_no_upload_is_written_or_stays(demo):
    status, _, content = upload(demo.url, MARK)
    (path,) = json.loads(content)
    assert status == 200 and not Path(path).exists()
    status, headers, content = request(demo.url, "GET", f"/gradio_api/file={path}")
    assert (status, content) == (200, MARK) and headers["x-content-type-options"] == "nosniff"
    others = [json.loads(upload(demo.url, b"x")[2])[0] for _ in range(uploads.MAX_FILES)]
    assert request(demo.url, "GET", f"/gradio_api/file={path}")[0] == 404  # the newest stay
    assert request(demo.url, "GET", f"/gradio_api/file={others[0]}")[0] == 200
    assert len({*others}) == len(others)  # of equal files too
    assert not files_with(MARK[:99], demo.folder)


def test_uploads_are_few_small_and_short_lived(monkeypatch):
    monkeypatch.setattr(uploads, "MAX_SIZE", 100)
    monkeypatch.setattr(uploads, "MAX_SECONDS", 0.2)
    pictures = Pictures()
    paths = [pictures.add_upload(Picture(b"x" * 40, "me")) for _ in range(5)]
    assert [pictures.upload(path) is not None for path in paths] == [False] * 3 + [True] * 2
    assert pictures.size() == 80
    time.sleep(0.5)
    assert pictures.size() == 0


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "multipart/form-data", 400),
        (b"", "multipart/form-data; boundary=x", 400),
        (b"{}", "application/json", 400),
        (b"--x\r\n", "multipart/form-data; boundary=x", 400),
        (b"\0" * 100, "multipart/form-data; boundary=x", 400),
        (
            b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\na\r\n--x--\r\n',
            "multipart/form-data; boundary=x",
            400,
        ),
        (
            b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\na\r\n' * 2
            + b"--x--\r\n",
            "multipart/form-data; boundary=x",
            400,
        ),
    ],
)
def test_forms_that_are_no_upload(demo, body, kind, status):
    answer = request(demo.url, "POST", "/gradio_api/upload", body, {"Content-Type": kind})
    assert answer[0] == status and b"Traceback" not in answer[2]


def test_an_upload_that_is_too_large_is_cut_off(demo):
    with contextlib.suppress(ConnectionError):  # it does not wait for the rest
        assert upload(demo.url, bytes(uploads.MAX_FILE_SIZE + 2 * uploads.FORM_SIZE))[0] == 413


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 400), (MARK[:9999], 400), (bytes(live.MAX_FRAME_SIZE + 1), 413)]
)
def test_frames_that_are_no_picture_are_refused_and_not_kept(demo, content, status):
    answer = request(demo.url, "POST", f"/live?camera={'x' * 9999}", content)
    assert answer[0] == status and b"Traceback" not in answer[2] and b"<" not in answer[2]
    assert not files_with(MARK[:99], demo.folder)


def test_trackers_of_few_cameras_are_kept():
    frames = live.LiveFrames(None, None, None)
    kept = [frames.tracker(str(number)) for number in range(live.MAX_CAMERAS + 1)]
    assert len(frames.trackers) == live.MAX_CAMERAS
    assert frames.tracker("1") is kept[1] and frames.tracker("0") is not kept[0]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "%2e%2e/%2e%2e/etc/passwd", f"{uploads.ROOT}/examples/../../../x", ""]
)
def test_no_file_of_the_machine_is_shown(demo, path):
    for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/"):
        assert request(demo.url, "GET", route + path)[0] == 404


def test_nothing_tells_a_path_of_the_machine(demo):
    for path in ("/", "/config", "/gradio_api/info", "/openapi.json"):
        status, _, content = request(demo.url, "GET", path)
        assert status == 200
        for place in (os.getcwd(), str(Path.home()), "/tmp/", str(ROOT), sys.prefix):
            assert place.encode() not in content, (path, place)


@pytest.mark.parametrize("host", ["evil.example", "192.0.2.1", "127.0.0.1.evil.example", ""])
def test_other_names_are_not_answered(demo, host):
    for path in ("/", "/config", "/gradio_api/queue/data?session_hash=x", "/theme.css"):
        status, _, content = request(demo.url, "GET", path, headers={"Host": host})
        assert status == 403 and b"gradio" not in content
    assert upload(demo.url, b"x", Host=host)[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_pages_of_other_sites_are_not_answered(demo, origin):
    status, headers, _ = upload(demo.url, b"x", Origin=origin)
    assert status == 403
    assert origin == "http://127.0.0.1:1" or "access-control-allow-origin" not in headers
    for path in ("/gradio_api/queue/join", "/live"):
        assert request(demo.url, "POST", path, b"{}", {"Origin": origin})[0] == 403


def test_own_names_and_pages_are_answered(demo):
    port = urlsplit(demo.url).port
    for host in ("localhost", "127.0.0.1", "[::1]", "demo.example"):
        headers = {"Host": f"{host}:{port}", "Origin": f"http://{host}:{port}"}
        assert request(demo.url, "GET", "/config", headers=headers)[0] == 200
        assert upload(demo.url, b"x", **headers)[0] == 200
