"""Commands that say how good a model is and where it looks."""

import click

from keras_deep_emotion.cli.options import data_dir_option, output_option, run_or_weights


@click.command()
@run_or_weights
@click.option("--flip", is_flag=True, help="Judge the average with each face's mirror image too.")
@output_option
@data_dir_option
def evaluate(run, flip, output, data_dir):
    """Judge RUN's model on its test split again: numbers, confusion matrix, predictions."""
    from keras_deep_emotion.evaluation import attention_summary, summary
    from keras_deep_emotion.runs import judge

    report = judge(run, data_dir, flip, output)
    click.echo(f"{report['dataset']}, protocol {report['protocol']}, split {report['split']}")
    click.echo(summary(report, report["paper_accuracy"]))
    if "deduplicated" in report:
        click.echo(f"without faces that also stand in training: {summary(report['deduplicated'])}")
    if flip:
        click.echo(f"averaged with mirror images: {summary(report['flip_averaged'])}")
    if "attention" in report:
        click.echo(f"transformer: {attention_summary(report['attention'])}")
    balanced, macro_f1 = 100 * report["balanced_accuracy"], report["macro_f1"]
    calibration = report["calibration"]
    click.echo(
        f"balanced accuracy {balanced:.2f} %, macro F1 {macro_f1:.3f}, "
        f"calibration error {calibration['error']:.3f}"
    )
    click.echo(f"{'':<12}{'faces':>7}{'precision':>11}{'recall':>8}{'probability':>13}")
    for name, row in report["per_class"].items():
        given = {**row, "probability": calibration["per_class"][name]["probability"]}
        precision, recall, probability = (
            "-" if given[key] is None else f"{given[key]:.1%}"
            for key in ("precision", "recall", "probability")
        )
        click.echo(f"{name:<12}{row['faces']:>7,}{precision:>11}{recall:>8}{probability:>13}")
    for name in ("confusion_matrix.png", "predictions.csv", "report.json"):
        click.echo(f"wrote {(output or run) / name}")


@click.command()
@run_or_weights
@click.option("--window", default=8, show_default=True, help="Side of the hidden square, pixels.")
@click.option("--stride", default=2, show_default=True, help="Step between squares, pixels.")
@output_option
@data_dir_option
def explain(run, window, stride, output, data_dir):
    """Draw where RUN's model looks: one test face of each emotion, regions hidden in turn."""
    from keras_deep_emotion.runs import explain as explain_run

    click.echo(f"wrote {explain_run(run, window, stride, data_dir, output)}")
