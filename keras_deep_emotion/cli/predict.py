"""`predict`: predict the emotion of each face in photos, crops and videos."""

import csv
import io
import itertools
import json
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
from keras_deep_emotion.cli.progress import progress_bar
from keras_deep_emotion.data.catalog import CATALOG

STDIN = Path("-")


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
    the upright image. In a video people are numbered; who leaves it and comes back is a new person.
    Errors are printed to stderr; the exit status is then 1.
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
    printer = Printer(model.labels, detector is not None, **table)
    stdin = saved_stdin() if STDIN in images else None
    # Before any file is written to their folders.
    files = find_inputs([stdin if name == STDIN else name for name in images])
    if annotate is not None:
        check_not_among(annotate, images, files)
        annotate.mkdir(parents=True, exist_ok=True)
    used = {file.path.absolute() for file in files}
    is_successful = True

    def echo_result(result):
        nonlocal is_successful
        error = result.error
        if error is None:
            printer.print(result)
            echo_turn(result)
            error = annotate and save_annotated(result, model.labels, annotate, used, stdin)
        if error is not None:
            is_successful = False
            click.echo(f"{result.file}: {error}.", err=True)

    results = (
        one._replace(file=STDIN) if one.file == stdin else one
        for one in predict_media(model, files, detector, smallest, every, smooth)
    )
    for (file, is_frame), group in itertools.groupby(
        results, lambda one: (one.file, one.frame is not None)
    ):
        if is_frame:
            echo_video(group, model.labels, output, used, echo_result)
            if annotate:
                click.echo(f"wrote {annotate / stem_of(file)}-*-faces.jpg", err=True)
        else:
            for result in group:
                echo_result(result)
        if not (is_read() or is_frame or annotate):
            break  # `head` has the rows that it wants, and there are no files to write
    if not is_successful:
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
    """Raise if pictures that are written to a folder would stand among those that are read."""
    place = folder.resolve()
    inside = any(name.is_dir() and place.is_relative_to(name.resolve()) for name in names)
    if inside or any(file.path.resolve().parent == place for file in files):
        raise click.UsageError(
            f"--annotate {folder}: its pictures would stand among those that are read. Name a "
            "folder of their own."
        )


def find_inputs(names):
    """List the files that names mean, and say what is passed over."""
    from keras_deep_emotion.images import find_files, passed_over

    files = list(find_files(names))
    others = itertools.chain.from_iterable(file.passed_over for file in files)
    if note := passed_over(others, "neither images nor videos"):
        click.echo(note, err=True)
    return files


def echo_turn(result):
    """Say to stderr if a photo had to be turned."""
    if result.faces and (degrees := result.faces[0].turned):
        click.echo(
            f"{result.file}: turned by {degrees} degrees to find its faces; boxes are of the photo "
            "as it is.",
            err=True,
        )


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


class Printer:
    """Prints results as a table, as JSON lines or as CSV, a row for each face."""

    def __init__(self, labels, boxes, all_classes, as_json, as_csv):
        self.labels = labels
        self.as_json = as_json
        self.as_csv = as_csv
        self.is_first = True
        self.columns = {"emotion": "<12", "probability": ">11"}  # of the table, with formats
        if all_classes:
            self.columns |= dict.fromkeys(labels, ">11")
        if boxes:
            self.columns |= dict.fromkeys(("x", "y", "width", "height"), ">6")

    def print(self, result):
        """Print a result; before the first face the header."""
        from keras_deep_emotion.inference import prediction_json, prediction_rows

        if self.as_json:
            for face in prediction_json(result, self.labels):
                click.echo(json.dumps(face))
            return
        for row in prediction_rows(result, self.labels):
            if row["emotion"] == "" and not self.as_csv:
                continue
            titles = {name: name for name in row} | {"width": "w", "height": "h"}
            if self.is_first:
                click.echo(csv_line(row) if self.as_csv else self.line(titles, "file"))
            self.is_first = False
            time = f" at {row['seconds']:.2f} s" if row["frame"] != "" else ""
            person = f", person {row['track']}" if row["track"] != "" else ""
            ending = f"{row['file']}{time}{person}"
            click.echo(csv_line(row.values()) if self.as_csv else self.line(row, ending))

    def line(self, row, ending):
        """A line of the table."""
        values = {key: f"{100 * x:.1f} %" if isinstance(x, float) else x for key, x in row.items()}
        cells = (f"{values[name]:{width}}" for name, width in self.columns.items())
        return f"{''.join(cells)}  {ending}"


def csv_line(values):
    """A line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def save_annotated(result, labels, folder, used, stdin):
    """Write an image with boxes and predictions; return why it cannot be drawn, or None."""
    from keras_deep_emotion.files import atomic_write
    from keras_deep_emotion.images import UnreadableImage, open_photo
    from keras_deep_emotion.reports.annotation import annotate

    try:
        # Crops are decoded again, by another library than before.
        file = stdin if result.file == STDIN else result.file
        image = open_photo(file) if result.image is None else result.image
        drawing = annotate(image, result.faces, result.probabilities, labels, result.tracks)
        number = "" if result.frame is None else f"-{result.frame:06}"
        path = unused_path(folder, f"{stem_of(result.file)}{number}-faces", ".jpg", used)
        with atomic_write(path) as temporary:
            drawing.save(temporary, quality=92)
        if result.frame is None:  # a video's are named together
            click.echo(f"wrote {path}", err=True)
    except (UnreadableImage, OSError) as error:
        return f"not annotated: {str(error).rstrip('.')}"
    return None


def echo_video(frames, labels, folder, used, echo_result):
    """Pass on the results of a video's frames; write its table and its plot."""
    from keras_deep_emotion.inference import open_table
    from keras_deep_emotion.reports import Timeline

    first = next(frames)
    file = first.file
    folder.mkdir(parents=True, exist_ok=True)
    table, plot = (
        unused_path(folder, f"{stem_of(file)}-emotions", suffix, used)
        for suffix in (".csv", ".png")
    )
    timeline = Timeline(labels)
    try:
        with open_table(table, labels) as add, progress_bar(file) as (clear, draw):
            for result in itertools.chain([first], frames):
                clear()
                echo_result(result)
                add(result)
                timeline.add(result)
                draw(result.seconds)
    finally:  # also if the video is interrupted
        click.echo(f"wrote {table}", err=True)
        if timeline.people:
            timeline.draw(file, plot)
            click.echo(f"wrote {plot}", err=True)


def stem_of(file):
    """What the files written for an image or video begin with."""
    return "stdin" if file == STDIN else file.stem


def unused_path(folder, stem, suffix, used):
    """A path that this command has neither read nor written, since folders may share names."""
    path, numbers = folder / f"{stem}{suffix}", itertools.count(2)
    while path.absolute() in used:
        path = folder / f"{stem}-{next(numbers)}{suffix}"
    used.add(path.absolute())
    return path
