"""`serve`: serve an exported model."""

import os
import re
import shlex
import subprocess
import sys

import click

from keras_deep_emotion.cli import options
from keras_deep_emotion.exports import Export, is_version
from keras_deep_emotion.serving.docker import IMAGE, docker_command, engine_available
from keras_deep_emotion.serving.ports import check_port, url_host

DRAIN = 5  # ours, seconds: for running calls, after a signal


def parse_labels(ctx, param, values):
    """{label: version} of the values of --label."""
    labels = {}
    for value in values:
        label, _, number = value.partition("=")
        if not re.fullmatch(r"[^/:=]+", label) or not is_version(number):
            raise click.BadParameter(f"{value!r} is not like stable=2: a name, =, a version.")
        labels[label] = int(number)
    return labels


def run_container(command):
    """Run the container until a signal comes; that it ends by itself is an error."""
    click.echo(shlex.join(command))
    options.on_signals(sys.exit)
    child = subprocess.Popen(command)
    try:
        status = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
    raise click.ClickException(f"The container ended with status {status}; it says why above.")


def local_option(declaration, default, value_type, text):
    """An option of the local server; the container has no such setting here."""
    text = f"{text} (local server)."
    return click.option(declaration, default=default, type=value_type, help=text)


@click.command()
@click.argument("export", type=options.PATH)
@click.option("--name", help="The model's name to clients.  [default: the folder's]")
@options.host_option
@options.port_option("--port", 8500, "gRPC port")
@options.port_option("--rest-port", 8501, "REST port")
@click.option(
    "--docker/--local",
    default=None,
    help="Official container, or local server.  [default: the container if a Docker engine runs]",
)
@click.option("--stand-in", is_flag=True, hidden=True)  # the former name of --local
@local_option("--keep", 1, options.Integer(1), "Newest versions to serve")
@click.option(
    "--label",
    "labels",
    multiple=True,
    callback=parse_labels,
    metavar="NAME=VERSION",
    help="Name for a version, which is then served too (local server).",
)
@local_option("--timeout", 60.0, options.SECONDS, "Seconds allowed for a call")
@local_option(
    "--max-request", 32, options.Integer(1, 2047), "Longest request in MiB"
)  # gRPC: int32
@local_option("--parallel", 16, options.Integer(1, 1024), "Calls that run at once")
@options.allow_hosts_option
def serve(export, name, host, port, rest_port, docker, stand_in, keep, labels, **limits):
    """Serve EXPORT, exports/NAME, as TensorFlow Serving does: REST and gRPC, until Ctrl-C.

    Uses the official container if a Docker engine runs, or else the local server, which is for
    development. New versions are served as they appear; exports/NAME/VERSION serves only that one.

    The local server answers REST requests to the machine's own names only, and none from web pages
    of other sites. On Ctrl-C or SIGTERM it finishes running calls, for at most 5 seconds.
    """
    found = Export.find(export)
    folder = found.path
    name = name or folder.name
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise click.BadParameter("letters, digits, _, . and - only.", param_hint="--name")
    if port == rest_port != 0:
        raise click.UsageError(
            f"gRPC and REST each need a port of their own: --port and --rest-port are both {port}."
        )
    if not stand_in and (docker or (docker is None and engine_available())):
        options.refuse_unused(
            ["keep", "labels", *limits],
            "is an option of the local server: add --local. The container takes versions and "
            "labels from a models.config.",
        )
        port, rest_port = check_port(host, port), check_port(host, rest_port, "--rest-port")
        run_container(docker_command(folder, name, found.version, host, port, rest_port))
    from keras_deep_emotion.serving.local_server import LocalServer

    # Exit without cleanup: an exception would be lost during TensorFlow's import, and the
    # interpreter's own end waits for the libraries' threads, at times for ever.
    options.on_signals(lambda: os._exit(0))
    options.load_tensorflow()
    click.echo(f"Local server, for development only: in production serve {folder} with {IMAGE}.")
    limits["max_bytes"] = limits.pop("max_request") * 2**20
    settings = {"keep": keep, "labels": labels, "report": click.echo, **limits}
    server = LocalServer(folder, name, host, port, rest_port, found.version, **settings)
    address = url_host(host)
    click.echo(f"REST: http://{address}:{server.rest_port}/v1/models/{name}")
    click.echo(f"gRPC: {address}:{server.port}")
    options.signal_waiter()()
    server.stop(DRAIN)
    os._exit(0)
