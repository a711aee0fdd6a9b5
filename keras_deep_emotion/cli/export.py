"""`export`: write a model for TensorFlow Serving, LiteRT or ONNX Runtime."""

import click

from keras_deep_emotion.cli.options import (
    FOLDER,
    Integer,
    balance_option,
    data_dir_option,
    echo_written,
    load_tensorflow,
    refuse_unused,
    run_or_weights,
)
from keras_deep_emotion.cli.progress import working
from keras_deep_emotion.exports import (
    EDGE_FILES,
    QUANTIZATIONS,
    check_format,
    check_name,
    default_name,
)


@click.command()
@run_or_weights
@click.option("--name", help="Name of the model.  [default: the data set or the weights]")
@click.option("--exports", default="exports", type=FOLDER, help="Folder of all exports.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["saved_model", *EDGE_FILES]),
    multiple=True,
    default=["saved_model"],
    help="SavedModel for TensorFlow Serving, NAME.tflite for phones and boards, NAME.onnx for "
    "browsers; may be repeated.",
)
@click.option(
    "--quantize",
    type=click.Choice([*QUANTIZATIONS, "integer"]),
    default="none",
    help="Weights of litert and onnx: float32, float16 or 8 bits.",
)
@balance_option
@click.option(
    "--keep",
    type=Integer(1),
    metavar="N",
    help="Remove all but the N highest versions.  [default: all are kept]",
)
@data_dir_option
def export(run, name, exports, formats, quantize, balance, keep, data_dir):
    """Write RUN's model for use elsewhere, verified before it appears.

    A SavedModel becomes the next version in EXPORTS/NAME/. LiteRT and ONNX models are one file
    each, with the labels inside; their predictions are compared with Keras's on faces of RUN's test
    split, or on drawn faces where that is not built.
    """
    name = name or default_name(run.config.dataset)
    check_name(name)
    _ = run.task, run.report, run.labels  # damaged files are refused before TensorFlow is imported
    edge = [one for one in dict.fromkeys(formats) if one != "saved_model"]
    if quantize != "none" and not edge:
        raise click.UsageError("--quantize is for --format litert and --format onnx.")
    if "saved_model" not in formats:
        refuse_unused(["keep"], "is for --format saved_model.")
    for one in edge:
        check_format(one, quantize)
    load_tensorflow()
    files = export_files(run, name, exports, edge, quantize, data_dir, balance) if edge else {}
    if "saved_model" in formats:
        from keras_deep_emotion.serving.container import write_compose
        from keras_deep_emotion.serving.export import export_run
        from keras_deep_emotion.serving.photos import missing_packages

        if missing := missing_packages():
            click.echo(missing, err=True)
        with working("writing the SavedModel and checking it as the server loads it"):
            version = export_run(run, name, exports, keep, files.get("litert"), balance)
        click.echo(f"exported and verified: {version}")
        echo_written([exports / "models.config", *write_compose(exports)])


def export_files(run, name, exports, formats, quantize, data_dir, balance):
    """Write the model in edge formats, and say how its predictions differ; return the paths."""
    from keras_deep_emotion.data.reading import held_faces
    from keras_deep_emotion.serving.edge import export_edge

    exports.mkdir(parents=True, exist_ok=True)
    model = run.load_model(balance)
    faces, origin = held_faces(run.task, run.config.image_size, data_dir)
    click.echo(f"compared with Keras on {origin}")
    about = {"dataset": run.task.dataset, "protocol": run.config.protocol}
    about["operating_point"] = run.operating_point(balance)
    files = {one: exports / f"{name}{EDGE_FILES[one].suffix}" for one in formats}
    for one, path in files.items():
        with working(f"converting to {path.name} and comparing it with Keras"):
            line = export_edge(model, run.labels, path, one, faces, quantize, **about)
        click.echo(f"exported and verified: {path}, {path.stat().st_size / 1e6:.2f} MB; {line}")
    echo_written({path.with_suffix(".json") for path in files.values()})
    return files
