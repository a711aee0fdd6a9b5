"""What batch normalisation's statistics cost, on the last epoch of runs: validation by three kinds.

    PYTHONPATH=. python benchmarks/fresh_statistics.py RUN... [--data-dir DIR]

The averaged weights of the last epoch, with the moving statistics that training left, with those
of augmented training faces, and with those of training faces as they are (`fit`'s own). The test
split is not looked at.
"""

import math
from pathlib import Path

import click
import keras
import numpy as np

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.pipeline import load_split
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task, parse_dataset, role_splits
from keras_deep_emotion.layers.augmentation import RandomAffine, RandomCutout
from keras_deep_emotion.layers.batch_normalization import FACES, recompute_statistics
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.training.callbacks import restore_backup
from keras_deep_emotion.training.compile import averaged_weights, compiled_trainer


def augmented(images, config):
    """Faces as training sees them, as many as statistics are taken of."""
    image = keras.Input(images.shape[1:])
    x = RandomAffine(
        flip=config.flip, rotation=config.rotation, zoom=config.zoom, shift=config.shift, seed=1
    )(image)
    if config.cutout:
        x = RandomCutout(config.cutout, seed=2)(x)
    augment = keras.Model(image, x)
    images = images[np.linspace(0, len(images) - 1, min(len(images), FACES)).astype(int)]
    parts = np.array_split(images, -(-len(images) // 256))
    return np.concatenate([np.asarray(augment(part, training=True)) for part in parts])


def judged(model, faces):
    """Accuracy and cross-entropy as a line's cells."""
    answers = model.predict(faces.images, batch_size=256, verbose=0)
    true = np.maximum(answers[np.arange(len(answers)), faces.labels], 1e-9)
    accuracy = (answers.argmax(axis=1) == faces.labels).mean()
    return f"{100 * accuracy:.2f} | {-np.log(true).mean():.4f}"


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(runs, data_dir):
    kinds = ("moving", "of augmented faces", "of faces as they are")
    click.echo("| run | " + " | ".join(f"{kind}, % | loss" for kind in kinds) + " |")
    click.echo("|---" * 7 + "|")
    for run in runs:
        config = TrainConfig.from_json(run / "config.json")
        name, _ = parse_dataset(config.dataset)
        splits = role_splits(name, config.protocol, config.fold)
        builder = open_dataset(Task.from_config(config), data_dir)
        train, validation = (
            load_split(builder, splits[role], config.image_size) for role in ("train", "validation")
        )
        model = build_model(config, train.targets.shape[1])
        trainer = compiled_trainer(model, config, math.ceil(len(train.images) / config.batch_size))
        restore_backup(run / "backup.npz", trainer)
        with averaged_weights(trainer):
            cells = [judged(model, validation)]
            for faces in (augmented(train.images, config), train.images):
                recompute_statistics(model, faces)
                cells.append(judged(model, validation))
        click.echo(f"| {run.name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
