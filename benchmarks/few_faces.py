"""A model of one's own from a few pictures: from scratch, and from the shipped weights.

    PYTHONPATH=. python benchmarks/few_faces.py [--data-dir DIR] [--count 5] [--draws 5]

Of toon_faces, some pictures an emotion are drawn at random for training; the test split, of 504,
is the same for all. Training is that of `fit`, without choosing the best epoch on validation, for
which so few pictures leave none. Prints the accuracy of each draw, mean, and interval over draws.
"""

import dataclasses
import math
from pathlib import Path

import click
import keras
import numpy as np
from timing import echo_header, echo_row

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.pipeline import load_split, training_batches
from keras_deep_emotion.data.reading import class_names, open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.statistics import mean_interval
from keras_deep_emotion.layers.batch_normalization import recompute_statistics
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.training.compile import averaged_weights, compiled_trainer
from keras_deep_emotion.training.starting import copy_start

STEPS = 300  # of each training, in batches of 32: epochs of few faces are short
SIDES = {
    "from scratch": {"recipe": "best", "learning_rate": 0.05},
    "from ferplus, last layer alone": {"recipe": "finetune", "start": "ferplus"},
    "from ferplus": {"recipe": "finetune", "start": "ferplus"},
}


def draw(faces, count, seed):
    """`count` faces of each class, at random."""
    random, chosen = np.random.default_rng(seed), []
    for label in np.unique(faces.labels):
        chosen += list(random.choice(np.flatnonzero(faces.labels == label), count, replace=False))
    return faces._replace(**{name: getattr(faces, name)[chosen] for name in faces._fields})


def accuracy(side, few, test, labels, seed):
    """Accuracy on the test faces after training on a few."""
    settings = dict(SIDES[side])
    config = TrainConfig.from_recipe(
        settings.pop("recipe"), dataset="toon_faces", batch_size=32, seed=seed, **settings
    )
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    steps = math.ceil(len(few.images) / config.batch_size)
    config = dataclasses.replace(config, epochs=math.ceil(STEPS / steps))
    network = build_model(config, len(labels))
    copy_start(network, config, few, labels)
    if "alone" not in side:
        trainer = compiled_trainer(network, config, steps)
        batches = training_batches(few, config.batch_size, seed)
        trainer.fit(batches, epochs=config.epochs, steps_per_epoch=steps, verbose=0)
        with averaged_weights(trainer):
            values = network.get_weights()
        network.set_weights(values)
        if config.fresh_statistics:
            recompute_statistics(network, few.images)
    predicted = network.predict(test.images, batch_size=256, verbose=0).argmax(axis=1)
    return float(np.mean(predicted == test.labels))


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--count", "counts", multiple=True, type=int, default=[5, 10, 20])
@click.option("--draws", default=5, show_default=True)
def main(data_dir, counts, draws):
    task = Task.parse("toon_faces")
    builder = open_dataset(task, data_dir)
    train = load_split(builder, task.splits["train"], 48, label_smoothing=0.05)
    test, labels = load_split(builder, task.splits["test"], 48), class_names(builder)
    echo_header("pictures an emotion", "training", "accuracy, % (95 % interval)", "each draw")
    for count in counts:
        for side in SIDES:
            found = [
                accuracy(side, draw(train, count, seed), test, labels, seed)
                for seed in range(draws)
            ]
            mean, bounds = mean_interval(np.array(found))
            low, high = np.clip(bounds, 0, 1)
            each = ", ".join(f"{100 * one:.1f}" for one in found)
            echo_row(count, side, f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})", each)


if __name__ == "__main__":
    main()
