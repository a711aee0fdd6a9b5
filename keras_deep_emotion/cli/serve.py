"""`serve`: serve an exported model."""

import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import click

from keras_deep_emotion.cli.options import host_option, load_tensorflow, on_signals, port_option
from keras_deep_emotion.exports import Export
from keras_deep_emotion.serving.docker import IMAGE, docker_command, engine_available
from keras_deep_emotion.serving.ports import check_port


def parse_labels(ctx, param, values):
    """{label: version} of the values of --label."""
    labels = {}
    for value in values:
        label, _, number = value.partition("=")
        if not re.fullmatch(r"[^/:=]+", label) or not number.isdecimal():
            raise click.BadParameter(f"{value!r} is not like stable=2: a name, =, a version.")
        labels[label] = int(number)
    return labels


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
    found = Export.find(export)
    folder, only = found.path, found.version
    name = name or folder.name
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise click.BadParameter("letters, digits, _, . and - only.", param_hint="--name")
    if port == rest_port != 0:
        raise click.UsageError(
            f"gRPC and REST each need a port of their own: --port and --rest-port are both {port}."
        )
    if docker or (docker is None and engine_available()):
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
    from keras_deep_emotion.serving.local_server import MEBIBYTE, LocalServer

    click.echo(
        f"A stand-in for {IMAGE}, for development only: in production serve {folder} with the "
        "container."
    )
    with LocalServer(
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
