"""Options that several commands share, and the import of TensorFlow without its log."""

import functools
import logging
import os
import queue
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from keras_deep_emotion.config import NETWORKS, OPTIMIZERS, PRECISIONS, RECIPES, TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.exports import EDGE_SUFFIXES
from keras_deep_emotion.files import quiet_stderr
from keras_deep_emotion.runs import Run
from keras_deep_emotion.stopping import SIGNALS


class LocalPath(click.Path):
    """A path; `~` is the home folder also where no shell replaces it, as in --data-dir=~/data."""

    def convert(self, value, param, ctx):
        """See click."""
        if not self.file_okay and "://" in str(value) and not os.path.exists(value):
            self.fail(f"{value} is a URL; name a folder of this machine.", param, ctx)
        if not os.path.exists(value):
            value = os.path.expanduser(value)
        elif str(value).startswith("~"):  # a folder of this name
            value = os.path.abspath(value)
        return super().convert(value, param, ctx)


# What cannot be read is reported by what reads it: other files are not refused with it.
PATH = LocalPath(path_type=Path, readable=False)
FOLDER = LocalPath(file_okay=False, path_type=Path)
LARGEST = 2**31 - 1  # ours: of any number on the command line
DAY = 24 * 60 * 60  # seconds: the longest time that an option takes
IF_STOPPED = "keras_deep_emotion.stopped"  # in the context of click, see `if_stopped`
CHOICES = {
    "recipe": tuple(RECIPES),
    "network": NETWORKS,
    "optimizer": OPTIMIZERS,
    "precision": PRECISIONS,
}


def load_tensorflow() -> None:
    """Import TensorFlow without its start-up log, which none of its settings silences.

    Commands call this before they import the rest of the package.
    """
    # Show the package's warnings as sentences, and hide those of libraries. Set before they are
    # imported, since they configure logging themselves.
    logging.basicConfig(format="warning: %(message)s", level=logging.WARNING)
    for library in ("absl", "tensorflow", "urllib3"):
        logging.getLogger(library).setLevel(logging.ERROR)
    with quiet_stderr():
        import tensorflow  # noqa: F401
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()


class Bounded:
    """A number whose size is at most `LARGEST`, which help does not show."""

    def convert(self, value, param, ctx):
        """Parse a number; NaN, which is in no range and below none, is refused."""
        number = super().convert(value, param, ctx)
        if not abs(number) <= LARGEST:
            self.fail(f"{value!r} is not a number of at most {LARGEST}.", param, ctx)
        return number


class Integer(Bounded, click.IntRange):
    """A whole number in a range that help shows."""


class Real(Bounded, click.FloatRange):
    """A finite number in a range that help shows."""


class AnyInteger(Bounded, click.types.IntParamType):
    """A whole number that the command itself checks."""


class AnyReal(Bounded, click.types.FloatParamType):
    """A finite number that the command itself checks."""


SECONDS = Real(0, DAY, min_open=True)  # a timeout


def if_stopped(message: str) -> None:
    """Set the line that is printed if the present command is stopped by one of `SIGNALS`."""
    click.get_current_context().meta[IF_STOPPED] = message


def is_default(name: str) -> bool:
    """Whether the present command was called without an option."""
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.DEFAULT


def refuse_unused(names: Iterable[str], reason: str) -> None:
    """Raise UsageError if one of these options is given, which has no effect; `reason` says why."""
    for parameter in click.get_current_context().command.params:
        if parameter.name in names and not is_default(parameter.name):
            raise click.UsageError(f"{parameter.opts[0]} {reason}")


def echo_written(paths: Iterable[Path]) -> None:
    """Print the files that a command wrote."""
    for path in paths:
        click.echo(f"wrote {path}")


def checked_by(parse: Callable[[str], Any]) -> Callable:
    """A callback that checks a value with the function that will parse it later."""

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
    type=FOLDER,
    envvar="TFDS_DATA_DIR",
    help="Folder of built data sets.  [default: $TFDS_DATA_DIR or ~/tensorflow_datasets]",
)
output_option = click.option(
    "--output",
    type=FOLDER,
    help="Folder for the files.  [default: RUN, or balance-TAU in it; with --weights, runs/NAME]",
)
balance_option = click.option(
    "--balance",
    type=Real(0, 1),
    metavar="TAU",
    help="Favour emotions that are rare in training: 0 not at all, 1 as if all were equally "
    "frequent.  [default: that of fit, 0]",
)
faces_option = click.option(
    "--faces",
    type=click.Choice(["find", "none"]),
    default="find",
    help="Find the faces in each image; none if each image is the crop of one face.",
)
allow_hosts_option = click.option(
    "--allow-host",
    "allow_hosts",
    multiple=True,
    metavar="NAME",
    help="Answer requests to this name too, such as that of a proxy; may be repeated.  [default: "
    "localhost, the address of --host, and the machine's name]",
)
host_option = click.option("--host", default="127.0.0.1", help="Address to listen on.")


def port_option(declaration: str, default: int, title: str) -> Callable:
    """An option for a port to listen on."""
    text = f"{title}; 0 takes a free one."
    return click.option(declaration, default=default, type=Integer(0, 65535), help=text)


