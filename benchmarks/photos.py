"""Seconds from a photo to predictions, and faces found: this package beside PyPI's `fer`.

    PYTHONPATH=FOLDER_OF_FER python benchmarks/photos.py [--rounds 20]

`fer` runs as in its README, with OpenCV's cascade (mtcnn=False); without it, only this package
runs. Sides take turns. The photos are scikit-image's astronaut on canvases, already decoded.
"""

import time
import warnings
from functools import partial

import click
import numpy as np
from PIL import Image
from skimage import data
from timing import echo_header, echo_row, take_turns

start = time.perf_counter()
from keras_deep_emotion import load  # noqa: E402
from keras_deep_emotion.images import Detector  # noqa: E402
from keras_deep_emotion.inference import predict_faces  # noqa: E402


def make_photos():
    """{title: (photo, number of faces)}."""
    astronaut, bicubic = Image.fromarray(data.astronaut()), Image.Resampling.BICUBIC

    def canvas(size, *places, degrees=0):
        image = Image.new("RGB", size, (120, 130, 140))
        for x, y, side in places:
            image.paste(astronaut.resize((side, side), bicubic).rotate(degrees, bicubic), (x, y))
        return image, len(places)

    many = [(x, y, 300) for x in range(0, 1200, 300) for y in range(0, 900, 300)]
    return {
        "1280 x 960, one face": canvas((1280, 960), (160, 0, 960)),
        "the same, turned by 20 degrees": canvas((1280, 960), (160, 0, 960), degrees=20),
        "1280 x 960, 12 faces": canvas((1280, 960), *many),
        "4000 x 3000, one face": canvas((4000, 3000), (1500, 900, 1500)),
    }


@click.command()
@click.option("--rounds", default=20, show_default=True)
def main(rounds):
    model, detector = load("ferplus"), Detector()
    sides = {"ours": lambda photo: len(predict_faces(model, photo, detector)[1])}
    loading = {"ours": f"{time.perf_counter() - start:.1f}"}
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from fer.fer import FER

            fer = FER(mtcnn=False)
        sides["fer"] = lambda photo: len(fer.detect_emotions(np.asarray(photo)[..., ::-1]))
        loading["fer"] = f"{time.perf_counter() - began:.1f}, TensorFlow loaded before"
    except ImportError:
        click.echo("fer is not installed: only ours runs")
    click.echo("loading, seconds: " + "; ".join(map(" ".join, loading.items())) + "\n")
    echo_header("photo", "side", "faces found", "first, s", "median, s", "slowest, s")
    for title, (photo, faces) in make_photos().items():
        seconds = take_turns({side: partial(sides[side], photo) for side in sides}, rounds)
        for side, (first, *others) in seconds.items():
            cells = (f"{number:.3f}" for number in (first, np.median(others), max(others)))
            echo_row(title, side, f"{sides[side](photo)} of {faces}", *cells)


if __name__ == "__main__":
    main()
