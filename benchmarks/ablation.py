"""Ablation of recipe `best`: validation accuracy with one choice changed at a time.

    PYTHONPATH=. python benchmarks/ablation.py --output DIR [--data-dir DIR] [--width 12]

Accuracies are of the validation faces, as they are and at the middle level of each change
of a camera (`evaluation.changes`); the test split is not read. Runs that --output holds are reused.
"""

from pathlib import Path

import click
import numpy as np
from timing import echo_header, echo_row, in_percent

from keras_deep_emotion.config import CAMERA_CHANGES, PRECISIONS, TrainConfig
from keras_deep_emotion.data.reading import class_names, open_dataset, read_faces
from keras_deep_emotion.evaluation.changes import CHANGES, apply_change
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.single_machine import train

VARIANTS = {
    "best": {},
    "without the spatial transformer": {"transformer": False},
    "without the alignment loss": {"alignment": 0.0},
    "labels in place of votes": {"soft_labels": False},
    "labels, not smoothed": {"soft_labels": False, "label_smoothing": 0.0},
    "without cutout": {"cutout": 0.0},
    "without augmentation": {
        "cutout": 0.0, "flip": False, "rotation": 0.0, "zoom": 0.0, "shift": 0.0,
    },
    "without schedule": {"cosine": False, "warmup": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "without averaged weights": {"average": 0.0},
    "without dropout": {"dropout": 0.0},
    "statistics kept while training": {"fresh_statistics": False},
    "shipped weights as teacher": {"teachers": "ferplus"},
    "camera": {"camera": 1.0},
    **{
        f"camera without {name}": {
            "camera": 1.0,
            "camera_changes": ",".join(one for one in CAMERA_CHANGES if one != name),
        }
        for name in CAMERA_CHANGES
    },
    "residual network": {"network": "residual"},
    "rare classes weigh more": {"class_balance": 0.5},
    "Adam, rate 0.002, in place of SGD": {
        "optimizer": "adam", "learning_rate": 0.002, "weight_decay": 0.05, "theta_rate": 0.03,
    },
    # With its own optimizer: without normalization, it hardly learns at SGD's rate.
    "the paper's network": {
        "network": "paper", "width": 10, "optimizer": "adam", "learning_rate": 0.005,
        "weight_decay": 0.0, "theta_rate": 0.03,
    },
    "ResNet50": {"network": "resnet50"},
}  # fmt: skip
CAMERA = {  # of what a camera does, the middle levels
    name: CHANGES[name].levels[2]
    for name in ("blur", "resolution", "brightness", "contrast", "gamma", "noise", "jpeg")
}


def changed_titles(levels):
    """Titles of changes at given levels, {name of a change: level}."""
    return [f"{CHANGES[name].title} {level:g}" for name, level in levels.items()]


def changed_validation(run, levels, data_dir):
    """Validation faces of a run, unchanged and under each of `levels`, and their labels.

    Arrays (count, side, side, 1) of grey levels 0..255, and (count,) integers.
    """
    task = run.task
    builder, split = open_dataset(task, data_dir), task.splits["validation"]
    _, images, labels = read_faces(builder, split, run.config.image_size)
    changed = (apply_change(name, level, images[..., 0]) for name, level in levels.items())
    return [images, *(faces[..., None] for faces in changed)], labels


def accuracies(model, sides, labels):
    """Accuracy of a model on each array of faces, 0 to 1."""
    model = fold_batch_normalization(model)
    answers = (model.predict(faces, batch_size=256, verbose=0).argmax(axis=1) for faces in sides)
    return [np.mean(answer == labels) for answer in answers]


@click.command()
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--dataset", default="fer2013")
@click.option("--width", default=12)
@click.option("--epochs", default=10)
@click.option("--seed", "seeds", multiple=True, type=int, default=[0])
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)))
@click.option("--precision", default="auto", type=click.Choice(PRECISIONS))
def main(output, data_dir, seeds, only, **common):
    echo_header("variant", "validation, %", *changed_titles(CAMERA), "faces a second")
    for title in only or VARIANTS:
        found, speeds = [], []
        for seed in seeds:
            config = TrainConfig.from_recipe("best", seed=seed, **{**common, **VARIANTS[title]})
            run = Run(output / f"{title.replace(' ', '_').replace(',', '')}-{seed}")
            if run.has(Run.CONFIG) and run.config != config:
                raise click.ClickException(f"{run} has other settings: name another --output.")
            run.write_config(config)
            train(config, run, data_dir)
            run.write_labels(class_names(open_dataset(run.task, data_dir)))
            found.append(accuracies(run.load_model(), *changed_validation(run, CAMERA, data_dir)))
            speeds.append(run.history["images_per_second"].iloc[1:].median())
        cells = [in_percent(values) for values in np.transpose(found)]
        echo_row(title, *cells, f"{np.median(speeds):,.0f}")


if __name__ == "__main__":
    main()
