"""Commands that put a model to use."""

import json
import sys
from pathlib import Path

import click

from keras_deep_emotion.cli.options import load_tensorflow, run_or_weights


@click.command()
@click.option("--model", type=click.Path(path_type=Path), help="A run's folder or an export's.")
@click.option("--weights", metavar="NAME", help="Or: weights that come with the package.")
@click.option(
    "--server",
    metavar="URL",
    help="Or: an export behind a server, grpc://HOST:8500/NAME or http://HOST:8501/NAME; "
    "grpcs and https over TLS; /versions/N or /labels/LABEL may follow.",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds that a server may take for a request.",
)
@click.option(
    "--authority",
    type=click.Path(path_type=Path),
    help="Certificates to trust over TLS, PEM.  [default: the system's]",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object a line.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
def predict(model, weights, server, timeout, authority, as_json, images):
    """Name the emotion of each of IMAGES, JPEG or PNG files of cropped faces."""
    if sum(one is not None for one in (model, weights, server)) != 1:
        raise click.UsageError(
            "Name one of --model, a run or an export, --weights NAME and --server URL."
        )
    load_tensorflow()
    if server is not None:
        from keras_deep_emotion.serving import connect

        loaded = connect(server, timeout, authority)
    else:
        from keras_deep_emotion.predict import load
        from keras_deep_emotion.runs import weights_dir

        loaded = load(weights_dir(weights) if model is None else model)
    failed = 0
    if not as_json:
        click.echo(f"{'emotion':<12}{'probability':>11}  file")
    for prediction in loaded.predict_files(images):
        if prediction.error:
            failed += 1
            click.echo(f"{prediction.file}: {prediction.error}.", err=True)
            continue
        best = prediction.probabilities.argmax()
        if as_json:
            scores = map(float, prediction.probabilities)
            answer = {
                "file": str(prediction.file),
                "emotion": loaded.labels[best],
                "probabilities": dict(zip(loaded.labels, scores, strict=True)),
            }
            click.echo(json.dumps(answer))
        else:
            share = prediction.probabilities[best]
            click.echo(f"{loaded.labels[best]:<12}{share:>11.1%}  {prediction.file}")
    if failed:
        sys.exit(1)


@click.command()
@run_or_weights
@click.option("--name", help="Name to clients.  [default: the data set's, or that of the weights]")
@click.option(
    "--exports",
    default="exports",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of all exports.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Remove all but the N highest versions.  [default: all are kept]",
)
def export(run, name, exports, keep):
    """Write RUN's model as the next version for TensorFlow Serving, verified before it appears."""
    from keras_deep_emotion.export import export_run

    click.echo(f"exported and verified: {export_run(run, name, exports, keep)}")


@click.command()
@click.option(
    "--library",
    type=click.Path(path_type=Path),
    help="libtensorflow_cc of another TensorFlow, or the folder of its wheel, unpacked.",
)
@click.argument("export", type=click.Path(path_type=Path))
def verify(export, library):
    """Check EXPORT, a version's folder, as the server will meet it; TensorFlow is not imported.

    The exit status is 0 where every check is passed.
    """
    from keras_deep_emotion.verify_export import verify

    for line in verify(export, library):
        click.echo(f"ok  {line}")
