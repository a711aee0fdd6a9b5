"""The command that serves an export: by the official container, or by the stand-in."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import click

from keras_deep_emotion.cli.options import host_option, load_tensorflow, port_option
from keras_deep_emotion.ports import check_port

IMAGE = "tensorflow/serving"
ENGINE_TIMEOUT = 5  # ours: seconds for a Docker engine to answer


def find_export(path):
    """What of a path is to be served.

    Args:
        path: a model's folder of versions, or the folder of one version in it.

    Returns:
        (folder of versions, the one version's number or None for the newest).

    Raises:
        FileNotFoundError: it is neither.
    """
    path = Path(path).resolve()
    is_version = any((path / f"saved_model.{end}").exists() for end in ("pb", "pbtxt"))
    if is_version and path.name.isdecimal():
        return path.parent, int(path.name)
    versions = path.iterdir() if path.is_dir() else ()
    if is_version or not any(entry.is_dir() and entry.name.isdecimal() for entry in versions):
        raise FileNotFoundError(
            f"{path} is no export: it has no versions, folders such as 1 with a saved_model.pb. "
            "`python cli.py export RUN` makes one; name exports/NAME, or exports/NAME/VERSION."
        )
    return path, None


def parse_labels(ctx, param, values):
    """{label: version} of the values of --label."""
    labels = {}
    for value in values:
        label, _, number = value.partition("=")
        if not re.fullmatch(r"[^/:=]+", label) or not number.isdecimal():
            raise click.BadParameter(f"{value!r} is not like stable=2: a name, =, a version.")
        labels[label] = int(number)
    return labels


def engine_answers():
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


def on_signals(stop):
    """Have SIGTERM and Ctrl-C call a function, once."""

    def handle(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


def run_container(command):
    """Run the container until it ends, which is an error, or a signal comes.

    Raises:
        click.ClickException: the container ended by itself.
    """
    click.echo(shlex.join(command))
    on_signals(sys.exit)
    child = subprocess.Popen(command)
    try:
        status = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
    raise click.ClickException(f"The container ended with status {status}; it says why above.")


@click.command()
@click.argument("export", type=click.Path(path_type=Path))
@click.option("--name", help="The model's name to clients.  [default: the folder's]")
@host_option
@port_option("--port", 8500, "gRPC port")
@port_option("--rest-port", 8501, "REST port")
@click.option(
    "--docker/--stand-in",
    default=None,
    help="Official container, or stand-in.  [default: the container if a Docker engine answers]",
)
@click.option(
    "--keep",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Newest versions served at once (stand-in).",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=parse_labels,
    metavar="NAME=VERSION",
    help="Name for a version, which then is served too (stand-in).",
)
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Seconds that a call may take (stand-in).",
)
@click.option(
    "--max-request",
    default=32,
    show_default=True,
    type=click.IntRange(1, 2047),  # gRPC counts bytes in 32 bits
    help="Longest request in MiB (stand-in).",
)
@click.option(
    "--parallel",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Calls that run at once (stand-in).",
)
def serve(export, name, host, port, rest_port, docker, keep, labels, **limits):
    """Serve EXPORT, exports/NAME, as TensorFlow Serving does: REST and gRPC, until Ctrl-C.

    By the official container where a Docker engine runs, else by a stand-in in Python for
    development. New versions are taken up as they appear; exports/NAME/VERSION serves that one.
    """
    folder, only = find_export(export)
    name = name or folder.name
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise click.BadParameter("letters, digits, _, . and - only.", param_hint="--name")
    if port == rest_port != 0:
        raise click.UsageError(
            f"gRPC and REST each need a port of their own: --port and --rest-port are both {port}."
        )
    if docker or (docker is None and engine_answers()):
        if keep > 1 or labels:
            raise click.UsageError(
                "--keep and --label are the stand-in's: add --stand-in. The container takes them "
                "from a models.config."
            )
        port, rest_port = check_port(host, port), check_port(host, rest_port, "--rest-port")
        run_container(docker_command(folder, name, only, host, port, rest_port))
    # Nothing is to be tidied. An exception would be lost in the midst of TensorFlow's import, and
    # the interpreter's own end waits for the libraries' threads, at times for ever.
    on_signals(lambda: os._exit(0))
    load_tensorflow()
    from keras_deep_emotion.stand_in import MEBIBYTE, StandIn

    click.echo(
        f"A stand-in for {IMAGE}, for development only: in production serve {folder} with the "
        "container."
    )
    with StandIn(
        folder,
        name,
        host,
        port,
        rest_port,
        only,
        keep,
        labels,
        max_bytes=limits["max_request"] * MEBIBYTE,
        timeout=limits["timeout"],
        parallel=limits["parallel"],
        report=click.echo,
    ) as server:
        address = f"[{host}]" if ":" in host else host
        click.echo(
            f"REST: http://{address}:{server.rest_port}/v1/models/{name}\n"
            f"gRPC: {address}:{server.port}"
        )
        threading.Event().wait()
