"""Uploaded pictures, in memory: they end with the process, however it ends.

Gradio writes uploads to a folder, where they stay if the process is killed. This middleware answers
its requests for uploads and files instead. No file has the paths that it gives: they are names.
"""

import asyncio
import json
import re
import secrets
import threading
from collections.abc import AsyncIterator
from typing import NamedTuple

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

# Gradio's folder of uploads. Nothing can be written there, so that nothing is kept by mistake.
ROOT = "/dev/null/deep-emotion"
MAX_FILE_SIZE = 64 * 2**20  # ours, bytes
MAX_FILES, MAX_SIZE = 8, 2**28  # ours: uploads that are held, and their bytes; the newest stay
MAX_ARRIVING = 4  # ours: uploads at once
MAX_NAME = 200  # ours: characters of a file's name
MAX_SECONDS = 60  # ours: for an upload to arrive, and then to be asked for
FORM_SIZE = 2**16  # bytes of a form beside its file
UPLOAD = re.compile("/gradio_api/upload/?")
FILE = re.compile("(/gradio_api)?/file[=/](?P<path>.*)", re.DOTALL)


class Picture(NamedTuple):
    """A picture: the content of its file, and its name."""

    content: bytes
    name: str


class Pictures:
    """Pictures by the paths that clients know them by: the page's examples, and uploads."""

    def __init__(self):
        self.examples: dict[str, Picture] = {}
        self._uploads: dict[str, Picture] = {}
        self._lock = threading.Lock()

    def add_example(self, picture: Picture) -> str:
        """Keep a picture until the end; return its path."""
        path = f"{ROOT}/examples/{picture.name}"
        self.examples[path] = picture
        return path

    def add_upload(self, picture: Picture) -> str:
        """Keep a picture for a minute at most; return its path, which nobody can guess."""
        path = f"{ROOT}/{secrets.token_hex(32)}/picture"
        timer = threading.Timer(MAX_SECONDS, self.remove_upload, [path])
        timer.daemon = True
        timer.start()
        with self._lock:
            self._uploads[path] = picture
            while len(self._uploads) > MAX_FILES or self.size() > MAX_SIZE:
                del self._uploads[next(iter(self._uploads))]
        return path

    def size(self) -> int:
        """Bytes of all uploads."""
        return sum(len(one.content) for one in self._uploads.values())

    def upload(self, path: str) -> Picture | None:
        """Return an upload, or None if no upload has this path."""
        with self._lock:
            return self._uploads.get(path)

    def remove_upload(self, path: str) -> None:
        """Forget an upload."""
        with self._lock:
            self._uploads.pop(path, None)


class UploadsInMemory:
    """ASGI middleware that answers uploads, and requests for files, from memory alone."""

    def __init__(self, app, pictures: Pictures):
        self.app, self.pictures = app, pictures
        self.arriving = 0

    async def __call__(self, scope, receive, send):
        """Answer a request for an upload or a file; pass on any other."""
        response = None
        if scope["type"] == "http":
            file = FILE.fullmatch(scope["path"])
            if file:
                response = self.file(file["path"])
            elif UPLOAD.fullmatch(scope["path"]) and scope["method"] == "POST":
                response = await self.receive_upload(Request(scope, receive))
        await (response or self.app)(scope, receive, send)

    def file(self, path: str) -> Response:
        """A picture, by its path."""
        picture = self.pictures.examples.get(path) or self.pictures.upload(path)
        if picture is None:
            return PlainTextResponse("There is no such picture.\n", 404)
        # Whatever it is, the browser shows it as an image or not at all.
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        return Response(picture.content, 200, headers, image_type(picture.content))

    async def receive_upload(self, request: Request) -> Response:
        """Keep the one file of a form; the response has its path."""
        if self.arriving >= MAX_ARRIVING:
            return PlainTextResponse("Too many pictures at once; try again.\n", 503)
        self.arriving += 1
        try:
            picture = await asyncio.wait_for(read_picture(request), MAX_SECONDS)
        except TooLarge:
            return PlainTextResponse(f"A picture has at most {MAX_FILE_SIZE} bytes.\n", 413)
        except TimeoutError:
            return PlainTextResponse("The picture took too long.\n", 408)
        except (MultiPartException, ClientDisconnect, ValueError, KeyError, AttributeError):
            return PlainTextResponse("Send one picture, as the page does.\n", 400)
        finally:
            self.arriving -= 1
        path = self.pictures.add_upload(picture)
        return Response(json.dumps([path]), media_type="application/json")


class TooLarge(Exception):
    """A request is longer than a picture may be."""


async def limited(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body of a request, of `most` bytes at most; TooLarge if it is longer."""
    received = 0
    async for part in request.stream():
        received += len(part)
        if received > most:
            raise TooLarge
        yield part


async def read_picture(request: Request) -> Picture:
    """Read the one file of a form into memory."""
    most = MAX_FILE_SIZE + FORM_SIZE
    parser = MultiPartParser(request.headers, limited(request, most), max_files=1, max_fields=8)
    parser.spool_max_size = most  # above it, it would write a file
    form = await parser.parse()
    (file,) = form.getlist("files")
    return Picture(await file.read(), (file.filename or "The picture")[:MAX_NAME])


def image_type(content: bytes) -> str:
    """Media type of an image for a browser; unknown ones are shown by none."""
    kinds = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"GIF8": "image/gif"}
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    known = (kind for start, kind in kinds.items() if content.startswith(start))
    return "image/webp" if is_webp else next(known, "application/octet-stream")
