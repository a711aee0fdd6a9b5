"""`fit`: train a network."""

import contextlib
import dataclasses
import os
import shlex
import signal
from pathlib import Path

import click

from keras_deep_emotion.cli.options import (
    FoldType,
    built_from,
    checked_by,
    config_option,
    data_dir_option,
    load_tensorflow,
)
from keras_deep_emotion.config import NETWORKS, OPTIMIZERS, PRECISIONS, RECIPES, TrainConfig
from keras_deep_emotion.data.task import Task


@click.command()
@config_option("dataset", callback=checked_by(Task.parse), help="Data set, or name/variant.")
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
    all_folds = given.get("fold") == "all"
    if all_folds:
        del given["fold"]
        if profile:
            raise click.UsageError("--profile is of one run: leave --fold all out.")
    if len({distribute is None, processes is None, process is None}) == 2:
        raise click.UsageError("--distribute, --processes and --process go together.")
    if distribute is not None:
        if resumed or all_folds or profile or source:
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
    from keras_deep_emotion.runs import new_run

    created = None if resumed or run_dir else new_run(Task.from_config(config))
    run_dir = resumed or run_dir or created.path
    try:
        if distribute is not None:
            report = fit_distributed(config, run_dir, data_dir, distribute, processes, process)
        else:
            report = fit_here(config, run_dir, data_dir, resumed is not None, all_folds, profile)
    except KeyboardInterrupt:
        quoted = shlex.quote(str(run_dir))
        raise click.ClickException(
            f"Stopped. The best epoch so far is in {run_dir}: python cli.py evaluate {quoted}. A "
            "run of several machines cannot be resumed."
            if distribute
            else "Stopped; what is done up to the last complete epoch is kept. To go on: "
            f"python cli.py fit --resume {quoted}"
        ) from None
    finally:
        if created is not None:
            with contextlib.suppress(OSError):
                created.path.rmdir()  # if nothing was begun
    if report is not None:  # process 0 has it
        echo_report(report)
        click.echo(f"run: {run_dir}")


def fit_distributed(config, run_dir, data_dir, address, processes, process):
    """Train together with other processes; return the report in process 0."""
    from keras_deep_emotion.training import jax_loop

    jax_loop.join(address, processes, process)
    return jax_loop.fit(config, run_dir, data_dir)


def fit_here(config, run_dir, data_dir, resumed, all_folds, profile):
    """Train in this process: a new run, all folds, or what an interrupted run lacks."""
    from keras_deep_emotion.experiments.folds import fit_folds, resume_run
    from keras_deep_emotion.training import single_machine

    if resumed:
        return resume_run(run_dir, data_dir, profile)
    if all_folds:
        return fit_folds(config, run_dir, data_dir)
    return single_machine.fit(config, run_dir, data_dir, profile)


def echo_report(report):
    """Print the accuracy of a run, or of all folds."""
    from keras_deep_emotion.reports.text import accuracy_summary

    paper = report["paper_accuracy"], report["paper_differs"]
    if "accuracies" in report:
        for number, accuracy in enumerate(report["accuracies"]):
            click.echo(f"fold {number}: {100 * accuracy:.2f} %")
        mean, spread = 100 * report["mean"], 100 * report["spread"]
        click.echo(f"mean of the folds {mean:.2f} %, spread (standard deviation) {spread:.2f}")
        click.echo(f"all folds together: {accuracy_summary(report['pooled'], *paper)}")
    else:
        click.echo(f"test {accuracy_summary(report, *paper)}")
