"""The page, in Gradio's blocks."""

import contextlib
import functools
import re
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from keras_deep_emotion.demo.examples import examples
from keras_deep_emotion.demo.sheet import Sheet, message, sheets

FIND, CROPPED = "Find the faces", "One face, cropped"


LARGEST = 64 * 2**20  # ours, bytes: of a file


# Ours, seconds: how often Gradio looks for uploads that nobody has answered, and how old they get.
SWEEP, LONGEST_WAIT = 60, 600


STRENGTH = 80  # percent, ours


UPLOAD = re.compile("[0-9a-f]{64}")  # name of Gradio's folder of a file, its SHA-256


# No address but this server's own, whatever the page or a library of it asks for.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; media-src 'self' blob: mediastream:; "
    "frame-ancestors 'none'; form-action 'self'"
)


HINT = (
    '<p class="hint">The answer comes here: the faces with their boxes, how probable each emotion '
    "is, and where the model looked. The picture is not kept.</p>"
)


CANNOT = (
    "<b>What it cannot know:</b> what a person feels. It names the expression that people would "
    "see in this one picture; pose, light, age, skin and culture mislead it, it is often sure "
    "when it is wrong, and it has no answer for “none of these”. Do not decide about people by it."
)


def as_file(folder, payload):
    """A picture of Gradio's as the file that came: we read it, or say what is wrong with it.

    Its path is what a browser says, and whoever can ask the page can say any. Only uploads are
    read, and so removed: `folder / SHA-256 / name`.

    Args:
        folder: where Gradio puts uploads.
        payload: `gradio.ImageData` or None.

    Returns:
        (path, name), or None.

    Raises:
        gradio.Error: the path is no upload's.
    """
    if payload is None or payload.path is None:
        return None
    path = Path(payload.path).resolve()
    if path.parent.parent != Path(folder).resolve() or not UPLOAD.fullmatch(path.parent.name):
        raise gr.Error("This is not a picture that was dropped here.", print_exception=False)
    return path, payload.orig_name or "The picture"


async def as_it_is(path):
    """In the place of Gradio's step before, which fetches the picture where its path is a URL."""
    return path


class OnlyHere:
    """ASGI middleware that sends `POLICY` with each answer."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        """Answer as the app does, with one header more."""

        async def with_policy(message):
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self.app(scope, receive, with_policy)


def build_page(model, detector, about, folder):
    """The page, as Gradio's blocks.

    Args:
        model: `predict.Model`.
        detector: `faces.Detector`.
        about: a sentence on the model.
        folder: where the examples are written.

    Returns:
        `gradio.Blocks`.
    """
    paths = examples(Path(folder) / "examples")

    def answer(content, name, way):
        for number, sheet in enumerate(
            sheets(model, content, detector if way == FIND else None, name)
        ):
            # The picture is sent once.
            yield sheet.photo if number == 0 else gr.skip(), sheet.faces

    def answer_upload(file, way):
        if file is None:  # the picture was just taken off the page, below
            yield gr.skip(), gr.skip()
            return
        path, name = file
        try:
            content = path.read_bytes()
        except OSError:  # equal files share a folder; whose turn came first has removed it
            gone = Sheet(message(f"{name} is no longer here. Drop it again."), "")
            yield gone.photo, gone.faces
            return
        try:
            yield from answer(content, name, way)
        finally:
            # Nothing is kept.
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    def answer_example(number):
        path, cropped = paths[number]
        yield from answer(path.read_bytes(), path.name, CROPPED if cropped else FIND)

    with gr.Blocks(
        title="Deep-Emotion", analytics_enabled=False, delete_cache=(SWEEP, LONGEST_WAIT)
    ) as page:
        gr.HTML(f'<h1>Deep-Emotion</h1><p class="lead">{about}</p>')
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                photo = gr.Image(
                    label="A photo: drop, paste, or take one",
                    sources=["upload", "webcam", "clipboard"],
                    elem_id="photo",
                    height=240,
                    buttons=[],
                )
                # Not by a subclass: Gradio would write a .pyi file beside this one.
                photo.preprocess = functools.partial(as_file, folder)
                photo.async_move_resource_to_block_cache = as_it_is
                way = gr.Radio([FIND, CROPPED], value=FIND, label="The picture", elem_id="way")
                strength = gr.Slider(
                    0,
                    100,
                    STRENGTH,
                    step=1,
                    label="Strength of the map, percent",
                    elem_id="strength",
                    buttons=[],
                )
                shown = gr.Dataset(
                    components=[gr.Image(render=False)],
                    samples=[[str(path)] for path, _ in paths],
                    type="index",
                    label="Examples",
                    layout="gallery",
                    elem_id="examples",
                )
            with gr.Column(scale=3, min_width=300):
                whole = gr.HTML(HINT, elem_id="whole")
                faces = gr.HTML(elem_id="faces")
                gr.HTML(f'<p class="cannot">{CANNOT}</p>')
        outputs = [whole, faces]
        private = {"api_visibility": "private", "show_progress": "minimal"}
        # Then the place is free for the next. By the browser: of a picture that the server sets,
        # Gradio makes a new object, without `as_file`.
        photo.change(answer_upload, [photo, way], outputs, **private).then(
            None, None, photo, js="() => null", api_visibility="private"
        )
        shown.click(answer_example, shown, outputs, **private)
        whole.change(  # on a telephone it lies below the controls
            None,
            js="() => { if (innerWidth < 700) document.getElementById('whole').scrollIntoView() }",
            api_visibility="private",
        )
        strength.input(  # in the browser alone
            None,
            strength,
            js="(share) => document.documentElement.style.setProperty('--strength', share / 100)",
            api_visibility="private",
        )
    return page


def start(page, host, port):
    """Show a page, in the background.

    Args:
        page: `gradio.Blocks`.
        host: address to listen at.
        port: port that is free.

    Returns:
        Its URL.
    """
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.stone,
        font=["system-ui", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    _, url, _ = page.launch(
        server_name=f"[{host}]" if ":" in host else host,  # as in a URL
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,  # it would keep pictures in the browser
        footer_links=[],
        max_file_size=LARGEST,
        theme=theme,
        css_paths=Path(__file__).parent / "demo.css",
        app_kwargs={"middleware": [Middleware(OnlyHere)]},
    )
    return url
