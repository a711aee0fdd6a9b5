"""`score`: predict many crops, on Apache Beam."""

import importlib.util
import logging

import click

from keras_deep_emotion.cli.options import load_tensorflow


@click.command()
@click.argument("export")
@click.argument("beam_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- BEAM_OPTION...]")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    required=True,
    metavar="PATTERN",
    help="'DIR/**/*.jpg', LIST.csv or 'DIR/*.tfrecord*', in quotes; may be repeated.",
)
@click.option("--output", required=True, metavar="OUT", help="Folder for the shards.")
@click.option(
    "--column",
    default="file",
    show_default=True,
    help="Of a list: the column of paths, relative to the list's folder.",
)
@click.option(
    "--feature",
    default="image_bytes",
    show_default=True,
    help="Of records: the feature that holds the image file's bytes.",
)
@click.option(
    "--format",
    "shards",
    type=click.Choice(["jsonl", "parquet"]),
    default="jsonl",
    show_default=True,
    help="Of the shards.",
)
@click.option("--part-size", default=10_000, show_default=True, help="Inputs in a shard.")
@click.option("--batch-size", default=64, show_default=True, help="Faces at once.")
@click.option(
    "--runner", default="DirectRunner", show_default=True, help="Beam's runner; this one is local."
)
def score(export, beam_options, inputs, **settings):
    """Score many crops of faces by EXPORT, on Apache Beam: a row for each, in a folder of shards.

    Each picture is taken for the crop of a face: none is looked for, in a photo either.
    EXPORT is a version's folder or the folder of versions; the highest is taken. Files that are
    damaged are counted and listed, with the reason, in OUT/damaged-*.jsonl. The same command after
    a stop of any kind does what is left to do. What follows `--` goes to Beam as it is, such as
    -- --direct_num_workers=4 --direct_running_mode=multi_threading. EXPORT, inputs and OUT may be
    URLs that the runner's workers can reach.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise ModuleNotFoundError(
            "Apache Beam is not installed: pip install 'keras-deep-emotion[beam]'"
        )
    if beam_options and not beam_options[0].startswith("--"):
        raise click.UsageError(
            f"{beam_options[0]} is left over. Put a pattern in quotes, or the shell replaces it by "
            "the names of the files: --input 'DIR/*.jpg'."
        )
    load_tensorflow()
    # Beam speaks of libraries that it does without, at its import and by the root logger.
    logging.disable(logging.WARNING)
    from keras_deep_emotion.scoring import score

    logging.disable(logging.NOTSET)
    # Of a worker in this process: its errors come to the command too, without the inner life.
    for name in ("common", "worker", "portability.fn_api_runner"):
        logging.getLogger(f"apache_beam.runners.{name}").setLevel(logging.CRITICAL)
    summary = score(
        export,
        inputs,
        beam_options=beam_options,
        announce=lambda text: click.echo(text, err=True),
        **settings,
    )
    width = max(map(len, summary["emotions"]))
    for emotion, count in summary["emotions"].items():
        share = count / max(summary["scored"], 1)
        click.echo(f"{emotion:<{width}}{count:>12,}{share:>8.1%}")
    output = settings["output"]
    listed = f", listed in {output}/damaged-*.jsonl" if summary["damaged"] else ""
    click.echo(f"by {summary['export']}; wrote {output}/summary.json")
    click.echo(
        f"inputs: {summary['inputs']:,}, scored: {summary['scored']:,}, "
        f"damaged: {summary['damaged']:,}{listed}"
    )
