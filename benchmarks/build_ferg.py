"""How long `ferg/paper` takes to build, and how much memory: on drawn files in FERG's layout.

    python benchmarks/build_ferg.py [--count 55767] [--noise 8]

The pictures are flat drawings with a little noise, 200 distinct ones an expression; `--noise` sets
their size (bytes a picture are printed). They lie in a temporary folder, which is removed.
"""

import argparse
import datetime
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ROOT = Path(__file__).resolve().parent.parent
EXPRESSIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
CHARACTERS = ("aia", "bonnie", "jules", "malcolm", "mery", "ray")
DISTINCT = 200
# Runs in a process of its own, so that memory counts the build alone.
CHILD = """
import json, logging, resource, sys, time
logging.disable(logging.WARNING)
import tensorflow_datasets as tfds
import tfds_builders.ferg.ferg_dataset_builder
tfds.disable_progress_bar()
start = time.perf_counter()
builder = tfds.builder("ferg", config="paper", data_dir=sys.argv[2])
builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=sys.argv[1]))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
splits = {name: split.num_examples for name, split in builder.info.splits.items()}
print(json.dumps({"seconds": seconds, "peak": peak, "splits": splits}))
"""


def draw(rng, noise):
    """PNG of a face of flat colours whose head carries noise of some amplitude, grey levels."""
    image = Image.new("RGB", (256, 256), tuple(rng.integers(0, 256, 3).tolist()))
    canvas = ImageDraw.Draw(image)
    for box in ((40, 20, 216, 250), (80, 90, 110, 110), (146, 90, 176, 110), (95, 180, 160, 205)):
        moved = (np.asarray(box) + rng.integers(-8, 9)).tolist()
        canvas.ellipse(moved, fill=tuple(rng.integers(0, 256, 3).tolist()))
    pixels = np.asarray(image).astype(np.int16)
    head = pixels[80:180, 80:180]
    head += rng.integers(-noise, noise + 1, head.shape[:2])[..., None].astype(np.int16)
    png = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(png, "PNG")
    return png.getvalue()


def write(folder, count, noise):
    """Write `count` files in FERG's layout; returns their mean size in bytes."""
    rng = np.random.default_rng(0)
    faces = [[draw(rng, noise) for _ in range(DISTINCT)] for _ in EXPRESSIONS]
    sizes = 0
    for i in range(count):
        place, number = i % len(EXPRESSIONS), i // len(EXPRESSIONS)
        character = CHARACTERS[number % len(CHARACTERS)]
        name = f"{character}_{EXPRESSIONS[place]}"
        path = folder / "FERG_DB_256" / character / name / f"{name}_{number + 1}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = faces[place][number % DISTINCT]
        path.write_bytes(content)
        sizes += len(content)
    return sizes / count


def cpu():
    """The processor's name, as Linux tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=55_767, help="how many pictures")
    parser.add_argument("--noise", type=int, default=8, help="amplitude of noise, grey levels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        size = write(source, arguments.count, arguments.noise)
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(source), f"{folder}/data"],
            cwd=ROOT,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            check=True,
        )
    result = json.loads(child.stdout.splitlines()[-1])
    images = sum(result["splits"].values())
    print(f"date            {datetime.date.today()}")
    print(f"machine         {os.cpu_count()} cores, {cpu()}")
    print(f"images          {images:,} of {size / 1000:.1f} kB ({result['splits']})")
    print(f"seconds         {result['seconds']:.1f}")
    print(f"images a second {images / result['seconds']:.0f}")
    print(f"peak memory     {result['peak'] / 1024:.0f} MB")


if __name__ == "__main__":
    main()
