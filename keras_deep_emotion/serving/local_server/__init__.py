"""The local server: a Python server with the ports, routes and codes of tensorflow/serving.

For development and tests where no Docker engine runs. It serves one model from a folder of
versions, by REST (Starlette, uvicorn) and gRPC, in TensorFlow sessions. It is slower than the
container, and has no batching, warm-up, TLS, metrics, Regress or MultiInference.
"""

import contextlib
import importlib.util
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from keras_deep_emotion.program import install_command
from keras_deep_emotion.serving.ports import check_port, listen

__all__ = ["LocalServer"]

if not all(map(importlib.util.find_spec, ("starlette", "uvicorn"))):
    raise ModuleNotFoundError(
        f"The local server needs Starlette and uvicorn: {install_command('serve')}"
    )


class LocalServer(contextlib.AbstractContextManager):
    """Serve a model until `stop`: `with LocalServer("exports/face", "face") as server`.

    Args:
        folder: The model's folder of versions.
        name: The model's name to clients.
        host: Address to listen at.
        port: gRPC port, 0 for a free one; the attribute is the port in use.
        rest_port: REST port, likewise.
        only: Number of the version to serve, besides those of labels; None for the newest.
        keep: Number of newest versions to serve.
        labels: {label: version}; these versions are served too.
        max_bytes: Longest request.
        timeout: Seconds allowed for a call.
        read_timeout: Seconds allowed for a REST request to arrive, and between two of a connection.
        parallel: Calls that run at once; sixteen times as many REST connections are held.
        interval: Seconds between two checks of the folder for new versions.
        report: Called with a line on each change of versions.
        allow_hosts: More names that REST requests may have as Host, see `serving.hosts`.

    Raises:
        OSError: If the folder cannot be read, or a port is in use.
        ValueError: If a version cannot be loaded, or a label names a version that is not there.
    """

    def __init__(
        self,
        folder: str | Path,
        name: str,
        host: str = "127.0.0.1",
        port: int = 8500,
        rest_port: int = 8501,
        only: int | None = None,
        keep: int = 1,
        labels: dict[str, int] | None = None,
        max_bytes: int = 32 * 2**20,
        timeout: float = 60,
        read_timeout: float = 20,
        parallel: int = 16,
        interval: float = 1,
        report: Callable[[str], None] | None = None,
        allow_hosts: Iterable[str] = (),
    ):
        # These import TensorFlow.
        from keras_deep_emotion.serving.local_server.rest import build_server
        from keras_deep_emotion.serving.local_server.rpc import start_rpc
        from keras_deep_emotion.serving.local_server.versions import ModelVersions

        self.versions = ModelVersions(name, folder, only, keep, labels, timeout, parallel, report)
        check_port(host, port)
        listener = listen(host, rest_port, "--rest-port")
        self.rest_port = listener.getsockname()[1]
        try:
            self.versions.start(interval)  # clients that connect meanwhile wait
            self._rpc, self.port = start_rpc(self.versions, host, port, max_bytes, parallel)
        except BaseException:
            listener.close()
            self.versions.stop()
            raise
        hosts = host, allow_hosts
        self._rest = build_server(self.versions, max_bytes, read_timeout, parallel, hosts)
        self._thread = threading.Thread(target=self._rest.run, args=([listener],), daemon=True)
        self._thread.start()

    def stop(self, grace: int = 0) -> None:
        """Stop: no new calls are taken; running ones have `grace` seconds, then are cancelled."""
        stopped = self._rpc.stop(grace)
        self._rest.config.timeout_graceful_shutdown = max(grace, 1)
        self._rest.should_exit = True
        if grace:
            self._thread.join(grace)
            stopped.wait(grace)
        self.versions.stop()
        self._thread.join()
        stopped.wait(5)  # its threads must end before the interpreter does

    def __exit__(self, *error: object) -> None:
        self.stop()
