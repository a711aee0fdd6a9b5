"""Add a run's model to the package, with its report and model card.

    PYTHONPATH=. python benchmarks/ship_weights.py RUN NAME [--data-dir DIR]

The report is that of `python cli.py evaluate RUN --flip`.
"""

import shutil
from pathlib import Path

import click

from keras_deep_emotion.evaluation.evaluate import evaluate_run
from keras_deep_emotion.files import write_json, write_text
from keras_deep_emotion.reports.model_card import render_model_card
from keras_deep_emotion.runs import SHIPPED, Run


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("name")
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(run, name, data_dir):
    run, shipped = Run.open(run), Run(SHIPPED / name)
    report = evaluate_run(run, data_dir, flip=True)
    shipped.path.mkdir(parents=True, exist_ok=True)
    for file in (Run.CONFIG, Run.LABELS, Run.MODEL):
        shutil.copy(run / file, shipped / file)
    write_json(shipped / Run.REPORT, report)
    write_text(shipped / Run.CARD, render_model_card(run.config, report))
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    click.echo(f"wrote {shipped}; all shipped weights: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
