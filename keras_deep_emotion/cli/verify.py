"""`verify`: check an exported model."""

from pathlib import Path

import click

from keras_deep_emotion.cli.options import load_tensorflow


@click.command()
@click.option(
    "--library",
    type=click.Path(path_type=Path),
    help="libtensorflow_cc of another TensorFlow version, or its unpacked wheel.",
)
@click.argument("export", type=click.Path(path_type=Path))
def verify(export, library):
    """Check EXPORT, the folder of a version, as TensorFlow Serving will load it.

    The exit status is 0 if every check passes.
    """
    from keras_deep_emotion.serving.verification import verify

    lines = verify(export, library)  # opens the export in another process
    load_tensorflow()
    for line in lines:
        click.echo(f"ok  {line}")
