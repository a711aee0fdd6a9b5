"""Frames of webcams: each is predicted and forgotten; people are followed from frame to frame."""

import asyncio
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse

from keras_deep_emotion.demo.sheet import SERVER_ERRORS, render_live
from keras_deep_emotion.demo.uploads import TooLarge, limited
from keras_deep_emotion.images.faces import Detector
from keras_deep_emotion.images.reading import UnreadableImage, decode_photo
from keras_deep_emotion.inference.media import predict_faces
from keras_deep_emotion.inference.tracking import Tracker

PATH = "/live"
MAX_FRAME_SIZE = 2**20  # ours, bytes; the page's frames have about 40,000
MAX_SECONDS = 10  # ours: for a frame to arrive
MAX_RUNNING = 4  # ours: frames at once
MAX_CAMERAS = 16  # ours: people are followed for the cameras that were used last
SMOOTH = 0.5  # ours, seconds, see `Tracker`


class LiveFrames:
    """ASGI middleware that answers `PATH`: a frame as body, and the camera's name as `camera`."""

    def __init__(self, app, model: Any, detector: Detector):
        self.app, self.model, self.detector = app, model, detector
        self.running = 0
        self.trackers: dict[str, Tracker] = {}

    async def __call__(self, scope, receive, send):
        """Answer a frame; pass on any other request."""
        is_frame = scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", PATH)
        response = await self.answer(Request(scope, receive)) if is_frame else self.app
        await response(scope, receive, send)

    async def answer(self, request: Request) -> PlainTextResponse | HTMLResponse:
        """HTML of the faces in a frame, or a sentence that says why it shows none."""
        if self.running >= MAX_RUNNING:
            return PlainTextResponse("Too many webcams at once.", 503)
        self.running += 1
        try:
            content = await asyncio.wait_for(read_frame(request), MAX_SECONDS)
            tracker = self.tracker(request.query_params.get("camera", "")[:64])
            return HTMLResponse(await run_in_threadpool(self.predict, content, tracker))
        except TooLarge:
            return PlainTextResponse(f"A frame has at most {MAX_FRAME_SIZE} bytes.", 413)
        except TimeoutError:
            return PlainTextResponse("The frame took too long.", 408)
        except (UnreadableImage, ClientDisconnect) as error:
            return PlainTextResponse(f"The frame cannot be read: {error}.", 400)
        except SERVER_ERRORS as error:
            return PlainTextResponse(str(error), 502)
        finally:
            self.running -= 1

    def tracker(self, camera: str) -> Tracker:
        """The tracker of a camera, which has boxes and probabilities, no pictures."""
        tracker = self.trackers.pop(camera, None) or Tracker(SMOOTH)
        self.trackers[camera] = tracker
        if len(self.trackers) > MAX_CAMERAS:
            del self.trackers[next(iter(self.trackers))]
        return tracker

    def predict(self, content: bytes, tracker: Tracker) -> str:
        """HTML of the faces in a frame."""
        image = decode_photo(content)
        faces, probabilities = predict_faces(self.model, image, self.detector, turn=False)
        boxes = [face.box for face in faces]
        tracks, probabilities = tracker.update(boxes, probabilities, time.monotonic())
        return render_live(image.size, self.model.labels, boxes, probabilities, tracks)


async def read_frame(request: Request) -> bytes:
    """The body of a request, which is short."""
    return b"".join([part async for part in limited(request, MAX_FRAME_SIZE)])
