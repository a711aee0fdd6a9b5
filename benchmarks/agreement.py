"""Accuracy on FER+ by the agreement of its ten taggers, compared with the taggers themselves.

    python cli.py evaluate --weights ferplus
    PYTHONPATH=. python benchmarks/agreement.py ferplus [--original] [--data-dir DIR]

Reads the predictions in a folder that `fit` or `evaluate` made, of fer2013/ferplus. Clear faces are
those that Barsoum et al. (2016) test on: without single votes, one vote has more than half of them.
Taggers and model are compared with the most frequent emotion of the other nine taggers. The share
of labels that ten new votes, drawn from a face's votes, give again is about the highest accuracy a
model can reach. --original also compares FER+ with FER-2013's own labels, which must be built.
"""

from pathlib import Path

import click
import numpy as np

from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.evaluate import load_predictions
from keras_deep_emotion.evaluation.metrics import classification_report
from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013.ferplus import FERPLUS_VOTES

EMOTION_VOTES = [FERPLUS_VOTES.index(name) for name in EMOTIONS]
PANELS = 100  # of ten new votes for each face
EDGES = (0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.001)  # share of the most frequent vote


def features_by_name(dataset, feature, data_dir):
    """One feature of the test faces, by name."""
    examples = open_dataset(Task.parse(dataset), data_dir).as_dataset(split="test")
    return {one["name"].decode(): one[feature] for one in examples.as_numpy_iterator()}


def label_shares(votes):
    """(faces, 10) votes to (faces, 7): 1 for the most frequent emotion, shared by ties."""
    emotions = votes[:, EMOTION_VOTES]
    top = emotions == emotions.max(axis=1, keepdims=True)
    return top / top.sum(axis=1, keepdims=True)


def leave_one_out_accuracy(votes, predicted):
    """Accuracy of a tagger, and of the model, on the labels of the other taggers.

    Votes (faces, 10) are in the order of `FERPLUS_VOTES`, predictions (faces,) of `EMOTIONS`; votes
    for none of the seven count as wrong.
    """
    faces = np.arange(len(votes))
    tagger = model = 0.0
    for vote in range(votes.shape[1]):
        others = votes.copy()
        others[:, vote] -= 1
        label = label_shares(others)
        share = votes[:, vote] / votes.sum(axis=1)  # 0 where nobody has this vote to leave out
        model += (share * label[faces, predicted]).mean()
        if vote in EMOTION_VOTES:
            tagger += (share * label[:, EMOTION_VOTES.index(vote)]).mean()
    return tagger, model


def resampled_accuracy(votes, labels):
    """Share of faces whose label ten new votes give again, mean of `PANELS`."""
    random, faces = np.random.default_rng(0), np.arange(len(votes))
    shares = votes / votes.sum(axis=1, keepdims=True)
    panels = (label_shares(random.multinomial(10, shares)) for _ in range(PANELS))
    return np.mean([panel[faces, labels].mean() for panel in panels])


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--original", is_flag=True)
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(folder, original, data_dir):
    table = load_predictions(folder)
    of_face = features_by_name("fer2013/ferplus", "votes", data_dir)
    votes = np.array([of_face[name] for name in table["name"]], np.int64)
    labels = table["label"].map(EMOTIONS.index).to_numpy()
    share = votes.max(axis=1) / votes.sum(axis=1)
    several = np.where(votes > 1, votes, 0)
    clear = several.max(axis=1) > several.sum(axis=1) / 2
    rows = {
        f"{100 * low:.0f} to {min(100 * high, 100):.0f} %": (share >= low) & (share < high)
        for low, high in zip(EDGES[:-1], EDGES[1:], strict=True)
    }
    rows |= {"clear": clear, "not clear": ~clear, "all": np.ones(len(table), bool)}
    click.echo("| most frequent vote | faces | accuracy, % (95 % interval) |\n|---|---|---|")
    for title, chosen in rows.items():
        report = classification_report(table[chosen])
        percent = 100 * np.array([report["accuracy"], *report["accuracy_interval"]])
        accuracy = "{:.2f} ({:.2f} to {:.2f})".format(*percent)
        click.echo(f"| {title} | {report['faces']:,} | {accuracy} |")
    predicted = table[list(EMOTIONS)].to_numpy().argmax(axis=1)
    tagger, model = leave_one_out_accuracy(votes, predicted)
    click.echo(f"\nlabels of the other nine taggers: a tagger {tagger:.2%}, the model {model:.2%}")
    click.echo(f"labels of ten new votes: {resampled_accuracy(votes, labels):.2%}")
    if original:
        of_face = features_by_name("fer2013/original", "label", data_dir)
        own = np.array([of_face[name] for name in table["name"]])
        same = votes[:, EMOTION_VOTES][np.arange(len(own)), own] / votes.sum(axis=1)
        click.echo(
            f"FER-2013's own labels: FER+'s labels {(labels == own).mean():.2%}, "
            f"a tagger {same.mean():.2%}"
        )


if __name__ == "__main__":
    main()
