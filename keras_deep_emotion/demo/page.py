"""The page, as Gradio's blocks: its layout, its events, and the server that shows it."""

import contextlib
import functools
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from keras_deep_emotion.demo.examples import write_examples
from keras_deep_emotion.demo.sheet import Sheet, message, predict_sheets
from keras_deep_emotion.images.faces import Detector
from keras_deep_emotion.serving.ports import url_host

DETECT, CROPPED = "Find the faces", "One face, cropped"
MAX_FILE_SIZE = 64 * 2**20  # ours, bytes
# Ours, seconds: how often Gradio removes abandoned uploads, and their age.
SWEEP_INTERVAL, MAX_UPLOAD_AGE = 60, 600
STRENGTH = 80  # ours, percent
UPLOAD_FOLDER = re.compile("[0-9a-f]{64}")  # Gradio names the folder of a file by its SHA-256

# The browser may contact this server only, whatever the page or its libraries request.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; media-src 'self' blob: mediastream:; "
    "frame-ancestors 'none'; form-action 'self'"
)
HINT = (
    '<p class="hint">The prediction appears here: the faces with their boxes, the probability of '
    "each emotion, and where the model looked. The picture is not kept.</p>"
)
LIMITS = (
    "<b>What it cannot know:</b> what a person feels. It names the expression that people would "
    "see in this one picture; pose, light, age, skin and culture mislead it, it is often sure "
    "when it is wrong, and it has no answer for “none of these”. Do not decide about people by it."
)
# On a phone the result lies below the controls.
SCROLL_TO_RESULT = (
    "() => { if (innerWidth < 700) document.getElementById('whole').scrollIntoView() }"
)
SET_STRENGTH = "(share) => document.documentElement.style.setProperty('--strength', share / 100)"


class SecurityHeaders:
    """ASGI middleware that adds `POLICY` to each response."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Handle a request as the app does, with more headers."""

        async def send_with_headers(message):
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["content-security-policy"] = POLICY
                headers["referrer-policy"] = "no-referrer"
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Handlers:
    """What the page does with a picture; generators of the page's two pieces of HTML."""

    def __init__(self, model: Any, detector: Detector, examples: list[tuple[Path, bool]]):
        self.model = model
        self.detector = detector
        self.examples = examples

    def predict(self, content: bytes, name: str, mode: str) -> Iterator[tuple]:
        """Predict a file."""
        detector = self.detector if mode == DETECT else None
        for index, sheet in enumerate(predict_sheets(self.model, content, detector, name)):
            yield sheet.photo if index == 0 else gr.skip(), sheet.faces  # the photo is sent once

    def predict_upload(self, file: tuple[Path, str] | None, mode: str) -> Iterator[tuple]:
        """Predict an uploaded file and remove it."""
        if file is None:  # the page has just removed the picture, see `connect_events`
            yield gr.skip(), gr.skip()
            return
        path, name = file
        try:
            yield from self.predict(path.read_bytes(), name, mode)
        except FileNotFoundError:  # equal files share a path; an earlier request has removed it
            yield tuple(Sheet(message(f"{name} is no longer here. Drop it again.")))
        finally:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    def predict_example(self, index: int) -> Iterator[tuple]:
        """Predict an example."""
        path, cropped = self.examples[index]
        yield from self.predict(path.read_bytes(), path.name, CROPPED if cropped else DETECT)


def build_page(model: Any, detector: Detector, about: str, folder: str) -> gr.Blocks:
    """Build the page; `folder`, of Gradio's uploads, gets the examples too."""
    examples = write_examples(Path(folder) / "examples")
    handlers = Handlers(model, detector, examples)
    with gr.Blocks(
        title="Deep-Emotion", analytics_enabled=False, delete_cache=(SWEEP_INTERVAL, MAX_UPLOAD_AGE)
    ) as page:
        gr.HTML(f'<h1>Deep-Emotion</h1><p class="lead">{html.escape(about)}</p>')
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                inputs = add_inputs(folder, [path for path, _ in examples])
            with gr.Column(scale=3, min_width=300):
                outputs = [gr.HTML(HINT, elem_id="whole"), gr.HTML(elem_id="faces")]
                gr.HTML(f'<p class="cannot">{LIMITS}</p>')
        connect_events(handlers, *inputs, outputs)
    return page


def add_inputs(folder: str, examples: list[Path]) -> tuple:
    """Add the controls: (photo, mode, strength of the map, examples)."""
    photo = gr.Image(
        label="A photo: drop, paste, or take one",
        sources=["upload", "webcam", "clipboard"],
        elem_id="photo",
        height=240,
        buttons=[],
    )
    # Not in a subclass: Gradio would write a .pyi file beside this one.
    photo.preprocess = functools.partial(uploaded_file, folder)
    photo.async_move_resource_to_block_cache = keep_path
    mode = gr.Radio([DETECT, CROPPED], value=DETECT, label="The picture", elem_id="way")
    strength = gr.Slider(
        0, 100, STRENGTH, step=1, label="Strength of the map, percent", elem_id="strength",
        buttons=[],
    )  # fmt: skip
    gallery = gr.Dataset(
        components=[gr.Image(render=False)],
        samples=[[str(path)] for path in examples],
        type="index",
        label="Examples",
        layout="gallery",
        elem_id="examples",
    )
    return photo, mode, strength, gallery


def connect_events(
    handlers: Handlers, photo: gr.Image, mode: gr.Radio, strength: gr.Slider, gallery: gr.Dataset,
    outputs: list[gr.HTML],
) -> None:  # fmt: skip
    """Connect the controls to the handlers."""
    private = {"api_visibility": "private"}
    predicting = {**private, "show_progress": "minimal"}
    # Afterwards the browser clears the photo, for the next one. If the server cleared it, Gradio
    # would make a new component, without `uploaded_file`.
    photo.change(handlers.predict_upload, [photo, mode], outputs, **predicting).then(
        None, None, photo, js="() => null", **private
    )
    gallery.click(handlers.predict_example, gallery, outputs, **predicting)
    outputs[0].change(None, js=SCROLL_TO_RESULT, **private)
    strength.input(None, strength, js=SET_STRENGTH, **private)  # without the server


def uploaded_file(folder: str, payload: Any) -> tuple[Path, str] | None:
    """(path, name) of the uploaded file of a `gradio.ImageData`, or None.

    Clients may send any path. Only uploads are read and then removed: `folder / SHA-256 / name`.
    """
    if payload is None or payload.path is None:
        return None
    path = Path(payload.path).resolve()
    in_folder = path.parent.parent == Path(folder).resolve()
    if not (in_folder and UPLOAD_FOLDER.fullmatch(path.parent.name)):
        raise gr.Error("This is not a picture that was dropped here.", print_exception=False)
    return path, payload.orig_name or "The picture"


async def keep_path(path):
    """Replaces Gradio's preceding step, which would download a picture whose path is a URL."""
    return path


def launch(page: gr.Blocks, host: str, port: int) -> str:
    """Serve a page in the background, at a port that is free; return its URL."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.stone,
        font=["system-ui", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    _, url, _ = page.launch(
        server_name=url_host(host),
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,  # would keep pictures in the browser
        footer_links=[],
        max_file_size=MAX_FILE_SIZE,
        theme=theme,
        css_paths=Path(__file__).parent / "demo.css",
        app_kwargs={"middleware": [Middleware(SecurityHeaders)]},
    )
    return url
