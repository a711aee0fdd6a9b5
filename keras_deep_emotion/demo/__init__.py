"""A page to try a model on: a photo in, the answer and where the model looked out.

Made with Gradio. It listens on this machine, asks nobody else for anything (the browser is told so
by a policy), and keeps no picture.
"""

import importlib.util
import os
import tempfile

from keras_deep_emotion.serving.ports import check_port

if importlib.util.find_spec("gradio") is None:
    raise ModuleNotFoundError(
        "The demo's page is made with Gradio, which is not installed: "
        "pip install 'keras-deep-emotion[demo]'"
    )


class Demo:
    """The page, running from the moment it is made: `with Demo(model, detector) as demo`.

    Args:
        model: `predict.Model`.
        detector: `faces.Detector`.
        about: a sentence on the model, for the head of the page.
        host: address to listen at.
        port: port, 0 for a free one.

    Attributes:
        url: where the page is.

    Raises:
        OSError: the port is taken, or the host is no address of this machine.
    """

    def __init__(self, model, detector, about="", host="127.0.0.1", port=7860):
        port = check_port(host, port)
        self.folder = tempfile.TemporaryDirectory(prefix="deep-emotion-")
        # Read when Gradio loads: where it puts uploads; and it would report starts to its makers.
        os.environ["GRADIO_TEMP_DIR"] = self.folder.name
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        from keras_deep_emotion.demo.page import build_page, start

        self.page = build_page(model, detector, about, self.folder.name)
        self.url = start(self.page, host, port)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Stop listening; remove what Gradio wrote."""
        self.page.close(verbose=False)
        self.folder.cleanup()
