"""`reproduce`: compare with the paper's results."""

import click

from keras_deep_emotion.cli import options
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.catalog import CATALOG
from keras_deep_emotion.data.task import Task


def parse_sources(ctx, param, values):
    """Parse the DATASET=PATH options."""
    sources = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not separator or name not in CATALOG:
            raise click.BadParameter(f"{value!r} is not DATASET=PATH; {', '.join(CATALOG)}.")
        sources[name] = options.PATH.convert(path, param, ctx)
    return sources


@click.command()
@click.argument("datasets", nargs=-1, metavar="[DATASET]...")
@options.config_option("recipe", help="Network and settings.")
@options.config_option("epochs", help="Passes over the training faces.")
@options.config_option("precision", help="auto: fastest on the device.")
@options.config_option("seed", help="Seed of every run; with --seeds, of the first.")
@click.option(
    "--seeds",
    type=options.Integer(1),
    default=1,
    help="Runs of each protocol, with consecutive seeds: report mean and spread.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="DATASET=PATH",
    callback=parse_sources,
    help="Build a data set from this folder or archive if it is not built; may be repeated.",
)
@click.option(
    "--output",
    type=options.FOLDER,
    default="runs/reproduction",
    help="Folder of the runs and the table; finished runs in it are reused.",
)
@options.data_dir_option
def reproduce(datasets, seeds, sources, output, data_dir, **settings):
    """Train on every protocol of DATASETs and compare with the paper's tables I to IV.

    The default is the paper's data sets. Those that are neither built nor given by --source are
    listed as not available. The same command continues an interrupted reproduction.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    TrainConfig.from_recipe(**given)  # raises if a setting is out of range
    options.if_stopped(
        f"Stopped. Finished runs are kept in {output}; the same command continues from there."
    )
    for dataset in datasets:
        options.checked_by(Task.parse)(None, None, dataset)
    options.load_tensorflow()
    from keras_deep_emotion.experiments.reproduction import IN_THE_PAPER, reproduce

    given |= {"sources": sources, "data_dir": data_dir, "seeds": seeds}
    table = reproduce(datasets or list(IN_THE_PAPER), output, announce=click.echo, **given)
    click.echo(table.to_string(index=False))
    options.echo_written(output / f"reproduction.{ending}" for ending in ("md", "csv", "png"))
