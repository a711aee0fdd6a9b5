"""Commands that say how good a model is and where it looks."""

import sys
from pathlib import Path

import click

from keras_deep_emotion.cli.options import (
    data_dir_option,
    load_tensorflow,
    output_option,
    run_or_weights,
)


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
    from keras_deep_emotion.evaluation import attention_summary, comparison_summary, summary
    from keras_deep_emotion.page import write_page
    from keras_deep_emotion.runs import compare, judge, judged_predictions

    if against is not None:
        judged_predictions(against)  # a wrong folder is refused before minutes of judging
    report = judge(run, data_dir, flip, output)
    click.echo(f"{report['dataset']}, protocol {report['protocol']}, split {report['split']}")
    click.echo(summary(report, report["paper_accuracy"], report["paper_differs"]))
    if "deduplicated" in report:
        click.echo(f"without faces that also stand in training: {summary(report['deduplicated'])}")
        click.echo(f"and of these: {mean_scores(report['deduplicated'])}")
    if flip:
        click.echo(f"averaged with mirror images: {summary(report['flip_averaged'])}")
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
    files = ["confusion_matrix.png", "reliability.png", "predictions.csv", "report.json"]
    if against is not None:
        click.echo(f"against {against}: {comparison_summary(compare(output or run, against))}")
        files.append("against.json")
    if output is None:
        write_page(run)
        files.append("report.html")
    for name in files:
        click.echo(f"wrote {(output or run) / name}")


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


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL] [IMAGE]...")
@click.option(
    "--weights", metavar="NAME", help="Instead of MODEL: weights that come with the package."
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Without IMAGEs: where the faces are taken from.",
)
@click.option("--per-class", default=1, show_default=True, help="Faces of each emotion.")
@click.option("--window", default=8, show_default=True, help="Side of the hidden square, pixels.")
@click.option("--stride", default=2, show_default=True, help="Step between squares, pixels.")
@click.option(
    "--filling",
    type=click.Choice(["zero", "mean", "blur"]),
    default="zero",
    show_default=True,
    help="What hidden pixels become: black, as in the paper, the face's mean, or blurred.",
)
@click.option(
    "--score", is_flag=True, help="Measure whether the maps are right, beside maps by chance."
)
@click.option("--faces", default=200, show_default=True, help="With --score: how many.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the files.  [default: MODEL, a run; explanation for IMAGEs; with --weights, a "
    "folder of their name here]",
)
@data_dir_option
def explain(paths, weights, split, per_class, score, faces, output, data_dir, **windows):
    """Draw where a model looks: regions of the face are hidden in turn.

    MODEL is a run's folder or an export's. Without IMAGEs, pictures of cropped faces,
    faces of the run's own data set are explained, one of each emotion. With --score: deletion and
    insertion areas, on toon_faces the pointing game, and how the maps change when the weights are
    scrambled, beside maps that know nothing of the model.
    """
    if weights is None and not paths:
        raise click.UsageError("Name MODEL, a run or an export, or --weights NAME.")
    load_tensorflow()
    from keras_deep_emotion import explanation
    from keras_deep_emotion.config import TrainConfig
    from keras_deep_emotion.page import write_page
    from keras_deep_emotion.predict import load
    from keras_deep_emotion.runs import weights_dir

    folder, images = (weights_dir(weights), paths) if weights else (paths[0], paths[1:])
    model = load(folder)
    if images:
        if score:
            raise click.UsageError("--score takes the faces of a run's data set, no IMAGEs.")
        written, bad = explanation.explain_files(
            model, images, output or Path("explanation"), **windows
        )
        for file, error in bad:
            click.echo(f"{file}: {error}.", err=True)
        for path in written:
            click.echo(f"wrote {path}")
        sys.exit(1 if bad else 0)
    if model.keras is None:
        raise click.UsageError("An export carries no data set: name IMAGEs, or the run's folder.")
    config = TrainConfig.from_json(folder / "config.json")
    if output is None:
        output = Path(weights) if weights else folder
    if score:
        from keras_deep_emotion.map_scores import score_maps

        result = score_maps(model, config, data_dir, output, faces, **windows)
        echo_scores(result)
        written = [output / "faithfulness.json"]
        if result["regions"]:
            written.append(output / "mean_saliency.png")
    else:
        written = explanation.explain_split(
            model, config, data_dir, output, split, per_class, **windows
        )
    if output == folder and (folder / "report.json").is_file():
        written = [*written, write_page(folder)]
    for path in written:
        click.echo(f"wrote {path}")


def echo_scores(result):
    """Print what `map_scores.score_maps` returns as a table."""
    click.echo(f"{result['faces']} faces of {result['dataset']}, {result['split']}")
    titles = {
        "deletion": "deletion area (less is better)",
        "insertion": "insertion area (more is better)",
        "pointing": "pointing game (share of hits)",
    }
    for score, maps in result["scores"].items():
        click.echo(titles[score])
        for name, found in maps.items():
            low, high = found["interval"]
            line = f"  {name:<16}{found['mean']:.3f} ({low:.3f} to {high:.3f})"
            if "ahead" in found:
                low, high = found["ahead"]["interval"]
                line += (
                    f"; saliency ahead by {found['ahead']['mean']:+.3f} ({low:+.3f} to {high:+.3f})"
                )
            click.echo(line)
    click.echo("where the maps of each answer lie: share in each third of the rows; in the rim")
    for name, part in result["regions"].items():
        click.echo(
            f"  {name:<12}{part['faces']:>6,} faces: upper {part['upper']:.0%}, middle "
            f"{part['middle']:.0%}, lower {part['lower']:.0%}; rim {part['rim']:.0%}"
        )
    click.echo("rank correlation with the maps of scrambled weights (near 0: they show the model)")
    for name, found in result["randomisation"].items():
        low, high = found["interval"]
        click.echo(f"  {name:<16}{found['mean']:.3f} ({low:.3f} to {high:.3f})")
