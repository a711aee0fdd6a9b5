"""The Beam pipeline: a worker scores a part of a job and writes it as one shard."""

import collections
import contextlib
import io
import itertools
import json
import os
import re
from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np
import pandas as pd
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import create_runner

from keras_deep_emotion import stopping
from keras_deep_emotion.files import printable_path
from keras_deep_emotion.images.formats import decodes_alike
from keras_deep_emotion.images.inputs import decode_crop, encode_png
from keras_deep_emotion.images.reading import UnreadableImage
from keras_deep_emotion.scoring import job, storage
from keras_deep_emotion.scoring.inputs import Content, read_entries
from keras_deep_emotion.scoring.job import part_file, to_json, to_jsonl, write
from keras_deep_emotion.scoring.scorer import Answer, shared_scorer

FORMATS = ("jsonl", "parquet")
DASK = "apache_beam.runners.dask.dask_runner.DaskRunner"  # Beam has no short name for it


def make_pipeline(runner: str, options: Sequence[str]) -> beam.Pipeline:
    """Create an empty pipeline for a runner; ValueError if it is unknown or refuses the options."""
    output = io.StringIO()
    if runner.lower() in ("dask", "daskrunner", DASK.lower()):
        runner, options = DASK, dask_options(options)
    try:
        runner = create_runner(runner)
        if type(runner).__name__ == "SwitchingDirectRunner":
            # Without the first, DirectRunner would download a program from GitHub and run in that;
            # this pipeline has no triggers. The second silences worker processes.
            defaults = ["--allow_unsafe_triggers", "--default_sdk_harness_log_level=ERROR"]
            options = [*defaults, *options]
        options = PipelineOptions(list(options))  # a list, or Beam would parse our command line
        with contextlib.redirect_stderr(output):
            options.get_all_options()
        pipeline = beam.Pipeline(runner=runner, options=options)
        # For transforms in other languages; Beam removes it only if the pipeline runs to its end.
        os.rmdir(pipeline.local_tempdir)
        return pipeline
    except SystemExit:  # argparse, after printing its usage
        reason = output.getvalue().strip().rpartition("error: ")[2]
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())
    raise ValueError(
        f"Beam refuses --runner or the options after `--`: {reason.rstrip('.')}. See "
        "https://beam.apache.org/documentation/runners/capability-matrix/ for runners and options."
    )


def dask_options(options: Sequence[str]) -> list[str]:
    """Options for Beam's DaskRunner: each part is a task; by default 128 would go to one worker.

    Raises ValueError if no scheduler is named: Beam would start workers on this machine.
    """
    import dask

    names = {option.partition("=")[0] for option in options}
    is_named = names & {"--dask_client_address", "--dask_scheduler_file"}
    if not is_named and not dask.config.get("scheduler-address", None):
        raise ValueError(
            "Which scheduler? Start one with `dask scheduler`, and name it after `--`: --runner "
            "dask -- --dask_client_address=tcp://HOST:8786."
        )
    return [*(() if "--dask_npartitions" in names else ("--dask_partition_size=1",)), *options]


