"""What several commands share: options, their types, and TensorFlow loaded without its log."""

import functools
import logging
import os
import sys
import tempfile
from pathlib import Path

import click

from keras_deep_emotion.config import RECIPES, TrainConfig


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
            return command(run=run, **others)
        from keras_deep_emotion.runs import weights_dir

        # What comes with the package is read, never written to.
        if "output" in others and others["output"] is None:
            others["output"] = Path(weights)
        if "name" in others and others["name"] is None:
            others["name"] = weights
        return command(run=weights_dir(weights), **others)

    return with_folder


output_option = click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files.  [default: RUN; with --weights, a folder of their name here]",
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
