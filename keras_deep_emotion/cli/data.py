"""Commands that make and show data sets."""

from pathlib import Path

import click

from keras_deep_emotion.cli.options import checked_by, data_dir_option, load_tensorflow
from keras_deep_emotion.datasets import parse_build, parse_dataset, role_splits, tfds_config


@click.command("build-data")
@click.argument("dataset", callback=checked_by(parse_build))
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="The folder, archive or file that you obtained.",
)
@click.option(
    "--skip-damaged",
    is_flag=True,
    help="Leave out image files that cannot be decoded, and list them in a file.",
)
@click.option("--beam", is_flag=True, help="Build by Apache Beam (ferg).")
@click.option(
    "--beam-option",
    "beam_options",
    multiple=True,
    metavar="OPTION",
    help="For Beam's pipeline, such as --runner=FlinkRunner; may be repeated.",
)
@data_dir_option
def build_data(dataset, source, data_dir, skip_damaged, beam, beam_options):
    """Turn a data set into TFRecords, once, for all later commands.

    DATASET is toon_faces, fer2013, ck_plus, jaffe or ferg; or folder, pictures of your own in a
    folder for each emotion. A part alone is built by its name, such as fer2013/original or
    toon_faces/subjects.
    """
    load_tensorflow()
    from keras_deep_emotion.building import build, damaged_list

    options = list(beam_options) if beam or beam_options else None
    for builder in build(dataset, source, data_dir, skip_damaged, options, click.echo):
        click.echo(f"{builder.info.full_name}: {builder.data_path}")
        for split, info in builder.info.splits.items():
            click.echo(f"  {split:<24}{info.num_examples:>7,} images")
        damaged = damaged_list(builder)
        if damaged.exists():
            count = len(damaged.read_text().splitlines())
            click.echo(f"  left out as damaged:     {count:>6,} files, listed in {damaged}")


@click.command()
@click.argument("dataset", callback=checked_by(parse_dataset))
@click.option("--protocol", default="paper", show_default=True, help="How it is split.")
@click.option(
    "--sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    help="PNG of sample faces to write.  [default: DATASET.png]",
)
@data_dir_option
def data(dataset, protocol, sheet, data_dir):
    """Show what is built: counts, people, sizes, duplicates across splits, a sheet of faces."""
    load_tensorflow()
    from keras_deep_emotion.data import built_dataset
    from keras_deep_emotion.inspection import inspect
    from keras_deep_emotion.report import save_contact_sheet

    role_splits(parse_dataset(dataset)[0], protocol, None)
    builder = built_dataset(dataset, protocol, data_dir)
    found = inspect(builder)
    click.echo(f"{builder.info.full_name}: {builder.data_path}")
    click.echo(found.counts.rename_axis(None, axis=1).rename_axis(None).to_string())
    people = found.faces.loc[found.faces["subject"] != "", "subject"].nunique()
    click.echo(f"people: {people or 'not named'}")
    sizes = found.faces.groupby(["width", "height"]).size()
    for (width, height), count in sizes.sort_values(ascending=False).head(5).items():
        click.echo(f"{width} x {height} pixels: {count:,} images")
    click.echo("the same face in two splits:")
    click.echo(found.duplicates.to_string(index=False))
    for warning in found.warnings:
        click.echo(f"warning: {warning}")
    sheet = sheet or Path(f"{dataset.replace('/', '_')}.png")
    save_contact_sheet(found.samples, builder.info.features["label"].names, sheet)
    click.echo(f"wrote {sheet}")


def built_from(config, source, data_dir):
    """Build a run's data set from a source; the data set's name, with the folder for `folder`."""
    from keras_deep_emotion.building import build

    name, variant = parse_dataset(config.dataset)
    part = f"{name}/{tfds_config(name, variant, config.protocol)}" if variant else name
    (builder, *_) = build(part, source, data_dir, announce=click.echo)
    return f"folder/{builder.builder_config.name}" if name == "folder" else config.dataset
