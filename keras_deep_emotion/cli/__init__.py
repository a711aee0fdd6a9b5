"""Commands: parse, call, print. TensorFlow loads inside commands only: --help is instant."""

import os
import traceback

import click

from keras_deep_emotion import __version__
from keras_deep_emotion.cli.build_data import build_data
from keras_deep_emotion.cli.data import data
from keras_deep_emotion.cli.demo import demo
from keras_deep_emotion.cli.evaluate import evaluate
from keras_deep_emotion.cli.explain import explain
from keras_deep_emotion.cli.export import export
from keras_deep_emotion.cli.fit import fit
from keras_deep_emotion.cli.predict import predict
from keras_deep_emotion.cli.reproduce import reproduce
from keras_deep_emotion.cli.score import score
from keras_deep_emotion.cli.serve import serve
from keras_deep_emotion.cli.tune import tune
from keras_deep_emotion.cli.verify import verify

OURS = ("keras_deep_emotion", "tfds_builders")


def user_message(error):
    """One sentence for an error that the user can mend; None for a bug, which keeps its traceback.

    Errors of the file system are the user's, also where a library wraps them; so is a ValueError
    that our own code raised: that is how it refuses input. One from inside a library is a bug.
    """
    if isinstance(error, ValueError):
        innermost = list(traceback.walk_tb(error.__traceback__))[-1][0]
        if innermost.f_globals.get("__name__", "").split(".")[0] in OURS:
            return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name is None:  # ours: it names the extra
        return str(error)
    while error is not None:
        if isinstance(error, OSError):
            if error.strerror is None:
                return str(error)
            return f"{error.strerror}: {error.filename}." if error.filename else error.strerror
        # TensorFlow's own errors of the file system are no OSError; its module may not be loaded.
        if type(error).__module__ == "tensorflow.python.framework.errors_impl":
            for sign in ("No space left on device", "Permission denied", "File too large"):
                if sign in error.message:
                    return f"{sign}: {error.message.partition(';')[0]}."
        error = error.__cause__
    return None


class Group(click.Group):
    """The one place where errors become a line on the terminal."""

    def invoke(self, ctx):
        """Run the command; exit with 1 and a sentence where the user can mend it."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            message = user_message(error)
            if message is None or ctx.params["debug"]:
                raise
            raise click.ClickException(message) from None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keras-deep-emotion")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug):
    """Deep-Emotion in Keras: facial expressions, from data set to TensorFlow Serving.

    \b
    First steps, without any data of your own:
      python cli.py build-data toon_faces
      python cli.py fit --dataset toon_faces --epochs 10
    """  # noqa: D301 (click's mark of lines to be left as they are must be a control character)
    # Before TensorFlow loads: it logs about its build at every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"


COMMANDS = (
    *(build_data, data, fit, reproduce, tune, evaluate, explain),
    *(predict, demo, export, verify, serve, score),
)


for command in COMMANDS:
    main.add_command(command)
