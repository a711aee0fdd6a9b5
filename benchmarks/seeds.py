"""Why recipe `paper` differs from seed to seed: units that are dead, by epoch.

    PYTHONPATH=. python benchmarks/seeds.py --output DIR [--data-dir DIR] [--epochs 20] \
        [--seed 0 --seed 1 --seed 2] [--only literal ...]

Trains the paper's network with its settings and with one of them changed, and counts after each
epoch the units (channels of convolutions) whose output is 0 for all of 600 validation faces. Runs
that --output holds are reused.
"""

import csv
from pathlib import Path

import click
import keras
import numpy as np
from timing import echo_header, echo_row

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.reading import open_dataset, read_faces
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.single_machine import train

FACES = 600
VARIANTS = {
    "literal": {"warmup": 0.0},
    "warm-up of 1 epoch": {},
    "rate 0.002": {"learning_rate": 0.002, "warmup": 0.0},
    "rate 0.001, warm-up of 1 epoch": {"learning_rate": 0.001},
    "SGD, rate 0.05": {
        "optimizer": "sgd", "learning_rate": 0.05, "theta_rate": 0.1, "warmup": 0.0,
    },
    "batches of 512": {"batch_size": 512, "warmup": 0.0},
}  # fmt: skip


class DeadUnits(keras.callbacks.Callback):
    """Counts dead units after each epoch, in a CSV file: a column for each layer's ReLU."""

    def __init__(self, faces, path):
        super().__init__()
        self.faces, self.path = faces, path

    def on_epoch_end(self, epoch, logs=None):
        network = next(one for one in self.model.layers if isinstance(one, keras.Model))
        outputs = [one.output for one in network.layers if isinstance(one, keras.layers.ReLU)]
        active = keras.Model(network.input, outputs).predict(self.faces, verbose=0)
        dead = [int(np.sum(~(one > 0).any(axis=tuple(range(one.ndim - 1))))) for one in active]
        units = [one.shape[-1] for one in active]
        is_first = not self.path.exists()
        with open(self.path, "a", newline="") as file:
            rows = csv.writer(file)
            if is_first:
                rows.writerow(["epoch", *(f"{i}_of_{count}" for i, count in enumerate(units))])
            rows.writerow([epoch, *dead])


def trained(config, run, data_dir, faces):
    """Train a run, or what is left of it; return its validation accuracy and its dead units."""
    if run.has(Run.CONFIG) and run.config != config:
        raise click.ClickException(f"{run} has other settings: name another --output.")
    run.write_config(config)
    counts = DeadUnits(faces, run / "dead.csv")
    accuracy = train(config, run, data_dir, callbacks=[counts])
    with open(counts.path, newline="") as file:
        header, *rows = csv.reader(file)
    return accuracy, header[1:], [list(map(int, row[1:])) for row in rows]


@click.command()
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--epochs", default=20, show_default=True)
@click.option("--seed", "seeds", multiple=True, type=int, default=[0, 1, 2])
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)))
def main(output, data_dir, epochs, seeds, only):
    task = Task.parse("fer2013")
    builder = open_dataset(task, data_dir)
    _, faces, _ = read_faces(builder, task.splits["validation"], 48, FACES)
    echo_header("variant", "seed", "validation, %", "dead after epoch 1", "dead at the end")
    for title in only or VARIANTS:
        accuracies = []
        for seed in seeds:
            config = TrainConfig.from_recipe(
                "paper", dataset="fer2013", epochs=epochs, seed=seed, **VARIANTS[title]
            )
            run = Run(output / f"{title.replace(' ', '_').replace(',', '')}-{seed}")
            accuracy, layers, dead = trained(config, run, data_dir, faces)
            accuracies.append(100 * accuracy)
            of = [name.partition("_of_")[2] for name in layers]
            counts = (
                ", ".join(f"{n}/{all_}" for n, all_ in zip(row, of, strict=True))
                for row in (dead[0], dead[-1])
            )
            echo_row(title, seed, f"{accuracies[-1]:.2f}", *counts)
        if len(accuracies) > 1:
            spread = np.std(accuracies, ddof=1)
            echo_row(title, "mean", f"{np.mean(accuracies):.2f} ± {spread:.2f}", "", "")


if __name__ == "__main__":
    main()
