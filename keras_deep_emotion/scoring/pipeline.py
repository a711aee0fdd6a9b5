"""The Beam pipeline: each part of a job scored by one worker, and written as one shard."""

import collections
import contextlib
import io
import itertools
import json
import os
import re

import apache_beam as beam
import numpy as np
import pandas as pd
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from keras_deep_emotion.files import printable_path
from keras_deep_emotion.images.formats import has_exif_rotation, is_jpeg_or_png
from keras_deep_emotion.images.inputs import check_decodable, to_upright_png
from keras_deep_emotion.images.reading import UnreadableImage
from keras_deep_emotion.scoring import storage
from keras_deep_emotion.scoring.inputs import read_entries
from keras_deep_emotion.scoring.job import counts_file, list_file, part_file, to_json, write
from keras_deep_emotion.scoring.scorer import MODEL, Scorer

FORMATS = ("jsonl", "parquet")


def make_pipeline(runner, options):
    """An empty pipeline.

    Args:
        runner: its name.
        options: arguments for it.

    Raises:
        ValueError: there is no such runner, a library that it needs is missing, or it does not take
            the options.
    """
    said = io.StringIO()
    try:
        runner = create_runner(runner)
        if type(runner).__name__ == "SwitchingDirectRunner":
            # Beam's DirectRunner would else fetch a program from GitHub and score in that; there is
            # no trigger here for which this could matter.
            # And workers that are processes of their own would tell of all that they do.
            ours = ["--allow_unsafe_triggers", "--default_sdk_harness_log_level=ERROR"]
            options = [*ours, *options]
        # Given a list, Beam does not take our own command line for its own.
        options = PipelineOptions(list(options))
        with contextlib.redirect_stderr(said):
            options.get_all_options()
        return beam.Pipeline(runner=runner, options=options)
    except SystemExit:  # of argparse, after a page of usage
        reason = said.getvalue().strip().rpartition("error: ")[2]
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())
    raise ValueError(
        f"Beam refuses --runner or the options after `--`: {reason.rstrip('.')}. See "
        "https://beam.apache.org/documentation/runners/capability-matrix/ for runners and options."
    )


def run_pipeline(pipeline, output, manifest, parts, batch_size):
    """Score parts.

    Raises:
        OSError: of the file system below `output`: it is full, say.
    """
    _ = (
        pipeline
        | "Parts" >> beam.Create(parts)
        | "Spread" >> beam.Reshuffle()  # else one worker may get them all
        | "Score" >> beam.ParDo(ScorePart(output, manifest, batch_size))
    )
    try:
        pipeline.run().wait_until_finish()
    except RuntimeError as error:
        # Beam gives an error of a worker as text, the innermost last.
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from None
        numbers = re.findall(r"\[Errno (\d+)\]", str(error))
        if not numbers:
            raise
        number = int(numbers[-1])
        raise OSError(number, os.strerror(number), output) from None


class ScorePart(beam.DoFn):
    """Scores the part of a number, and writes its files."""

    def __init__(self, output, manifest, batch_size):
        self.output, self.manifest, self.batch_size = output, manifest, batch_size
        self.scored = beam.metrics.Metrics.counter("keras_deep_emotion", "scored")
        self.damaged = beam.metrics.Metrics.counter("keras_deep_emotion", "damaged")

    def setup(self):
        """Load the model, once for each process."""
        path = self.manifest["path"]
        self.model = MODEL.acquire(lambda: Scorer(path), path)

    def process(self, part):
        """Write what is to be known of a part; its shard, by which it counts as done, last."""
        manifest, output = self.manifest, self.output
        lines = storage.read(list_file(output, part)).splitlines()
        rows, damaged = self.score(map(json.loads, lines))
        shard = render(rows, manifest["labels"], manifest["format"])
        errors = "".join(
            json.dumps({"file": name, "error": error}) + "\n" for name, error in damaged
        ).encode()
        shard_name = part_file(manifest, "part", part)
        damaged_name = part_file(manifest, "damaged", part, "jsonl")
        files = {shard_name: len(shard)}
        if damaged:
            files[damaged_name] = len(errors)
            write(output, storage.join(output, damaged_name), errors)
        else:  # of an earlier attempt, when a file could not be read yet
            storage.remove(storage.join(output, damaged_name))
        counts = {
            "scored": len(rows),
            "damaged": len(damaged),
            "emotions": collections.Counter(label for _, label, _ in rows),
            "files": files,
        }
        write(output, counts_file(output, part), to_json(counts))
        write(output, storage.join(output, shard_name), shard)
        self.scored.inc(len(rows))
        self.damaged.inc(len(damaged))

    def score(self, entries):
        """Rows of (name, label, probabilities), and (name, error) of what is damaged."""
        rows, damaged = [], []
        arguments = self.manifest["arguments"]
        contents = read_entries(
            entries, self.manifest["folder"], arguments["feature"], 2 * self.batch_size
        )
        contents = map(upright, contents)
        while batch := list(itertools.islice(contents, self.batch_size)):
            readable = [content.image for content in batch if content.error is None]
            answers = iter(self.model(readable) if readable else ())
            for name, image, error in batch:
                answer = next(answers) if error is None else None
                if answer is not None:
                    rows.append((name, *answer))
                elif error is None:
                    error = why_not(image)
                if error is not None:
                    damaged.append((name, error))
        return rows, damaged


def upright(content):
    """An `inputs.Content` as it is, or, where EXIF data say so, turned."""
    if content.error is None and is_jpeg_or_png(content.image) and has_exif_rotation(content.image):
        # What cannot be turned is left to the export, which marks it.
        with contextlib.suppress(UnreadableImage):
            return content._replace(image=to_upright_png(content.image))
    return content


def why_not(image):
    """One clause that says why an export gave no answer to an image file."""
    if not is_jpeg_or_png(image):
        return "not a JPEG or PNG image"
    try:
        check_decodable(image)
    except UnreadableImage as error:
        return str(error)
    return "the image is damaged"


def render(rows, labels, shards):
    """A shard's bytes.

    Args:
        rows: of (name, label, (classes,) float32 probabilities).
        labels: names of the classes.
        shards: "jsonl": objects as `predict --json` prints them, and `probability`, that of the
            emotion; "parquet": columns `file`, `emotion`, `probability` and one for each label.
    """
    if shards == "jsonl":
        lines = []
        for name, label, probabilities in rows:
            # The shortest number that is that float32.
            by_label = dict(zip(labels, map(float, probabilities.astype(str)), strict=True))
            row = {"file": name, "emotion": label, "probability": by_label[label]}
            lines.append(json.dumps({**row, "probabilities": by_label}) + "\n")
        return "".join(lines).encode()
    names = [printable_path(name) for name, _, _ in rows]
    found = np.array([row[2] for row in rows], np.float32).reshape(len(rows), len(labels))
    answers = pd.Series([row[1] for row in rows], dtype=str)
    best = [row[labels.index(label)] for row, label in zip(found, answers, strict=True)]
    table = pd.DataFrame({"file": pd.Series(names, dtype=str), "emotion": answers})
    table["probability"] = np.array(best, np.float32)
    table[labels] = found
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()
