"""`tune`: search for hyperparameters."""

import importlib.util

import click

from keras_deep_emotion.cli.options import (
    FOLDER,
    Integer,
    config_option,
    data_dir_option,
    echo_written,
    if_stopped,
    load_tensorflow,
)
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.program import as_typed, install_command


@click.command()
@config_option("dataset", help="Data set, or name/variant.")
@config_option("protocol", help="How it is split.")
@config_option(
    "fold", type=Integer(0), help="Test fold, which is not read, with --protocol subjects."
)
@config_option("recipe", help="Defaults of other settings.")
@config_option("epochs", help="Epochs of each trial.")
@config_option("precision", help="auto: fastest on the device.")
@config_option("seed", help="Seed of the search and of every trial.")
@click.option("--trials", type=Integer(1), default=20, help="Total number of trials.")
@click.option(
    "--output",
    type=FOLDER,
    default="runs/tuning",
    help="Folder of the search; an interrupted search continues from it.",
)
@click.option(
    "--storage",
    metavar="URL|FILE",
    help="Share the trials with other machines: URL of a database, such as "
    "postgresql://USER@HOST/NAME or mysql://..., or a journal file on a shared disk.  "
    "[default: a file in --output]",
)
@data_dir_option
def tune(trials, output, storage, data_dir, **settings):
    """Search learning rate, lambda, dropout and width for the highest validation accuracy.

    Trials with a low validation accuracy are stopped early. The test split is not read.

    To search on several machines, run the same command on each, with the same --storage.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    config = TrainConfig.from_recipe(**given)
    Task.from_config(config)  # raises if there is no such protocol or fold
    if importlib.util.find_spec("optuna") is None:
        raise ModuleNotFoundError(f"Optuna is not installed: {install_command('tune')}")
    if_stopped(f"Stopped. The trials are kept in {output}; the same command continues the search.")
    load_tensorflow()
    from keras_deep_emotion.experiments.tuning import tune
    from keras_deep_emotion.reports.commands import fit_command

    table = tune(config, output, trials, data_dir, storage, click.echo)
    click.echo(table.to_string(index=False))
    echo_written([output / "tuning.csv", output / "config.json"])
    if table["val_accuracy"].notna().any():
        given.pop("epochs", None)  # a trial has few
        found = table.loc[0, table.columns[1:-1]].to_dict()
        best = TrainConfig.from_recipe(**given, **found | {"width": int(found["width"])})
        click.echo(f"To train with the best: {as_typed(fit_command(best))}")
