"""Add a run's model to the package, also for LiteRT, with its report and model card.

    PYTHONPATH=. python benchmarks/ship_weights.py RUN NAME [--quantize dynamic] [--bits 12] \
        [--data-dir DIR]

The report is that of `python cli.py evaluate --weights NAME --flip`; a RUN that is the shipped one
keeps its own. The card also has RUN's robustness.json, if it has one. --quantize is of the LiteRT
model, whose answers are compared with Keras's on the test faces. With 12 --bits of each weight,
half of the bytes, `ferplus` answers as it did on all test faces, with 11 on all but one.
"""

import io
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import click
import h5py
import numpy as np

from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.evaluation.calibration import calibrate_run
from keras_deep_emotion.evaluation.evaluate import evaluate_run, predict_split
from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.evaluation.predictions import predicted_classes
from keras_deep_emotion.exports import QUANTIZATIONS
from keras_deep_emotion.files import write_json, write_text
from keras_deep_emotion.inference.array_predictors import LiteRTPredictor
from keras_deep_emotion.reports.model_card import render_model_card
from keras_deep_emotion.runs import SHIPPED, Run
from keras_deep_emotion.serving.edge import write_litert


def compact(path, bits):
    """Round the weights of a .keras file to some significant bits, of 24, and compress it."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(files["model.weights.h5"])

    def round_weights(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype == np.float32:
            fraction, exponent = np.frexp(item[...])
            item[...] = np.ldexp(np.round(fraction * 2**bits) / 2**bits, exponent)

    with h5py.File(weights, "r+") as file:
        file.visititems(round_weights)
    files["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def ship_litert(run, quantize, data_dir):
    """Write the LiteRT model of a run; return its accuracy, and how often it agrees with Keras."""
    model, task, size = run.load_model(), run.task, run.config.image_size
    about = {"dataset": run.config.dataset, "operating_point": run.operating_point()}
    write_litert(model, run / Run.LITERT, run.labels, quantize, **about)
    light = LiteRTPredictor(run / Run.LITERT)
    sides = model, SimpleNamespace(predict_on_batch=lambda batch: light.classify(batch.numpy()))
    builder, split = open_dataset(task, data_dir), task.splits["test"]
    tables = [predict_split(side, builder, split, size) for side in sides]
    ours, theirs = (predicted_classes(table)[0] for table in tables)
    return {
        "quantize": quantize,
        "bytes": (run / Run.LITERT).stat().st_size,
        "accuracy": classification_report(tables[1])["accuracy"],
        "agreement": float(np.mean(ours == theirs)),
    }


@click.command()
@click.argument("run", type=click.Path(exists=True, path_type=Path))
@click.argument("name")
@click.option("--quantize", type=click.Choice(QUANTIZATIONS), default="dynamic")
@click.option("--bits", default=12, show_default=True)
@click.option("--data-dir", type=click.Path(path_type=Path))
def main(run, name, quantize, bits, data_dir):
    run, shipped = Run.open(run), Run(SHIPPED / name)
    if run.path.resolve() == shipped.path:
        report = run.report
        compact(shipped / Run.MODEL, bits)
    else:
        calibrate_run(run, data_dir)
        shipped.path.mkdir(parents=True, exist_ok=True)
        for file in (Run.CONFIG, Run.LABELS, Run.MODEL, Run.CALIBRATION):
            shutil.copy(run / file, shipped / file)
        if run.has(Run.ROBUSTNESS):
            shutil.copy(run / Run.ROBUSTNESS, shipped / Run.ROBUSTNESS)
        compact(shipped / Run.MODEL, bits)
        report = evaluate_run(shipped, data_dir, flip=True, output=run.path)
    report["litert"] = ship_litert(shipped, quantize, data_dir)
    write_json(shipped / Run.REPORT, report)
    write_text(shipped / Run.CARD, render_model_card(run.config, report, shipped.robustness))
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    click.echo(f"LiteRT: {report['litert']}")
    click.echo(f"wrote {shipped}; all shipped weights: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
