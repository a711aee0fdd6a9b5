"""A local stand-in for the tensorflow/serving container: the same ports, routes, codes and texts.

For development and tests where no Docker engine runs. It serves one model from a folder of
versions, by REST and gRPC, over TensorFlow's own loader and sessions; answers follow the server's
source. It is Python: slower, and without batching, warm-up, TLS, metrics and several models.
"""

import threading

from keras_deep_emotion.serving.local_server.rest import RestServer
from keras_deep_emotion.serving.local_server.rpc import start_rpc
from keras_deep_emotion.serving.local_server.versions import ModelVersions
from keras_deep_emotion.serving.ports import address_error, check_port

MEBIBYTE = 2**20


class LocalServer:
    """Both servers, running from the moment it is made: `with StandIn("exports/face", "face")`.

    Args:
        folder: the model's folder of versions.
        name: its name to clients.
        host: address to listen at.
        port: gRPC port, 0 for a free one.
        rest_port: REST port, 0 for a free one.
        only: the one version to serve, beside those of labels; None for the newest.
        keep: how many of the newest versions are served at once.
        labels: {label: version}.
        max_bytes: longest request.
        timeout: seconds that a call may take.
        read_timeout: seconds within which a REST request must have come.
        parallel: calls that run at once; four times as many REST connections are held.
        interval: seconds between two looks at the folder.
        report: called with a line on each change of versions.

    Attributes:
        port: the gRPC port.
        rest_port: the REST port.
        versions: `Versions`.

    Raises:
        OSError: the folder cannot be read, or a port is taken.
        ValueError: a version cannot be loaded, or a label names none that is there.
    """

    def __init__(
        self,
        folder,
        name,
        host="127.0.0.1",
        port=8500,
        rest_port=8501,
        only=None,
        keep=1,
        labels=None,
        max_bytes=32 * MEBIBYTE,
        timeout=60,
        read_timeout=20,
        parallel=16,
        interval=1,
        report=None,
    ):
        self.versions = ModelVersions(name, folder, only, keep, labels, timeout, parallel, report)
        check_port(host, port)
        try:
            self.rest = RestServer(
                self.versions, host, rest_port, max_bytes, read_timeout, 4 * parallel
            )
        except OSError as error:
            raise address_error(error, host, rest_port, "--rest-port") from error
        try:
            # Loaded before anybody is answered, as the server does.
            self.versions.start(interval)
            self.rpc, self.port = start_rpc(self.versions, host, port, max_bytes, parallel)
        except BaseException:
            self.rest.server_close()
            self.versions.stop()
            raise
        self.rest_port = self.rest.server_port
        self._thread = threading.Thread(
            target=self.rest.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self._thread.start()

    def stop(self):
        """Stop at once; running calls are cancelled."""
        self.rpc.stop(0).wait(5)  # its threads must end before the interpreter does
        self.rest.shutdown()
        self.rest.server_close()
        self.versions.stop()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()
