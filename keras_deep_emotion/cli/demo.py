"""`demo`: a web page to try a model on."""

import webbrowser

import click

from keras_deep_emotion.cli import options
from keras_deep_emotion.runs import Run


def model_sentence(choice):
    """A sentence on the model, with its accuracy if it is a run that was evaluated."""
    folder = choice.folder()
    report = folder and Run(folder).report
    if not report:
        return f"Predictions by {choice}."
    return (
        f"Predictions by {choice}, right on {100 * report['accuracy']:.1f} % of the "
        f"{report['faces']:,} test faces of {report['dataset'].rpartition('/')[0]}."
    )


@click.command()
@options.model_options
@options.host_option
@options.port_option("--port", 7860, "Port")
@options.allow_hosts_option
@click.option(
    "--tls-certificate",
    "certificate",
    type=options.PATH,
    help="PEM file of a certificate, to serve https: browsers give other machines' pages a webcam "
    "over https only.",
)
@click.option(
    "--tls-key",
    "key",
    type=options.PATH,
    help="PEM file of its private key.  [default: in the certificate's file]",
)
@click.option("--browser", is_flag=True, help="Open the page in a browser.")
def demo(choice, host, port, allow_hosts, certificate, key, browser):
    """Serve a page that predicts photos, until Ctrl-C.

    Drop a photo, paste one or use the webcam, live. The page shows the faces with their boxes, the
    probability of each emotion, and where the model looked; picture and numbers can be downloaded.
    Photos stay in memory: none is written to a file, or sent to another machine, except to the
    --server that you name. Requests to other names than the machine's own, and from pages of other
    sites, are not answered.
    """
    if key is not None and certificate is None:
        raise click.UsageError("--tls-key needs --tls-certificate.")
    from keras_deep_emotion.demo import Demo, check_certificate
    from keras_deep_emotion.images import Detector
    from keras_deep_emotion.inference.addresses import is_loopback

    sentence = model_sentence(choice)
    if certificate is not None:
        check_certificate(certificate, key or certificate)
    where = (host, port, allow_hosts, certificate, key)
    with Demo(choice.open(), Detector(), sentence, *where) as page:
        wait_for_signal = options.signal_waiter()
        click.echo(f"The page: {page.url} (Ctrl-C ends it)")
        if not is_loopback(host):
            warning = "warning: everyone who can reach this machine can open the page"
            if certificate is None:
                warning += ", and photos are sent unencrypted: --tls-certificate makes it https"
            click.echo(f"{warning}.", err=True)
        if browser:
            webbrowser.open(page.url)
        wait_for_signal()
