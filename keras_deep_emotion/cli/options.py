"""What several commands share: options, their types, and TensorFlow loaded without its log."""

import functools
import logging
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click

from keras_deep_emotion.config import RECIPES, TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.runs import Run


def built_from(config, source, data_dir):
    """Build a run's data set from a source; the data set's name, with the folder for `folder`."""
    from keras_deep_emotion.data.building import build_dataset

    task = Task.from_config(config)
    target = f"{task.name}/{task.tfds_config}" if task.variant else task.name
    (builder, *_) = build_dataset(target, source, data_dir, announce=click.echo)
    return f"folder/{builder.builder_config.name}" if task.name == "folder" else config.dataset


def load_tensorflow():
    """Import TensorFlow without its start-up log, which no setting of its own silences.

    Called by commands before anything else of ours: --help does without.
    """
    # Our own warnings as sentences; those of the libraries are of their inner life. Before they
    # load, or they set up logging in their own ways.
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    for library in ("absl", "tensorflow", "urllib3"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with tempfile.TemporaryFile() as log:
        kept = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            log.seek(0)
            os.write(kept, log.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)

    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()


def checked_by(parse):
    """A callback that checks an argument while parsing: by the function that will read it."""

    def check(ctx, param, value):
        try:
            if value is not None:
                parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        return value

    return check


data_dir_option = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="TFDS_DATA_DIR",
    help="Where built data sets are kept.  [default: $TFDS_DATA_DIR or ~/tensorflow_datasets]",
)


def run_or_weights(command):
    """RUN, or --weights NAME in its place: the command gets the folder of either as `run`."""

    @click.argument("run", required=False, type=click.Path(path_type=Path))
    @click.option(
        "--weights", metavar="NAME", help="Instead of RUN: weights that come with the package."
    )
    @functools.wraps(command)
    def with_folder(run, weights, **others):
        if (run is None) == (weights is None):
            raise click.UsageError("Name either RUN, a folder that fit made, or --weights NAME.")
        load_tensorflow()
        if weights is None:
            return command(run=Run(run), **others)
        # What comes with the package is read, never written to.
        if "output" in others and others["output"] is None:
            others["output"] = Path(weights)
        if "name" in others and others["name"] is None:
            others["name"] = weights
        return command(run=Run.shipped(weights), **others)

    return with_folder


@dataclass(frozen=True)
class ModelChoice:
    """What the options of `model_options` name: a folder, else a server, else shipped weights."""

    model: Path | None
    weights: str
    server: str | None
    timeout: float
    authority: Path | None

    def open(self):
        """The `predict.Model`; TensorFlow must be loaded."""
        if self.server is not None:
            from keras_deep_emotion.inference.client import connect

            return connect(self.server, self.timeout, self.authority)
        from keras_deep_emotion.inference.loading import load_folder

        return load_folder(self.folder())

    def folder(self):
        """The folder that holds it, None of a server."""
        if self.server is not None or self.model is not None:
            return self.model
        return Run.shipped(self.weights).path

    def __str__(self):
        """What it is, in words."""
        if self.server is not None:
            return f"the model behind {self.server}"
        return f"the weights {self.weights}" if self.model is None else f"the model of {self.model}"


def model_options(command):
    """--model, --weights or --server: the command gets a `ModelChoice` as `choice`."""

    @click.option("--model", type=click.Path(path_type=Path), help="A run's folder or an export's.")
    @click.option(
        "--weights",
        metavar="NAME",
        help="Or: weights that come with the package.  [default: ferplus]",
    )
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
    @functools.wraps(command)
    def with_model(model, weights, server, timeout, authority, **others):
        if sum(one is not None for one in (model, weights, server)) > 1:
            raise click.UsageError(
                "Name one of --model, a run or an export, --weights NAME and --server URL."
            )
        choice = ModelChoice(model, weights or "ferplus", server, timeout, authority)
        return command(choice=choice, **others)

    return with_model


output_option = click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files.  [default: RUN; with --weights, a folder of their name here]",
)


host_option = click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at."
)


def port_option(declaration, default, label):
    """An option of a port to listen at; `label` is what its help calls it."""
    return click.option(
        declaration,
        default=default,
        show_default=True,
        type=click.IntRange(0, 65535),
        help=f"{label}; 0 takes a free one.",
    )


class FoldType(click.ParamType):
    """A fold's number, or `all`."""

    name = "INTEGER|all"

    def convert(self, value, param, ctx):
        """The number as an integer."""
        if value == "all" or isinstance(value, int):
            return value
        if not value.isdecimal():
            self.fail(f"{value!r} is neither a number nor all.", param, ctx)
        return int(value)


def config_option(name, **kwargs):
    """An option of TrainConfig's field: its type, and its default in each recipe."""
    defaults = [getattr(TrainConfig.from_recipe(recipe), name) for recipe in RECIPES]
    texts = ["none" if value is None else str(value) for value in defaults]
    if isinstance(defaults[0], bool):
        flag = name.replace("_", "-")
        declaration = f"--{flag}/--no-{flag}"
        texts = [flag if value else f"no-{flag}" for value in defaults]
    else:
        declaration = f"--{name.replace('_', '-')}"
        kwargs.setdefault("type", type(defaults[0]))
    others = [
        f"{recipe}: {text}"
        for recipe, text in zip(RECIPES, texts, strict=True)
        if text != texts[0] and name != "recipe"
    ]
    # No default of click's own, not even a flag's False: what is not given is the recipe's.
    kwargs["default"] = None
    kwargs["help"] += f"  [default: {'; '.join([texts[0], *others])}]"
    return click.option(declaration, **kwargs)


def on_signals(stop):
    """Have SIGTERM and Ctrl-C call a function, once."""

    def handle(number, frame):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