def run_pipeline(
    pipeline: beam.Pipeline, output: str, manifest: dict, parts: list[int], batch_size: int
) -> None:
    """Score parts of a job.

    Raises OSError if the file system of `output` fails, as when it is full, or if Dask gives up
    since its workers die.
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
        # Beam passes on an error of a worker as text, the innermost last.
        if "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from None
        numbers = re.findall(r"\[Errno (\d+)\]", str(error))
        if not numbers:
            raise
        number = int(numbers[-1])
        raise OSError(number, os.strerror(number), output) from None
    except Exception as error:
        if type(error).__name__ != "KilledWorker":  # of Dask, which need not be installed
            raise
        raise ConnectionError(
            f"Dask gave up: every worker that took one of the parts died, the last at "
            f"{error.last_worker.address}, perhaps for want of memory. The workers' logs say why; "
            "finished parts are kept, and the same command continues the job."
        ) from None


class ScorePart(beam.DoFn):
    """Scores a part, given its number, and writes its files."""

    def __init__(self, output: str, manifest: dict, batch_size: int):
        self.output, self.manifest, self.batch_size = output, manifest, batch_size
        self.scored = beam.metrics.Metrics.counter("keras_deep_emotion", "scored")
        self.damaged = beam.metrics.Metrics.counter("keras_deep_emotion", "damaged")

    def setup(self):
        """Load the model, once in each process."""
        self.model = shared_scorer(self.manifest["path"], self.manifest["arguments"]["faces"])

    def process(self, part):
        """Write the files of a part; last its shard, which marks the part as done."""
        manifest, output = self.manifest, self.output
        lines = storage.read(job.list_file(output, part)).splitlines()
        rows, images, damaged = self.score(map(json.loads, lines))
        shard = render_shard(rows, manifest["labels"], manifest["format"])
        shard_name = part_file(manifest, "part", part)
        sizes = {shard_name: len(shard)}
        damaged_name = part_file(manifest, "damaged", part, "jsonl")
        if damaged:
            errors = to_jsonl({"file": name, "error": error} for name, error in damaged)
            sizes[damaged_name] = len(errors)
            write(output, storage.join(output, damaged_name), errors)
        else:  # an earlier attempt may have failed to read a file
            storage.remove(storage.join(output, damaged_name))
        counts = {
            "scored": images,
            "damaged": len(damaged),
            "emotions": collections.Counter(answer.label for _, answer in rows),
            "files": sizes,
        }
        write(output, job.counts_file(output, part), to_json(counts))
        write(output, storage.join(output, shard_name), shard)
        self.scored.inc(images)
        self.damaged.inc(len(damaged))

    def score(
        self, entries: Iterable[str | dict]
    ) -> tuple[list[tuple[str, Answer]], int, list[tuple[str, str]]]:
        """(name, answer) of each face, the number of images, (name, error) of damaged ones."""
        rows, images, damaged = [], 0, []
        folder, feature = self.manifest["folder"], self.manifest["arguments"]["feature"]
        contents = map(to_plain, read_entries(entries, folder, feature, 2 * self.batch_size))
        while batch := list(itertools.islice(contents, self.batch_size)):
            stopping.check()
            readable = [content.image for content in batch if content.error is None]
            answers = iter(self.model(readable) if readable else ())
            for name, image, error in batch:
                answer = next(answers) if error is None else None
                if answer is not None:
                    images += 1
                    rows += [(name, face) for face in answer]
                else:
                    damaged.append((name, error or unreadable_reason(image)))
        return rows, images, damaged


def to_plain(content: Content) -> Content:
    """Convert an image that TensorFlow would decode otherwise; most are returned unchanged."""
    if content.error is None and not decodes_alike(content.image):
        try:
            return content._replace(image=encode_png(decode_crop(content.image)))
        except UnreadableImage as error:
            return content._replace(error=str(error))
    return content


def unreadable_reason(image: bytes) -> str:
    """Why an export cannot read an image file, one clause."""
    try:
        decode_crop(image)
    except UnreadableImage as error:
        return str(error)
    return "the image is damaged"


def json_row(name: str, face: Answer, labels: list[str]) -> dict:
    """A face as `predict --json` prints it."""
    decimals = map(float, face.probabilities.astype(str))  # the shortest of float32
    table = dict(zip(labels, decimals, strict=True))
    row = {"file": name, "emotion": face.label, "probability": table[face.label]}
    return row | ({"box": face.box} if face.box else {}) | {"probabilities": table}


def render_shard(rows: list[tuple[str, Answer]], labels: list[str], shards: str) -> bytes:
    """Content of a shard from (name, answer) of each face.

    JSON lines are as of `predict --json`; Parquet has `file`, `emotion`, its `probability`, a
    column for each class, and for faces that were found `x`, `y`, `width` and `height`.
    """
    if shards == "jsonl":
        return to_jsonl(json_row(name, face, labels) for name, face in rows)
    best = [face.probabilities.max() for _, face in rows]
    table = pd.DataFrame(
        {
            "file": pd.Series([printable_path(name) for name, _ in rows], dtype=str),
            "emotion": pd.Series([face.label for _, face in rows], dtype=str),
            "probability": np.array(best, np.float32),
        }
    )
    probabilities = [face.probabilities for _, face in rows]
    table[labels] = np.array(probabilities, np.float32).reshape(-1, len(labels))
    if any(face.box for _, face in rows):
        table[["x", "y", "width", "height"]] = [face.box for _, face in rows]
    return table.to_parquet(engine="pyarrow", index=False)
