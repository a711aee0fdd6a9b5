"""The page, as Gradio's blocks: its layout, its events, and the server that shows it."""

import html
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from keras_deep_emotion.demo.examples import example_pictures
from keras_deep_emotion.demo.sheet import Sheet, message, predict_sheets
from keras_deep_emotion.demo.uploads import MAX_FILE_SIZE, Pictures, UploadsInMemory
from keras_deep_emotion.images.faces import Detector
from keras_deep_emotion.serving.hosts import HostCheck
from keras_deep_emotion.serving.ports import url_host

DETECT, CROPPED = "Find the faces", "One face, cropped"
STRENGTH = 80  # ours, percent

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

    def __init__(self, model: Any, detector: Detector, pictures: Pictures):
        self.model = model
        self.detector = detector
        self.pictures = pictures
        self.examples = example_pictures()

    def predict(self, content: bytes, name: str, mode: str) -> Iterator[tuple]:
        """Predict a file."""
        detector = self.detector if mode == DETECT else None
        for index, sheet in enumerate(predict_sheets(self.model, content, detector, name)):
            yield sheet.photo if index == 0 else gr.skip(), sheet.faces  # the photo is sent once

    def predict_upload(self, path: str | None, mode: str) -> Iterator[tuple]:
        """Predict an upload and forget it."""
        if path is None:  # the page has just removed the picture, see `connect_events`
            yield gr.skip(), gr.skip()
            return
        picture = self.pictures.upload(path)
        if picture is None:  # an earlier request had it, or others took its place
            yield tuple(Sheet(message("The picture is no longer here. Drop it again.")))
            return
        try:
            yield from self.predict(*picture, mode)
        finally:
            self.pictures.remove_upload(path)

    def predict_example(self, index: int) -> Iterator[tuple]:
        """Predict an example."""
        picture, cropped = self.examples[index]
        yield from self.predict(*picture, CROPPED if cropped else DETECT)


def build_page(model: Any, detector: Detector, about: str, pictures: Pictures) -> gr.Blocks:
    """Build the page; its examples are added to the pictures."""
    handlers = Handlers(model, detector, pictures)
    examples = [pictures.add_example(picture) for picture, _ in handlers.examples]
    with gr.Blocks(title="Deep-Emotion", analytics_enabled=False) as page:
        gr.HTML(f'<h1>Deep-Emotion</h1><p class="lead">{html.escape(about)}</p>')
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                inputs = add_inputs(examples)
            with gr.Column(scale=3, min_width=300):
                outputs = [gr.HTML(HINT, elem_id="whole"), gr.HTML(elem_id="faces")]
                gr.HTML(f'<p class="cannot">{LIMITS}</p>')
        connect_events(handlers, *inputs, outputs)
    return page


def add_inputs(examples: list[str]) -> tuple:
    """Add the controls: (photo, mode, strength of the map, examples); `examples` are paths."""
    photo = gr.Image(
        label="A photo: drop, paste, or take one",
        sources=["upload", "webcam", "clipboard"],
        elem_id="photo",
        height=240,
        buttons=[],
    )
    # Not in a subclass: Gradio would write a .pyi file beside this one.
    photo.preprocess = uploaded_path
    photo.async_move_resource_to_block_cache = keep_path
    mode = gr.Radio([DETECT, CROPPED], value=DETECT, label="The picture", elem_id="way")
    strength = gr.Slider(
        0, 100, STRENGTH, step=1, label="Strength of the map, percent", elem_id="strength",
        buttons=[],
    )  # fmt: skip
    example = gr.Image(render=False)
    example.async_move_resource_to_block_cache = keep_path
    gallery = gr.Dataset(
        components=[example],
        samples=[[path] for path in examples],
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
    # would make a new component, without `uploaded_path`.
    photo.change(handlers.predict_upload, [photo, mode], outputs, **predicting).then(
        None, None, photo, js="() => null", **private
    )
    gallery.click(handlers.predict_example, gallery, outputs, **predicting)
    outputs[0].change(None, js=SCROLL_TO_RESULT, **private)
    strength.input(None, strength, js=SET_STRENGTH, **private)  # without the server


def uploaded_path(payload: Any) -> str | None:
    """The path in a `gradio.ImageData`, or None. Clients may send any: it is a name, not opened."""
    return None if payload is None else payload.path


async def keep_path(path):
    """Replaces Gradio's preceding step, which would download a picture whose path is a URL."""
    return path


def launch(
    page: gr.Blocks, pictures: Pictures, host: str, port: int, allow_hosts: Iterable[str]
) -> str:
    """Serve a page in the background, at a port that is free; return its URL.

    `allow_hosts` are more names that requests may have as Host, see `serving.hosts`.
    """
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.stone,
        font=["system-ui", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    middleware = [
        Middleware(HostCheck, host, allow_hosts),
        Middleware(SecurityHeaders),
        Middleware(UploadsInMemory, pictures),
    ]
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
        app_kwargs={"middleware": middleware},
    )
    return url
