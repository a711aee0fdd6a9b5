"""Which crop of a photo suits weights that were trained on FER-2013's faces.

    python benchmarks/crop_margin.py [--data-dir DIR] [--faces 500]

First, where box, eyes and mouth are in FER-2013's own images (training split), enlarged; and for
each rule for the square's side its factor and spread. Then FER-2013's faces are put back into a
larger image, upright or turned by up to 20 degrees, detected, and cropped with several sides:
accuracy of the shipped weights. The side is chosen on validation; test is reported.
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image
from timing import echo_header, echo_row

from keras_deep_emotion import load
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.images.faces import BELOW_EYES, SIDE, Detector, crop

NATIVE = 48
ENLARGED = 3  # times, on the canvas
SIDES = (0.8, 0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5)
DEGREES = 20


def read_split(builder, split):
    """(images (NATIVE, NATIVE) uint8, labels) of a split."""
    examples = list(builder.as_dataset(split=split).as_numpy_iterator())
    return [one["image"][..., 0] for one in examples], np.array([one["label"] for one in examples])


def enlarged(pixels, times):
    side = NATIVE * times
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def on_canvas(pixels, degrees):
    """A face in an image three times as wide, with its edge repeated around it."""
    padded = np.pad(np.asarray(enlarged(pixels, ENLARGED)), NATIVE * ENLARGED, mode="edge")
    return Image.fromarray(padded).convert("RGB").rotate(degrees, Image.Resampling.BICUBIC)


def accuracy(model, images, labels):
    """Accuracy of crops, and its standard error, in percent."""
    share = np.mean(model.predict(images).argmax(axis=1) == labels)
    return f"{share:.1%} (±{np.sqrt(share * (1 - share) / len(labels)):.1%})"


def echo_quartiles(head, values_by_title, number, *spread):
    """Print a table of medians and quartiles; with the title `spread`, of their distance too."""
    echo_header(head, "median", "quartiles", *spread)
    for title, values in values_by_title.items():
        low, mid, high = np.percentile(values, [25, 50, 75])
        quartiles = f"{low:{number}} to {high:{number}}"
        echo_row(
            title, f"{mid:{number}}", quartiles, *(f"{(high - low) / mid:.1%}" for _ in spread)
        )
    click.echo()


def measure_faces(detector, builder, count):
    """Print where faces are in FER-2013's images."""
    images, _ = read_split(builder, f"train[:{count}]")
    images = (enlarged(pixels, 4).convert("RGB") for pixels in images)
    faces = [face for image in images for face in detector.find(image)[:1]]
    boxes, eyes, mouth = (
        np.array([getattr(face, name) for face in faces]) / 4 for name in ("box", "eyes", "mouth")
    )
    width, height = boxes[:, 2:].T
    between, middle = eyes[:, 1] - eyes[:, 0], eyes.mean(axis=1)
    click.echo(f"faces found in FER-2013's own pictures: {len(faces)} of {count}\n")
    sides = {
        "side / height of the box": height,
        "side / width of the box": width,
        "side / geometric mean of both": np.sqrt(width * height),
        "side / distance of the eyes": np.linalg.norm(between, axis=1),
        "side / distance from eyes to mouth": np.linalg.norm(mouth.mean(axis=1) - middle, axis=1),
    }
    factors = {title: NATIVE / side for title, side in sides.items()}
    echo_quartiles("what", factors, ".3f", "their distance, of the median")
    titles = ("box, across", "box, down", "middle of the eyes, across", "middle of the eyes, down")
    offsets = np.concatenate([boxes[:, :2] + boxes[:, 2:] / 2, middle], axis=1) / NATIVE - 0.5
    centers = dict(zip(titles, offsets.T, strict=True))
    echo_quartiles("centre, in sides off the picture's", centers, "+.3f")
    tilt = np.degrees(np.arctan2(*between.T[::-1])).std()
    click.echo(f"tilt of the eyes, standard deviation: {tilt:.1f} degrees\n")


def compare_crops(detector, builder, model, split, turned):
    """Print the accuracy of crops of a split's faces, put back into larger images."""
    native, labels = read_split(builder, split)
    random = np.random.default_rng(0)
    degrees = random.uniform(-DEGREES, DEGREES, len(native)) if turned else np.zeros(len(native))
    canvases = [on_canvas(*one) for one in zip(native, degrees, strict=True)]
    faces = [detector.find(canvas) for canvas in canvases]
    kept = [i for i, found in enumerate(faces) if found]
    labels = labels[kept]
    how = "turned by up to 20 degrees" if turned else "as they are"
    click.echo(f"{split}, {how}: found {len(kept)} of {len(native)}\n")
    echo_header("crop", "accuracy")
    echo_row("FER-2013's own", accuracy(model, [native[i] for i in kept], labels))
    for side, upright in [*((side, True) for side in SIDES), (SIDE, False)]:
        crops = [crop(canvases[i], faces[i][0], side, upright) for i in kept]
        title = f"side {side:.2f}, {'upright' if upright else 'not turned'}"
        echo_row(title, accuracy(model, crops, labels))
    click.echo()


def measure_turns(detector, builder, split):
    """Print how often faces that lie on their side or stand on their head are turned rightly."""
    native, _ = read_split(builder, split)
    rows = [(detector.find(on_canvas(pixels, 90 * (i % 4))), i) for i, pixels in enumerate(native)]
    found = [(faces[0].turned == 90 * (i % 4)) for faces, i in rows if faces]
    click.echo(f"{split}, turned by 0, 90, 180 and 270 degrees: found {len(found)}, ", nl=False)
    click.echo(f"turned rightly {sum(found)}\n")


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of built data sets.")
@click.option("--faces", default=500, show_default=True)
def main(data_dir, faces):
    detector, model = Detector(), load("ferplus")
    builder = open_dataset(Task.parse("fer2013"), data_dir)
    click.echo(f"in use: side {SIDE}, centre {BELOW_EYES} sides below the eyes\n")
    measure_faces(detector, builder, 2 * faces)
    measure_turns(detector, builder, f"validation[:{faces}]")
    for split in (f"validation[:{faces}]", f"test[:{faces}]"):
        for turned in (False, True):
            compare_crops(detector, builder, model, split, turned)


if __name__ == "__main__":
    main()