def config_option(name: str, **kwargs: Any) -> Callable:
    """An option for a field of `TrainConfig`; its help shows the default in each recipe."""
    defaults = [getattr(TrainConfig.from_recipe(recipe), name) for recipe in RECIPES]
    flag = name.replace("_", "-")
    declaration, words = f"--{flag}", {None: "none"}
    if isinstance(defaults[0], bool):
        declaration, words = f"--{flag}/--no-{flag}", {True: flag, False: f"no-{flag}"}
    elif name in CHOICES:
        kwargs["type"] = click.Choice(CHOICES[name])
    else:
        kinds = {int: AnyInteger(), float: AnyReal()}
        kwargs.setdefault("type", kinds.get(type(defaults[0]), type(defaults[0])))
    if name == "dataset":
        kwargs["callback"] = checked_by(Task.parse)
    first, *others = (str(words.get(value, value)) for value in defaults)
    others = zip([*RECIPES][1:], others, strict=True)
    texts = [first, *(f"{recipe}: {text}" for recipe, text in others if text != first)]
    texts = texts[:1] if name == "recipe" else texts
    # click gets no default, not even a flag's False: what is not given is the recipe's.
    kwargs |= {"default": None, "help": f"{kwargs['help']}  [default: {'; '.join(texts)}]"}
    return click.option(declaration, **kwargs)


def run_or_weights(command: Callable) -> Callable:
    """Add RUN and --weights NAME, one of which is required; the command gets either as `run`."""

    @click.argument("run", required=False, type=PATH)
    @click.option(
        "--weights", metavar="NAME", help="Weights that come with the package, instead of RUN."
    )
    @functools.wraps(command)
    def with_run(run, weights, **others):
        if (run is None) == (weights is None):
            raise click.UsageError("Name either RUN, a folder that fit made, or --weights NAME.")
        folder = Run.open(run) if weights is None else Run.shipped(weights)
        if weights is not None:  # the package's own folder is not written to
            defaults = {"output": Path("runs", weights), "name": weights}
            others |= {key: defaults[key] for key in defaults if others.get(key, "") is None}
        return command(run=folder, **others)

    return with_run


def refuse_other_run(output: Path, run: Run | None) -> None:
    """Raise UsageError if files in `output` would replace those of a run, other than `run`."""
    is_own = run is not None and output.is_dir() and output.samefile(run.path)
    if Run(output).has(Run.CONFIG) and not is_own:
        raise click.UsageError(
            f"{output} is a run, and has such files of its own: name another --output."
        )


def check_folder(path: Path) -> None:
    """Raise FileNotFoundError if the folder of a model does not exist."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; name a run or an export.")


def check_model(path: Path) -> None:
    """As `check_folder`; a .tflite or .onnx file will do too."""
    if path.suffix not in EDGE_SUFFIXES or not path.is_file():
        check_folder(path)


TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Open a SavedModel whose operations could do more than compute, such as write files.",
)


@dataclass(frozen=True)
class ModelChoice:
    """The model that the options of `model_options` name."""

    model: Path | None
    weights: str
    server: str | None
    timeout: float
    authority: Path | None
    trust: bool

    def open(self, balance: float | None = None):
        """Open the model, a predictor; TensorFlow is imported if it is needed."""
        model = self._open()
        if balance is not None:
            model.set_balance(balance)
        return model

    def _open(self):
        if self.server is not None:
            load_tensorflow()
            from keras_deep_emotion.inference.client import connect

            return connect(self.server, self.timeout, self.authority)
        from keras_deep_emotion.inference.loading import load_path

        return load_path(self.folder(), trust=self.trust)

    def folder(self) -> Path | None:
        """The folder of the model, or its file, which exists; None for a server."""
        if self.server is not None:
            return None
        if self.model is None:
            return Run.shipped(self.weights).path
        check_model(self.model)
        return self.model

    def __str__(self) -> str:
        """The model in words."""
        if self.server is not None:
            return f"the model behind {self.server}"
        return f"the weights {self.weights}" if self.model is None else f"the model of {self.model}"


def model_options(command: Callable) -> Callable:
    """Add --model, --weights and --server; the command gets a `ModelChoice` as `choice`."""

    @click.option(
        "--model", type=PATH, help="Folder of a run or an export, or a .tflite or .onnx file."
    )
    @click.option(
        "--weights",
        metavar="NAME",
        help="Or weights that come with the package.  [default: ferplus]",
    )
    @click.option(
        "--server",
        metavar="URL",
        help="Or an export behind a server: grpc://HOST:8500/NAME or http://HOST:8501/NAME; grpcs "
        "or https over TLS; optionally /versions/N or /labels/LABEL.",
    )
    @click.option(
        "--timeout",
        default=30.0,
        type=SECONDS,
        help="Seconds allowed for a request to the server.",
    )
    @click.option(
        "--authority",
        type=PATH,
        help="PEM file of the certificates to trust over TLS.  [default: the system's]",
    )
    @TRUST
    @functools.wraps(command)
    def with_model(model, weights, server, timeout, authority, trust, **others):
        if sum(option is not None for option in (model, weights, server)) > 1:
            raise click.UsageError(
                "Name one of --model, a run or an export, --weights NAME and --server URL."
            )
        if server is None:
            refuse_unused(["timeout", "authority"], "is for --server.")
        choice = ModelChoice(model, weights or "ferplus", server, timeout, authority, trust)
        choice.folder()  # raises if it does not exist
        return command(choice=choice, **others)

    return with_model


def on_signals(stop: Callable[[], Any]) -> None:
    """Call a function once on Ctrl-C, SIGTERM or SIGHUP."""
    numbers = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]

    def handle(number, frame):
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        stop()

    for number in numbers:
        signal.signal(number, handle)


def signal_waiter() -> Callable[[], Any]:
    """Return a function that waits for Ctrl-C, SIGTERM or SIGHUP, also for one that has come."""
    # Not a threading.Event: the handler would wait for ever for the lock that `wait` is taking.
    arrived = queue.SimpleQueue()
    on_signals(lambda: arrived.put(None))
    return arrived.get
