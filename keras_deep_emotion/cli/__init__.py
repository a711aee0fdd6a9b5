"""The command line: commands parse, call the package, and print.

TensorFlow is imported inside commands only, so that --help is instant.
"""

import atexit
import contextlib
import os
import re
import sys
import traceback
import warnings

import click

from keras_deep_emotion import __version__
from keras_deep_emotion.cli.build_data import build_data
from keras_deep_emotion.cli.data import data
from keras_deep_emotion.cli.demo import demo
from keras_deep_emotion.cli.evaluate import evaluate
from keras_deep_emotion.cli.explain import explain
from keras_deep_emotion.cli.export import export
from keras_deep_emotion.cli.fit import fit
from keras_deep_emotion.cli.options import IF_STOPPED
from keras_deep_emotion.cli.pipes import prepare_streams
from keras_deep_emotion.cli.predict import predict
from keras_deep_emotion.cli.reproduce import reproduce
from keras_deep_emotion.cli.score import score
from keras_deep_emotion.cli.serve import serve
from keras_deep_emotion.cli.tune import tune
from keras_deep_emotion.cli.verify import verify
from keras_deep_emotion.program import DISTRIBUTION, PROGRAM, as_typed
from keras_deep_emotion.stopping import stopping_on_signals

OWN_PACKAGES = ("keras_deep_emotion", "tfds_builders")
# What TensorFlow says of records that are cut, overwritten or missing, or of other content.
DAMAGED = (
    "corrupted record", "truncated record", "dataset was expected to contain",
    "Could not parse example", "parse serialized Example", "is required but could not be found",
    "DecodeImage",
)  # fmt: skip
FILE_SYSTEM_ERRORS = ("No space left on device", "Permission denied", "File too large")


def user_message(error: BaseException) -> str | None:
    """Describe an error that the user can fix; None for a bug, which keeps its traceback.

    The user can fix a ValueError that this project raised, a missing optional package, and errors
    of the file system, also where a library wraps them.
    """
    if isinstance(error, ValueError):
        frame, _ = list(traceback.walk_tb(error.__traceback__))[-1]
        if frame.f_globals.get("__name__", "").partition(".")[0] in OWN_PACKAGES:
            return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name is None:  # raised by this project
        return str(error)
    message = None
    while message is None and error is not None:
        message, error = file_system_message(error), error.__cause__
    return message


def file_system_message(error: BaseException) -> str | None:
    """Describe an error of the file system; None for any other."""
    if isinstance(error, OSError):
        if error.strerror is None:
            return str(error)
        return f"{error.strerror}: {error.filename}." if error.filename else error.strerror
    message = ""
    # TensorFlow's are not OSErrors. Its module may not be loaded.
    if type(error).__module__ == "tensorflow.python.framework.errors_impl":
        message = error.message
    elif isinstance(error, UnicodeDecodeError):  # an error of TensorFlow that quotes a record
        message = bytes(error.object).decode(errors="replace")
    if any(text in message for text in DAMAGED):
        return f"A file is damaged: {damage(message)}. Build or export again what it belongs to."
    for text in FILE_SYSTEM_ERRORS:
        if text in message:
            return f"{text}: {message.partition(';')[0]}."
    return None


def damage(message: str) -> str:
    """What TensorFlow says is damaged, without where in its graph, and without the content."""
    reason = message.partition("\n")[0].rpartition("}} ")[2].partition(" [Op:")[0]
    reason = re.sub(r"^Error in user-defined function .* Iterator::\S+ ", "", reason)
    return reason.partition(", value: ")[0].rstrip(".")


class Stopped(click.ClickException):
    """Ctrl-C, SIGTERM or SIGHUP."""

    exit_code = 130  # as shells have it


class Group(click.Group):
    """The one place where errors and stops are translated to a line on the terminal."""

    def invoke(self, ctx):
        """Run the command; exit with status 1 and a sentence if the user can fix the error."""
        try:
            with stopping_on_signals():
                return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort):
            raise
        except click.ClickException as error:
            error.message = as_typed(error.message)
            raise
        except KeyboardInterrupt:
            raise Stopped(as_typed(ctx.meta.get(IF_STOPPED, "Stopped."))) from None
        except Exception as error:
            message = user_message(error)
            if message is None or ctx.params["debug"]:
                raise
            raise click.ClickException(as_typed(message)) from None

    def get_help(self, ctx):
        """The help text, with commands under the name that was used."""
        return as_typed(super().get_help(ctx))


SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}


@click.group(cls=Group, context_settings=SETTINGS)
@click.version_option(__version__, prog_name=DISTRIBUTION)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug):
    """Deep-Emotion in Keras: facial expressions, from data set to TensorFlow Serving.

    \b
    First steps, without any data of your own:
      keras-deep-emotion build-data toon_faces
      keras-deep-emotion fit --dataset toon_faces --epochs 10
    """  # noqa: D301 (\b is click's mark for lines to leave unwrapped)
    # Before TensorFlow is imported: it logs about its build at every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = os.devnull  # no keras.json: its precision is not the run's
    for name in ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH"):  # they cut training short
        os.environ.pop(name, None)
    if any("error" in option for option in sys.warnoptions):  # of libraries, they are no errors
        warnings.simplefilter("ignore")
        os.environ.pop("PYTHONWARNINGS", None)  # of children


for command in (
    *(build_data, data, fit, reproduce, tune, evaluate, explain),
    *(predict, demo, export, verify, serve, score),
):
    main.add_command(command)


def run() -> None:
    """Run the command line and end the process with its last line.

    Without this, a process that has TensorFlow loaded takes 1.5 s to take itself apart.
    """
    prepare_streams()
    status = 1  # of an exception that Python prints

    def end():
        with contextlib.suppress(OSError):  # a full disk
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

    atexit.register(end)  # registered first: it runs after what libraries register
    try:
        main(prog_name=PROGRAM)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    except OSError as error:  # stdout is on a full disk, also for --help
        sys.stderr.write(f"Error: {file_system_message(error)}\n")
