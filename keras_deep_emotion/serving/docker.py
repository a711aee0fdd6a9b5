"""The official tensorflow/serving container."""

import shutil
import subprocess
from pathlib import Path

from keras_deep_emotion.serving.ports import url_host

IMAGE = "tensorflow/serving"
ENGINE_TIMEOUT = 5  # ours: seconds for a Docker engine to answer


def engine_available() -> bool:
    """Whether a Docker engine runs on this machine and may be used."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(
            ["docker", "version"], capture_output=True, timeout=ENGINE_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def docker_command(
    folder: str | Path,
    name: str,
    only: int | None = None,
    host: str = "127.0.0.1",
    port: int = 8500,
    rest_port: int = 8501,
) -> list[str]:
    """Return the arguments of the command that serves an export with the official container.

    Args:
        folder: The model's folder of versions.
        name: The model's name to clients.
        only: Number of the version to serve, or None for the newest.
        host: Address of this machine at which both ports are opened.
        port: gRPC port there.
        rest_port: REST port there.
    """
    inside = f"/models/{name}"
    if only is not None:
        folder, inside = Path(folder) / str(only), f"{inside}/{only}"
    address = url_host(host)
    return [
        *("docker", "run", "--rm"),
        "--init",  # the image's shell would not receive Ctrl-C
        *("--publish", f"{address}:{port}:8500"),
        *("--publish", f"{address}:{rest_port}:8501"),
        *("--volume", f"{folder}:{inside}:ro"),
        *("--env", f"MODEL_NAME={name}"),
        IMAGE,
    ]
