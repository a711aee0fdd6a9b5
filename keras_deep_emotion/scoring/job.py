"""The folder of a job: its manifest, the lists and counts of its parts, and its progress."""

import collections
import contextlib
import io
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from filelock import FileLock, Timeout
from PIL import Image

from keras_deep_emotion import __version__
from keras_deep_emotion.files import parse_json, refuse_links
from keras_deep_emotion.scoring import storage
from keras_deep_emotion.scoring.inputs import find_entries, read_entries
from keras_deep_emotion.scoring.scorer import find_version, shared_scorer

SAMPLED = 50  # ours: inputs that are looked at before a job
LARGEST_CROP = 640  # ours, pixels: the shorter side of a photo is longer
PROGRESS_SECONDS = 15  # ours: between two reports
# Schemas, see `files.check_schema`.
MANIFEST = {
    **dict.fromkeys(("path", "folder", "format", "project_version"), str),
    **dict.fromkeys(("count", "parts"), int),
    "version": (int, None),
    "arguments": {},
    "labels": [str],
}
COUNTS = {"scored": int, "damaged": int, "emotions": {str: int}, "files": {str: int}}


def part_file(manifest: dict, kind: str, part: int, suffix: str | None = None) -> str:
    """Name of a part's file; the default suffix is the format of the shards."""
    return f"{kind}-{part:05d}-of-{manifest['parts']:05d}.{suffix or manifest['format']}"


def list_file(output: str, part: int) -> str:
    """Path of a part's list of inputs."""
    return storage.join(output, "job", "inputs", f"{part:05d}.jsonl")


def counts_file(output: str, part: int) -> str:
    """Path of a part's counts."""
    return storage.join(output, "job", "counts", f"{part:05d}.json")


def write(output: str, path: str, content: bytes) -> None:
    """Write a file of a job atomically."""
    storage.write_atomically(path, content, storage.join(output, "job", "partial"))


def to_json(value: Any) -> bytes:
    """Content of a JSON file."""
    return (json.dumps(value, indent=2) + "\n").encode()


