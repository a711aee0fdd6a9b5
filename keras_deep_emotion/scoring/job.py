"""The folder of a job: its manifest, the lists and counts of its parts, what is done of it."""

import collections
import contextlib
import fcntl
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from keras_deep_emotion import __version__
from keras_deep_emotion.scoring import storage
from keras_deep_emotion.scoring.inputs import find_entries
from keras_deep_emotion.scoring.scorer import MODEL, Scorer, find_version

PROGRESS_SECONDS = 15  # ours: how often progress is looked for


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


def refuse_foreign(output):
    """Raise if `output` is not a job folder."""
    raise ValueError(f"{output} already holds something else; name a new folder with --output.")


@contextlib.contextmanager
def exclusive_job(output):
    """Keep a second process out of a local folder.

    Raises:
        ValueError: there is another.
    """
    if storage.is_remote(output):
        yield
        return
    folder = os.path.join(output, "job")
    if os.path.isdir(output) and os.listdir(output) and not os.path.isdir(folder):
        refuse_foreign(output)
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
            refuse_foreign(output)
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


@contextlib.contextmanager
def progress_reports(output, manifest, announce):
    """Say from time to time how many parts are done."""
    over = threading.Event()

    def watch():
        said = None
        while not over.wait(PROGRESS_SECONDS):
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
