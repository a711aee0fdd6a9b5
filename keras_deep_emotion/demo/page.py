"""The page, as Gradio's blocks: its layout, its events, and the server that shows it."""

import html
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from keras_deep_emotion.demo.examples import example_pictures
from keras_deep_emotion.demo.sheet import TEMPLATES, Sheet, message, predict_sheets
from keras_deep_emotion.demo.uploads import MAX_FILE_SIZE, Pictures
from keras_deep_emotion.images.faces import Detector
from keras_deep_emotion.serving.ports import url_host

DETECT, CROPPED = "Find the faces", "One face, cropped"
STRENGTH = 80  # ours, percent
MAX_SESSIONS = 8  # ours: Gradio keeps the last answer of each page, an hour after it is closed

# The browser may contact this server only, whatever the page or its libraries request.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; media-src 'self' blob: mediastream:; "
    "frame-ancestors 'none'; form-action 'self'"
)
LEAD = (
    "Click an example, drop a photo or start the webcam: each face gets the name of its "
    "expression. No picture is kept."
)
LIMITS = (
    "<b>What it cannot know:</b> what a person feels. It names the expression that people would "
    "see in this one picture; pose, light, age, skin and culture mislead it, it is often sure "
    "when it is wrong, and it has no answer for “none of these”. Do not decide about people by it."
)
START = '<button class="webcam" onclick="demo.start()">Start the webcam</button>'
LIVE = (
    '<section class="answer"><video playsinline muted></video>'
    '<div id="live-answer" aria-live="off"></div></section>'
    '<button class="webcam" onclick="demo.take()">Take this picture</button> '
    '<button class="webcam" onclick="demo.stop()">Stop</button>'
)
# On a phone whose screen is short the answer lies below.
SCROLL_TO_ANSWER = "() => document.querySelector('#whole > *').scrollIntoView({block: 'nearest'})"
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
    """What the page does with a picture; generators of two pieces of HTML, and the mode."""

    def __init__(self, model: Any, detector: Detector, pictures: Pictures):
        self.model = model
        self.detector = detector
        self.pictures = pictures
        self.examples = example_pictures()

    def predict(self, content: bytes, name: str, mode: str) -> Iterator[tuple]:
        """Predict a file."""
        detector = self.detector if mode == DETECT else None
        for index, sheet in enumerate(predict_sheets(self.model, content, detector, name)):
            first = index == 0  # photo and mode are sent once
            yield (sheet.photo, sheet.faces, mode) if first else (gr.skip(), sheet.faces, gr.skip())

    def predict_upload(self, path: str | None, mode: str) -> Iterator[tuple]:
        """Predict an upload and forget it."""
        if path is None:  # the page has just removed the picture, see `connect_events`
            yield gr.skip(), gr.skip(), gr.skip()
            return
        picture = self.pictures.upload(path)
        if picture is None:  # an earlier request had it, or others took its place
            yield *Sheet(message("The picture is no longer here. Drop it again.")), gr.skip()
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
        gr.HTML(f'<h1>Deep-Emotion</h1><p class="lead">{LEAD}</p>')
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                gallery, photo, mode = add_inputs(examples)
            with gr.Column(scale=5, min_width=300):
                gr.HTML(LIVE, elem_id="live")
                outputs = [gr.HTML(elem_id="whole"), gr.HTML(elem_id="faces"), mode]
                strength = gr.Slider(
                    0, 100, STRENGTH, step=1, label="Strength of the map, percent",
                    elem_id="strength", buttons=[],
                )  # fmt: skip
                gr.HTML(f'<p class="cannot">{html.escape(about)} {LIMITS}</p>')
        connect_events(handlers, photo, mode, strength, gallery, outputs)
    return page


def add_inputs(examples: list[str]) -> tuple[gr.Dataset, gr.Image, gr.Radio]:
    """Add examples, photo and mode; `examples` are paths."""
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
    photo = gr.Image(
        label="Photo",
        show_label=False,
        placeholder="Drop a photo, or click",
        sources=["upload", "clipboard"],
        elem_id="photo",
        height=110,
        buttons=[],
    )
    # Not in a subclass: Gradio would write a .pyi file beside this one.
    photo.preprocess = uploaded_path
    photo.async_move_resource_to_block_cache = keep_path
    gr.HTML(START, elem_id="start")
    mode = gr.Radio(
        [DETECT, CROPPED], value=DETECT, label="The picture", elem_id="way", container=False
    )
    return gallery, photo, mode


def connect_events(
    handlers: Handlers, photo: gr.Image, mode: gr.Radio, strength: gr.Slider, gallery: gr.Dataset,
    outputs: list,
) -> None:  # fmt: skip
    """Connect the controls to the handlers; the functions in JavaScript are in head.html.j2."""
    private = {"api_visibility": "private"}
    predicting = {**private, "show_progress": "minimal", "show_progress_on": outputs[:2]}
    # Afterwards the browser clears the photo, for the next one. If the server cleared it, Gradio
    # would make a new component, without `uploaded_path`.
    photo.change(
        handlers.predict_upload, [photo, mode], outputs, js="demo.keep", **predicting
    ).then(None, None, photo, js="() => null", **private)
    gallery.click(handlers.predict_example, gallery, outputs, js="demo.example", **predicting)
    mode.input(None, mode, js="demo.choose", **private)  # drops the picture again
    outputs[0].change(None, js=SCROLL_TO_ANSWER, **private)
    strength.input(None, strength, js=SET_STRENGTH, **private)  # without the server


def uploaded_path(payload: Any) -> str | None:
    """The path in a `gradio.ImageData`, or None. Clients may send any: it is a name, not opened."""
    return None if payload is None else payload.path


async def keep_path(path):
    """Replaces Gradio's preceding step, which would download a picture whose path is a URL."""
    return path


def launch(
    page: gr.Blocks, middleware: Iterable[Middleware], host: str, port: int,
    certificate: Path | None, key: Path | None,
) -> str:  # fmt: skip
    """Serve a page in the background, at a port that is free; return its URL.

    `certificate` and `key` are PEM files, for https; None for http.
    """
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
        head=TEMPLATES.get_template("head.html.j2").render(),
        state_session_capacity=MAX_SESSIONS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        ssl_verify=False,  # Gradio's own request for its page, by an address, not by a name
        app_kwargs={"middleware": [*middleware, Middleware(SecurityHeaders)]},
    )
    return url
