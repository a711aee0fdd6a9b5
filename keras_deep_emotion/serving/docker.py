"""The official tensorflow/serving container."""

import shutil
import subprocess
from pathlib import Path

IMAGE = "tensorflow/serving"


ENGINE_TIMEOUT = 5  # ours: seconds for a Docker engine to answer


def engine_available():
    """Whether a Docker engine runs here and may be used."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(
            ["docker", "version"], capture_output=True, timeout=ENGINE_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def docker_command(folder, name, only=None, host="127.0.0.1", port=8500, rest_port=8501):
    """The command that runs the official container on an export.

    Args:
        folder: the model's folder of versions.
        name: its name to clients.
        only: the one version to serve, None for the newest.
        host: address of this machine at which both ports are opened.
        port: gRPC port there.
        rest_port: REST port there.

    Returns:
        List of arguments.
    """
    inside = f"/models/{name}"
    if only is not None:
        folder, inside = Path(folder) / str(only), f"{inside}/{only}"
    address = f"[{host}]" if ":" in host else host
    return [
        *("docker", "run", "--rm"),
        "--init",  # the image's shell would not hear Ctrl-C
        *("--publish", f"{address}:{port}:8500"),
        *("--publish", f"{address}:{rest_port}:8501"),
        *("--volume", f"{folder}:{inside}:ro"),
        *("--env", f"MODEL_NAME={name}"),
        IMAGE,
    ]
