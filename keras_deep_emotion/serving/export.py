"""Exports: a run becomes a verified version that TensorFlow Serving loads.

`exports.py` describes the files. `models.config`, beside the exports, lists them for the server.
"""

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion import __version__
from keras_deep_emotion.exports import (
    ABOUT,
    CARD,
    EXPECTED,
    LABELS,
    LITERT,
    Export,
    check_name,
    default_name,
)
from keras_deep_emotion.files import (
    plain_path,
    remove_dead,
    temporary_folder,
    write_json,
    write_text,
)
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.reports.model_card import render_model_card
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.occlusion import occlusion_saliency
from keras_deep_emotion.serving.container import updated_models_config, write_models_config
from keras_deep_emotion.serving.photos import expected_photo_outputs, load_detector
from keras_deep_emotion.serving.signatures import Signatures
from keras_deep_emotion.serving.verification import verify
from keras_deep_emotion.serving.warmup import write_warmup

PARTIAL = f"partial-{'[a-z0-9_]' * 8}"  # folders of `temporary_folder` below


class Exported(tf.Module):
    """What a SavedModel holds, under the names that keras.export.ExportArchive gives it."""

    variables = trainable_variables = non_trainable_variables = ()  # not saved as properties


def write_saved_model(
    model: keras.Model, labels: list[str], path: Path, detector: keras.Model | None = None
) -> None:
    """Write a SavedModel with the signatures of `Signatures`."""
    # keras.export.ExportArchive would trace each function twice, and write both.
    signatures = {
        name: tf.function(function, input_signature=inputs, autograph=False).get_concrete_function()
        for name, (function, inputs) in Signatures(model, labels, detector).functions().items()
    }
    used = {id(one): one for signature in signatures.values() for one in signature.variables}
    module = Exported()
    module.variables = [*used.values()]
    module.trainable_variables = [one for one in module.variables if one.trainable]
    module.non_trainable_variables = [one for one in module.variables if not one.trainable]
    for name, signature in signatures.items():
        setattr(module, name, signature)
    tf.saved_model.save(module, str(path), signatures)


def expected_outputs(model: keras.Model) -> dict[str, np.ndarray]:
    """A Keras model's outputs for three images of noise, with which exports are verified."""
    size = model.input.shape[1]
    images = np.random.default_rng(0).integers(0, 256, (3, size, size, 1)).astype(np.uint8)
    maps = occlusion_saliency(
        lambda images: model(images, training=False), tf.constant(images, tf.float32)
    )
    return {
        "image": images,  # (3, size, size, 1) uint8
        "files": np.array([tf.io.encode_png(image).numpy() for image in images]),
        "probabilities": model.predict_on_batch(images.astype(np.float32)),  # (3, classes)
        "saliency": maps.saliency.numpy(),  # (3, size, size)
        "decisive": maps.decisive.numpy(),
    }


def write_assets(
    path: Path, run: Run, expected: dict[str, np.ndarray], balance: float | None = None
) -> None:
    """Write labels, settings and accuracy, model card and expected outputs into a SavedModel."""
    config, report = run.config, run.report
    points = {point["balance"]: point for point in (report or {}).get("operating_points", ())}
    balance = config.balance if balance is None else balance
    point = report if balance == config.balance else points.get(balance)
    (path / LABELS).parent.mkdir(exist_ok=True)
    write_text(path / LABELS, "".join(f"{label}\n" for label in run.labels))
    about = {
        "project": f"keras-deep-emotion {__version__}",
        "dataset": config.dataset,
        "protocol": config.protocol,
        "accuracy": point and point["accuracy"],
        "accuracy_interval": point and point["accuracy_interval"],
        "judged_on": point and f"{report['faces']:,} faces of {report['split']}",
        "operating_point": run.operating_point(balance),
        "settings": dataclasses.asdict(config),
    }
    write_json(path / ABOUT, about)
    card = "This model was not evaluated: its accuracy is not known.\n"
    if report:
        card = render_model_card(config, report, run.robustness, balance)
    write_text(path / CARD, f"{card}\nMade by {about['project']}.\n")
    np.savez_compressed(path / EXPECTED, **expected)


def remove_older(export: Export, keep: int) -> None:
    """Remove all but the `keep` newest versions.

    Each is renamed first: a server that polls the folder never sees a partial version.
    """
    for folder in list(export.versions().values())[:-keep]:
        with temporary_folder(export.path, "partial-") as aside:
            with contextlib.suppress(FileNotFoundError):  # removed by another export
                os.rename(folder, aside / "model")


def export_run(
    run_dir: str | Path | Run,
    name: str | None = None,
    parent: str | Path = "exports",
    keep: int | None = None,
    litert: str | Path | None = None,
    balance: float | None = None,
) -> Path:
    """Export a run's model as the next version in `<parent>/<name>/`; return the version's folder.

    The version is written to a temporary folder, verified (`verify`) and then renamed: a server
    that polls the folder never sees a partial version, or one that it cannot serve.

    Args:
        run_dir: A run with a model.
        name: The model's name to clients; None for the run's data set (`/` becomes `_`).
        parent: Folder of all exports.
        keep: Number of newest versions to keep, 1 or more; None keeps all.
        litert: The same model for LiteRT, to copy into the version: `load` opens it first.
        balance: Operating point of the probabilities, as in `Run.load_model`.

    Raises:
        FileNotFoundError: If the folder is not a run.
        ValueError: If the name is invalid, models.config cannot be read, or verification failed;
            no version appears then.
    """
    run = Run.open(run_dir)
    name = name or default_name(run.config.dataset)
    check_name(name)
    if keep is not None and keep < 1:
        raise ValueError(f"keep must be 1 or more. Received: {keep}")
    _ = run.report  # damaged files are refused before anything that takes long
    model, export = run.load_model(balance), Export(Path(parent) / name)
    export.path.mkdir(parents=True, exist_ok=True)
    for folder in Path(parent).iterdir():  # what killed exports of other models left
        remove_dead(folder, PARTIAL)
    updated_models_config(parent)  # raises before there is a version that it cannot list
    # Not a version's name.
    with temporary_folder(export.path, "partial-") as folder, plain_path(folder) as temporary:
        saved_model = Path(temporary) / "model"
        detector = load_detector()
        write_saved_model(fold_batch_normalization(model), run.labels, saved_model, detector)
        expected = expected_outputs(model)
        if detector is not None:
            expected |= expected_photo_outputs(model)
        write_assets(saved_model, run, expected, balance)
        write_warmup(saved_model, expected, name)
        if litert is not None:
            shutil.copy(litert, saved_model / LITERT)
        try:
            list(verify(saved_model))
        except ValueError as error:
            raise ValueError(f"{error} Nothing was exported.") from None
        version = rename_to_next(saved_model, export)
    if keep is not None:
        remove_older(export, keep)
    write_models_config(parent)
    return version


def rename_to_next(path: Path, export: Export) -> Path:
    """Rename a folder to the export's next version, also beside concurrent exports."""
    while True:
        version = export.next_version()
        try:
            os.rename(path, version)
            return version
        except OSError:
            if not version.exists():  # else another export took the number
                raise
