"""`demo`: a page to try a model on."""

import ipaddress
import threading
import webbrowser

import click

from keras_deep_emotion.cli.options import (
    host_option,
    load_tensorflow,
    model_options,
    on_signals,
    port_option,
)
from keras_deep_emotion.runs import Run


def about(choice):
    """Describe the model in a sentence, with its accuracy if a report tells it."""
    report = choice.folder() and Run(choice.folder()).report
    if not report:
        return f"Answers by {choice}."
    return (
        f"Answers by {choice}, right on {100 * report['accuracy']:.1f} % of the "
        f"{report['faces']:,} test faces of {report['dataset'].rpartition('/')[0]}."
    )


def is_loopback(host):
    """Whether an address is this machine's own, or a name for that."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@click.command()
@model_options
@host_option
@port_option("--port", 7860, "Port")
@click.option("--browser", is_flag=True, help="Open the page in a browser.")
def demo(choice, host, port, browser):
    """Show a page that answers for photos, until Ctrl-C.

    Drop a photo, paste one or use the webcam: the faces with their boxes, the probability of each
    emotion, where the model looked. No picture is kept, and nothing is asked of any other machine
    but the --server that you name.
    """
    load_tensorflow()
    from keras_deep_emotion.demo import Demo
    from keras_deep_emotion.images.faces import Detector

    with Demo(choice.open(), Detector(), about(choice), host, port) as page:
        ended = threading.Event()
        on_signals(ended.set)
        click.echo(f"The page: {page.url} (Ctrl-C ends it)")
        if not is_loopback(host):
            click.echo(
                "warning: whoever reaches this machine can open it, and photos travel in the open.",
                err=True,
            )
        if browser:
            webbrowser.open(page.url)
        ended.wait()
