"""`evaluate`: evaluate a run on its test split."""

from pathlib import Path

import click

from keras_deep_emotion.cli.options import (
    PATH,
    balance_option,
    data_dir_option,
    echo_written,
    is_default,
    load_tensorflow,
    output_option,
    refuse_other_run,
    run_or_weights,
)
from keras_deep_emotion.cli.progress import working
from keras_deep_emotion.runs import Run, shipped_weights


@click.command()
@run_or_weights
@click.option(
    "--flip", is_flag=True, help="Also average predictions for each face and its mirror image."
)
@click.option(
    "--robustness",
    is_flag=True,
    help="Also evaluate under changes: turned, moved, blurred, noisy, dark, half-covered faces ...",
)
@balance_option
@click.option(
    "--against",
    metavar="RUN",
    type=PATH,
    help="Compare with the predictions of another run, or of shipped weights, on the same faces "
    "(McNemar's test).",
)
@output_option
@data_dir_option
def evaluate(run, flip, robustness, balance, against, output, data_dir):
    """Evaluate RUN's model on its test split: metrics, figures, predictions, mistakes."""
    if against is not None:  # refuse a wrong folder before minutes of evaluation
        against = evaluated_folder(against, robustness)
    if output is not None:
        refuse_other_run(output, run)
    else:  # report.html, which is written last, has these files too: raise if they are damaged
        _ = run.history, run.versions, run.faithfulness, robustness or run.robustness
    load_tensorflow()
    from keras_deep_emotion.evaluation import robustness as changed
    from keras_deep_emotion.evaluation.evaluate import compare_runs, evaluate_run, load_predictions
    from keras_deep_emotion.reports import text
    from keras_deep_emotion.reports.figures.evaluation import draw_evaluation
    from keras_deep_emotion.reports.figures.robustness import draw_robustness
    from keras_deep_emotion.reports.page import write_page

    if against is not None:
        load_predictions(against)  # raises if they are damaged
        if robustness:
            changed.read_answers(against)
    if balance not in (None, run.config.balance) and is_default("output"):
        output = (output or run.path) / f"balance-{balance:g}"  # beside the run's own report
    folder = output or run.path
    with working("evaluating the test split"):
        report = evaluate_run(run, data_dir, flip, output, balance)
        draw_evaluation(folder)
    click.echo("\n".join(text.evaluation_lines(report)))
    files = [Run.CONFUSION_MATRIX, Run.RELIABILITY, Run.PREDICTIONS, Run.REPORT]
    if against is not None:
        click.echo(f"against {against}: {text.comparison_summary(compare_runs(folder, against))}")
        files.append(Run.COMPARISON)
    if robustness:
        with working("evaluating changed faces") as work:
            result = changed.evaluate_robustness(run, data_dir, output, work.count, balance)
        other = changed.compare_robustness(folder, against) if against is not None else None
        click.echo("\n".join(text.robustness_lines(result, other)))
        draw_robustness(folder)
        files += [Run.ROBUSTNESS, Run.ROBUST_ANSWERS, Run.ROBUSTNESS_FIGURE]
    if output is None:
        write_page(run)
        files.append(Run.PAGE)
    echo_written(folder / name for name in files)


def evaluated_folder(against: Path, robustness: bool) -> Path:
    """The folder with the predictions of `--against`; those of shipped weights are in runs/."""
    name = str(against)
    if against.exists() or name not in shipped_weights():
        Run(against).require(Run.PREDICTIONS)
        return against
    folder = Run(Path("runs", name))
    if not folder.has(Run.PREDICTIONS) or (robustness and not folder.has(Run.ROBUST_ANSWERS)):
        option = " --robustness" if robustness else ""
        raise FileNotFoundError(
            f"{folder} has no such predictions: call keras-deep-emotion evaluate --weights "
            f"{name}{option} first."
        )
    return folder.path
