"""Does the spatial transformer help, and does it follow the face?

    PYTHONPATH=. python benchmarks/attention.py --output DIR [--data-dir DIR] [--network paper] \
        [--augmentation strong] [--epochs 60] [--seed 0 --seed 1 --seed 2]

Trains each network without its transformer, with it, and with it and a loss that rewards undoing
the augmentation (`fit --alignment`), under the recipe's geometric augmentation and under a strong
one, and evaluates each on the test split, unchanged and changed by known amounts (`evaluate
--robustness`). A run that --output holds is continued, or reused if it is finished.
"""

from pathlib import Path

import click
import numpy as np
from timing import echo_header, echo_row, in_percent

from keras_deep_emotion.config import PRECISIONS, TrainConfig
from keras_deep_emotion.data.reading import class_names, open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.robustness import compare_robustness, evaluate_robustness
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.single_machine import train

RECIPES = {"paper": "paper", "wide": "best"}  # of each network
AUGMENTATIONS = {"recipe": {}, "strong": {"rotation": 30.0, "zoom": 0.25, "shift": 0.15}}
SIDES = {
    "without": {"transformer": False, "alignment": 0.0},
    "with": {"alignment": 0.0},
    "aligned": {"alignment": TrainConfig.alignment, "theta_rate": TrainConfig.theta_rate},
}
GEOMETRY = ("turn", "shift", "scale")


def trained(config, run, data_dir):
    """Train a run, or what is left of it, and evaluate it under changes; return that report."""
    if run.has(Run.CONFIG) and run.config != config:
        raise click.ClickException(f"{run} has other settings: name another --output.")
    run.write_config(config)
    done = 0 if run.history is None else len(run.history)
    if done < config.epochs or not run.has(Run.ROBUSTNESS):
        train(config, run, data_dir)
        run.write_labels(class_names(open_dataset(Task.from_config(config), data_dir)))
        evaluate_robustness(run, data_dir)
    return run.robustness


def geometry(report):
    return np.mean([report["changes"][name]["mean"] for name in GEOMETRY])


@click.command()
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path))
@click.option("--dataset", default="fer2013")
@click.option("--network", "networks", multiple=True, type=click.Choice(list(RECIPES)))
@click.option("--augmentation", "names", multiple=True, type=click.Choice(list(AUGMENTATIONS)))
@click.option("--width", type=int, help="of wide")
@click.option("--epochs", default=60)
@click.option("--seed", "seeds", multiple=True, type=int, default=[0, 1, 2])
@click.option("--precision", default="auto", type=click.Choice(PRECISIONS))
def main(output, data_dir, networks, names, width, seeds, **common):
    rows = []
    for network in networks or RECIPES:
        size = {"width": width} if width and network == "wide" else {}
        for name in names or AUGMENTATIONS:
            reports = {side: [] for side in SIDES}
            for seed in seeds:
                for side, settings in SIDES.items():
                    settings = {**common, **size, **AUGMENTATIONS[name], **settings}
                    config = TrainConfig.from_recipe(RECIPES[network], seed=seed, **settings)
                    title = run_name(network, name, side, seed)
                    report = trained(config, Run(output / title), data_dir)
                    reports[side].append(report)
                    click.echo(
                        f"{title}: unchanged {report['clean']:.1%}, turned, moved or scaled "
                        f"{geometry(report):.1%}, all changes {report['mean']:.1%}",
                        err=True,
                    )
            rows += table_rows(network, name, reports)
            rows += paired_rows(network, name, output, seeds)
    echo_header(
        "network", "augmentation", "transformer", "unchanged, %", "turned, moved, scaled, %",
        "all changes, %", "follows a move", "a scale", "a turn",
    )  # fmt: skip
    for row in rows:
        echo_row(*row)


def run_name(network, augmentation, side, seed):
    return f"{network}-{augmentation}-{side}-{seed}"


def table_rows(network, augmentation, reports):
    for side, some in reports.items():
        columns = [one["clean"] for one in some], [geometry(one) for one in some]
        means = [in_percent(values) for values in (*columns, [one["mean"] for one in some])]
        follows = ["-"] * 3
        if "follows" in some[0]:
            follows = [
                f"{in_percent([one['follows'][name]['mean'] for one in some])} %"
                for name in ("move", "scale", "turn")
            ]
        yield network, augmentation, side, *means, *follows


def paired_rows(network, augmentation, output, seeds):
    """What the transformer brings, in points on the same faces, with each seed's 95 % interval."""
    for side in list(SIDES)[1:]:
        found = []
        for seed in seeds:
            pair = (
                output / run_name(network, augmentation, one, seed) for one in (side, "without")
            )
            found.append(compare_robustness(*pair))
        cells = []
        for names in (("clean",), GEOMETRY, ("all",)):
            mean = np.mean([one[name][0] for one in found for name in names])
            intervals = [one[names[0]][1] for one in found] if len(names) == 1 else []
            spans = (f" ({100 * low:.1f} to {100 * high:.1f})" for low, high in intervals)
            cells.append(f"{100 * mean:+.1f}{''.join(spans)}")
        yield network, augmentation, f"{side} - without", *cells, "", "", ""


if __name__ == "__main__":
    main()
