"""`predict`: name the emotion of each face in photos, crops and videos."""

import csv
import io
import json
import sys
from pathlib import Path

import click

from keras_deep_emotion.cli.options import load_tensorflow, model_options


@click.command()
@model_options
@click.option(
    "--faces",
    type=click.Choice(["find", "none"]),
    default="find",
    show_default=True,
    help="Find the faces in each picture; or none: each picture is the crop of one already.",
)
@click.option(
    "--smallest",
    type=click.IntRange(min=20),
    metavar="PIXELS",
    help="Side of the smallest face to look for.  [default: 1/64 of the longer side, at least 20]",
)
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Of a video: look at each N-th frame.",
)
@click.option("--all", "all_classes", is_flag=True, help="Show the probability of every emotion.")
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object a line.")
@click.option("--csv", "as_csv", is_flag=True, help="For tables: CSV with every probability.")
@click.option(
    "--annotate",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write each picture with boxes and answers, as JPEG, to DIR.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    default=".",
    help="Where a video's CSV and plot over time go.  [default: here]",
)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
def predict(
    *, choice, faces, smallest, every, annotate, output, all_classes, as_json, as_csv, images,
):  # fmt: skip
    """Name the emotion of each face in IMAGES: photos, folders, patterns or videos.

    One row a face, the largest first. The box is x, y, width and height in pixels of the upright
    picture. What cannot be answered is named on stderr; the exit status is then 1.
    """
    if as_json and as_csv:
        raise click.UsageError("Name one of --json and --csv.")
    load_tensorflow()
    from keras_deep_emotion.images.faces import Detector
    from keras_deep_emotion.images.reading import find_files
    from keras_deep_emotion.inference.media import predict_media

    detector = Detector() if faces == "find" else None
    loaded = choice.open()
    writer = Writer(loaded.labels, detector is not None, all_classes, as_json, as_csv)
    found = list(find_files(images))  # before anything is written to their folders
    pictures = Pictures(annotate, output, loaded.labels, [path for path, _ in found])
    failed = False
    try:
        for answer in predict_media(loaded, found, detector, smallest, every):
            problem = answer.error
            if problem is None:
                writer.write(answer)
                problem = pictures.add(answer)
            if problem is not None:
                failed = True
                click.echo(f"{answer.file}: {problem}.", err=True)
    finally:  # of a video that is broken off, too, what was answered is kept
        pictures.close()
    if failed:
        sys.exit(1)


class Writer:
    """Prints answers: as a table, JSON lines or CSV, one row a face."""

    def __init__(self, labels, boxes, all_classes, as_json, as_csv):
        self.labels = labels
        self.boxes = boxes
        self.all_classes = all_classes
        self.as_json = as_json
        self.as_csv = as_csv
        self.headed = as_json

    def write(self, answer):
        """Print the rows of an answer."""
        from keras_deep_emotion.inference.tables import prediction_row

        for place in range(len(answer.probabilities)):
            row = prediction_row(answer, self.labels, place)
            if self.as_json:
                click.echo(json.dumps(self.json_object(answer, place, row)))
                continue
            if not self.headed:
                self.headed = True
                self.echo(row, head=True)
            self.echo(row)

    def json_object(self, answer, place, row):
        """One face as an object; of a photo without frame, of a crop without box."""
        scores = map(float, answer.probabilities[place])
        box = [row[key] for key in ("x", "y", "width", "height")]
        return {
            "file": str(answer.file),  # to open it by, whatever its name
            **({} if answer.frame is None else {key: row[key] for key in ("frame", "seconds")}),
            **({} if answer.faces is None else {"box": box}),
            "emotion": row["emotion"],
            "probability": float(answer.probabilities[place].max()),
            "probabilities": dict(zip(self.labels, scores, strict=True)),
        }

    def echo(self, row, head=False):
        """Print a line of CSV or of the table, or the line at its head."""
        if self.as_csv:
            line = io.StringIO()
            csv.writer(line, lineterminator="").writerow(row if head else row.values())
            click.echo(line.getvalue())
            return
        titles = {"seconds": "time", "width": "w", "height": "h"}

        def cell(key):
            if head:
                return titles.get(key, key)
            if key == "probability" or key in self.labels:
                return f"{row[key]:.1%}"
            return f"{row[key]}"

        line = f"{cell('emotion'):<12}{cell('probability'):>11}"
        if self.all_classes:
            line += "".join(f"{cell(label):>11}" for label in self.labels)
        if self.boxes:
            line += "".join(f"{cell(key):>6}" for key in ("x", "y", "width", "height"))
        when = ""
        if row["frame"] != "" and not head:
            when = f" at {row['seconds']:.2f} s"
        click.echo(f"{line}  {cell('file')}{when}")


class Pictures:
    """Writes annotated pictures, and of each video the table and the curves."""

    def __init__(self, annotate, output, labels, inputs=()):
        self.folder = annotate
        self.output = output
        self.labels = labels
        self.taken = {path.absolute() for path in inputs}
        self.video = []
        for folder in (annotate, output):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)

    def add(self, answer):
        """Take an answer without an error; why it cannot be drawn, one clause, or None."""
        if self.video and (answer.frame is None or answer.file != self.video[0].file):
            self.close()
        if answer.frame is not None:
            # The pixels are not kept: a video has many.
            self.video.append(answer._replace(image=None))
        if self.folder is None:
            return None
        from keras_deep_emotion.images.reading import UnreadableImage, open_photo
        from keras_deep_emotion.reports.annotation import annotate

        try:  # of a crop it is read by another decoder than before
            image = open_photo(answer.file) if answer.image is None else answer.image
            drawn = annotate(image, answer.faces, answer.probabilities, self.labels)
            number = "" if answer.frame is None else f"-{answer.frame:06}"
            path = self.fresh(self.folder, f"{answer.file.stem}{number}-faces", ".jpg")
            drawn.save(path, quality=92)
        except (UnreadableImage, OSError) as error:
            return f"not annotated: {str(error).rstrip('.')}"
        return None

    def close(self):
        """Write what is held of a video, if any face was seen."""
        video, self.video = self.video, []
        if not any(len(answer.probabilities) for answer in video):
            return
        from keras_deep_emotion.inference.tables import save_video_table
        from keras_deep_emotion.reports.annotation import save_timeline

        stem = f"{video[0].file.stem}-emotions"
        for save, suffix in ((save_video_table, ".csv"), (save_timeline, ".png")):
            path = self.fresh(self.output, stem, suffix)
            save(video, self.labels, path)
            click.echo(f"wrote {path}", err=True)

    def fresh(self, folder, stem, suffix):
        """A path that this command neither reads nor has written: folders may share names."""
        path, count = folder / f"{stem}{suffix}", 1
        while path.absolute() in self.taken:
            count += 1
            path = folder / f"{stem}-{count}{suffix}"
        self.taken.add(path.absolute())
        return path
