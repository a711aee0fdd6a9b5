"""Photo to answer, beside PyPI's `fer`: seconds a photo, and faces found, on the same photos.

    PYTHONPATH=FOLDER_OF_FER python benchmarks/photos.py [--rounds 20]

`fer` is taken as its README has it, with OpenCV's cascade for the faces (mtcnn=False); without it,
ours runs alone. Sides take turns. The photos are scikit-image's astronaut on canvases, decoded
before the clock starts for both: ours is the way from a `PIL.Image` to probabilities.
"""

import time
import warnings

import click
import numpy as np
from PIL import Image
from skimage import data

start = time.perf_counter()
from keras_deep_emotion import load  # noqa: E402
from keras_deep_emotion.images.faces import Detector
from keras_deep_emotion.inference.media import predict_faces


def photos():
    """{title: (photo, faces in it)}."""
    astronaut = Image.fromarray(data.astronaut())

    def canvas(size, places):
        image = Image.new("RGB", size, (120, 130, 140))
        for x, y, side in places:
            image.paste(astronaut.resize((side, side), Image.Resampling.BICUBIC), (x, y))
        return image, len(places)

    many = [(x, y, 300) for x in range(0, 1200, 300) for y in range(0, 900, 300)]
    turned = Image.new("RGB", (1280, 960), (120, 130, 140))
    turned.paste(astronaut.resize((960, 960)).rotate(20, Image.Resampling.BICUBIC), (160, 0))
    return {
        "1280 x 960, one face": canvas((1280, 960), [(160, 0, 960)]),
        "the same, turned by 20 degrees": (turned, 1),
        "1280 x 960, 12 faces": canvas((1280, 960), many),
        "4000 x 3000, one face": canvas((4000, 3000), [(1500, 900, 1500)]),
    }


@click.command()
@click.option("--rounds", default=20, show_default=True)
def main(rounds):
    model, detector = load("ferplus"), Detector()
    loading = time.perf_counter() - start
    sides = {"ours": lambda photo: len(predict_faces(model, photo, detector)[1])}
    loaded = {"ours": f"{loading:.1f}"}
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from fer.fer import FER

            theirs = FER(mtcnn=False)
        sides["fer"] = lambda photo: len(theirs.detect_emotions(np.asarray(photo)[..., ::-1]))
        loaded["fer"] = f"{time.perf_counter() - began:.1f}, TensorFlow loaded before"
    except ImportError:
        click.echo("fer is not installed: ours alone")
    click.echo("loading, seconds: " + "; ".join(f"{key} {one}" for key, one in loaded.items()))
    click.echo("\n| photo | side | faces found | first, s | median, s | slowest, s |")
    click.echo("|---|---|---|---|---|---|")
    for title, (photo, faces) in photos().items():
        taken, found = {side: [] for side in sides}, {}
        for _ in range(rounds):
            for side, answer in sides.items():
                began = time.perf_counter()
                found[side] = answer(photo)
                taken[side].append(time.perf_counter() - began)
        for side, seconds in taken.items():
            click.echo(
                f"| {title} | {side} | {found[side]} of {faces} | {seconds[0]:.3f} | "
                f"{np.median(seconds[1:]):.3f} | {max(seconds[1:]):.3f} |"
            )


if __name__ == "__main__":
    main()
