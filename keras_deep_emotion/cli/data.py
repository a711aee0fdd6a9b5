"""`data`: show what is in a built data set."""

from pathlib import Path

import click

from keras_deep_emotion.cli.options import LocalPath, checked_by, data_dir_option, load_tensorflow
from keras_deep_emotion.cli.progress import working
from keras_deep_emotion.data.task import Task


@click.command()
@click.argument("dataset", callback=checked_by(Task.parse))
@click.option("--protocol", default=Task.protocol, help="Protocol of the splits.")
@click.option(
    "--sheet",
    type=LocalPath(dir_okay=False, path_type=Path),
    help="PNG of sample faces to write.  [default: runs/DATASET.png]",
)
@data_dir_option
def data(dataset, protocol, sheet, data_dir):
    """Show a built data set: counts, people, sizes, duplicates across splits, a sheet of faces."""
    task = Task.parse(dataset, protocol)
    load_tensorflow()
    from keras_deep_emotion.data.inspection import inspect_dataset
    from keras_deep_emotion.data.reading import data_path, open_dataset
    from keras_deep_emotion.reports.figures.sheets import save_contact_sheet

    builder = open_dataset(task, data_dir)
    with working("reading faces and looking for duplicates"):
        inspection = inspect_dataset(builder)
    click.echo(f"{builder.info.full_name}: {data_path(builder)}")
    click.echo(inspection.counts.rename_axis(None, axis=1).rename_axis(None).to_string())
    people = inspection.faces.loc[inspection.faces["subject"] != "", "subject"].nunique()
    click.echo(f"people: {people or 'not named'}")
    sizes = inspection.faces.groupby(["width", "height"]).size()
    for (width, height), count in sizes.sort_values(ascending=False).head(5).items():
        click.echo(f"{width} x {height} pixels: {count:,} images")
    click.echo(f"duplicates across splits:\n{inspection.duplicates.to_string(index=False)}")
    for warning in inspection.warnings:
        click.echo(f"warning: {warning}")
    sheet = sheet or Path("runs", f"{dataset.replace('/', '_')}.png")
    sheet.parent.mkdir(parents=True, exist_ok=True)
    save_contact_sheet(inspection.samples, builder.info.features["label"].names, sheet)
    click.echo(f"wrote {sheet}")
