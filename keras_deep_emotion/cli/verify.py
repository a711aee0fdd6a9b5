"""`verify`: check an exported model."""

import click

from keras_deep_emotion.cli.options import PATH, load_tensorflow
from keras_deep_emotion.cli.progress import working


@click.command()
@click.option(
    "--library",
    type=PATH,
    help="libtensorflow_cc of another TensorFlow version, or its unpacked wheel.",
)
@click.argument("export", type=PATH)
def verify(export, library):
    """Check EXPORT, the folder of a version, as TensorFlow Serving will load it.

    The exit status is 0 if every check passes.
    """
    from keras_deep_emotion.serving.verification import verify

    lines = verify(export, library)  # opens the export in another process
    load_tensorflow()
    with working("checking as the server loads it") as work:
        for line in lines:
            work.echo(f"ok  {line}")
