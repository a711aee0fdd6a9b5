"""Which crop of a photo suits weights that were trained on FER-2013's faces.

    python benchmarks/crop_margin.py [--data-dir DIR] [--faces 500]

First: where box, eyes and mouth lie in FER-2013's own pictures (training split), enlarged; of each
rule for the square's side the factor and its spread. Then FER's faces are put back into a larger
picture, as they are or turned by up to 20 degrees, found and cropped with several sides: accuracy
of the shipped weights. A side is chosen on validation; test is for the report.
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image

from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.images.faces import BELOW_EYES, SIDE, Detector, crop
from keras_deep_emotion.inference.loading import load_folder
from keras_deep_emotion.runs import Run

NATIVE = 48
ENLARGED = 3  # times, on the canvas
SIDES = (0.8, 0.9, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.5)
DEGREES = 20


def pictures(builder, split):
    """(pictures (NATIVE, NATIVE) uint8, labels) of a split."""
    examples = list(builder.as_dataset(split=split).as_numpy_iterator())
    return [one["image"][..., 0] for one in examples], np.array([one["label"] for one in examples])


def on_canvas(pixels, degrees):
    """A face in a picture three times as wide; what lies around it repeats its edge."""
    side = NATIVE * ENLARGED
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    canvas = Image.fromarray(np.pad(np.asarray(image), side, mode="edge")).convert("RGB")
    return canvas.rotate(degrees, Image.Resampling.BICUBIC)


def grey(image):
    """(NATIVE, NATIVE, 1) float32 of a crop, by the package's own road."""
    from keras_deep_emotion.images.preprocessing import prepare_face

    return prepare_face(np.asarray(image), NATIVE).numpy()


def accuracy(model, faces, labels):
    """Share of right answers, and its standard error, in percent."""
    answers = np.argmax(model.classify(np.stack(faces)).numpy(), axis=1)
    share = np.mean(answers == labels)
    return f"{share:.1%} (±{np.sqrt(share * (1 - share) / len(labels)):.1%})"


def measure(detector, builder, count):
    """Print where faces lie in FER-2013's pictures."""
    found = []
    for pixels in pictures(builder, f"train[:{count}]")[0]:
        image = Image.fromarray(pixels).resize((4 * NATIVE, 4 * NATIVE), Image.Resampling.BICUBIC)
        faces = detector.find(image.convert("RGB"))
        if faces:
            found.append(faces[0])
    width, height = np.array([face.box[2:] for face in found]).T / 4
    corner = np.array([face.box[:2] for face in found]) / 4
    eyes = np.array([face.eyes for face in found]) / 4
    mouth = np.array([face.mouth for face in found]) / 4
    across = eyes[:, 1] - eyes[:, 0]
    middle = eyes.mean(axis=1)
    down = np.linalg.norm(mouth.mean(axis=1) - middle, axis=1)
    distance = np.linalg.norm(across, axis=1)
    degrees = np.degrees(np.arctan2(across[:, 1], across[:, 0]))
    click.echo(f"faces found in FER-2013's own pictures: {len(found)} of {count}\n")
    click.echo("| what | median | quartiles | their distance, of the median |\n|---|---|---|---|")
    for title, values in {
        "side / height of the box": NATIVE / height,
        "side / width of the box": NATIVE / width,
        "side / geometric mean of both": NATIVE / np.sqrt(width * height),
        "side / distance of the eyes": NATIVE / distance,
        "side / distance from eyes to mouth": NATIVE / down,
    }.items():
        low, mid, high = np.percentile(values, [25, 50, 75])
        click.echo(f"| {title} | {mid:.3f} | {low:.3f} to {high:.3f} | {(high - low) / mid:.1%} |")
    click.echo("\n| centre, in sides off the picture's | median | quartiles |\n|---|---|---|")
    for title, values in {
        "box, across": corner[:, 0] + width / 2,
        "box, down": corner[:, 1] + height / 2,
        "middle of the eyes, across": middle[:, 0],
        "middle of the eyes, down": middle[:, 1],
    }.items():
        low, mid, high = np.percentile(values / NATIVE - 0.5, [25, 50, 75])
        click.echo(f"| {title} | {mid:+.3f} | {low:+.3f} to {high:+.3f} |")
    click.echo(f"\ntilt of the eyes, standard deviation: {degrees.std():.1f} degrees\n")


def compare(detector, builder, model, split, turned):
    """Print the accuracy of crops of a split's faces, put back into larger pictures."""
    native, labels = pictures(builder, split)
    random = np.random.default_rng(0)
    degrees = random.uniform(-DEGREES, DEGREES, len(native)) if turned else np.zeros(len(native))
    canvases = [on_canvas(*one) for one in zip(native, degrees, strict=True)]
    found = [detector.find(canvas) for canvas in canvases]
    kept = [i for i, faces in enumerate(found) if faces]
    labels = labels[kept]
    click.echo(
        f"{split}, {'turned by up to 20 degrees' if turned else 'as they are'}: "
        f"found {len(kept)} of {len(native)}\n\n| crop | accuracy |\n|---|---|"
    )
    own = [native[i][..., None].astype(np.float32) for i in kept]
    click.echo(f"| FER-2013's own | {accuracy(model, own, labels)} |")
    for upright in (True, False):
        for side in SIDES if upright else (SIDE,):
            faces = [grey(crop(canvases[i], found[i][0], side, upright)) for i in kept]
            title = f"side {side:.2f}{', upright' if upright else ', not turned'}"
            click.echo(f"| {title} | {accuracy(model, faces, labels)} |")
    click.echo()


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where FER-2013 is built.")
@click.option("--faces", default=500, show_default=True)
def main(data_dir, faces):
    detector, model = Detector(), load_folder(Run.shipped("ferplus").path)
    builder = open_dataset(Task.parse("fer2013"), data_dir)
    click.echo(f"in use: side {SIDE}, centre {BELOW_EYES} sides below the eyes\n")
    measure(detector, builder, 2 * faces)
    for split in (f"validation[:{faces}]", f"test[:{faces}]"):
        for turned in (False, True):
            compare(detector, builder, model, split, turned)


if __name__ == "__main__":
    main()
