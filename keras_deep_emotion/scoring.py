"""Bulk scoring on Apache Beam: an export's answer for each of many faces, as a folder of shards.

The list of inputs is frozen first and cut into parts. A part is one element of the pipeline and one
shard, written aside and renamed whole: one that is scored twice, by a retry or after a kill, comes
out the same, and one that lies there is not scored again.

    OUT/manifest.json                    what the job is
    OUT/part-00017-of-00120.jsonl        one row for each face, in the order of the list
    OUT/damaged-00017-of-00120.jsonl     what could not be scored, and why; where there is any
    OUT/summary.json                     counts, once all is done
    OUT/job/inputs/, job/counts/         of each part: its list; counts and sizes of its files
"""

import collections
import contextlib
import fcntl
import io
import itertools
import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import apache_beam as beam
import numpy as np
import pandas as pd
import tensorflow as tf
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner
from apache_beam.utils.shared import Shared

from keras_deep_emotion import __version__, storage
from keras_deep_emotion.bulk_inputs import find_entries, read_entries
from keras_deep_emotion.crops import as_png, checked
from keras_deep_emotion.image_files import is_jpeg_or_png, is_turned
from keras_deep_emotion.photos import Unreadable

SIGNATURE = "predict_bytes"
FORMATS = ("jsonl", "parquet")
NEWS_SECONDS = 15  # ours: how often progress is looked for
MODEL = Shared()  # one for each process, however many threads score


