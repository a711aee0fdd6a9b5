"""`export`: write a model for TensorFlow Serving."""

import click

from keras_deep_emotion.cli.options import FOLDER, run_or_weights


@click.command()
@run_or_weights
@click.option("--name", help="Name of the model.  [default: the data set or the weights]")
@click.option("--exports", default="exports", type=FOLDER, help="Folder of all exports.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Remove all but the N highest versions.  [default: all are kept]",
)
def export(run, name, exports, keep):
    """Write RUN's model as the next version for TensorFlow Serving, verified before it appears."""
    from keras_deep_emotion.serving.export import export_run

    click.echo(f"exported and verified: {export_run(run, name, exports, keep)}")
