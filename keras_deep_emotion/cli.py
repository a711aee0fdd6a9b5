"""Commands: parse, call, print. TensorFlow loads inside commands only: --help is instant."""

import dataclasses
import functools
import json
import logging
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import click

from keras_deep_emotion import __version__
from keras_deep_emotion.config import NETWORKS, OPTIMIZERS, PRECISIONS, RECIPES, TrainConfig
from keras_deep_emotion.datasets import DATASETS, parse_build, parse_dataset, tfds_config

OURS = ("keras_deep_emotion", "tfds_builders")


def user_message(error):
    """One sentence for an error that the user can mend; None for a bug, which keeps its traceback.

    Errors of the file system are the user's, also where a library wraps them; so is a ValueError
    that our own code raised: that is how it refuses input. One from inside a library is a bug.
    """
    if isinstance(error, ValueError):
        innermost = list(traceback.walk_tb(error.__traceback__))[-1][0]
        if innermost.f_globals.get("__name__", "").split(".")[0] in OURS:
            return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name is None:  # ours: it names the extra
        return str(error)
    while error is not None:
        if isinstance(error, OSError):
            if error.strerror is None:
                return str(error)
            return f"{error.strerror}: {error.filename}." if error.filename else error.strerror
        # TensorFlow's own errors of the file system are no OSError; its module may not be loaded.
        if type(error).__module__ == "tensorflow.python.framework.errors_impl":
            for sign in ("No space left on device", "Permission denied", "File too large"):
                if sign in error.message:
                    return f"{sign}: {error.message.partition(';')[0]}."
        error = error.__cause__
    return None


