"""What each choice of recipe `best` brings: one setting changed at a time, judged on validation.

    python benchmarks/ablation.py --output DIR [--data-dir DIR] [--width 12] [--epochs 10]

The test split is not looked at. What --output holds already is not trained again.
"""

from pathlib import Path

import click
import numpy as np
import pandas as pd

from keras_deep_emotion.config import PRECISIONS, TrainConfig
from keras_deep_emotion.training.single_machine import train

VARIANTS = {
    "best": {},
    "without the spatial transformer": {"transformer": False},
    "labels in place of votes": {"soft_labels": False},
    "labels, not smoothed": {"soft_labels": False, "label_smoothing": 0.0},
    "without cutout": {"cutout": 0.0},
    "without augmentation": {
        "cutout": 0.0,
        "flip": False,
        "rotation": 0.0,
        "zoom": 0.0,
        "shift": 0.0,
    },
    "without schedule": {"cosine": False, "warmup": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "without averaged weights": {"average": 0.0},
    "without dropout": {"dropout": 0.0},
    "statistics kept while training": {"fresh_statistics": False},
    "taught by the weights that ship": {"teachers": "ferplus"},
    "residual network": {"network": "residual"},
    "rare classes weigh more": {"class_balance": 0.5},
    "Adam, rate 0.002, in place of SGD": {
        "optimizer": "adam",
        "learning_rate": 0.002,
        "weight_decay": 0.05,
        "theta_rate": 0.03,
    },
    # By its own optimiser: without normalisation, it hardly learns at SGD's rate.
    "the paper's network": {
        "network": "paper",
        "width": 10,
        "optimizer": "adam",
        "learning_rate": 0.005,
        "weight_decay": 0.0,
        "theta_rate": 0.03,
    },
    "ResNet50": {"network": "resnet50"},
}


@click.command()
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--dataset", default="fer2013")
@click.option("--width", default=12)
@click.option("--epochs", default=10)
@click.option("--seed", "seeds", multiple=True, type=int, default=[0])
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)))
@click.option("--precision", default="auto", type=click.Choice(PRECISIONS))
def main(output, data_dir, dataset, width, epochs, seeds, only, precision):
    common = {"dataset": dataset, "width": width, "epochs": epochs, "precision": precision}
    lines = []
    for title, changes in VARIANTS.items():
        if only and title not in only:
            continue
        accuracies, seconds = [], []
        for seed in seeds:
            config = TrainConfig.from_recipe("best", **{**common, "seed": seed, **changes})
            folder = output / f"{title.replace(' ', '_').replace(',', '')}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            settings = folder / "config.json"
            if settings.exists() and TrainConfig.from_json(settings) != config:
                raise click.ClickException(f"{folder} is of other settings: name another --output.")
            settings.write_text(config.to_json())
            accuracies.append(train(config, folder, data_dir))
            history = pd.read_csv(folder / "history.csv")
            seconds.append(history["images_per_second"].iloc[1:].median())
        spread = f" ± {100 * np.std(accuracies, ddof=1):.2f}" if len(seeds) > 1 else ""
        line = f"| {title} | {100 * np.mean(accuracies):.2f}{spread} | {np.median(seconds):,.0f} |"
        click.echo(line)
        lines.append(line)
    click.echo("\n| variant | validation accuracy, % | faces a second |\n|---|---|---|")
    click.echo("\n".join(lines))


if __name__ == "__main__":
    main()
