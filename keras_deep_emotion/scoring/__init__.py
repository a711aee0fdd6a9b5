"""Bulk scoring on Apache Beam: the predictions of an export for many faces, as a folder of shards.

The list of inputs is fixed first and split into parts. A part is one element of the pipeline and
one shard, written atomically. A part that is scored twice, after a retry or a kill, gives the same
shard; a part that is done is not scored again.

    OUT/manifest.json                    arguments of the job
    OUT/part-00017-of-00120.jsonl        a row for each face, in the order of the list
    OUT/damaged-00017-of-00120.jsonl     files that could not be scored, with reasons, if any
    OUT/summary.json                     counts, when all is done
    OUT/job/inputs/, job/counts/         of each part: its list; its counts and file sizes
"""

from collections.abc import Callable, Sequence

from keras_deep_emotion.inference.operations import refuse_programs
from keras_deep_emotion.scoring import job, storage
from keras_deep_emotion.scoring.pipeline import FORMATS, make_pipeline, run_pipeline
from keras_deep_emotion.scoring.scorer import find_version, shared_scorer

__all__ = ["FORMATS", "score"]


def score(
    export: str,
    inputs: Sequence[str],
    output: str,
    column: str = "file",
    feature: str = "image_bytes",
    shards: str = "jsonl",
    part_size: int = 10_000,
    batch_size: int = 64,
    runner: str = "DirectRunner",
    beam_options: Sequence[str] = (),
    trust: bool = False,
    faces: str = "none",
    announce: Callable[[str], None] = lambda text: None,
) -> dict:
    """Score all inputs, or those that an earlier call with the same arguments did not finish.

    Args:
        export: Folder of an export's version, or of versions: the newest is taken, and kept when
            the job is continued.
        inputs: Patterns of image files, of lists (`*.csv`) or of TFRecords, see `find_entries`.
        output: Folder for the shards; new, or of this job.
        column: Column of the lists with paths, relative to the list's folder.
        feature: Feature of the records with the content of an image file.
        shards: Format of the shards, one of `FORMATS`.
        part_size: Inputs in a shard; the last may have fewer.
        batch_size: Faces at once. This and the following arguments may change when a job is
            continued.
        runner: Name of a Beam runner, or the full name of its class.
        beam_options: Options of the pipeline, such as `["--direct_num_workers=2"]`.
        trust: Open an export whose operations could do more than compute, such as write files.
        faces: "none" if each image is the crop of a face; "find" to find the faces in photos.
        announce: Called with lines about the progress.

    Returns:
        The content of summary.json: `inputs`, `scored`, `damaged`, `emotions` (faces by label),
        `parts`, `format`, `export`, `version`, `project_version`.

    Raises:
        FileNotFoundError: If `export` is not an export.
        ValueError: If an argument is invalid, or `output` holds something else.
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
        "faces": faces,
    }
    pipeline = make_pipeline(runner, beam_options)
    with job.exclusive_job(output):
        manifest = job.open_job(output, arguments)
        if not trust:
            refuse_programs(find_version(export) if manifest is None else manifest["path"])
        if manifest is None:
            manifest = job.create_job(output, arguments, inputs, announce)
            announce(f"inputs: {manifest['count']:,}, parts: {manifest['parts']:,}")
            if faces == "none" and (note := job.unlike_crops(output, manifest)):
                announce(note)
        counts = job.part_counts(output, manifest)
        pending = [part for part, done in enumerate(counts) if not done]
        if done := manifest["parts"] - len(pending):
            announce(f"parts done already: {done:,} of {manifest['parts']:,}")
        if pending:
            shared_scorer(manifest["path"], faces)  # raises here, not in a worker
            with job.progress_reports(output, manifest, announce):
                run_pipeline(pipeline, output, manifest, pending, batch_size)
        return job.write_summary(output, manifest)
