"""`fit`: train a network."""

import contextlib
import dataclasses
import os
import shlex

import click

from keras_deep_emotion.cli.options import (
    PATH,
    Integer,
    config_option,
    data_dir_option,
    echo_written,
    if_stopped,
    load_tensorflow,
    refuse_unused,
)
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task, check_source
from keras_deep_emotion.program import PROGRAM
from keras_deep_emotion.runs import NETWORK_SETTINGS, Run, new_run


def parse_fold(ctx, param, value):
    """A fold as an integer, or "all"."""
    if value in (None, "all"):
        return value
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number nor all.")
    return Integer(0).convert(value, param, ctx)


@click.command()
@config_option("dataset", help="Data set, or name/variant.")
@config_option("protocol", help="How the data set is split: standard, subjects or deduplicated.")
@config_option(
    "fold",
    type=str,
    metavar="INTEGER|all",
    callback=parse_fold,
    help="Fold to test on, with --protocol subjects; all: train a run for each fold.",
)
@config_option("recipe", help="Source of the other defaults: the paper's settings, or better ones.")
@config_option(
    "start",
    type=str,
    metavar="RUN",
    help="Run or shipped weights to go on from, with its network; the recipe is then finetune.",
)
@config_option(
    "start_share",
    help="Fraction of the start's weights in those that are kept, so that less is forgotten.",
)
@config_option("network", help="Architecture of the feature path.")
@config_option("width", help="Number of channels of the first convolution.")
@config_option("transformer", help="Warp the face with a spatial transformer first.")
@config_option("theta_reach", help="Largest change of a parameter of the transform.")
@config_option("theta_rate", help="Learning rate of the transform, fraction of --learning-rate.")
@config_option(
    "alignment", help="Weight of a loss by which the transform learns to follow the face."
)
@config_option("dropout", help="Fraction of features dropped in training.")
@config_option("epochs", help="Number of passes over the training faces.")
@config_option("batch_size", help="Number of faces in a batch.")
@config_option("optimizer", help="Optimizer; SGD has momentum 0.9.")
@config_option("learning_rate", help="Learning rate; the highest, if there is a schedule.")
@config_option("warmup", help="Number of epochs in which the rate rises from 0, with --cosine.")
@config_option("cosine", help="Decay the learning rate along half a cosine.")
@config_option("weight_decay", help="Decoupled weight decay, multiplied by the learning rate.")
@config_option("average", help="Number of epochs over which the weights are averaged; 0: none.")
@config_option(
    "fresh_statistics", help="Recompute batch normalization statistics from unaugmented images."
)
@config_option("regularization", help="The paper's lambda: weight of the dense layers' L2 norm.")
@config_option("soft_labels", help="Train on the distribution of votes (fer2013/ferplus).")
@config_option("label_smoothing", help="Label smoothing, where there are no soft labels.")
@config_option(
    "teachers",
    type=str,
    metavar="RUN,...",
    help="Runs or shipped weights to distill: their mean predictions are learned too.",
)
@config_option("teacher_share", help="Fraction of the targets that the teachers predict.")
@config_option("balance", help="Favour rare emotions in the answers, see evaluate --balance.")
@config_option("class_balance", help="0: all faces have equal weight; 1: all classes.")
@config_option("flip", help="Mirror training faces at random.")
@config_option("rotation", help="Largest rotation of training faces, degrees.")
@config_option("zoom", help="Largest change of size, fraction.")
@config_option("shift", help="Largest shift, fraction of the side.")
@config_option("cutout", help="Largest side of a hidden square, fraction of the side.")
@config_option("camera", help="Strength of blur, low resolution, light, noise and JPEG, 0 to 1.")
@config_option("camera_changes", help="Which of them, separated by commas.")
@config_option("mixup", help="Mix pairs of faces by shares from Beta(mixup, mixup); 0: never.")
@config_option("precision", help="Precision; auto: the fastest on the device.")
@config_option("seed", help="Random seed; on a CPU, the same seed gives the same run.")
@click.option("--run-dir", type=PATH, help="Folder of the run.  [default: runs/DATASET-...-TIME]")
@click.option(
    "--profile",
    is_flag=True,
    help="Record some steps for TensorBoard's profiler (pip install tensorboard-plugin-profile).",
)
@click.option(
    "--resume",
    "resumed",
    metavar="RUN",
    type=PATH,
    help="Continue an interrupted run, with its own settings.",
)
@click.option(
    "--distribute",
    metavar="HOST:PORT",
    help="Train on several machines; address on which process 0 listens.",
)
@click.option("--processes", type=Integer(1), help="Number of processes of --distribute.")
@click.option("--process", type=Integer(0), help="Number of this process, from 0.")
@click.option(
    "--source",
    type=PATH,
    help="Build the data set from this source first, such as a folder of your own images.",
)
@data_dir_option
def fit(run_dir, resumed, profile, distribute, processes, process, source, data_dir, **settings):
    """Train the attentional network and evaluate it on the test split.

    For your own images in a folder for each emotion: --dataset folder --source DIR.

    An interrupted run is continued by --resume RUN, and ends as if it had not been interrupted.

    To train on several machines (requires JAX), build the data set on each and run the same command
    on each with its own --process, from 0 to N - 1: --distribute HOST:PORT --processes N --process
    I. The run folder is on the machine of process 0.
    """
    cluster = (distribute, processes, process)
    settings = {name: value for name, value in settings.items() if value is not None}
    all_folds = settings.get("fold") == "all"
    check_combination(settings, all_folds, run_dir, resumed, profile, source, cluster)
    if "start" in settings:
        settings = start_settings(settings["start"]) | settings
    refuse_without_effect(settings)
    config = TrainConfig.from_recipe(**settings | ({"fold": None} if all_folds else {}))
    task = Task.from_config(config)
    if all_folds:
        task.folds()  # raises if the protocol has none
    if resumed is not None:
        _ = Run(resumed).config  # raises if it is not a run
    if distribute is not None:
        os.environ["KERAS_BACKEND"] = "jax"  # before anything imports Keras
    check_source(source, task.name)
    load_tensorflow()
    if source is not None:
        config = dataclasses.replace(config, dataset=build_source(config, source, data_dir))
    created = None if resumed or run_dir else new_run(config)
    run_dir = resumed or run_dir or created.path
    try:
        report = train(config, run_dir, data_dir, resumed, all_folds, profile, cluster)
    finally:
        if created is not None:
            with contextlib.suppress(OSError):
                created.path.rmdir()  # if it is still empty
        if Run(run_dir).has(Run.CONFIG):
            if_stopped(interrupted_message(run_dir, distribute is not None))
    if report is not None:  # None in all processes but the first
        echo_report(report)
        echo_written(Run(run_dir).files())
        click.echo(f"run: {run_dir}")
        if "accuracies" not in report:  # of one run
            quoted = shlex.quote(str(run_dir))
            commands = f"predict --model {quoted} PHOTO.jpg", f"export {quoted}"
            click.echo("\n".join(f"next: {PROGRAM} {command}" for command in commands))


