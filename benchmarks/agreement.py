"""Accuracy on FER+ by how far its ten taggers agree, and on the faces that its authors judge by.

    python cli.py evaluate --weights ferplus
    PYTHONPATH=. python benchmarks/agreement.py ferplus [--data-dir DIR]

It reads the predictions in a folder that `fit` or `evaluate` made, of fer2013/ferplus.
Barsoum et al. (2016) test on faces whose most frequent emotion has more than half of the votes,
single votes left out; on the rest they take no label to be right. The paper's protocol keeps them.
"""

from pathlib import Path

import click
import numpy as np
import tensorflow_datasets as tfds

from keras_deep_emotion.data import built_dataset
from keras_deep_emotion.evaluation import evaluate
from keras_deep_emotion.runs import judged_predictions

EDGES = (0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.001)  # share of the votes for the label


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(folder, data_dir):
    builder = built_dataset("fer2013/ferplus", "paper", data_dir)
    votes = {
        one["name"].decode(): one["votes"]
        for one in tfds.as_numpy(builder.as_dataset(split="test"))
    }
    table = judged_predictions(folder)
    votes = np.array([votes[name] for name in table["name"].astype(str)])
    share = votes.max(axis=1) / votes.sum(axis=1)
    several = np.where(votes > 1, votes, 0)
    clear = several.max(axis=1) > several.sum(axis=1) / 2

    click.echo(
        "| votes for the most frequent | faces | accuracy, % (95 % interval) |\n|---|---|---|"
    )
    rows = {
        f"{100 * low:.0f} to {min(100 * high, 100):.0f} %": (share >= low) & (share < high)
        for low, high in zip(EDGES, EDGES[1:], strict=False)
    }
    rows["more than half, single votes left out"] = clear
    rows["the others"] = ~clear
    rows["all"] = np.ones(len(table), bool)
    for title, chosen in rows.items():
        found = evaluate(table[chosen])
        low, high = found["accuracy_interval"]
        click.echo(
            f"| {title} | {found['faces']:,} | {100 * found['accuracy']:.2f} "
            f"({100 * low:.2f} to {100 * high:.2f}) |"
        )


if __name__ == "__main__":
    main()
