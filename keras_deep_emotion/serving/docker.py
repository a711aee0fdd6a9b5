"""The official tensorflow/serving container."""

import subprocess
from pathlib import Path

from keras_deep_emotion.serving.ports import url_host

IMAGE = "tensorflow/serving"
ENGINE_TIMEOUT = 5  # ours: seconds for a Docker engine to answer


def engine_available() -> bool:
    """Whether a Docker engine runs on this machine and may be used."""
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
    """The command that serves a folder of versions by the container; arguments of `LocalServer`."""
    inside = f"/models/{name}"
    if only is not None:
        folder, inside = Path(folder) / str(only), f"{inside}/{only}"
    address = url_host(host)
    # Not --volume, which splits a path at its colons; a field of CSV may hold anything in quotes.
    source = f"source={folder}".replace('"', '""')
    return [
        *("docker", "run", "--rm", "--init"),  # else the image's shell would not receive Ctrl-C
        *("--publish", f"{address}:{port}:8500"),
        *("--publish", f"{address}:{rest_port}:8501"),
        *("--mount", f'type=bind,"{source}",target={inside},readonly'),
        *("--env", f"MODEL_NAME={name}"),
        IMAGE,
    ]
