"""How long each native layout takes to build, and how much memory: a Markdown table.

    python benchmarks/builds.py [--only ferg] [--noise 8]

JAFFE, CK+ and FERG are drawn in their native layout, at their full counts and sizes; FER-2013 is
the real one, from the folder that FER2013_DIR names (left out without it). Everything lies in a
temporary folder, which is removed.
"""

import argparse
import datetime
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.fer2013.native import FER2013_FOLDERS, SPLITS, read_faces
from tfds_builders.ferg.ferg_dataset_builder import CHARACTERS, FERG_FOLDERS
from tfds_builders.jaffe.jaffe_dataset_builder import JAFFE_CODES, PEOPLE, PUBLISHED
from tfds_builders.sources import find_sources

ROOT = Path(__file__).resolve().parent.parent
DISTINCT = 200  # different pictures of an expression; the rest repeat them under other names
# A process of its own, so that memory counts the build alone.
CHILD = """
import json, logging, pathlib, resource, sys, time
logging.disable(logging.WARNING)
import tensorflow_datasets as tfds
from keras_deep_emotion.building import build
tfds.disable_progress_bar()
start = time.perf_counter()
(builder,) = build(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3])
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
splits = {name: split.num_examples for name, split in builder.info.splits.items()}
images = sum(n for name, n in splits.items() if not name.endswith("_deduplicated"))
print(json.dumps({"seconds": seconds, "peak": peak, "images": images}))
"""


def draw(rng, noise, size=(256, 256)):
    """A face of flat colours whose head carries noise of some amplitude, grey levels."""
    image = Image.new("RGB", (256, 256), tuple(rng.integers(0, 256, 3).tolist()))
    canvas = ImageDraw.Draw(image)
    for box in ((40, 20, 216, 250), (80, 90, 110, 110), (146, 90, 176, 110), (95, 180, 160, 205)):
        moved = (np.asarray(box) + rng.integers(-8, 9)).tolist()
        canvas.ellipse(moved, fill=tuple(rng.integers(0, 256, 3).tolist()))
    pixels = np.asarray(image).astype(np.int16)
    head = pixels[80:180, 80:180]
    head += rng.integers(-noise, noise + 1, head.shape[:2])[..., None].astype(np.int16)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).resize(size)


