"""`predict`: predict the emotion of each face in photos, crops and videos."""

import itertools
import sys
import tempfile
from pathlib import Path

import click

from keras_deep_emotion.cli.options import (
    FOLDER,
    PATH,
    Integer,
    Real,
    balance_option,
    faces_option,
    model_options,
    refuse_unused,
)
from keras_deep_emotion.cli.pipes import is_read
from keras_deep_emotion.cli.results import STDIN, Printer, Results
from keras_deep_emotion.data.catalog import CATALOG


@click.command()
@model_options
@balance_option
@faces_option
@click.option(
    "--smallest",
    type=Integer(13),
    metavar="PIXELS",
    help="Side of the smallest face to find.  [default: 1/98 of the longer side, at least 13]",
)
@click.option(
    "--every",
    type=Integer(1),
    default=10,
    metavar="N",
    help="Predict every N-th frame of a video.",
)
@click.option(
    "--smooth",
    type=Real(0),
    default=0.0,
    metavar="SECONDS",
    help="Smooth each person's probabilities in a video over so many seconds.",
)
@click.option("--all", "all_classes", is_flag=True, help="Show the probability of every emotion.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object for each face.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with all probabilities.")
@click.option(
    "--annotate",
    type=FOLDER,
    metavar="DIR",
    help="Folder for the images with boxes and predictions, as JPEG.",
)
@click.option(
    "--output",
    type=FOLDER,
    metavar="DIR",
    default="runs",
    help="Folder for the CSV file and the plot over time of each video.",
)
@click.argument("images", nargs=-1, required=True, type=PATH)
def predict(choice, balance, faces, smallest, every, smooth, annotate, output, images, **table):
    """Predict the emotion of each face in IMAGES: photos, folders, patterns, videos, - for stdin.

    Prints a row for each face, the largest first. The box is x, y, width and height in pixels of
    the upright image. In a video people are numbered; a person who leaves and returns gets
    a new number. Errors are printed to stderr; the exit status is then 1.
    """
    if table["as_json"] and table["as_csv"]:
        raise click.UsageError("Name one of --json and --csv.")
    if faces == "none":
        refuse_unused(["smallest"], "is for --faces find.")
    from keras_deep_emotion.images import Detector
    from keras_deep_emotion.inference import predict_media

    choice.folder()  # raises if there are no such weights
    detector = Detector() if faces == "find" else None
    model = choice.open(balance)
    warn_of_drawings(model)
    stdin = saved_stdin() if STDIN in images else None
    # Before any file is written to their folders.
    files = find_inputs([stdin if name == STDIN else name for name in images])
    if annotate is not None:
        check_not_among(annotate, images, files)
        annotate.mkdir(parents=True, exist_ok=True)
    printer = Printer(model.labels, detector is not None, **table)
    results = Results(printer, annotate, output, files, stdin)
    groups = itertools.groupby(
        predict_media(model, files, detector, smallest, every, smooth),
        lambda one: (one.file, one.frame is not None),
    )
    for (_, is_frame), group in groups:
        if is_frame:
            results.add_video(group)
        else:
            for result in group:
                results.add(result)
        if not (is_read() or is_frame or annotate):
            break  # `head` has the rows that it wants, and there are no files to write
    if results.has_errors:
        sys.exit(1)


def warn_of_drawings(model):
    """Say to stderr if a model has seen no real faces."""
    name = (model.dataset or "").partition("/")[0]
    if name in CATALOG and CATALOG[name].is_drawn:
        click.echo(
            f"warning: this model was trained on drawings ({name}) and knows no real faces; the "
            "shipped weights do: --weights ferplus.",
            err=True,
        )


def check_not_among(folder, names, files):
    """Raise if pictures would be written to a folder from which others are read."""
    place = folder.resolve()
    inside = any(name.is_dir() and place.is_relative_to(name.resolve()) for name in names)
    if inside or any(file.path.resolve().parent == place for file in files):
        raise click.UsageError(
            f"--annotate {folder}: the folder is among the inputs. Name another."
        )


def find_inputs(names):
    """List the files that names mean, and say what is passed over."""
    from keras_deep_emotion.images import find_files, passed_over

    files = list(find_files(names))
    others = itertools.chain.from_iterable(file.passed_over for file in files)
    if note := passed_over(others, "neither images nor videos"):
        click.echo(note, err=True)
    return files


def saved_stdin():
    """Path of a file with what standard input gives, removed when the command ends."""
    from keras_deep_emotion.images.reading import MAX_BYTES

    if sys.stdin.isatty():
        raise click.UsageError(
            "- is standard input, a terminal here: `... < FILE`, or name a file."
        )
    file = click.get_current_context().with_resource(tempfile.NamedTemporaryFile())
    file.write(sys.stdin.buffer.read(MAX_BYTES + 1))
    file.flush()
    return Path(file.name)
