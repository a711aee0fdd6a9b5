"""`tune`: search for settings."""

from pathlib import Path

import click

from keras_deep_emotion.cli.options import (
    checked_by,
    config_option,
    data_dir_option,
    load_tensorflow,
)
from keras_deep_emotion.config import PRECISIONS, RECIPES, TrainConfig
from keras_deep_emotion.data.task import Task


@click.command()
@config_option("dataset", callback=checked_by(Task.parse), help="Data set, or name/variant.")
@config_option("protocol", help="How it is split.")
@config_option("fold", type=int, help="Fold to leave out for the test, with --protocol subjects.")
@config_option("recipe", type=click.Choice(list(RECIPES)), help="Where other settings come from.")
@config_option("epochs", help="Of each trial.")
@config_option("precision", type=click.Choice(PRECISIONS), help="auto: the fastest of the device.")
@config_option("seed", help="Of the search and of every trial.")
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many choices to try.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="runs/tuning",
    show_default=True,
    help="Folder of the search; one that was stopped goes on from what it holds.",
)
@click.option("--serve", metavar="HOST:PORT", help="Hand out the trials to other processes.")
@click.option("--join", metavar="HOST:PORT", help="Take trials from the process that serves.")
@data_dir_option
def tune(trials, output, serve, join, data_dir, **settings):
    """Search learning rate, lambda, dropout and width for the best validation accuracy.

    The test split is not looked at. On several machines, start one with --serve and the others
    with --join and the same options.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    config = TrainConfig.from_recipe(**given)
    load_tensorflow()
    from keras_deep_emotion.experiments.tuning import tune

    table = tune(config, output, trials, data_dir, serve, join)
    if join:
        click.echo(f"The search is over; the trials that ran here lie in {output}.")
        return
    click.echo(table.to_string(index=False))
    click.echo(f"wrote {output / 'tuning.csv'}")
    searched = table.columns[1:-1]
    best = {**given, **table.loc[0, searched].to_dict(), "width": int(table.loc[0, "width"])}
    best.pop("epochs", None)  # a trial's are few
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in best.items())
    click.echo(f"To train with the best: python cli.py fit {options}")
