"""Accuracy on FER+ by how far its ten taggers agree, and on the faces that its authors judge by.

    python cli.py evaluate --weights ferplus
    PYTHONPATH=. python benchmarks/agreement.py ferplus [--original] [--data-dir DIR]

It reads the predictions in a folder that `fit` or `evaluate` made, of fer2013/ferplus.
Barsoum et al. (2016) test on faces whose most frequent vote has more than half of all, single votes
left out; on the rest they take no label to be right. The paper's protocol keeps them. Where that
vote is for contempt or none, the label is the most frequent of the seven emotions all the same.

Then how well people do on these faces: one of the ten taggers, and the model, against the most
frequent emotion of the other nine; and how often ten new votes, drawn by the shares of the ten
given, make the same label. These shares lean to the label that they made, so ten other people would
make it less often: it is about the most that any model can reach. With --original, how far FER+'s
labels and taggers agree with FER-2013's own labels; fer2013/original must be built.
"""

from pathlib import Path

import click
import numpy as np
import tensorflow_datasets as tfds

from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.evaluation.evaluate import load_predictions
from keras_deep_emotion.evaluation.metrics import classification_report
from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013.ferplus import FERPLUS_VOTES

ORDER = [FERPLUS_VOTES.index(name) for name in EMOTIONS]
PANELS = 100  # of ten new taggers each
EDGES = (0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.001)  # share of the votes for the label


def column(dataset, feature, data_dir):
    """{name of a test face: its value of one feature}."""
    examples = open_dataset(dataset, "paper", data_dir).as_dataset(split="test")
    return {one["name"].decode(): one[feature] for one in tfds.as_numpy(examples)}


def label_shares(votes):
    """(faces, 10) votes to (faces, 7): 1 for the most frequent emotion, parts of 1 where tied."""
    emotions = votes[:, ORDER]
    top = emotions == emotions.max(axis=1, keepdims=True)
    return top / top.sum(axis=1, keepdims=True)


def against_the_others(votes, answers):
    """How often a tagger, and the model, name what the other taggers name.

    Args:
        votes: (faces, 10) integers, in the order of `emotions.FERPLUS_VOTES`.
        answers: (faces,) integers, the model's, in the order of `emotions.EMOTIONS`.

    Returns:
        Two shares, 0 to 1: each tagger of each face is left out in turn. One who voted for none of
        the seven emotions counts as wrong.
    """
    faces = np.arange(len(votes))
    tagger = model = 0.0
    for vote in range(votes.shape[1]):
        others = votes.copy()
        others[:, vote] -= 1
        label = label_shares(others)
        taggers = votes[:, vote] / votes.sum(axis=1)  # who voted so: where nobody did, none counts
        model += (taggers * label[faces, answers]).mean()
        if vote in ORDER:
            tagger += (taggers * label[:, ORDER.index(vote)]).mean()
    return tagger, model


def same_label_again(votes, labels):
    """Share of faces, 0 to 1, on which ten new votes make the label too, mean of `PANELS`."""
    rng = np.random.default_rng(0)
    shares = votes / votes.sum(axis=1, keepdims=True)
    faces = np.arange(len(votes))
    panels = (label_shares(rng.multinomial(10, shares)) for _ in range(PANELS))
    return np.mean([panel[faces, labels].mean() for panel in panels])


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--original", is_flag=True)
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(folder, original, data_dir):
    votes = column("fer2013/ferplus", "votes", data_dir)
    original_labels = column("fer2013/original", "label", data_dir) if original else {}
    table = load_predictions(folder)
    names = table["name"].astype(str)
    votes = np.array([votes[name] for name in names], np.int64)
    labels = table["label"].map(EMOTIONS.index).to_numpy()
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
        found = classification_report(table[chosen])
        low, high = found["accuracy_interval"]
        click.echo(
            f"| {title} | {found['faces']:,} | {100 * found['accuracy']:.2f} "
            f"({100 * low:.2f} to {100 * high:.2f}) |"
        )

    tagger, model = against_the_others(votes, table[list(EMOTIONS)].to_numpy().argmax(axis=1))
    again = same_label_again(votes, labels)
    click.echo(f"\nagreement with the other nine: a tagger {tagger:.2%}, the model {model:.2%}")
    click.echo(f"the same label from ten new votes: {again:.2%}")
    if original:
        own = np.array([original_labels[name] for name in names])
        same = votes[:, ORDER][np.arange(len(own)), own] / votes.sum(axis=1)
        click.echo(
            f"agreement with FER-2013's own label: FER+'s label {(labels == own).mean():.2%}, "
            f"a tagger {same.mean():.2%}"
        )


if __name__ == "__main__":
    main()
