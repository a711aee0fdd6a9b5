"""What `predict` prints and writes of each face, photo and video."""

import csv
import io
import itertools
import json
from pathlib import Path

import click

from keras_deep_emotion.cli.progress import progress_bar

STDIN = Path("-")


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


class Results:
    """Prints results, and writes annotated pictures and the tables and plots of videos.

    `annotate` is the folder of the annotated pictures, or None; `output` the folder of the tables
    and plots; `inputs` the files that are read; `stdin` the path of the one with the content of
    standard input, or None.
    """

    def __init__(self, printer, annotate, output, inputs, stdin):
        self.printer = printer
        self.annotate = annotate
        self.output = output
        self.stdin = stdin
        # Folders may share names: no file is written twice, nor over one that is read.
        self.used = {file.path.absolute() for file in inputs}
        self.has_errors = False

    def add(self, result):
        """Print a result, and save its annotated picture if requested; print errors to stderr."""
        name, error = self.name(result.file), result.error
        if error is None:
            self.printer.print(result._replace(file=name))
            if result.faces and (degrees := result.faces[0].turned):
                click.echo(
                    f"{name}: turned by {degrees} degrees to find its faces; boxes are of the "
                    "photo as it is.",
                    err=True,
                )
            error = self.annotate and self.save_annotated(result)
        if error is not None:
            self.has_errors = True
            click.echo(f"{name}: {error}.", err=True)

    def add_video(self, frames):
        """Print the results of a video's frames; write its table and its plot."""
        from keras_deep_emotion.inference import open_table
        from keras_deep_emotion.reports import Timeline

        first = next(frames)
        file, labels = self.name(first.file), self.printer.labels
        self.output.mkdir(parents=True, exist_ok=True)
        stem = f"{self.stem(first.file)}-emotions"
        table, plot = (self.unused_path(self.output, stem, suffix) for suffix in (".csv", ".png"))
        timeline = Timeline(labels)
        try:
            with (
                open_table(table, labels, lambda: click.echo(f"wrote {table}", err=True)) as add,
                progress_bar(file) as (clear, draw),
            ):
                for result in itertools.chain([first], frames):
                    clear()
                    self.add(result)
                    add(result._replace(file=file))
                    timeline.add(result)
                    draw(result.seconds)
        finally:  # also if the video is interrupted
            if timeline.people:
                timeline.draw(file, plot)
                click.echo(f"wrote {plot}", err=True)
        if self.annotate:
            click.echo(f"wrote {self.annotate / self.stem(first.file)}-*-faces.jpg", err=True)

    def save_annotated(self, result):
        """Write a picture with boxes and predictions; return why it cannot be drawn, or None."""
        from keras_deep_emotion.files import atomic_write
        from keras_deep_emotion.images import UnreadableImage, open_photo
        from keras_deep_emotion.reports.annotation import annotate

        try:
            # Crops are decoded again, by another library than before.
            image = open_photo(result.file) if result.image is None else result.image
            labels = self.printer.labels
            drawing = annotate(image, result.faces, result.probabilities, labels, result.tracks)
            number = "" if result.frame is None else f"-{result.frame:06}"
            stem = f"{self.stem(result.file)}{number}-faces"
            path = self.unused_path(self.annotate, stem, ".jpg")
            with atomic_write(path) as temporary:
                drawing.save(temporary, quality=92)
            if result.frame is None:  # a video's are named together
                click.echo(f"wrote {path}", err=True)
        except (UnreadableImage, OSError) as error:
            return f"not annotated: {str(error).rstrip('.')}"
        return None

    def name(self, file):
        """A file as the user named it."""
        return STDIN if file == self.stdin else file

    def stem(self, file):
        """What the files written for an image or video begin with."""
        return "stdin" if file == self.stdin else file.stem

    def unused_path(self, folder, stem, suffix):
        """A path that this command has neither read nor written."""
        path, numbers = folder / f"{stem}{suffix}", itertools.count(2)
        while path.absolute() in self.used:
            path = folder / f"{stem}-{next(numbers)}{suffix}"
        self.used.add(path.absolute())
        return path
