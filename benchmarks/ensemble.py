"""What several runs reach together: the mean of their answers, on validation.

    PYTHONPATH=. python benchmarks/ensemble.py RUN RUN RUN [--data-dir DIR]

Folders of runs on one data set; a folder of weights that ship is one too. It hints at how much
could be won by training one network on the answers of several. The test split is not looked at.
"""

from pathlib import Path

import click

from keras_deep_emotion.data.task import parse_dataset
from keras_deep_emotion.evaluation.evaluate import open_split, predict_split
from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.runs import open_run


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(runs, data_dir):
    opened = [open_run(run) for run in runs]
    if len({data_of(config) for config, *_ in opened}) > 1:
        raise click.UsageError("Name runs on one data set, protocol and fold: these differ in it.")
    click.echo("| validation accuracy | as they are | averaged with mirror images |\n|---|---|---|")
    both = {flip: [] for flip in (False, True)}
    for run, (config, model, _) in zip(runs, opened, strict=True):
        builder, split = open_split(config, data_dir, "validation")
        for flip, tables in both.items():
            tables.append(predict_split(model, builder, split, config.image_size, flip=flip))
        click.echo(row(run.name, *(tables[-1] for tables in both.values())))
    click.echo(row("together", *(mean_answers(tables) for tables in both.values())))


def data_of(config):
    """What a run is judged on: data set, variant (the default if none is named), protocol, fold."""
    return (*parse_dataset(config.dataset), config.protocol, config.fold)


def mean_answers(tables):
    """One table of the mean probabilities, from tables of the same faces in the same order."""
    mean = tables[0].copy()
    classes = mean.columns[3:]
    mean[classes] = sum(table[classes] for table in tables) / len(tables)
    return mean


def row(title, *tables):
    """A line of the table."""
    return (
        f"| {title} | "
        + " | ".join(f"{classification_report(t)['accuracy']:.2%}" for t in tables)
        + " |"
    )


if __name__ == "__main__":
    main()
