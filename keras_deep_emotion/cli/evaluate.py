"""`evaluate`: evaluate a run on its test split."""

import click

from keras_deep_emotion.cli.options import (
    PATH,
    data_dir_option,
    load_tensorflow,
    output_option,
    run_or_weights,
)
from keras_deep_emotion.runs import Run


@click.command()
@run_or_weights
@click.option(
    "--flip", is_flag=True, help="Also average predictions for each face and its mirror image."
)
@click.option(
    "--against",
    metavar="RUN",
    type=PATH,
    help="Compare with the predictions of another run on the same faces (McNemar's test).",
)
@output_option
@data_dir_option
def evaluate(run, flip, against, output, data_dir):
    """Evaluate RUN's model on its test split: metrics, figures, predictions, mistakes."""
    load_tensorflow()
    from keras_deep_emotion.evaluation.evaluate import compare_runs, evaluate_run, load_predictions
    from keras_deep_emotion.reports.figures.evaluation import draw_evaluation
    from keras_deep_emotion.reports.page import write_page
    from keras_deep_emotion.reports.text import comparison_summary, evaluation_lines

    if against is not None:
        load_predictions(against)  # refuse a wrong folder before minutes of evaluation
    report = evaluate_run(run, data_dir, flip, output)
    folder = output or run.path
    draw_evaluation(folder)
    click.echo("\n".join(evaluation_lines(report)))
    files = [Run.CONFUSION_MATRIX, Run.RELIABILITY, Run.PREDICTIONS, Run.REPORT]
    if against is not None:
        click.echo(f"against {against}: {comparison_summary(compare_runs(folder, against))}")
        files.append(Run.COMPARISON)
    if output is None:
        write_page(run)
        files.append(Run.PAGE)
    for name in files:
        click.echo(f"wrote {folder / name}")
