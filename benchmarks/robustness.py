"""Accuracy under changes of known size: shipped weights, runs, and PyPI's `fer`; and on photos.

    PYTHONPATH=.[:FOLDER_OF_FER] python benchmarks/robustness.py [--data-dir DIR] [--original RUN]

First the shipped weights on FER+'s test faces; then, on FER-2013's own labels, --original (a run
that was trained on them) and `fer`, if it is installed. Then FER+'s faces are put into photos,
enlarged by three, and noise and blur are applied to the photo, before the face is found.
"""

from pathlib import Path

import click
import numpy as np
from crop_margin import ENLARGED, on_canvas, read_split
from inference import fer_sides, read_faces
from PIL import Image, ImageFilter
from timing import echo_header, echo_row

from keras_deep_emotion import load
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.changes import CHANGES
from keras_deep_emotion.evaluation.robustness import changed_answers, robustness_report
from keras_deep_emotion.images.faces import Detector, crop
from keras_deep_emotion.runs import shipped_weights

PHOTO_CHANGES = {
    "unchanged": lambda photo, random: photo,
    "noise of 15 levels": lambda photo, random: noisy(photo, 15, random),
    "noise of 25 levels": lambda photo, random: noisy(photo, 25, random),
    "noise of 50 levels": lambda photo, random: noisy(photo, 50, random),
    "blur of 1 pixel": lambda photo, random: photo.filter(ImageFilter.GaussianBlur(ENLARGED)),
    "blur of 1.5 pixels": lambda photo, random: photo.filter(
        ImageFilter.GaussianBlur(1.5 * ENLARGED)
    ),
    "blur of 3 pixels": lambda photo, random: photo.filter(ImageFilter.GaussianBlur(3 * ENLARGED)),
}


def noisy(photo, deviation, random):
    """A photo with noise in each of its own pixels."""
    pixels = np.asarray(photo, np.float32)
    changed = pixels + random.normal(0, deviation, pixels.shape)
    return Image.fromarray(np.clip(changed, 0, 255).astype(np.uint8))


def compare(sides, faces, labels):
    """Print the accuracy of each side: unchanged, mean over levels of each change, mean of all."""
    titles = [change.title for change in CHANGES.values()]
    echo_header("accuracy, %", "unchanged", "all changes (95 % interval)", *titles)
    for title, classify in sides.items():
        report = robustness_report(changed_answers(classify, faces, labels))
        low, high = (100 * bound for bound in report["mean_interval"])
        means = [f"{100 * one['mean']:.1f}" for one in report["changes"].values()]
        overall = f"{100 * report['mean']:.1f} ({low:.1f} to {high:.1f})"
        echo_row(title, f"{100 * report['clean']:.1f}", overall, *means)
    click.echo()


def in_parts(prepare, classify):
    """Classify faces that `prepare` prepares, 64 at a time."""
    return lambda faces: np.concatenate(
        [classify(prepare(faces[i : i + 64])) for i in range(0, len(faces), 64)]
    )


def compare_photos(data_dir, count):
    """Print how many faces are found in changed photos, and the accuracy on those."""
    builder, detector = open_dataset(Task.parse("fer2013/ferplus"), data_dir), Detector()
    native, labels = read_split(builder, f"test[:{count}]")
    models = {name: load(name) for name in shipped_weights()}
    echo_header("photo", "faces found", *(f"accuracy on these, {name}, %" for name in models))
    for title, change in PHOTO_CHANGES.items():
        random, crops, kept = np.random.default_rng(0), [], []
        for i, pixels in enumerate(native):
            photo = change(on_canvas(pixels, 0), random)
            if found := detector.find(photo):
                crops.append(crop(photo, found[0]))
                kept.append(i)
        right = (model.predict(crops).argmax(axis=1) == labels[kept] for model in models.values())
        cells = (f"{100 * one.mean():.1f}" for one in right)
        echo_row(title, f"{len(kept)} of {len(native)}", *cells)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--original", type=click.Path(exists=True, path_type=Path))
@click.option("--photos", default=400, show_default=True)
def main(data_dir, original, photos):
    splits = read_faces(data_dir)
    compare({name: load(name).classify for name in shipped_weights()}, *splits["FER+"])
    theirs, _ = fer_sides()
    sides = {title: in_parts(*side) for title, side in theirs.items()}
    if original:
        sides["--original"] = in_parts(lambda faces: faces, load(original).predict_prepared)
    if sides:
        click.echo("FER-2013's own labels:\n")
        compare(sides, *splits["FER-2013"])
    compare_photos(data_dir, photos)


if __name__ == "__main__":
    main()
