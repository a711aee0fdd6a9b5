"""`explain`: draw saliency maps, and measure how faithful they are."""

import sys
from pathlib import Path

import click

from keras_deep_emotion.cli import options
from keras_deep_emotion.cli.options import echo_written
from keras_deep_emotion.cli.progress import working
from keras_deep_emotion.files import unused_folder
from keras_deep_emotion.runs import Run

FAINT = 0.05  # ours: of the probability; maps that stay below show nothing


@click.command()
@click.argument("paths", nargs=-1, type=options.PATH, metavar="[MODEL] [IMAGE]...")
@click.option(
    "--weights", metavar="NAME", help="Instead of MODEL: weights that come with the package."
)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    help="Without IMAGEs: split of the faces.",
)
@click.option(
    "--per-class", default=1, type=options.AnyInteger(), help="Number of faces of each emotion."
)
@click.option(
    "--window", default=8, type=options.AnyInteger(), help="Side of the hidden square, pixels."
)
@click.option(
    "--stride", default=2, type=options.AnyInteger(), help="Step between squares, pixels."
)
@click.option(
    "--filling",
    type=click.Choice(["zero", "mean", "blur"]),
    default="zero",
    help="What hidden pixels become: black (as in the paper), the face's mean, or blurred.",
)
@click.option(
    "--score", is_flag=True, help="Measure how faithful the maps are, compared with random maps."
)
@click.option(
    "--count", default=200, type=options.AnyInteger(), help="With --score: number of faces."
)
@options.faces_option
@click.option(
    "--output",
    type=options.FOLDER,
    help="Folder for the files.  [default: MODEL, a run, or with --weights runs/NAME, and "
    "explanation-SPLIT in it for other splits than test; a new folder, runs/explanation, for "
    "IMAGEs]",
)
@options.TRUST
@options.data_dir_option
def explain(
    paths, weights, split, per_class, score, count, faces, output, trust, data_dir, **windows
):
    """Draw saliency maps: which regions of a face a prediction depends on.

    MODEL is the folder of a run or an export, or a .tflite or .onnx file. IMAGEs are photos, whose
    faces are found as `predict` finds them; without IMAGEs, faces of the run's own data set are
    explained, typical ones of each emotion.
    --score measures deletion and insertion areas, on toon_faces the pointing game, and how the maps
    change with shuffled weights, all compared with maps that do not depend on the model.
    """
    if weights is None and not paths:
        raise click.UsageError("Name MODEL, a run or an export, or --weights NAME.")
    run, images = (Run.shipped(weights), paths) if weights else (Run(paths[0]), paths[1:])
    options.check_model(run.path)
    if images:
        names = ["score", "count", "split", "per_class"]
        options.refuse_unused(names, "is for faces of a run's data set: name no IMAGEs.")
    else:
        options.refuse_unused(["faces"], "is for IMAGEs: faces of a data set are crops.")
        unused, how = ("per_class", "without") if score else ("count", "with")
        options.refuse_unused([unused], f"goes {how} --score.")
        if not run.has(Run.CONFIG):
            raise click.UsageError(
                f"{run} is not a run: it has no {Run.CONFIG}. An export has no data set: name "
                "IMAGEs, or the run's folder."
            )
        Run.open(run)
    from keras_deep_emotion.saliency.windows import Windows, window_starts

    windows = Windows(**windows)
    if run.has(Run.CONFIG):  # checked before TensorFlow is imported
        window_starts(run.config.image_size, windows.window, windows.stride)
    folder = output_folder(run, weights, images, split, output)
    if images:
        sys.exit(explain_images(run.path, images, faces, folder, windows, trust))
    options.load_tensorflow()
    if score:
        written = score_run(run, data_dir, folder, count, windows, split)
    else:
        written = explain_faces(run, data_dir, folder, split, per_class, windows)
    if folder == run.path and run.has(Run.REPORT):
        from keras_deep_emotion.reports.page import write_page

        written.append(write_page(run))
    echo_written(written)


def output_folder(run, weights, images, split, output):
    """The folder for the files: that of another model or split, or of other images, is refused."""
    if output is None and images:
        return unused_folder(Path("runs", "explanation"))
    is_test = split == "test" and not images
    if output is None:
        output = Path("runs", weights) if weights else run.path
        output = output if is_test else output / f"explanation-{split}"
    options.refuse_other_run(output, run if is_test else None)
    return run.path if is_test and Run(output).has(Run.CONFIG) else output


def explain_faces(run, data_dir, folder, split, per_class, windows):
    """Explain faces of a run's split and, in its own folder, its mistakes; return the files."""
    from keras_deep_emotion.reports.figures.saliency import draw_mistakes, draw_saliency
    from keras_deep_emotion.saliency.explain_run import explain_mistakes, explain_split

    with working("hiding one region of each face after another"):
        maps = explain_split(run, data_dir, folder, split, per_class, windows)
    echo_explanation(maps, windows.window)
    written = [maps, *draw_saliency(folder)]
    if folder == run.path and run.has(Run.REPORT):
        mistakes = explain_mistakes(run, data_dir, windows)
        written += [mistakes, *draw_mistakes(folder)] if mistakes else []
    return written


def explain_images(model, images, faces, output, windows, trust):
    """Explain image files; return 1 if one of them has no face or is no image, else 0."""
    from keras_deep_emotion.images import Detector
    from keras_deep_emotion.inference.loading import load_path
    from keras_deep_emotion.reports.figures.saliency import draw_saliency
    from keras_deep_emotion.saliency.explain import explain_files

    detector = Detector() if faces == "find" else None
    model = load_path(model, trust=trust)
    maps, unreadable = explain_files(model, images, output, windows, detector)
    for file, error in unreadable:
        click.echo(f"{file}: {error}.", err=True)
    echo_explanation(maps, windows.window)
    echo_written([maps, *draw_saliency(output)])
    return int(bool(unreadable))


def score_run(run, data_dir, folder, count, windows, split):
    """Benchmark a run's maps and print the scores; return the paths written."""
    from keras_deep_emotion.reports.figures.saliency import draw_mean_saliency
    from keras_deep_emotion.reports.text import saliency_lines
    from keras_deep_emotion.saliency.benchmark import benchmark_saliency

    with working(f"scoring the maps of {count} faces"):
        result = benchmark_saliency(run, data_dir, folder, count, windows=windows, split=split)
    click.echo("\n".join(saliency_lines(result)))
    return [folder / Run.FAITHFULNESS, folder / Run.MEAN_MAPS, *draw_mean_saliency(folder)]


def echo_explanation(path, window):
    """Print the answer for each explained face, and how much it depends on one region."""
    from keras_deep_emotion.reports.figures.saliency import read_maps
    from keras_deep_emotion.reports.text import explanation_lines

    maps = read_maps(path)
    click.echo("\n".join(explanation_lines(maps)))
    if maps["saliency"].max() < FAINT and 3 * window < maps["image"].shape[1]:
        click.echo(
            f"Hiding {window} x {window} pixels changes little here; more may: "
            f"--window {maps['image'].shape[1] // 3} --filling blur"
        )
