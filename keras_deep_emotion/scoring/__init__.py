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

from keras_deep_emotion.scoring import storage
from keras_deep_emotion.scoring.job import (
    done_parts,
    exclusive_job,
    freeze_job,
    open_job,
    progress_reports,
    summarise,
)
from keras_deep_emotion.scoring.pipeline import FORMATS, make_pipeline, run_pipeline
from keras_deep_emotion.scoring.scorer import MODEL, Scorer


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
    with exclusive_job(output):
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
            with progress_reports(output, manifest, announce):
                run_pipeline(pipeline, output, manifest, pending, batch_size)
        return summarise(output, manifest)