def encoded(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_ferg(folder, noise):
    rng = np.random.default_rng(0)
    faces = {name: [encoded(draw(rng, noise)) for _ in range(DISTINCT)] for name in FERG_FOLDERS}
    for character, count in CHARACTERS.items():
        for i in range(count):
            expression = list(FERG_FOLDERS)[i % 7]
            name = f"{character}_{expression}"
            path = folder / "FERG_DB_256" / character / name / f"{name}_{i // 7 + 1}.png"
            write(path, faces[expression][i // 7 % DISTINCT])


def write_jaffe(folder, noise):
    rng = np.random.default_rng(0)
    codes = [code for code, n in zip(JAFFE_CODES, PUBLISHED, strict=True) for _ in range(n)]
    people = [person for person, count in PEOPLE.items() for _ in range(count)]
    for i, (person, code) in enumerate(zip(people, rng.permutation(codes), strict=True)):
        tiff = encoded(draw(rng, noise).convert("L"), "TIFF")
        write(folder / "jaffe" / f"{person}.{code}{i % 9 + 1}.{i + 1}.tiff", tiff)


def write_ck_plus(folder, noise):
    """593 sequences of 18 frames, 10,674 in all (the release: 10,708); 327 labelled."""
    rng = np.random.default_rng(0)
    frames = [encoded(draw(rng, noise, (640, 490)).convert("L")) for _ in range(50)]
    landmarks = "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in rng.uniform(150, 400, (68, 2)))
    labels = [code for code, n in enumerate((45, 18, 59, 25, 69, 28, 83), 1) for _ in range(n)]
    for i in range(593):
        sequence = Path(f"S{i % 123 + 1:03}") / f"{i // 123 + 1:03}"
        stem = f"{sequence.parts[0]}_{sequence.parts[1]}"
        for frame in range(1, 19):
            name = f"{stem}_{frame:08}"
            write(
                folder / "cohn-kanade-images" / sequence / f"{name}.png", frames[(i + frame) % 50]
            )
            write(folder / "Landmarks" / sequence / f"{name}_landmarks.txt", landmarks.encode())
        if i < len(labels):
            text = f"   {labels[i]:.7e}\n".encode()
            write(folder / "Emotion" / sequence / f"{stem}_{18:08}_emotion.txt", text)


def link_fer2013(folder):
    folder.mkdir()
    for entry in Path(os.environ["FER2013_DIR"]).iterdir():
        if entry.is_dir():
            shutil.copytree(entry, folder / entry.name)
        else:
            (folder / entry.name).symlink_to(entry.resolve())


def write_fer2013_tar(folder):
    folder.mkdir()
    with tarfile.open(folder / "fer2013.tar.gz", "w:gz", compresslevel=6) as archive:
        archive.add(Path(os.environ["FER2013_DIR"]) / "fer2013.csv", "fer2013/fer2013.csv")


def write_fer2013_zip(folder):
    folder.mkdir()
    with zipfile.ZipFile(folder / "fer2013.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(Path(os.environ["FER2013_DIR"]) / "fer2013.csv", "fer2013.csv")


def write_fer2013_folders(folder):
    faces = read_faces(find_sources(Path(os.environ["FER2013_DIR"])))
    spelled = {label: spelling for spelling, label in FER2013_FOLDERS.items()}
    usages = {split: usage for usage, split in SPLITS.items()}
    for i, (image, label, split) in enumerate(
        zip(faces.images, faces.labels, faces.splits, strict=True)
    ):
        part = "train" if split == "train" else "test"
        path = folder / part / spelled[label] / f"{usages[split]}_{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=95)


def cases(noise):
    """(layout, what to build, how to write its source) of each row."""
    if os.environ.get("FER2013_DIR"):
        yield "fer2013.csv and FER+ in a folder (real)", "fer2013/ferplus", link_fer2013
        yield "fer2013.csv in a folder (real)", "fer2013/original", link_fer2013
        yield "fer2013.tar.gz (real)", "fer2013/original", write_fer2013_tar
        yield "fer2013.zip (real)", "fer2013/original", write_fer2013_zip
        yield "train, test folders of JPEG (real)", "fer2013/original", write_fer2013_folders
    yield "jaffe/*.tiff (drawn)", "jaffe/paper", lambda folder: write_jaffe(folder, noise)
    yield "CK+ trees (drawn)", "ck_plus/peak_paper", lambda folder: write_ck_plus(folder, noise)
    yield "CK+ trees (drawn)", "ck_plus/last3_paper", lambda folder: write_ck_plus(folder, noise)
    yield "FERG_DB_256 (drawn)", "ferg/paper", lambda folder: write_ferg(folder, noise)
    yield "drawn by code", "toon_faces/paper", lambda folder: folder.mkdir()


def measure(dataset, make):
    """Write a source, build it in a child process; (files, bytes, result)."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        make(source)
        files = [path for path in source.rglob("*") if path.is_file()]
        sizes = sum(path.stat().st_size for path in files)
        child = subprocess.run(
            [sys.executable, "-c", CHILD, dataset, str(source), f"{folder}/data"],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        shutil.rmtree(source)
    return len(files), sizes, json.loads(child.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only what begins so, such as ferg")
    parser.add_argument("--noise", type=int, default=8, help="amplitude of noise, grey levels")
    arguments = parser.parse_args()
    info = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.partition(": ")[2] for line in info if line.startswith("model name"))
    print(f"{datetime.date.today()}, {os.cpu_count()} cores, {cpu}\n")
    print("| layout | built | files | MB in | images out | seconds | peak memory, MB |")
    print("|---|---|---|---|---|---|---|")
    for layout, dataset, make in cases(arguments.noise):
        if dataset.startswith(arguments.only):
            files, sizes, result = measure(dataset, make)
            print(
                f"| {layout} | {dataset} | {files:,} | {sizes / 1e6:,.1f} | {result['images']:,} | "
                f"{result['seconds']:.1f} | {result['peak'] / 1024:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
