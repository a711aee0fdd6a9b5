"""Commands that train."""

import contextlib
import dataclasses
import os
import shlex
import signal
from pathlib import Path

import click

from keras_deep_emotion.cli.data import built_from
from keras_deep_emotion.cli.options import (
    FoldType,
    checked_by,
    config_option,
    data_dir_option,
    load_tensorflow,
)
from keras_deep_emotion.config import NETWORKS, OPTIMIZERS, PRECISIONS, RECIPES, TrainConfig
from keras_deep_emotion.datasets import DATASETS, parse_dataset


@click.command()
@config_option("dataset", callback=checked_by(parse_dataset), help="Data set, or name/variant.")
@config_option("protocol", help="How it is split: paper, subjects, deduplicated.")
@config_option(
    "fold",
    type=FoldType(),
    help="Fold to test on, with --protocol subjects; all: each in turn, mean and spread.",
)
@config_option(
    "recipe",
    type=click.Choice(list(RECIPES)),
    help="Where the other defaults come from: the paper's network and settings, or ours.",
)
@config_option("network", type=click.Choice(NETWORKS), help="Feature path.")
@config_option("width", help="Channels of the first convolution.")
@config_option("transformer", help="Warp the face by the spatial transformer first.")
@config_option("theta_reach", help="Largest change of a number of the transform.")
@config_option("theta_rate", help="Learning rate of the transform, share of --learning-rate.")
@config_option("dropout", help="Share of features dropped in training.")
@config_option("epochs", help="Passes over the training faces.")
@config_option("batch_size", help="Faces in a step.")
@config_option("optimizer", type=click.Choice(OPTIMIZERS), help="SGD is with momentum 0.9.")
@config_option("learning_rate", help="The highest, where there is a schedule.")
@config_option("warmup", help="Epochs in which the rate rises from 0, with --cosine.")
@config_option("cosine", help="Let the rate fall along half a cosine.")
@config_option("weight_decay", help="Decoupled, times the learning rate.")
@config_option("average", help="Keep the weights' average over that many epochs; 0: the last.")
@config_option(
    "fresh_statistics", help="Take batch normalisation's anew, of faces without augmentation."
)
@config_option("regularization", help="The paper's lambda: weight of the dense layers' L2 norm.")
@config_option("soft_labels", help="Train on the shares of the taggers' votes (fer2013/ferplus).")
@config_option("label_smoothing", help="Elsewhere: share of the label spread over all classes.")
@config_option(
    "teachers",
    type=str,
    metavar="RUN,...",
    help="Runs, or shipped weights, whose mean answers to the training faces are learnt too.",
)
@config_option("teacher_share", help="How much of the targets their answers are.")
@config_option("class_balance", help="0: all faces weigh alike; 1: all classes.")
@config_option("flip", help="Mirror training faces at random.")
@config_option("rotation", help="Turn them by up to that many degrees.")
@config_option("zoom", help="Change their size by up to that share.")
@config_option("shift", help="Shift them by up to that share of the side.")
@config_option("cutout", help="Hide a square of up to that share of the side.")
@config_option("mixup", help="Mix faces in pairs, by shares of Beta(mixup, mixup); 0: never.")
@config_option("precision", type=click.Choice(PRECISIONS), help="auto: the fastest of the device.")
@config_option("seed", help="Same seed, same run, on a CPU.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="[default: runs/DATASET-...-TIME]")
@click.option(
    "--profile",
    is_flag=True,
    help="Record some steps for TensorBoard's profiler (pip install tensorboard-plugin-profile).",
)
@click.option(
    "--resume",
    "resumed",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Go on with a run that was stopped, with its own settings.",
)
@click.option(
    "--distribute",
    metavar="HOST:PORT",
    help="Train on several machines: where process 0 listens.",
)
@click.option("--processes", type=click.IntRange(1), help="With --distribute: how many.")
@click.option("--process", type=click.IntRange(0), help="With --distribute: which, from 0.")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Build the data set from this first, if it is not built: your pictures' folder, say.",
)
@data_dir_option
def fit(
    run_dir,
    resumed,
    profile,
    distribute,
    processes,
    process,
    source,
    data_dir,
    **settings,
):
    """Train the attentional network and judge it on the test split.

    With pictures of your own in a folder for each emotion: --dataset folder --source DIR.

    A run that was stopped, in whatever way, goes on with --resume RUN and ends as if it had not.

    On several machines, each started with the same settings and its own --process, from 0 to N - 1;
    the data set is built on each, the run folder lies on the machine of process 0:
    --distribute HOST:PORT --processes N --process I. It needs JAX.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    if resumed is not None and (given or run_dir or source):
        raise click.UsageError("A run goes on with its own settings: --resume takes no others.")
    every = given.get("fold") == "all"
    if every:
        del given["fold"]
        if profile:
            raise click.UsageError("--profile is of one run: leave --fold all out.")
    if len({distribute is None, processes is None, process is None}) == 2:
        raise click.UsageError("--distribute, --processes and --process go together.")
    if distribute is not None:
        if resumed or every or profile or source:
            raise click.UsageError(
                "--distribute goes with neither --resume, --fold all, --profile nor --source."
            )
        os.environ["KERAS_BACKEND"] = "jax"  # before anything imports Keras
    config = TrainConfig.from_recipe(**given)
    load_tensorflow()
    # Told to stop by a supervisor or by Ctrl-C: the same end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if source is not None:
        config = dataclasses.replace(config, dataset=built_from(config, source, data_dir))
    if distribute is not None:
        from keras_deep_emotion import distribution

        distribution.join(distribute, processes, process, config.seed)
    from keras_deep_emotion import training
    from keras_deep_emotion.evaluation import summary
    from keras_deep_emotion.runs import new_run_dir

    fresh = None if resumed or run_dir else new_run_dir(config)
    run_dir = resumed or run_dir or fresh
    try:
        if distribute is not None:
            report = distribution.fit(config, run_dir, data_dir)
        elif resumed is not None:
            report = training.resume(run_dir, data_dir, profile)
        elif every:
            report = training.fit_folds(config, run_dir, data_dir)
        else:
            report = training.fit(config, run_dir, data_dir, profile)
    except KeyboardInterrupt:
        if distribute is not None:
            raise click.ClickException(
                f"Stopped. The best epoch so far lies in {run_dir}: python cli.py evaluate "
                f"{shlex.quote(str(run_dir))}. A run of several machines cannot be resumed."
            ) from None
        raise click.ClickException(
            "Stopped; what is done up to the last whole epoch is kept. To go on: "
            f"python cli.py fit --resume {shlex.quote(str(run_dir))}"
        ) from None
    finally:
        if fresh is not None:
            with contextlib.suppress(OSError):
                fresh.rmdir()  # where nothing was begun
    if report is None:  # process 0 has it
        return
    paper = report["paper_accuracy"], report["paper_differs"]
    if "accuracies" in report:
        for number, accuracy in enumerate(report["accuracies"]):
            click.echo(f"fold {number}: {100 * accuracy:.2f} %")
        mean, spread = 100 * report["mean"], 100 * report["spread"]
        click.echo(f"mean of the folds {mean:.2f} %, spread (standard deviation) {spread:.2f}")
        click.echo(f"all folds together: {summary(report['pooled'], *paper)}")
    else:
        click.echo(f"test {summary(report, *paper)}")
    click.echo(f"run: {run_dir}")


class SourceType(click.ParamType):
    """DATASET=PATH."""

    name = "DATASET=PATH"

    def convert(self, value, param, ctx):
        """(data set, path)."""
        if isinstance(value, tuple):
            return value
        name, separator, path = value.partition("=")
        if not separator or name not in DATASETS:
            self.fail(f"{value!r} is not DATASET=PATH; {', '.join(DATASETS)}.", param, ctx)
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
        checked_by(parse_dataset)(None, None, dataset)
    load_tensorflow()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from keras_deep_emotion.reproduction import IN_THE_PAPER
    from keras_deep_emotion.reproduction import reproduce as reproduce_all

    try:
        table = reproduce_all(
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


@click.command()
@config_option("dataset", callback=checked_by(parse_dataset), help="Data set, or name/variant.")
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
    from keras_deep_emotion import tuning

    table = tuning.tune(config, output, trials, data_dir, serve, join)
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