class Group(click.Group):
    """The one place where errors become a line on the terminal."""

    def invoke(self, ctx):
        """Run the command; exit with 1 and a sentence where the user can mend it."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            message = user_message(error)
            if message is None or ctx.params["debug"]:
                raise
            raise click.ClickException(message) from None


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="keras-deep-emotion")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug):
    r"""Deep-Emotion in Keras: facial expressions, from data set to TensorFlow Serving.

    \b
    First steps, without any data of your own:
      python cli.py build-data toon_faces
      python cli.py fit --dataset toon_faces --epochs 10
    """
    # Before TensorFlow loads: it logs about its build at every start.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"


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
        return command(run=weights_dir(weights), **others)

    return with_folder


output_option = click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files.  [default: RUN; with --weights, a folder of their name here]",
)


@main.command("build-data")
@click.argument("dataset", callback=checked_by(parse_build))
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="The folder, archive or file that you obtained.",
)
@click.option(
    "--skip-damaged",
    is_flag=True,
    help="Leave out image files that cannot be decoded, and list them in a file.",
)
@click.option("--beam", is_flag=True, help="Build by Apache Beam (ferg).")
@click.option(
    "--beam-option",
    "beam_options",
    multiple=True,
    metavar="OPTION",
    help="For Beam's pipeline, such as --runner=FlinkRunner; may be repeated.",
)
@data_dir_option
def build_data(dataset, source, data_dir, skip_damaged, beam, beam_options):
    """Turn a data set into TFRecords, once, for all later commands.

    DATASET is toon_faces, fer2013, ck_plus, jaffe or ferg; a part alone is built by its name, such
    as fer2013/original or toon_faces/subjects.
    """
    load_tensorflow()
    from keras_deep_emotion.building import build, damaged_list

    options = list(beam_options) if beam or beam_options else None
    for builder in build(dataset, source, data_dir, skip_damaged, options, click.echo):
        click.echo(f"{builder.info.full_name}: {builder.data_path}")
        for split, info in builder.info.splits.items():
            click.echo(f"  {split:<24}{info.num_examples:>7,} images")
        damaged = damaged_list(builder)
        if damaged.exists():
            count = len(damaged.read_text().splitlines())
            click.echo(f"  left out as damaged:     {count:>6,} files, listed in {damaged}")


@main.command()
@click.argument("dataset", callback=checked_by(parse_dataset))
@click.option("--protocol", default="paper", show_default=True, help="How it is split.")
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG of sample faces to write.  [default: DATASET.png]",
)
@data_dir_option
def data(dataset, protocol, sheet, data_dir):
    """Show what is built: counts, people, sizes, duplicates across splits, a sheet of faces."""
    load_tensorflow()
    from keras_deep_emotion.data import built_dataset
    from keras_deep_emotion.inspection import inspect
    from keras_deep_emotion.report import save_contact_sheet

    builder = built_dataset(dataset, protocol, data_dir)
    found = inspect(builder)
    click.echo(f"{builder.info.full_name}: {builder.data_path}")
    click.echo(found.counts.rename_axis(None, axis=1).rename_axis(None).to_string())
    people = found.faces.loc[found.faces["subject"] != "", "subject"].nunique()
    click.echo(f"people: {people or 'not named'}")
    sizes = found.faces.groupby(["width", "height"]).size()
    for (width, height), count in sizes.sort_values(ascending=False).head(5).items():
        click.echo(f"{width} x {height} pixels: {count:,} images")
    click.echo("the same face in two splits:")
    click.echo(found.duplicates.to_string(index=False))
    for warning in found.warnings:
        click.echo(f"warning: {warning}")
    sheet = sheet or Path(f"{dataset.replace('/', '_')}.png")
    save_contact_sheet(found.samples, builder.info.features["label"].names, sheet)
    click.echo(f"wrote {sheet}")


def built_from(config, source, data_dir):
    """Build a run's data set from a source; the data set's name, with the folder for `folder`."""
    from keras_deep_emotion.building import build

    name, variant = parse_dataset(config.dataset)
    part = f"{name}/{tfds_config(name, variant, config.protocol)}" if variant else name
    (builder, *_) = build(part, source, data_dir, announce=click.echo)
    return f"folder/{builder.builder_config.name}" if name == "folder" else config.dataset


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


@main.command()
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
@config_option("regularization", help="The paper's lambda: weight of the dense layers' L2 norm.")
@config_option("soft_labels", help="Train on the shares of the taggers' votes (fer2013/ferplus).")
@config_option("label_smoothing", help="Elsewhere: share of the label spread over all classes.")
@config_option("class_balance", help="0: all faces weigh alike; 1: all classes.")
@config_option("flip", help="Mirror training faces at random.")
@config_option("rotation", help="Turn them by up to that many degrees.")
@config_option("zoom", help="Change their size by up to that share.")
@config_option("shift", help="Shift them by up to that share of the side.")
@config_option("cutout", help="Hide a square of up to that share of the side.")
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

    run_dir = resumed or run_dir or new_run_dir(config)
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
                f"{run_dir}. A run of several machines cannot be resumed."
            ) from None
        raise click.ClickException(
            "Stopped; what is done up to the last whole epoch is kept. To go on: "
            f"python cli.py fit --resume {run_dir}"
        ) from None
    if report is None:  # process 0 has it
        return
    if "accuracies" in report:
        for number, accuracy in enumerate(report["accuracies"]):
            click.echo(f"fold {number}: {100 * accuracy:.2f} %")
        mean, spread = 100 * report["mean"], 100 * report["spread"]
        click.echo(f"mean of the folds {mean:.2f} %, spread (standard deviation) {spread:.2f}")
        click.echo(f"all folds together: {summary(report['pooled'], report['paper_accuracy'])}")
    else:
        click.echo(f"test {summary(report, report['paper_accuracy'])}")
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


@main.command()
@click.argument("datasets", nargs=-1, metavar="[DATASET]...")
@config_option("recipe", type=click.Choice(list(RECIPES)), help="Network and training.")
@config_option("epochs", help="Passes over the training faces.")
@config_option("precision", type=click.Choice(PRECISIONS), help="auto: the fastest of the device.")
@config_option("seed", help="Of every run.")
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
def reproduce(datasets, sources, output, data_dir, **settings):
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


@main.command()
@config_option("dataset", callback=checked_by(parse_dataset), help="Data set, or name/variant.")
@config_option("protocol", help="How it is split.")
@config_option("fold", type=int, help="Fold to leave out for the test, with --protocol subjects.")
@config_option("recipe", type=click.Choice(list(RECIPES)), help="Where other settings come from.")
@config_option("epochs", help="Of each trial.")
@config_option("precision", type=click.Choice(PRECISIONS), help="auto: the fastest of the device.")
@config_option("seed", help="Of the search and of every trial.")
@click.option("--trials", default=20, show_default=True, help="How many choices to try.")
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


@main.command()
@run_or_weights
@click.option("--flip", is_flag=True, help="Judge the average with each face's mirror image too.")
@output_option
@data_dir_option
def evaluate(run, flip, output, data_dir):
    """Judge RUN's model on its test split again: numbers, confusion matrix, predictions."""
    from keras_deep_emotion.evaluation import attention_summary, summary
    from keras_deep_emotion.runs import judge

    report = judge(run, data_dir, flip, output)
    click.echo(f"{report['dataset']}, protocol {report['protocol']}, split {report['split']}")
    click.echo(summary(report, report["paper_accuracy"]))
    if "deduplicated" in report:
        click.echo(f"without faces that also stand in training: {summary(report['deduplicated'])}")
    if flip:
        click.echo(f"averaged with mirror images: {summary(report['flip_averaged'])}")
    if "attention" in report:
        click.echo(f"transformer: {attention_summary(report['attention'])}")
    balanced, macro_f1 = 100 * report["balanced_accuracy"], report["macro_f1"]
    calibration = report["calibration"]
    click.echo(
        f"balanced accuracy {balanced:.2f} %, macro F1 {macro_f1:.3f}, "
        f"calibration error {calibration['error']:.3f}"
    )
    click.echo(f"{'':<12}{'faces':>7}{'precision':>11}{'recall':>8}{'probability':>13}")
    for name, row in report["per_class"].items():
        given = {**row, "probability": calibration["per_class"][name]["probability"]}
        precision, recall, probability = (
            "-" if given[key] is None else f"{given[key]:.1%}"
            for key in ("precision", "recall", "probability")
        )
        click.echo(f"{name:<12}{row['faces']:>7,}{precision:>11}{recall:>8}{probability:>13}")
    for name in ("confusion_matrix.png", "predictions.csv", "report.json"):
        click.echo(f"wrote {(output or run) / name}")


