"""Time and memory to build each native layout, as a Markdown table.

    PYTHONPATH=. python benchmarks/builds.py [--only ferg]

JAFFE, CK+ and FERG are drawn in their native layout, at their full counts and sizes. FER-2013 is
the real one, from the folder that FER2013_DIR names (skipped without it).
"""

import datetime
import io
import logging
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import tensorflow_datasets as tfds
from PIL import Image, ImageDraw
from timing import echo_header, echo_row

from keras_deep_emotion.data.building import build_dataset
from tfds_builders.fer2013.native import FER2013_FOLDERS, SPLITS, read_faces
from tfds_builders.ferg.ferg_dataset_builder import CHARACTERS, FERG_FOLDERS
from tfds_builders.jaffe.jaffe_dataset_builder import JAFFE_CODES, PEOPLE, PUBLISHED
from tfds_builders.sources import find_sources

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # of the processes that build
FER2013 = Path(os.environ.get("FER2013_DIR", ""))
DISTINCT = 200  # different images of an expression; the others repeat them under other names


def draw(rng, size=(256, 256), mode="RGB", kind="PNG"):
    """An encoded face of flat colors, its head with noise: a PNG of 14 kB."""
    image = Image.new("RGB", (256, 256), tuple(rng.integers(0, 256, 3).tolist()))
    canvas = ImageDraw.Draw(image)
    for box in ((40, 20, 216, 250), (80, 90, 110, 110), (146, 90, 176, 110), (95, 180, 160, 205)):
        moved = (np.asarray(box) + rng.integers(-8, 9)).tolist()
        canvas.ellipse(moved, fill=tuple(rng.integers(0, 256, 3).tolist()))
    pixels = np.asarray(image).astype(np.int16)
    head = pixels[80:180, 80:180]
    head += rng.integers(-8, 9, head.shape[:2])[..., None].astype(np.int16)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return encode(image.resize(size).convert(mode), kind)


def encode(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_ferg(folder, rng):
    faces = {name: [draw(rng) for _ in range(DISTINCT)] for name in FERG_FOLDERS}
    for character, count in CHARACTERS.items():
        for i in range(count):
            expression = list(FERG_FOLDERS)[i % 7]
            name = f"{character}_{expression}"
            path = folder / "FERG_DB_256" / character / name / f"{name}_{i // 7 + 1}.png"
            write(path, faces[expression][i // 7 % DISTINCT])


def write_jaffe(folder, rng):
    codes = [code for code, n in zip(JAFFE_CODES, PUBLISHED, strict=True) for _ in range(n)]
    people = [person for person, count in PEOPLE.items() for _ in range(count)]
    for i, (person, code) in enumerate(zip(people, rng.permutation(codes), strict=True)):
        name = f"{person}.{code}{i % 9 + 1}.{i + 1}.tiff"
        write(folder / "jaffe" / name, draw(rng, mode="L", kind="TIFF"))


def write_ck_plus(folder, rng):
    """593 sequences of 18 frames, 10,674 in all (the release: 10,708); 327 labeled."""
    frames = [draw(rng, (640, 490), "L") for _ in range(50)]
    landmarks = "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in rng.uniform(150, 400, (68, 2)))
    labels = [code for code, n in enumerate((45, 18, 59, 25, 69, 28, 83), 1) for _ in range(n)]
    for i in range(593):
        subject, sequence = f"S{i % 123 + 1:03}", f"{i // 123 + 1:03}"
        for frame in range(1, 19):
            path = Path(subject, sequence, f"{subject}_{sequence}_{frame:08}")
            write(folder / "cohn-kanade-images" / f"{path}.png", frames[(i + frame) % 50])
            write(folder / "Landmarks" / f"{path}_landmarks.txt", landmarks.encode())
        if i < len(labels):
            text = f"   {labels[i]:.7e}\n".encode()
            write(folder / "Emotion" / f"{path}_emotion.txt", text)


def write_fer2013(folder, *_):
    shutil.copytree(FER2013, folder, dirs_exist_ok=True)


def write_fer2013_archive(folder, *_):
    shutil.make_archive(folder / "fer2013", "gztar", FER2013, "fer2013.csv")


def write_fer2013_folders(folder, *_):
    faces = read_faces(find_sources(FER2013))
    spelled = {label: spelling for spelling, label in FER2013_FOLDERS.items()}
    usages = {split: usage for usage, split in SPLITS.items()}
    rows = zip(faces.images, faces.labels, faces.splits, strict=True)
    for i, (image, label, split) in enumerate(rows):
        part = "train" if split == "train" else "test"
        name = f"{part}/{spelled[label]}/{usages[split]}_{i}.jpg"
        write(folder / name, encode(Image.fromarray(image), "JPEG", quality=95))


CASES = (  # layout, what to build, how to write its source
    ("fer2013.csv and FER+ in a folder (real)", "fer2013/ferplus", write_fer2013),
    ("fer2013.csv in a folder (real)", "fer2013/original", write_fer2013),
    ("fer2013.tar.gz (real)", "fer2013/original", write_fer2013_archive),
    ("train, test folders of JPEG (real)", "fer2013/original", write_fer2013_folders),
    ("jaffe/*.tiff (drawn)", "jaffe/standard", write_jaffe),
    ("CK+ trees (drawn)", "ck_plus/peak_standard", write_ck_plus),
    ("CK+ trees (drawn)", "ck_plus/last3_standard", write_ck_plus),
    ("FERG_DB_256 (drawn)", "ferg/standard", write_ferg),
    ("drawn by code", "toon_faces/standard", lambda *_: None),
)


def measure(dataset, write_source):
    """Write a source and build it in a process of its own; cells of a row."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        write_source(source, np.random.default_rng(0))
        sizes = [path.stat().st_size for path in source.rglob("*") if path.is_file()]
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            built = pool.apply(build, (dataset, source, Path(folder) / "data"))
    return f"{len(sizes):,}", f"{sum(sizes) / 1e6:,.1f}", *built


def build(dataset, source, data_dir):
    """Build a data set; number of images, seconds and peak memory in MB, as text."""
    logging.disable(logging.WARNING)
    tfds.disable_progress_bar()
    start = time.perf_counter()
    (builder,) = build_dataset(dataset, source, data_dir)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    splits = {name: split.num_examples for name, split in builder.info.splits.items()}
    images = sum(n for name, n in splits.items() if not name.endswith("_deduplicated"))
    return f"{images:,}", f"{seconds:.1f}", f"{peak:,.0f}"


@click.command()
@click.option("--only", default="", help="Build only data sets that start so, such as ferg.")
def main(only):
    from keras_deep_emotion.training.devices import describe_machine

    click.echo(f"{datetime.date.today()}, {describe_machine()}\n")
    echo_header("layout", "built", "files", "MB in", "images out", "seconds", "peak memory, MB")
    for layout, dataset, write_source in CASES:
        is_missing = dataset.startswith("fer2013") and "FER2013_DIR" not in os.environ
        if is_missing or not dataset.startswith(only):
            continue
        echo_row(layout, dataset, *measure(dataset, write_source))


if __name__ == "__main__":
    main()
