"""`verify`: check an exported model as the server will meet it."""

from pathlib import Path

import click


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
    from keras_deep_emotion.serving.verification import verify

    for line in verify(export, library):
        click.echo(f"ok  {line}")
