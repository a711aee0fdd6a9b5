"""Speed and memory of the maps: ours, a loop of `model.predict`, and Xplique's Occlusion.

    python benchmarks/saliency.py [--run RUN | --weights NAME] [--faces 8] [--rounds 3]

All on one model, the same faces and windows of 8 pixels at stride 2, in turns; each is called once
before it is timed. Xplique is left out where it is not installed. The memory is the highest of a
process that explains 1 and of another that explains 256 faces, beyond what it has after its first.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import click
import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.inference.predictors import load_run
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.occlusion import occlusion_saliency, window_starts

WINDOW, STRIDE = 8, 2
SIZE = 48


def opened(run, weights):
    """The `keras.Model` to explain; without a name, the network of `best` as it is at first."""
    if weights:
        run = Run.shipped(weights).path
    return load_run(run).keras if run else build_model(TrainConfig.from_recipe("best"))


def faces(count):
    """(count, SIZE, SIZE, 1) float32 grey levels by chance: the time does not hang on them."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 1)).astype(np.float32)


def ours(model):
    """Our maps as a function of images."""
    maps = tf.function(
        lambda images: occlusion_saliency(lambda x: model(x, training=False), images).saliency,
        input_signature=[tf.TensorSpec((None, SIZE, SIZE, 1), tf.float32)],
        autograph=False,
    )
    return lambda images: maps(tf.constant(images)).numpy()


def loop(model):
    """What people write: one `model.predict` a window."""
    starts = window_starts(SIZE, WINDOW, STRIDE)

    def maps(images):
        result = []
        for image in images:
            probabilities = model.predict(image[None], verbose=0)[0]
            answer = probabilities.argmax()
            total, times = np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))
            for top in starts:
                for left in starts:
                    hidden = image.copy()
                    hidden[top : top + WINDOW, left : left + WINDOW] = 0
                    lost = probabilities[answer] - model.predict(hidden[None], verbose=0)[0, answer]
                    total[top : top + WINDOW, left : left + WINDOW] += lost
                    times[top : top + WINDOW, left : left + WINDOW] += 1
            result.append(total / times)
        return np.stack(result)

    return maps


def xplique(model, batch_size):
    """Xplique's Occlusion, or None where it is not installed; divided by how often it covers."""
    try:
        from xplique.attributions import Occlusion
    except ModuleNotFoundError:
        return None
    explainer = Occlusion(
        model, batch_size=batch_size, patch_size=WINDOW, patch_stride=STRIDE, occlusion_value=0.0
    )
    starts = window_starts(SIZE, WINDOW, STRIDE)
    covers = np.zeros(SIZE)
    for start in starts:
        covers[start : start + WINDOW] += 1
    times = np.outer(covers, covers)

    def maps(images):
        targets = np.eye(7, dtype=np.float32)[model.predict(images, verbose=0).argmax(axis=1)]
        return explainer(images, targets).numpy()[..., 0] / times

    return maps


def seconds(maps, images):
    """Of one call."""
    start = time.perf_counter()
    maps(images)
    return time.perf_counter() - start


def highest_memory():
    """Of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


@click.command()
@click.option("--run", type=click.Path(exists=True, path_type=Path))
@click.option("--weights")
@click.option("--faces", "count", default=8)
@click.option("--rounds", default=3)
@click.option("--memory-of", type=int, hidden=True)
def main(run, weights, count, rounds, memory_of):
    keras.utils.disable_interactive_logging()
    model = opened(run, weights)
    if memory_of:
        maps = ours(fold_batch_normalization(model))
        maps(faces(1))
        before = highest_memory()
        maps(faces(memory_of))
        click.echo(f"{highest_memory() - before:.0f}")
        return
    sides = {
        "ours": (ours(fold_batch_normalization(model)), count),  # as `explain` computes
        "ours, the model as it was trained": (ours(model), count),
        "Xplique's Occlusion, batches of 32": (xplique(model, 32), count),
        "Xplique's Occlusion, batches of 256": (xplique(model, 256), count),
        "a loop of model.predict": (loop(model), 1),
    }
    sides = {name: side for name, side in sides.items() if side[0] is not None}
    reference = sides["ours"][0](faces(1))
    for name, (maps, _) in sides.items():
        difference = np.abs(maps(faces(1)) - reference).max()
        click.echo(f"{name}: differs from ours by {difference:.1e} at most")
    times = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (maps, many) in sides.items():
            times[name].append(seconds(maps, faces(many)) / many)
    windows = len(window_starts(SIZE, WINDOW, STRIDE)) ** 2
    click.echo(f"\n{model.count_params():,} parameters, {windows} windows")
    click.echo("| maps | seconds a face | times ours |\n|---|---|---|")
    best = np.median(times["ours"])
    for name, found in times.items():
        click.echo(f"| {name} | {np.median(found):.3f} | {np.median(found) / best:.2f} |")
    for many in (1, 256):
        command = [sys.executable, __file__, "--memory-of", str(many)]
        command += ["--run", str(run)] if run else ["--weights", weights] if weights else []
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        click.echo(f"memory, {many} faces: {found.split()[-1]} MB more than after the first")


if __name__ == "__main__":
    main()
