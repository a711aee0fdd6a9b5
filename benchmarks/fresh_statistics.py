"""Validation of the last epoch of runs, by the source of batch normalization's statistics.

    PYTHONPATH=. python benchmarks/fresh_statistics.py RUN... [--data-dir DIR]

Compares the averaged weights with moving statistics, with statistics recomputed from augmented
training images, and from unaugmented ones (as `fit` does). The test split is not read.
"""

import math
from pathlib import Path

import click
import keras
import numpy as np

from keras_deep_emotion.data.pipeline import load_split
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.layers.batch_normalization import recompute_statistics
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.callbacks import restore_backup
from keras_deep_emotion.training.compile import averaged_weights, compiled_trainer


def augmented(trainer, images):
    """Augment images as in training."""
    augment = keras.Model(trainer.input, trainer.layers[-2].output)  # the last is the network
    batches = np.array_split(images, -(-len(images) // 256))
    return np.concatenate([np.asarray(augment(batch, training=True)) for batch in batches])


def scores(model, faces):
    """Accuracy and cross-entropy as cells of a row."""
    model.compile(loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    loss, accuracy = model.evaluate(faces.images, faces.labels, batch_size=256, verbose=0)
    return f"{100 * accuracy:.2f} | {loss:.4f}"


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(runs, data_dir):
    click.echo("| run | moving, % | loss | augmented, % | loss | unaugmented, % | loss |")
    click.echo("|---" * 7 + "|")
    for run in map(Run, runs):
        config, task = run.config, run.task
        builder = open_dataset(task, data_dir)
        splits = (task.splits[role] for role in ("train", "validation"))
        train, validation = (load_split(builder, split, config.image_size) for split in splits)
        model = build_model(config, train.targets.shape[1])
        trainer = compiled_trainer(model, config, math.ceil(len(train.images) / config.batch_size))
        restore_backup(run / Run.BACKUP, trainer)
        with averaged_weights(trainer):
            cells = [scores(model, validation)]
            for images in (augmented(trainer, train.images), train.images):
                recompute_statistics(model, images)
                cells.append(scores(model, validation))
        click.echo(f"| {' | '.join([run.path.name, *cells])} |")


if __name__ == "__main__":
    main()
