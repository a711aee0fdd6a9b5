"""Time and accuracy of predictions, beside PyPI's `fer`: a face, a photo, a process; a chart.

    PYTHONPATH=.[:FOLDER_OF_FER] python benchmarks/inference.py [--original RUN] [--before CHECKOUT]

A face is prepared already: only the network is timed. Accuracy is on the test faces of FER+ and of
FER-2013's own labels, both built; --original names a run trained on the latter. `fer` classifies by
its quantized model, its default, and by its Keras model. --before is a checkout of an earlier
commit, whose commands take turns with these. Draws docs/speed.png.
"""

import importlib.util
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

import click
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from skimage import data
from timing import echo_header, echo_row, take_turns

from keras_deep_emotion import load
from keras_deep_emotion.data.reading import open_dataset, read_examples
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.runs import Run
from keras_deep_emotion.serving.edge import EDGE_FORMATS
from keras_deep_emotion.serving.export import write_saved_model
from tfds_builders.contract import EMOTIONS

ROOT = Path(__file__).parents[1]
LABEL_SETS = {"FER+": "fer2013/ferplus", "FER-2013": "fer2013/original"}
FER_LABELS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
CHART = {  # sides that are drawn, and how
    "ferplus, LiteRT, 8 bits": "#0072b2",
    "ferplus-paper, LiteRT": "#56b4e9",
    "original, LiteRT, 8 bits": "#009e73",
    "fer, quantized": "#d55e00",
    "fer, Keras": "#e69f00",
}


def our_sides(folder, original):
    """{title: (prepare, classify)} of our models; `classify` takes what `prepare` made of faces."""
    run = Run.shipped("ferplus")
    network = run.load_model()
    models = {"ferplus, LiteRT, 8 bits": load("ferplus")}
    for format, quantize in (("litert", "none"), ("onnx", "none"), ("onnx", "dynamic")):
        path = folder / f"{format}-{quantize}"
        EDGE_FORMATS[format].write(network, path, run.labels, quantize)
        kind = {"none": "float32", "dynamic": "8 bits"}[quantize]
        title = {"litert": "LiteRT", "onnx": "ONNX"}[format]
        models[f"ferplus, {title}, {kind}"] = EDGE_FORMATS[format].open(path)
    models["ferplus, Keras"] = load("ferplus", runtime="keras")
    version = folder / "1"
    write_saved_model(network, run.labels, version)
    (version / "assets").mkdir(exist_ok=True)
    (version / "assets" / "labels.txt").write_text("\n".join(run.labels), encoding="utf-8")
    models["ferplus, SavedModel"] = load(version)
    models["ferplus-paper, LiteRT"] = load("ferplus-paper")
    if original:
        path = folder / "original.tflite"
        EDGE_FORMATS["litert"].write(Run(original).load_model(), path, run.labels, "dynamic")
        models["original, LiteRT, 8 bits"] = load(path)
    return {title: (lambda faces: faces, model.predict_prepared) for title, model in models.items()}


def fer_sides():
    """As `our_sides`, of the package `fer`, if it is installed."""
    if not importlib.util.find_spec("fer"):
        return {}, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fer.fer import FER

        whole = FER(mtcnn=False)
        models = {"fer, quantized": whole, "fer, Keras": FER(mtcnn=False, use_tflite=False)}
    order = [FER_LABELS.index(name) for name in EMOTIONS]

    def prepare(faces):  # as `detect_emotions` does
        import cv2

        grey = [cv2.resize(face[..., 0].astype(np.uint8), (64, 64)) for face in faces]
        return (np.array(grey, np.float32) / 255 - 0.5) * 2

    def classify(model, faces):
        # Private in 25.10.3: there is no other way to the network alone.
        return np.asarray(model._classify_emotions(faces))[:, order]

    return {title: (prepare, partial(classify, model)) for title, model in models.items()}, whole


def read_faces(data_dir):
    """{label set: (faces, labels)} of the test splits."""
    found = {}
    for title, dataset in LABEL_SETS.items():
        task = Task.parse(dataset)
        examples = list(read_examples(open_dataset(task, data_dir), task.splits["test"], 48))
        faces = np.stack([one["image"].numpy() for one in examples])
        found[title] = faces, np.array([int(one["label"]) for one in examples])
    return found


