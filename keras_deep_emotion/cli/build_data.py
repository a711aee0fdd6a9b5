"""`build-data`: build a data set as TFRecords."""

import contextlib
import sys
from functools import partial

import click

from keras_deep_emotion.cli.options import (
    PATH,
    checked_by,
    data_dir_option,
    if_stopped,
    load_tensorflow,
)
from keras_deep_emotion.cli.progress import working
from keras_deep_emotion.data.task import check_source, parse_build_target


@click.command("build-data")
@click.argument("dataset", callback=checked_by(parse_build_target))
@click.option("--source", type=PATH, help="Folder, archive or file that you obtained.")
@click.option(
    "--skip-damaged",
    is_flag=True,
    help="Skip image files that cannot be decoded, and list them in a file.",
)
@click.option("--beam", is_flag=True, help="Build with Apache Beam (ferg).")
@click.option(
    "--beam-option",
    "beam_options",
    multiple=True,
    metavar="OPTION",
    help="Option of Beam's pipeline, such as --runner=FlinkRunner; may be repeated.",
)
@data_dir_option
def build_data(dataset, source, data_dir, skip_damaged, beam, beam_options):
    """Build a data set as TFRecords, once, for all other commands.

    DATASET is toon_faces, fer2013, ck_plus, jaffe or ferg; or folder, for your own images in a
    folder for each emotion. Name a variant or protocol to build only that, such as
    fer2013/original or toon_faces/subjects.
    """
    check_source(source, parse_build_target(dataset)[0])
    if_stopped("Stopped. The unfinished build is discarded.")
    load_tensorflow()
    from keras_deep_emotion.data.building import build_dataset, damaged_files_path
    from keras_deep_emotion.data.reading import data_path

    options = list(beam_options) if beam or beam_options else None
    builders = build_dataset(dataset, source, data_dir, skip_damaged, options, click.echo)
    # On a terminal, TFDS has bars of its own.
    shown = contextlib.nullcontext if sys.stderr.isatty() else partial(working, "writing images")
    while True:
        with shown():
            builder = next(builders, None)
        if builder is None:
            return
        click.echo(f"{builder.info.full_name}: {data_path(builder)}")
        for split, info in builder.info.splits.items():
            click.echo(f"  {split:<24}{info.num_examples:>7,} images")
        damaged = damaged_files_path(builder)
        if damaged.exists():
            count = len(damaged.read_text(encoding="utf-8").splitlines())
            click.echo(f"  skipped as damaged:      {count:>6,} files, listed in {damaged}")
