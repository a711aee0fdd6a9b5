"""Speed and memory of saliency maps: ours, and a loop of `model.predict`.

    PYTHONPATH=. python benchmarks/saliency.py [--run RUN | --weights NAME] [--faces 8] [--rounds 3]

Both explain the same faces of one model in turns, after a first call that is not timed. Memory is
what the peak grows by, after the first face, while ours explains 1 and then 256 faces.
"""

import itertools
import resource
from functools import partial
from pathlib import Path

import click
import keras
import numpy as np
import tensorflow as tf
from timing import echo_header, echo_row, take_turns

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.occlusion import occlusion_saliency
from keras_deep_emotion.saliency.windows import coverage, window_starts

WINDOW, STRIDE, SIZE = 8, 2, 48


def random_faces(count):
    """(count, SIZE, SIZE, 1) float32 random grey levels."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 1)).astype(np.float32)


def ours(model):
    maps = tf.function(
        lambda images: occlusion_saliency(lambda x: model(x, training=False), images).saliency,
        input_signature=[tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32)],
        autograph=False,
    )
    return lambda images: maps(tf.constant(images)).numpy()


def predict_loop(model):
    """One `model.predict` a window, with windows gathered as in our maps."""
    starts = window_starts(SIZE, WINDOW, STRIDE)
    side = coverage(SIZE, WINDOW, STRIDE).numpy().sum(axis=0)
    times_covered = np.outer(side, side)

    def map_of(image):
        probabilities = model.predict(image[None], verbose=0)[0]
        class_id = probabilities.argmax()
        lost = np.zeros((SIZE, SIZE))
        for y, x in itertools.product(starts, starts):
            hidden = image.copy()
            hidden[y : y + WINDOW, x : x + WINDOW] = 0
            changed = model.predict(hidden[None], verbose=0)[0]
            lost[y : y + WINDOW, x : x + WINDOW] += probabilities[class_id] - changed[class_id]
        return lost / times_covered

    return lambda images: np.stack([map_of(image) for image in images])


def echo_memory(maps):
    """Print by how many MB the process's peak grows after the first face."""
    peaks = []
    for count in (1, 1, 256):
        maps(random_faces(count))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    for count, peak in ((1, peaks[1]), (256, peaks[2])):
        click.echo(f"memory, {count} faces: {peak - peaks[0]:.0f} MB after the first")


@click.command()
@click.option("--run", type=click.Path(exists=True, path_type=Path))
@click.option("--weights")
@click.option("--faces", "count", default=8)
@click.option("--rounds", default=3)
def main(run, weights, count, rounds):
    keras.utils.disable_interactive_logging()
    if run or weights:
        model = (Run.shipped(weights) if weights else Run.open(run)).load_model()
    else:
        model = build_model(TrainConfig.from_recipe("best"))
    folded = ours(fold_batch_normalization(model))  # as `explain` computes
    echo_memory(folded)
    methods = {"ours": (folded, count), "ours, the model as it was trained": (ours(model), count)}
    methods["a loop of model.predict"] = (predict_loop(model), 1)
    reference = folded(random_faces(1))
    for name, (maps, _) in methods.items():
        difference = np.abs(maps(random_faces(1)) - reference).max()
        click.echo(f"{name}: differs from ours by {difference:.1e} at most")
    calls = {name: partial(maps, random_faces(faces)) for name, (maps, faces) in methods.items()}
    seconds = take_turns(calls, rounds)
    medians = {name: np.median(seconds[name]) / faces for name, (_, faces) in methods.items()}
    windows = len(window_starts(SIZE, WINDOW, STRIDE)) ** 2
    click.echo(f"\n{model.count_params():,} parameters, {windows} windows")
    echo_header("maps", "seconds a face", "times ours")
    for name, median in medians.items():
        echo_row(name, f"{median:.3f}", f"{median / medians['ours']:.2f}")


if __name__ == "__main__":
    main()