def to_jsonl(rows: Iterable) -> bytes:
    """Content of a file of JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _refuse_foreign(output) -> NoReturn:
    raise ValueError(f"{output} already holds something else; name a new folder with --output.")


@contextlib.contextmanager
def exclusive_job(output: str) -> Iterator[None]:
    """Lock a local job folder against other processes; a URL is not locked."""
    if storage.is_remote(output):
        yield
        return
    folder = os.path.join(output, "job")
    if os.path.isdir(output) and os.listdir(output) and not os.path.isdir(folder):
        _refuse_foreign(output)
    refuse_links(output, "lock")
    os.makedirs(folder, exist_ok=True)
    try:
        lock = FileLock(os.path.join(folder, "lock")).acquire(blocking=False)
    except Timeout:
        raise ValueError(
            f"Another process works on {output}; wait for it, or name a new folder with --output."
        ) from None
    with lock:
        storage.remove(os.path.join(folder, "partial"))  # of a killed process
        try:
            yield
        finally:
            storage.remove(os.path.join(folder, "partial"))


def open_job(output: str, arguments: dict) -> dict | None:
    """Read the manifest of a job with these arguments; None if the folder is new."""
    present = storage.sizes(output)
    if "manifest.json" not in present:
        if present:
            _refuse_foreign(output)
        return None
    content = storage.read(storage.join(output, "manifest.json"))
    remedy = "Name a new folder with --output."
    manifest = parse_json(content, f"{output}/manifest.json", MANIFEST, remedy)
    for name, value in arguments.items():
        present = manifest["arguments"].get(name)
        if present != value:
            raise ValueError(
                f"{output} holds another job, whose {name} is {present!r}. "
                f"Name a new folder with --output, or the same {name} to continue that job. "
                f"Received: {value!r}"
            )
    return manifest


def create_job(
    output: str, arguments: dict, inputs: list[str], announce: Callable[[str], None]
) -> dict:
    """Write the lists of a new job, and last its manifest, which is returned."""
    path = find_version(arguments["export"])
    labels = shared_scorer(path, arguments["faces"]).labels
    count = parts = 0
    try:
        settings = {name: arguments[name] for name in ("column", "feature", "part_size")}
        for entries in find_entries(inputs, **settings, announce=announce):
            write(output, list_file(output, parts), to_jsonl(entries))
            count += sum(entry["count"] if isinstance(entry, dict) else 1 for entry in entries)
            parts += 1
    except BaseException:
        storage.remove(storage.join(output, "job", "inputs"))
        raise
    version = path.rstrip("/").rpartition("/")[2]
    manifest = {
        "arguments": arguments,
        "path": path,
        "version": int(version) if version.isdecimal() else None,
        "labels": labels,
        "folder": os.getcwd(),  # which relative paths are relative to
        "count": count,  # of inputs
        "parts": parts,
        "format": arguments["format"],
        "project_version": __version__,
    }
    write(output, storage.join(output, "manifest.json"), to_json(manifest))
    return manifest


def unlike_crops(output: str, manifest: dict) -> str | None:
    """A warning if most of the first inputs look like photos and not like crops of faces."""
    lines = storage.read(list_file(output, 0)).splitlines()[:SAMPLED]
    feature = manifest["arguments"]["feature"]
    contents = read_entries(map(json.loads, lines), manifest["folder"], feature, SAMPLED)
    sizes = []
    for content in itertools.islice(contents, SAMPLED):
        with contextlib.suppress(OSError, TypeError, ValueError):  # damaged: counted later
            sizes.append(sorted(Image.open(io.BytesIO(content.image)).size))
    photos = sum(long > 1.25 * short or short > LARGEST_CROP for short, long in sizes)
    if 2 * photos <= len(sizes):
        return None
    return (
        f"warning: {photos} of the first {len(sizes)} pictures look like photos, and each is taken "
        "for the crop of one face: --faces find finds the faces in photos."
    )


def part_counts(output: str, manifest: dict) -> list[dict | None]:
    """The counts of each part; None for a part whose files are missing or incomplete."""
    present = storage.sizes(output)

    def counts_of(part):
        if part_file(manifest, "part", part) not in present:
            return None
        try:
            content = storage.read(counts_file(output, part))
            counts = parse_json(content, "counts", COUNTS)
        except (FileNotFoundError, ValueError):  # a power cut left it short
            return None
        is_whole = all(present.get(name) == size for name, size in counts["files"].items())
        return counts if is_whole else None

    with ThreadPoolExecutor() as pool:  # a bucket is slow to answer
        return list(pool.map(counts_of, range(manifest["parts"])))


def write_summary(output: str, manifest: dict) -> dict:
    """Add the counts of all parts, write summary.json, and return its content."""
    parts = part_counts(output, manifest)
    done = [counts for counts in parts if counts]
    emotions = collections.Counter(dict.fromkeys(manifest["labels"], 0))
    for counts in done:
        emotions.update(counts["emotions"])
    scored, damaged = (sum(counts[key] for counts in done) for key in ("scored", "damaged"))
    if None in parts or scored + damaged != manifest["count"]:
        raise ValueError(
            f"{output} holds {scored + damaged:,} of {manifest['count']:,} inputs, "
            f"{parts.count(None):,} parts are incomplete; run the same command again."
        )
    summary = {
        "inputs": manifest["count"],
        "scored": scored,
        "damaged": damaged,
        "emotions": dict(emotions),
        "export": manifest["path"],
        **{key: manifest[key] for key in ("parts", "format", "version", "project_version")},
    }
    write(output, storage.join(output, "summary.json"), to_json(summary))
    return summary


@contextlib.contextmanager
def progress_reports(
    output: str, manifest: dict, announce: Callable[[str], None]
) -> Iterator[None]:
    """Report every `PROGRESS_SECONDS` how many parts are done."""
    stopped = threading.Event()

    def report():
        reported = None
        while not stopped.wait(PROGRESS_SECONDS):
            with contextlib.suppress(OSError):  # a bucket may fail to answer; the job goes on
                done = sum(name.startswith("part-") for name in storage.sizes(output))
                if done != reported:
                    announce(f"parts done: {done:,} of {manifest['parts']:,}")
                reported = done

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
