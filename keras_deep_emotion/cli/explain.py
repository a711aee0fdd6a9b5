"""`explain`: draw where a model looks, and measure how faithful the maps are."""

import sys
from pathlib import Path

import click

from keras_deep_emotion.cli.options import data_dir_option, load_tensorflow
from keras_deep_emotion.runs import Run


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
    if weights:
        run, images = Run.shipped(weights), paths
    else:
        run, images = Run(paths[0]), paths[1:]
    if images:
        if score:
            raise click.UsageError("--score takes the faces of a run's data set, no IMAGEs.")
        explain_images(run.path, images, output or Path("explanation"), windows)
        return
    if not run.has(Run.CONFIG):
        from keras_deep_emotion.inference.loading import load_folder

        load_folder(run.path)  # raises if this is not an export either
        raise click.UsageError("An export has no data set: name IMAGEs, or the run's folder.")
    folder = Run(output or weights or run)
    if score:
        written = score_run(run, data_dir, folder, faces, windows)
    else:
        written = explain_faces_of(run, data_dir, folder, split, per_class, windows)
    if folder.path == run.path and run.has(Run.REPORT):
        from keras_deep_emotion.reports.page import write_page

        written.append(write_page(run))
    for path in written:
        click.echo(f"wrote {path}")


def explain_images(model, images, output, windows):
    """Explain image files; exit with status 1 if one of them could not be read."""
    from keras_deep_emotion.inference.loading import load_folder
    from keras_deep_emotion.reports.figures.saliency import draw_saliency
    from keras_deep_emotion.saliency.explain import explain_files

    maps, unreadable = explain_files(load_folder(model), images, output, **windows)
    for file, error in unreadable:
        click.echo(f"{file}: {error}.", err=True)
    for path in (maps, *draw_saliency(output)):
        click.echo(f"wrote {path}")
    sys.exit(1 if unreadable else 0)


def explain_faces_of(run, data_dir, folder, split, per_class, windows):
    """Explain faces of a run's data set; return the paths written."""
    from keras_deep_emotion.reports.figures.saliency import draw_saliency
    from keras_deep_emotion.saliency.explain import explain_split

    Run.open(run)
    maps = explain_split(run, data_dir, folder.path, split, per_class, **windows)
    return [maps, *draw_saliency(folder)]


def score_run(run, data_dir, folder, faces, windows):
    """Benchmark a run's maps and print the scores; return the paths written."""
    from keras_deep_emotion.reports.figures.saliency import draw_mean_saliency
    from keras_deep_emotion.saliency.benchmark import benchmark_saliency

    Run.open(run)
    echo_scores(benchmark_saliency(run, data_dir, folder.path, faces, **windows))
    return [folder / Run.FAITHFULNESS, *draw_mean_saliency(folder)]


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