def measure_faces(sides, faces, rounds):
    """Print accuracy and milliseconds a face; return {side: (milliseconds, accuracies)}."""
    echo_header("a face", *(f"accuracy, {name}" for name in faces), "ms, batch 1", "ms, batch 64")
    some = faces["FER+"][0]
    milliseconds = {}
    for batch in (1, 64):
        calls = {}
        for title, (prepare, classify) in sides.items():
            calls[title] = partial(classify, prepare(some[:batch]))
        for title, (_, *seconds) in take_turns(calls, rounds + 1).items():
            milliseconds[title, batch] = 1000 * np.median(seconds) / batch
    points = {}
    for title, (prepare, classify) in sides.items():
        accuracies = []
        for images, labels in faces.values():
            parts = [classify(prepare(images[i : i + 64])) for i in range(0, len(images), 64)]
            accuracies.append(np.mean(np.concatenate(parts).argmax(axis=1) == labels))
        times = milliseconds[title, 1], milliseconds[title, 64]
        echo_row(title, *(f"{one:.2%}" for one in accuracies), *(f"{one:.2f}" for one in times))
        points[title] = times[0], accuracies
    return points


def measure_photos(fer, rounds):
    """Print milliseconds of a photo, and of a face's map."""
    person = Image.fromarray(data.astronaut())
    photo = Image.new("RGB", (1280, 960), (120, 130, 140))
    photo.paste(person.resize((960, 960)), (160, 0))
    face, pixels = person.crop((160, 40, 290, 190)), np.asarray(photo)
    models = {"LiteRT": load("ferplus"), "Keras": load("ferplus", runtime="keras")}
    calls = {f"photo, {name}": partial(model.analyze, pixels) for name, model in models.items()}
    if fer:
        calls["photo, fer"] = partial(fer.detect_emotions, pixels[..., ::-1])
    calls |= {f"map, {name}": partial(model.explain, face) for name, model in models.items()}
    click.echo()
    echo_header("photo of 1280 x 960, map of a face (441 windows)", "median, ms", "slowest")
    for title, (_, *seconds) in take_turns(calls, rounds + 1).items():
        echo_row(title, f"{1000 * np.median(seconds):.0f}", f"{1000 * max(seconds):.0f}")


def run_process(words, folder, status):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stderr


def measure_processes(folder, before, rounds):
    """Print the seconds of commands, from the shell's point of view."""
    person = Image.fromarray(data.astronaut())
    person.save(folder / "photo.jpg")
    person.crop((160, 40, 290, 190)).save(folder / "face.png")
    commands = {  # and their exit status
        "predict photo.jpg": 0,
        "predict --faces none face.png": 0,
        "predict nowhere.jpg": 1,
        "explain --weights ferplus face.png --output maps": 0,
        "fit --epochs 0": 1,
        "--help": 0,
    }
    places = {"": ROOT} | ({"before: ": Path(before).resolve()} if before else {})
    calls = {}
    for command, status in commands.items():
        for name, place in places.items():
            words = [sys.executable, str(place / "cli.py"), *command.split()]
            calls[f"{name}`{command}`"] = partial(run_process, words, folder, status)
    if importlib.util.find_spec("fer"):
        code = (
            "import cv2; from fer.fer import FER; "
            "assert FER(mtcnn=False).detect_emotions(cv2.imread('photo.jpg'))"
        )
        calls["fer, a photo"] = partial(run_process, [sys.executable, "-c", code], folder, 0)
    click.echo()
    echo_header("process", "median, s", "slowest")
    for title, seconds in take_turns(calls, rounds).items():
        echo_row(title, f"{np.median(seconds):.2f}", f"{max(seconds):.2f}")


def draw_chart(points, path):
    """Draw accuracy against milliseconds of a face, a panel for each set of labels."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    panels = figure.subplots(1, len(LABEL_SETS), sharex=True)
    for i, (axes, name) in enumerate(zip(panels, LABEL_SETS, strict=True)):
        for title, color in CHART.items():
            if title in points:
                x, accuracies = points[title]
                axes.scatter(x, 100 * accuracies[i], color=color, s=60)
                axes.annotate(title, (x, 100 * accuracies[i]), xytext=(7, -3), color=color,
                              textcoords="offset points")  # fmt: skip
        axes.set(xscale="log", xlabel="milliseconds a face, batch 1", title=f"labels of {name}")
        axes.margins(x=0.45, y=0.15)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("accuracy on the test faces, %")
    figure.savefig(path, dpi=110)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--original", type=click.Path(exists=True, path_type=Path))
@click.option("--before", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=30, show_default=True)
@click.option("--output", default="docs/speed.png", show_default=True)
def main(data_dir, original, before, rounds, output):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs, fer = fer_sides()
        sides = our_sides(folder, original) | theirs
        points = measure_faces(sides, read_faces(data_dir), rounds)
        measure_photos(fer, max(3, rounds // 4))
        measure_processes(folder, before, 5)
    draw_chart(points, output)
    click.echo(f"\nwrote {output}")


if __name__ == "__main__":
    main()