@main.command()
@run_or_weights
@click.option("--window", default=8, show_default=True, help="Side of the hidden square, pixels.")
@click.option("--stride", default=2, show_default=True, help="Step between squares, pixels.")
@output_option
@data_dir_option
def explain(run, window, stride, output, data_dir):
    """Draw where RUN's model looks: one test face of each emotion, regions hidden in turn."""
    from keras_deep_emotion.runs import explain as explain_run

    click.echo(f"wrote {explain_run(run, window, stride, data_dir, output)}")


@main.command()
@click.option("--model", type=click.Path(path_type=Path), help="A run's folder or an export's.")
@click.option(
    "--weights", metavar="NAME", help="Instead of it: weights that come with the package."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object a line.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
def predict(model, weights, as_json, images):
    """Name the emotion of each of IMAGES, JPEG or PNG files of cropped faces."""
    if (model is None) == (weights is None):
        raise click.UsageError("Name either --model, a run or an export, or --weights NAME.")
    load_tensorflow()
    from keras_deep_emotion.predict import load
    from keras_deep_emotion.runs import weights_dir

    loaded = load(weights_dir(weights) if model is None else model)
    failed = 0
    if not as_json:
        click.echo(f"{'emotion':<12}{'probability':>11}  file")
    for prediction in loaded.predict_files(images):
        if prediction.error:
            failed += 1
            click.echo(f"{prediction.file}: {prediction.error}.", err=True)
            continue
        best = prediction.probabilities.argmax()
        if as_json:
            scores = map(float, prediction.probabilities)
            answer = {
                "file": str(prediction.file),
                "emotion": loaded.labels[best],
                "probabilities": dict(zip(loaded.labels, scores, strict=True)),
            }
            click.echo(json.dumps(answer))
        else:
            share = prediction.probabilities[best]
            click.echo(f"{loaded.labels[best]:<12}{share:>11.1%}  {prediction.file}")
    if failed:
        sys.exit(1)


@main.command()
@run_or_weights
@click.option("--name", help="Name to clients.  [default: the data set's]")
@click.option(
    "--exports",
    default="exports",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of all exports.",
)
def export(run, name, exports):
    """Write RUN's model as the next version for TensorFlow Serving, verified before it appears."""
    from keras_deep_emotion.export import export_run

    click.echo(f"exported, opened by the C loader and compared: {export_run(run, name, exports)}")
