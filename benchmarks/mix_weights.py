"""Mix the weights of a run into those of another that went on from it; accuracies on validation.

    PYTHONPATH=. python benchmarks/mix_weights.py START RUN [--share 0.1 ...] [--output FOLDER]

START and RUN are runs or shipped weights of one network. Prints, for each share of START, the
accuracy on validation, unchanged and under some changes; --output keeps the mix of the last share
as a run, with RUN's settings. Source: Wortsman et al., "Robust fine-tuning of zero-shot models"
(2022). The test split is not read.
"""

from pathlib import Path

import click
import numpy as np
from timing import echo_header, echo_row, in_percent

from keras_deep_emotion.data.reading import open_dataset, read_faces
from keras_deep_emotion.evaluation.changes import CHANGES, apply_change
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.models.operating_point import at_operating_point
from keras_deep_emotion.runs import Run

PROBES = {"noise": 25, "blur": 1.5, "turn": 45, "resolution": 16}  # change: level


@click.command()
@click.argument("start")
@click.argument("run")
@click.option("--share", "shares", multiple=True, type=float, default=[0, 0.1, 0.15, 0.2, 0.3])
@click.option("--output", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(start, run, shares, output, data_dir):
    start, run = Run.named(start), Run.named(run)
    model, first = (at_operating_point(one.load_model()) for one in (run, start))
    pairs = list(zip(first.get_weights(), model.get_weights(), strict=True))
    builder, split = open_dataset(run.task, data_dir), run.task.splits["validation"]
    _, images, labels = read_faces(builder, split, run.config.image_size)
    changed = (apply_change(name, level, images[..., 0]) for name, level in PROBES.items())
    sides = [images, *(faces[..., None] for faces in changed)]
    titles = (f"{CHANGES[name].title} {level}" for name, level in PROBES.items())
    echo_header("share of START", "unchanged, %", *titles, "mean")
    for share in shares:
        model.set_weights([share * old + (1 - share) * new for old, new in pairs])
        network = fold_batch_normalization(model)
        answers = (network.predict(side, batch_size=256, verbose=0) for side in sides)
        accuracies = [np.mean(answer.argmax(axis=1) == labels) for answer in answers]
        echo_row(share, *map(in_percent, [[one] for one in [*accuracies, np.mean(accuracies)]]))
    if output:
        mixed = Run(output)
        mixed.write_config(run.config)
        mixed.write_labels(run.labels)
        model.save(mixed / Run.MODEL)
        click.echo(f"wrote {mixed}")


if __name__ == "__main__":
    main()
