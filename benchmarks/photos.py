"""Faces found in photos and CPU time: this package beside `mtcnn` and PyPI's `fer`.

    PYTHONPATH=.[:FOLDER_OF_FER] python benchmarks/photos.py [--rounds 20]

`mtcnn` runs on photos shrunk to 1280 pixels, as this package ran it before; `fer` as in its README,
with OpenCV's cascade. Those that are not installed are left out. Sides take turns on photos in the
public domain (scikit-image's astronaut, Matplotlib's Grace Hopper), which are decoded already.
"""

import importlib.util
import time
import warnings
from functools import partial

import click
import matplotlib.cbook
import numpy as np
from PIL import Image
from skimage import data
from timing import echo_header, echo_row, take_turns

from keras_deep_emotion import load
from keras_deep_emotion.images import Detector
from keras_deep_emotion.inference import predict_faces

HEADS = {  # photo and the width of its face, pixels
    "astronaut": (Image.fromarray(data.astronaut()), 90),
    "hopper": (Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg")), 178),
}
SIZES = (11, 13, 16, 20, 25, 30, 40, 60, 100, 200, 400, 600, 900)
PLACES = ((0, 0), (3, 5), (7, 2), (11, 13), (20, 17))  # pixels; where a pattern of pixels begins


def canvas(size, *places, degrees=0):
    """A grey photo with the astronaut at each (x, y, side), and the number of them."""
    image = Image.new("RGB", size, (120, 130, 140))
    for x, y, side in places:
        head = HEADS["astronaut"][0].resize((side, side), Image.Resampling.BICUBIC)
        image.paste(head.rotate(degrees, Image.Resampling.BICUBIC), (x, y))
    return image, len(places)


def make_photos():
    """{title: (photo, number of faces)}."""
    many = [(x, y, 300) for x in range(0, 1200, 300) for y in range(0, 900, 300)]
    return {
        "1280 x 960, one face": canvas((1280, 960), (160, 0, 960)),
        "the same, turned by 20 degrees": canvas((1280, 960), (160, 0, 960), degrees=20),
        "1280 x 960, 12 faces": canvas((1280, 960), *many),
        "4000 x 3000, one face": canvas((4000, 3000), (1500, 900, 1500)),
    }


def sides():
    """{title: number of faces that it finds in a photo}, of what is installed."""
    model, detector = load("ferplus"), Detector()
    found = {"ours": lambda photo: len(predict_faces(model, photo, detector)[1])}
    if importlib.util.find_spec("mtcnn"):
        from mtcnn import MTCNN

        mtcnn = MTCNN()

        def by_mtcnn(photo):
            small = photo.copy()
            small.thumbnail((1280, 1280), Image.Resampling.BILINEAR)
            rows = mtcnn.detect_faces(np.asarray(small, np.float32), output_type="numpy")
            return int((rows[:, 5] >= 0.93).sum()) if len(rows) else 0

        found["mtcnn, no emotions"] = by_mtcnn
    if importlib.util.find_spec("fer"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from fer.fer import FER

            fer = FER(mtcnn=False)
        found["fer"] = lambda photo: len(fer.detect_emotions(np.asarray(photo)[..., ::-1]))
    return found


def echo_recall(found):
    """Print how many faces of each width are found, each in a photo of 1280 x 960 or its own."""
    click.echo(f"\nfaces found of {len(HEADS) * len(PLACES)}, by width in pixels\n")
    echo_header("side", *SIZES)
    for side, count_faces in found.items():
        counts = []
        for size in SIZES:
            count = 0
            for head, width in HEADS.values():
                head = head.convert("RGB").resize(
                    [round(length * size / width) for length in head.size],
                    Image.Resampling.BICUBIC,
                )
                for place in PLACES:
                    least = (1280, 960)
                    photo = Image.new("RGB", [*map(max, head.size, least)], (120, 130, 140))
                    photo.paste(head, place)
                    count += count_faces(photo) == 1
            counts.append(count)
        echo_row(side, *counts)


@click.command()
@click.option("--rounds", default=20, show_default=True)
def main(rounds):
    found = sides()
    echo_header("photo", "side", "faces found", "median, CPU-ms", "slowest")
    for title, (photo, faces) in make_photos().items():
        calls = {side: partial(count, photo) for side, count in found.items()}
        times = take_turns(calls, rounds + 1, clock=time.process_time)
        for side, (_, *seconds) in times.items():
            cells = (f"{1000 * number:.0f}" for number in (np.median(seconds), max(seconds)))
            echo_row(title, side, f"{found[side](photo)} of {faces}", *cells)
    echo_recall(found)


if __name__ == "__main__":
    main()