def start_settings(start):
    """The settings that follow from --start: recipe and network."""
    config = Run.named(start).config
    return {"recipe": "finetune"} | {name: getattr(config, name) for name in NETWORK_SETTINGS}


def check_combination(settings, all_folds, run_dir, resumed, profile, source, cluster):
    """Raise UsageError for options that exclude or require each other."""
    if resumed is not None and (settings or run_dir or source):
        raise click.UsageError(
            "--resume goes on with the settings of the run: leave the other options out."
        )
    if settings.get("recipe") == "finetune" and "start" not in settings:
        raise click.UsageError("--recipe finetune goes on from other weights: name --start RUN.")
    if all_folds and profile:
        raise click.UsageError("--profile is of one run: leave --fold all out.")
    if len({option is None for option in cluster}) == 2:
        raise click.UsageError("--distribute, --processes and --process go together.")
    if cluster[0] is not None and (resumed or all_folds or profile or source):
        raise click.UsageError(
            "--distribute goes with neither --resume, --fold all, --profile nor --source."
        )


def refuse_without_effect(settings):
    """Raise UsageError for a setting of something that is not used."""
    for name, (is_used, dependents) in {
        "--start": ("start" in settings, ["start_share"]),
        "--teachers": ("teachers" in settings, ["teacher_share"]),
        "--camera": (settings.get("camera"), ["camera_changes"]),
        "a network with a width, not resnet50": (settings.get("network") != "resnet50", ["width"]),
        "--cosine": (settings.get("cosine", True), ["warmup"]),
        "--transformer": (
            settings.get("transformer", True),
            ["theta_reach", "theta_rate", "alignment"],
        ),
    }.items():
        if not is_used:
            refuse_unused(dependents, f"is for {name}.")


def build_source(config, source, data_dir):
    """Build a run's data set from a source; return its name, for `folder` with the variant."""
    from keras_deep_emotion.data.building import build_dataset

    task = Task.from_config(config)
    target = f"{task.name}/{task.tfds_config}" if task.variant else task.name
    (builder, *_) = build_dataset(target, source, data_dir, announce=click.echo)
    return f"folder/{builder.builder_config.name}" if task.name == "folder" else config.dataset


def train(config, run_dir, data_dir, resumed, all_folds, profile, cluster):
    """Train a run, all folds, what is left of a run, or together with other processes."""
    if cluster[0] is not None:
        from keras_deep_emotion.training import jax_loop

        jax_loop.join(*cluster)
        return jax_loop.fit(config, run_dir, data_dir)
    from keras_deep_emotion.experiments.folds import fit_folds, resume_run
    from keras_deep_emotion.training import single_machine

    if resumed is not None:
        return resume_run(run_dir, data_dir, profile)
    if all_folds:
        return fit_folds(config, run_dir, data_dir)
    return single_machine.fit(config, run_dir, data_dir, profile)


def interrupted_message(run_dir, distributed):
    """How to continue after an interruption."""
    quoted = shlex.quote(str(run_dir))
    if distributed:
        return (
            f"Stopped; it cannot be resumed. The best epoch: keras-deep-emotion evaluate {quoted}"
        )
    return (
        f"Stopped; all complete epochs are kept. To go on: keras-deep-emotion fit --resume {quoted}"
    )


def echo_report(report):
    """Print the accuracy of a run, or of all folds."""
    from keras_deep_emotion.reports.text import (
        accuracy_summary,
        class_lines,
        mean_scores,
        plain_percent,
    )

    paper = report["paper_accuracy"], report.get("paper_differs", ())
    if "accuracies" not in report:
        lines = f"test {accuracy_summary(report, *paper)}", mean_scores(report)
        click.echo("\n".join([*lines, *class_lines(report)]))
        return
    for number, accuracy in enumerate(report["accuracies"]):
        click.echo(f"fold {number}: {plain_percent(accuracy)}")
    mean, spread = plain_percent(report["mean"]), 100 * report["spread"]
    click.echo(f"mean of the folds {mean}, spread (standard deviation) {spread:.2f} points")
    click.echo(f"all folds together: {accuracy_summary(report['pooled'], *paper)}")
