"""Put a run's model into the package, with its numbers and its card.

    python benchmarks/ship_weights.py RUN NAME [--data-dir DIR]

The numbers are made anew, by what `python cli.py evaluate RUN --flip` does.
"""

import json
import shutil
from pathlib import Path

import click

from keras_deep_emotion.evaluation.evaluate import evaluate_run
from keras_deep_emotion.reports.model_card import render_model_card
from keras_deep_emotion.runs import SHIPPED, Run


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("name")
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(run, name, data_dir):
    report = evaluate_run(run, data_dir, flip=True)
    folder = SHIPPED / name
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("config.json", "labels.txt", "model.keras"):
        shutil.copy(run / part, folder / part)
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    (folder / "MODEL_CARD.md").write_text(render_model_card(Run(run).config, report))
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    click.echo(f"wrote {folder}; all weights together: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
