"""`score`: predict many crops on Apache Beam."""

import importlib.util
import logging
from functools import partial
from pathlib import Path

import click

from keras_deep_emotion.cli.options import (
    TRUST,
    AnyInteger,
    LocalPath,
    check_folder,
    if_stopped,
    load_tensorflow,
)
from keras_deep_emotion.program import install_command

LIBRARIES = (("apache_beam", "Apache Beam", "beam"), ("distributed", "Dask", "dask"))
LOGGERS = (
    *("apache_beam.runners.common", "apache_beam.runners.worker"),
    *("apache_beam.runners.portability.fn_api_runner", "distributed", "distributed.client"),
)


@click.command()
@click.argument("export", type=LocalPath())
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM_OPTION...]")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="DIR, 'DIR/**/*.jpg', LIST.csv or 'DIR/*.tfrecord*', in quotes; may be repeated.",
)
@click.option(
    "--output", required=True, type=LocalPath(), metavar="OUT", help="Folder for the shards."
)
@click.option(
    "--column", default="file", help="Column of a list with paths, relative to the list's folder."
)
@click.option(
    "--feature", default="image_bytes", help="Feature of records with the content of an image file."
)
@click.option(
    "--format",
    "shards",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    help="Format of the shards.",
)
@click.option("--part-size", default=10_000, type=AnyInteger(), help="Number of inputs in a shard.")
@click.option("--batch-size", default=64, type=AnyInteger(), help="Number of faces in a batch.")
@click.option(
    "--faces",
    type=click.Choice(["none", "find"]),
    default="none",
    help="none: each image is the crop of one face; find the faces in photos.",
)
@TRUST
@click.option(
    "--runner",
    default="DirectRunner",
    help="Beam runner, such as dask; the default runs on this machine.",
)
def score(export, beam_options, inputs, **settings):
    """Predict many crops of faces or photos with EXPORT on Apache Beam: a row a face, in shards.

    EXPORT is the folder of a version, or of versions, of which the newest is taken. Damaged files
    are counted and listed with reasons in OUT/damaged-*.jsonl. After an interruption, the same
    command continues. Options after `--` are passed to Beam, such as -- --direct_num_workers=4
    --direct_running_mode=multi_threading, or --runner dask --
    --dask_client_address=tcp://HOST:8786. EXPORT, inputs and OUT may be URLs that the workers can
    reach.
    """
    uses_dask = "dask" in settings["runner"].lower()
    for library, title, extra in LIBRARIES[: 1 + uses_dask]:
        if importlib.util.find_spec(library) is None:
            raise ModuleNotFoundError(f"{title} is not installed: {install_command(extra)}")
    if beam_options and not beam_options[0].startswith("--"):
        raise click.UsageError(
            f"{beam_options[0]} is left over. Put a pattern in quotes, or the shell replaces it by "
            "the names of the files: --input 'DIR/*.jpg'."
        )
    if "://" not in export:
        check_folder(Path(export))
    if_stopped("Stopped. Finished parts are kept; the same command continues the job.")
    load_tensorflow()
    logging.disable(logging.WARNING)  # when imported, Beam warns of optional libraries
    from keras_deep_emotion.scoring import score

    if uses_dask:
        import distributed  # noqa: F401 (it sets the levels of its loggers)

    logging.disable(logging.NOTSET)
    # They log errors that the command reports too.
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    settings |= {"beam_options": beam_options, "announce": partial(click.echo, err=True)}
    summary = score(export, inputs, **settings)
    echo_summary(summary, settings["output"])


def echo_summary(summary, output):
    """Print the counts of a job."""
    width, faces = max(map(len, summary["emotions"])), sum(summary["emotions"].values())
    for emotion, count in summary["emotions"].items():
        click.echo(f"{emotion:<{width}}{count:>12,}{100 * count / max(faces, 1):>8.1f} %")
    listed = f", listed in {output}/damaged-*.jsonl" if summary["damaged"] else ""
    click.echo(f"by {summary['export']}; wrote {output}/summary.json and {output}/part-*")
    found = f" with {faces:,} faces" if faces != summary["scored"] else ""
    counts = f"inputs: {summary['inputs']:,}, scored: {summary['scored']:,}{found}"
    click.echo(f"{counts}, damaged: {summary['damaged']:,}{listed}")