def score(
    export,
    inputs,
    output,
    column="file",
    feature="image_bytes",
    shards="jsonl",
    part_size=10_000,
    batch_size=64,
    runner="DirectRunner",
    beam_options=(),
    announce=lambda text: None,
):
    """Score all inputs, or what an earlier call with the same arguments left to do.

    Args:
        export: folder of a version that `export` made, or the folder of versions (the highest is
            taken, and kept when the job is taken up again).
        inputs: patterns of image files, of lists (`*.csv`) or of TFRecords, as `find_entries`
            takes them.
        output: folder for the shards; new, or of this job.
        column: of the lists.
        feature: of the records.
        shards: one of `FORMATS`.
        part_size: inputs in a shard.
        batch_size: faces at once. It and what follows may change when a job is taken up again.
        runner: name of a Beam runner, or the full name of its class.
        beam_options: arguments for the pipeline, such as `["--direct_num_workers=2"]`.
        announce: called with a line of text now and then.

    Returns:
        What summary.json holds: `inputs`, `scored`, `damaged`, `emotions` (faces by label),
        `parts`, `export`, `version`, `project_version`.

    Raises:
        FileNotFoundError: `export` is none.
        ValueError: an argument is not as it must be, or `output` holds something else.
    """
    for name, value in (("part_size", part_size), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more. Received: {value}")
    if shards not in FORMATS:
        raise ValueError(f"shards must be one of {', '.join(FORMATS)}. Received: {shards!r}")
    arguments = {
        "export": storage.absolute(export),
        "inputs": [storage.absolute(pattern) for pattern in inputs],
        "column": column,
        "feature": feature,
        "format": shards,
        "part_size": part_size,
    }
    pipeline = make_pipeline(runner, beam_options)
    with alone(output):
        manifest = open_job(output, arguments)
        if manifest is None:
            manifest = freeze_job(output, arguments, inputs)
            announce(f"inputs: {manifest['count']:,}, parts: {manifest['parts']:,}")
        pending = [part for part, counts in enumerate(done_parts(output, manifest)) if not counts]
        if len(pending) < manifest["parts"]:
            done = manifest["parts"] - len(pending)
            announce(f"parts done already: {done:,} of {manifest['parts']:,}")
        if pending:
            MODEL.acquire(lambda: Scorer(manifest["path"]), manifest["path"])  # or say why not
            with news(output, manifest, announce):
                run_pipeline(pipeline, output, manifest, pending, batch_size)
        return summarise(output, manifest)


# The export.


def find_version(path):
    """Folder of the version to take, as `predict.load` finds it; an URL may name it too.

    Raises:
        FileNotFoundError: there is no export.
    """
    gfile = tf.io.gfile
    try:
        if gfile.exists(storage.join(path, "saved_model.pb")):
            return path
        if gfile.exists(storage.join(path, "config.json")):
            raise FileNotFoundError(
                f"{path} is a run; `python cli.py export {path}` makes an export of it to name."
            )
        names = [name.rstrip("/") for name in gfile.listdir(path)] if gfile.isdir(path) else []
    except tf.errors.OpError as error:
        raise FileNotFoundError(f"{path} cannot be read: {error.message}.") from None
    versions = [
        name
        for name in names
        if name.isdecimal() and gfile.exists(storage.join(path, name, "saved_model.pb"))
    ]
    if not versions:
        raise FileNotFoundError(
            f"{path} is no export (no saved_model.pb); `python cli.py export RUN` makes one."
        )
    return storage.join(path, max(versions, key=int))


class Scorer:
    """The `predict_bytes` of an export.

    Attributes:
        labels: names of the classes, in the order of the probabilities.
    """

    def __init__(self, path):
        self.saved = tf.saved_model.load(path)
        if SIGNATURE not in self.saved.signatures:
            raise ValueError(
                f"{path} has no signature {SIGNATURE!r}; `python cli.py export RUN` makes an "
                "export that has."
            )
        with tf.io.gfile.GFile(storage.join(path, "assets", "labels.txt")) as file:
            self.labels = file.read().split()

    def __call__(self, images):
        """Answers for image files.

        Args:
            images: list of bytes.

        Returns:
            For each (its label, (classes,) float32 probabilities), or None of a damaged one.
        """
        try:
            # Looked up each time: the signature alone would let the variables be freed.
            answer = self.saved.signatures[SIGNATURE](image_bytes=tf.constant(images, tf.string))
        except (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError):
            # An export of old fails for a file that ends too soon: which one, halving finds.
            if len(images) == 1:
                return [None]
            half = len(images) // 2
            return self(images[:half]) + self(images[half:])
        answer = {name: value.numpy() for name, value in answer.items()}
        return [
            (label.decode(), probabilities) if valid else None
            for label, probabilities, valid in zip(
                answer["class_name"], answer["probabilities"], answer["valid"], strict=True
            )
        ]


# The job: its folder.


def part_file(manifest, kind, part, ending=None):
    """Name of a part's file."""
    return f"{kind}-{part:05d}-of-{manifest['parts']:05d}.{ending or manifest['format']}"


def list_file(output, part):
    """Path of a part's list of inputs."""
    return storage.join(output, "job", "inputs", f"{part:05d}.jsonl")


def counts_file(output, part):
    """Path of a part's counts."""
    return storage.join(output, "job", "counts", f"{part:05d}.json")


def write(output, path, content):
    """Write a file of a job, whole."""
    storage.write_whole(path, content, storage.join(output, "job", "partial"))


def to_json(content):
    """A file's bytes."""
    return (json.dumps(content, indent=2) + "\n").encode()


def refuse(output):
    """Leave a folder alone that is none of ours."""
    raise ValueError(f"{output} already holds something else; name a new folder with --output.")


@contextlib.contextmanager
def alone(output):
    """Keep a second process out of a local folder.

    Raises:
        ValueError: there is another.
    """
    if storage.is_remote(output):
        yield
        return
    folder = os.path.join(output, "job")
    if os.path.isdir(output) and os.listdir(output) and not os.path.isdir(folder):
        refuse(output)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone however this process ends
        except BlockingIOError:
            raise ValueError(
                f"Another process works on {output}; wait for it, or name a new folder with "
                "--output."
            ) from None
        # What a killed process was writing.
        storage.remove(os.path.join(folder, "partial"))
        yield


def open_job(output, arguments):
    """The manifest of the job in a folder, None if it is new.

    Raises:
        ValueError: it is another job, or something else.
    """
    present = storage.sizes(output)
    if "manifest.json" not in present:
        if present:
            refuse(output)
        return None
    manifest = json.loads(storage.read(storage.join(output, "manifest.json")))
    for name, value in arguments.items():
        if manifest["arguments"][name] != value:
            raise ValueError(
                f"{output} holds another job, whose {name} is {manifest['arguments'][name]!r}. "
                f"Name a new folder with --output, or the same {name} to go on with that job. "
                f"Received: {value!r}"
            )
    return manifest


def freeze_job(output, arguments, inputs):
    """Write the lists of a new job, and last its manifest.

    Returns:
        The manifest: `arguments`, `path` and `version` of the export, `labels`, `folder` (what
        relative paths are relative to), `count` of inputs, `parts`, `format`, `project_version`.
    """
    path = find_version(arguments["export"])
    labels = MODEL.acquire(lambda: Scorer(path), path).labels
    count = parts = 0
    try:
        lists = find_entries(
            inputs, arguments["column"], arguments["feature"], arguments["part_size"]
        )
        for part, entries in enumerate(lists):
            lines = "".join(json.dumps(entry) + "\n" for entry in entries)
            write(output, list_file(output, part), lines.encode())
            count += sum(entry["count"] if isinstance(entry, dict) else 1 for entry in entries)
            parts = part + 1
    except BaseException:
        storage.remove(storage.join(output, "job", "inputs"))
        raise
    name = path.rstrip("/").rpartition("/")[2]
    manifest = {
        "arguments": arguments,
        "path": path,
        "version": int(name) if name.isdecimal() else None,
        "labels": labels,
        "folder": os.getcwd(),
        "count": count,
        "parts": parts,
        "format": arguments["format"],
        "project_version": __version__,
    }
    write(output, storage.join(output, "manifest.json"), to_json(manifest))
    return manifest


def done_parts(output, manifest):
    """For each part its counts if its files lie there in full, else None."""
    present = storage.sizes(output)

    def counts_of(part):
        if part_file(manifest, "part", part) not in present:
            return None
        counts = json.loads(storage.read(counts_file(output, part)))
        whole = all(present.get(name) == size for name, size in counts["files"].items())
        return counts if whole else None

    with ThreadPoolExecutor() as pool:  # a bucket answers slowly
        return list(pool.map(counts_of, range(manifest["parts"])))


def summarise(output, manifest):
    """Add the parts up, write summary.json and give what it holds.

    Raises:
        ValueError: parts are missing, or do not add up to the inputs.
    """
    parts = done_parts(output, manifest)
    emotions = collections.Counter({label: 0 for label in manifest["labels"]})
    for counts in filter(None, parts):
        emotions.update(counts["emotions"])
    scored = sum(counts["scored"] for counts in parts if counts)
    damaged = sum(counts["damaged"] for counts in parts if counts)
    if None in parts or scored + damaged != manifest["count"]:
        raise ValueError(
            f"{output} holds {scored + damaged:,} of {manifest['count']:,} inputs, "
            f"{parts.count(None):,} parts are not there in full; run the same command again."
        )
    summary = {
        "inputs": manifest["count"],
        "scored": scored,
        "damaged": damaged,
        "emotions": dict(emotions),
        "parts": manifest["parts"],
        "format": manifest["format"],
        "export": manifest["path"],
        "version": manifest["version"],
        "project_version": manifest["project_version"],
    }
    write(output, storage.join(output, "summary.json"), to_json(summary))
    storage.remove(storage.join(output, "job", "partial"))
    return summary


# The pipeline.


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
    """Scores the part of a number, and writes its files; gives nothing on."""

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
    """A `bulk_inputs.Content` as it is, or, where EXIF data say so, turned."""
    if content.error is None and is_jpeg_or_png(content.image) and is_turned(content.image):
        # What cannot be turned is left to the export, which marks it.
        with contextlib.suppress(Unreadable):
            return content._replace(image=as_png(content.image))
    return content


def why_not(image):
    """One clause that says why an export gave no answer to an image file."""
    if not is_jpeg_or_png(image):
        return "not a JPEG or PNG image"
    try:
        checked(image)
    except Unreadable as error:
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
    names = [os.fsencode(name).decode(errors="replace") for name, _, _ in rows]
    found = np.array([row[2] for row in rows], np.float32).reshape(len(rows), len(labels))
    answers = pd.Series([row[1] for row in rows], dtype=str)
    best = [row[labels.index(label)] for row, label in zip(found, answers, strict=True)]
    table = pd.DataFrame({"file": pd.Series(names, dtype=str), "emotion": answers})
    table["probability"] = np.array(best, np.float32)
    table[labels] = found
    buffer = io.BytesIO()
    table.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


@contextlib.contextmanager
def news(output, manifest, announce):
    """Say from time to time how many parts are done."""
    over = threading.Event()

    def watch():
        said = None
        while not over.wait(NEWS_SECONDS):
            # A bucket may fail to answer now and then; that is no matter for the job.
            with contextlib.suppress(OSError):
                done = sum(name.startswith("part-") for name in storage.sizes(output))
                if done != said:
                    announce(f"parts done: {done:,} of {manifest['parts']:,}")
                said = done

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
