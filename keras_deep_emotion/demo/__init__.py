"""A web page to try a model on photos, with saliency maps. Made with Gradio.

It listens on this machine, contacts no other machine (a content security policy holds the browser
to that), answers to its own names and its own page only, and writes no picture to a file. The page
is in `page`, uploads are in `uploads`, webcams in `live`, the HTML of a prediction is in `sheet`.
"""

import contextlib
import importlib.util
import os
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_deep_emotion.files import temporary_folder
from keras_deep_emotion.images import Detector
from keras_deep_emotion.program import install_command
from keras_deep_emotion.serving.hosts import HostCheck
from keras_deep_emotion.serving.ports import check_port

__all__ = ["Demo", "check_certificate"]

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
        certificate: PEM file of a certificate and those that sign it, for https; None for http.
        key: PEM file of the certificate's private key; None if it is in the same file.

    Attributes:
        url: URL of the page.

    Raises:
        OSError: If the port is in use, the host is not an address of this machine, or a file cannot
            be read.
        ValueError: If certificate and key do not belong together.
    """

    def __init__(
        self,
        model: Any,
        detector: Detector,
        about: str = "",
        host: str = "127.0.0.1",
        port: int = 7860,
        allow_hosts: Iterable[str] = (),
        certificate: str | Path | None = None,
        key: str | Path | None = None,
    ):
        if certificate is not None:
            key = certificate if key is None else key
            check_certificate(certificate, key)
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
            from starlette.middleware import Middleware

            from keras_deep_emotion.demo.live import LiveFrames
            from keras_deep_emotion.demo.page import build_page, launch
            from keras_deep_emotion.demo.uploads import ROOT, Pictures, UploadsInMemory

            os.environ["GRADIO_TEMP_DIR"] = ROOT  # its folder of uploads, from here on
            pictures = Pictures()
            self._page = build_page(model, detector, about, pictures)
            middleware = [
                Middleware(HostCheck, host, allow_hosts),
                Middleware(UploadsInMemory, pictures),
                Middleware(LiveFrames, model, detector),
            ]
            self.url = launch(self._page, middleware, host, port, certificate, key)

    def __exit__(self, *error):
        self.close()

    def close(self) -> None:
        """Stop listening, and remove what Gradio wrote."""
        self._page.close(verbose=False)
        self._files.close()


def check_certificate(certificate: str | Path, key: str | Path) -> None:
    """Check that PEM files hold a certificate and its key; OSError or ValueError if they do not."""
    for file in (certificate, key):
        Path(file).read_bytes()  # its errors name the file, those of ssl do not
    try:
        # A key with a password is refused: ssl would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise ValueError(
            f"{certificate} and {key} must be PEM files of a certificate and its private key, "
            f"without a password ({error.reason or error})."
        ) from error


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
