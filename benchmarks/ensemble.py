"""Validation accuracy of several runs, and of their mean prediction.

    PYTHONPATH=. python benchmarks/ensemble.py RUN RUN RUN [--data-dir DIR]

RUNs are run folders of one data set, shipped weights included. The test split is not read.
"""

from pathlib import Path

import click

from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.evaluation.evaluate import predict_split
from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.runs import Run


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(runs, data_dir):
    runs = [Run.open(run) for run in runs]
    task, *others = {run.task for run in runs}
    if others:
        raise click.UsageError("Name runs of one data set, protocol and fold.")
    builder, split = open_dataset(task, data_dir), task.splits["validation"]
    click.echo("| validation accuracy | plain | averaged with mirror images |\n|---|---|---|")
    columns = ([], [])  # without and with mirror images
    for run in runs:
        model, size = run.load_model(), run.config.image_size
        for flip, tables in enumerate(columns):
            tables.append(predict_split(model, builder, split, size, flip=bool(flip)))
        click.echo(row(run.path.name, *(tables[-1] for tables in columns)))
    click.echo(row("together", *map(mean_prediction, columns)))


def mean_prediction(tables):
    """Average the probabilities of tables with the same faces in the same order."""
    mean, classes = tables[0].copy(), tables[0].columns[3:]
    mean[classes] = sum(table[classes] for table in tables) / len(tables)
    return mean


def row(title, *tables):
    cells = (f"{classification_report(table)['accuracy']:.2%}" for table in tables)
    return f"| {' | '.join([title, *cells])} |"


if __name__ == "__main__":
    main()
