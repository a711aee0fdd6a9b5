"""Mix the weights of a run into those of another that went on from it; accuracies on validation.

    PYTHONPATH=. python benchmarks/mix_weights.py START RUN [--share 0.1 ...] [--output FOLDER]

START and RUN are runs or shipped weights of one network. Prints, for each share of START, the
accuracy on validation, unchanged and under some changes; --output keeps the mix of the last share
as a run, with RUN's settings and START as its start. The test split is not read. `fit
--start-share` mixes after each epoch, by a share chosen before training. Source: Wortsman et al.,
"Robust fine-tuning of zero-shot models" (2022).
"""

import dataclasses
from pathlib import Path

import click
from ablation import accuracies, changed_titles, changed_validation
from timing import echo_header, echo_row

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
    if output and len(shares) > 1:
        raise click.UsageError("--output is for the weights of one --share.")
    run, first = Run.named(run), Run.named(start)
    model, first = (at_operating_point(one.load_model()) for one in (run, first))
    pairs = list(zip(first.get_weights(), model.get_weights(), strict=True))
    sides, labels = changed_validation(run, PROBES, data_dir)
    echo_header("share of START", "unchanged, %", *changed_titles(PROBES))
    for share in shares:
        model.set_weights([share * old + (1 - share) * new for old, new in pairs])
        echo_row(share, *(f"{100 * one:.1f}" for one in accuracies(model, sides, labels)))
    if output:
        mixed = Run(output)
        mixed.write_config(dataclasses.replace(run.config, start=start, start_share=shares[0]))
        mixed.write_labels(run.labels)
        model.save(mixed / Run.MODEL)
        click.echo(f"wrote {mixed}")


if __name__ == "__main__":
    main()
