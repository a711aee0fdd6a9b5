"""`reproduce`: the paper's results beside ours."""

import signal
from pathlib import Path

import click

from keras_deep_emotion.cli.options import (
    checked_by,
    config_option,
    data_dir_option,
    load_tensorflow,
)
from keras_deep_emotion.config import PRECISIONS, RECIPES
from keras_deep_emotion.data.catalog import CATALOG
from keras_deep_emotion.data.task import Task


class SourceType(click.ParamType):
    """DATASET=PATH."""

    name = "DATASET=PATH"

    def convert(self, value, param, ctx):
        """(data set, path)."""
        if isinstance(value, tuple):
            return value
        name, separator, path = value.partition("=")
        if not separator or name not in CATALOG:
            self.fail(f"{value!r} is not DATASET=PATH; {', '.join(CATALOG)}.", param, ctx)
        return name, Path(path)


@click.command()
@click.argument("datasets", nargs=-1, metavar="[DATASET]...")
@config_option("recipe", type=click.Choice(list(RECIPES)), help="Network and training.")
@config_option("epochs", help="Passes over the training faces.")
@config_option("precision", type=click.Choice(PRECISIONS), help="auto: the fastest of the device.")
@config_option("seed", help="Of every run; with --seeds, of the first.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs of each part, of one seed after the other: mean and spread.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=SourceType(),
    help="Where a data set lies that is not built yet; may be repeated.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="runs/reproduction",
    show_default=True,
    help="Folder of the runs and the table; what it holds already is not done again.",
)
@data_dir_option
def reproduce(datasets, seeds, sources, output, data_dir, **settings):
    """Train every protocol of DATASETs and set the results beside the paper's tables I to IV.

    Without DATASETs: those of the paper. One that is not built and has no --source is named as not
    at hand. Stopped, it goes on where it was when called again.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    for dataset in datasets:
        checked_by(Task.parse)(None, None, dataset)
    load_tensorflow()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from keras_deep_emotion.experiments.reproduction import IN_THE_PAPER, reproduce

    try:
        table = reproduce(
            datasets or list(IN_THE_PAPER),
            output,
            sources=dict(sources),
            data_dir=data_dir,
            seeds=seeds,
            announce=click.echo,
            **given,
        )
    except KeyboardInterrupt:
        raise click.ClickException(
            f"Stopped; what is done is kept in {output}: the same command goes on from there."
        ) from None
    click.echo(table.to_string(index=False))
    for ending in ("md", "csv", "png"):
        click.echo(f"wrote {output / f'reproduction.{ending}'}")
