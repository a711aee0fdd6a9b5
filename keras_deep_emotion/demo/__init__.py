"""A web page to try a model on photos, with saliency maps. Made with Gradio.

It listens on this machine, contacts no other machine (a content security policy holds the browser
to that), answers to its own names and its own page only, and writes no picture to a file. The page
is in `page`, uploads are in `uploads`, the HTML of a prediction is in `sheet`.
"""

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from keras_deep_emotion.files import temporary_folder
from keras_deep_emotion.images import Detector
from keras_deep_emotion.program import install_command
from keras_deep_emotion.serving.ports import check_port

__all__ = ["Demo"]

if importlib.util.find_spec("gradio") is None:
    raise ModuleNotFoundError(
        f"The demo's page is made with Gradio, which is not installed: {install_command('demo')}"
    )


class Demo(contextlib.AbstractContextManager):
    """A running page: `with Demo(model, detector) as demo`.

    Args:
        model: A predictor.
        detector: Detector of faces.
        about: A sentence on the model, for the top of the page.
        host: Address to listen on.
        port: Port, 0 for a free one.
        allow_hosts: More names that requests may have as Host, see `serving.hosts`.

    Attributes:
        url: URL of the page.

    Raises:
        OSError: If the port is in use, or the host is not an address of this machine.
    """

    def __init__(
        self,
        model: Any,
        detector: Detector,
        about: str = "",
        host: str = "127.0.0.1",
        port: int = 7860,
        allow_hosts: Iterable[str] = (),
    ):
        port = check_port(host, port)
        self._files = contextlib.ExitStack()
        # For Gradio's own empty folders. It sweeps away what killed processes left, also the
        # pictures of earlier releases.
        folder = self._files.enter_context(temporary_folder(tempfile.gettempdir(), "deep-emotion-"))
        # Gradio reads these when imported; no reports to its makers.
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        with without_proxies():  # Gradio asks its own page whether it is up
            from keras_deep_emotion.demo.page import build_page, launch
            from keras_deep_emotion.demo.uploads import ROOT, Pictures

            os.environ["GRADIO_TEMP_DIR"] = ROOT  # its folder of uploads, from here on
            pictures = Pictures()
            self._page = build_page(model, detector, about, pictures)
            self.url = launch(self._page, pictures, host, port, allow_hosts)

    def __exit__(self, *error):
        self.close()

    def close(self) -> None:
        """Stop listening, and remove what Gradio wrote."""
        self._page.close(verbose=False)
        self._files.close()


@contextlib.contextmanager
def without_proxies() -> Iterator[None]:
    """Within the context, the environment has no proxies; a server is asked through them later."""
    names = ("NO_PROXY", "no_proxy")
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, "*"))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
        os.environ.update(before)
