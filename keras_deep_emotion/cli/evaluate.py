"""`evaluate`: evaluate a run on its test split."""

from pathlib import Path

import click

from keras_deep_emotion.cli.options import data_dir_option, output_option, run_or_weights
from keras_deep_emotion.runs import Run


@click.command()
@run_or_weights
@click.option("--flip", is_flag=True, help="Judge the average with each face's mirror image too.")
@click.option(
    "--against",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Compare with the predictions that another run left, face by face (McNemar's test).",
)
@output_option
@data_dir_option
def evaluate(run, flip, against, output, data_dir):
    """Judge RUN's model on its test split again: numbers, figures, predictions, mistakes."""
    from keras_deep_emotion.evaluation.evaluate import compare_runs, evaluate_run, load_predictions
    from keras_deep_emotion.reports.figures.evaluation import draw_evaluation
    from keras_deep_emotion.reports.page import write_page
    from keras_deep_emotion.reports.text import (
        accuracy_summary,
        attention_summary,
        comparison_summary,
    )

    if against is not None:
        load_predictions(against)  # a wrong folder is refused before minutes of judging
    report = evaluate_run(run, data_dir, flip, output)
    folder = Run(output or run)
    draw_evaluation(folder)
    click.echo(f"{report['dataset']}, protocol {report['protocol']}, split {report['split']}")
    click.echo(accuracy_summary(report, report["paper_accuracy"], report["paper_differs"]))
    if "deduplicated" in report:
        click.echo(
            f"without faces that also stand in training: {accuracy_summary(report['deduplicated'])}"
        )
        click.echo(f"and of these: {mean_scores(report['deduplicated'])}")
    if flip:
        click.echo(f"averaged with mirror images: {accuracy_summary(report['flip_averaged'])}")
    if "attention" in report:
        click.echo(f"transformer: {attention_summary(report['attention'])}")
    calibration = report["calibration"]
    click.echo(mean_scores(report))
    click.echo(f"{'':<12}{'faces':>7}{'precision':>11}{'recall':>8}{'probability':>13}")
    for name, row in report["per_class"].items():
        given = {**row, "probability": calibration["per_class"][name]["probability"]}
        precision, recall, probability = (
            "-" if given[key] is None else f"{given[key]:.1%}"
            for key in ("precision", "recall", "probability")
        )
        click.echo(f"{name:<12}{row['faces']:>7,}{precision:>11}{recall:>8}{probability:>13}")
    if report["per_person"]:
        click.echo(people_line(report["per_person"]))
    if report["surest_mistakes"]:
        click.echo("surest mistakes (true -> answer):")
    for mistake in report["surest_mistakes"][:5]:
        answer = f"{mistake['label']} -> {mistake['answer']}"
        click.echo(f"{mistake['probability']:>8.1%}  {answer:<24}  {mistake['name']}")
    files = [Run.CONFUSION_MATRIX, Run.RELIABILITY, Run.PREDICTIONS, Run.REPORT]
    if against is not None:
        comparison = compare_runs(folder, against)
        click.echo(f"against {against}: {comparison_summary(comparison)}")
        files.append(Run.COMPARISON)
    if output is None:
        write_page(run)
        files.append(Run.PAGE)
    for name in files:
        click.echo(f"wrote {folder / name}")


def mean_scores(report):
    """The numbers that count every emotion alike, and how far the probabilities are to trust."""
    return (
        f"balanced accuracy {100 * report['balanced_accuracy']:.2f} %, "
        f"macro F1 {report['macro_f1']:.3f}, "
        f"calibration error {report['calibration']['error']:.3f}"
    )


def people_line(people):
    """One line: the persons whose faces are read worst and best; of equals, who has more faces."""
    worst = min(people, key=lambda name: (people[name]["accuracy"], -people[name]["faces"]))
    best = max(people, key=lambda name: (people[name]["accuracy"], people[name]["faces"]))
    worst, best = (
        f"{name} {100 * people[name]['accuracy']:.2f} % of {people[name]['faces']:,} faces"
        for name in (worst, best)
    )
    if len(people) == 1:
        return f"one person: {worst}"
    return f"{len(people)} people: worst {worst}, best {best}"
