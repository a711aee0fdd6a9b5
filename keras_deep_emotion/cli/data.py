"""`data`: show what is in a built data set."""

from pathlib import Path

import click

from keras_deep_emotion.cli.options import checked_by, data_dir_option, load_tensorflow
from keras_deep_emotion.data.task import Task


@click.command()
@click.argument("dataset", callback=checked_by(Task.parse))
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
    from keras_deep_emotion.data.inspection import inspect_dataset
    from keras_deep_emotion.data.reading import open_dataset
    from keras_deep_emotion.reports.figures.sheets import save_contact_sheet

    builder = open_dataset(Task.parse(dataset, protocol), data_dir)
    found = inspect_dataset(builder)
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
