"""A run becomes a version that TensorFlow Serving loads as it is: written aside, verified, renamed.

<parent>/models.config            what the server is to serve
<parent>/<name>/<version>/        a SavedModel with the signatures of `endpoints`
    assets/labels.txt             names of the classes, in order
    assets/config.json            data set, accuracy, project's version, settings
    assets/model_card.md
    assets/expected.npz           what the Keras model says of a few faces, for `verify`
    assets.extra/                 requests that the server plays before it serves
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath

import keras
import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from keras_deep_emotion import __version__
from keras_deep_emotion.endpoints import make_endpoints
from keras_deep_emotion.files import remove_left, written_whole
from keras_deep_emotion.model import without_normalisation
from keras_deep_emotion.model_card import model_card
from keras_deep_emotion.runs import open_run
from keras_deep_emotion.saliency import occlusion_saliency
from keras_deep_emotion.verify_export import verify
from keras_deep_emotion.warmup import write_warmup

MODELS_IN_CONTAINER = "/models"  # where compose.yaml mounts the folder of all exports


def write_saved_model(model, labels, path):
    """Write a SavedModel with the signatures of `endpoints.make_endpoints`.

    Args:
        model: Keras model from faces to probabilities.
        labels: names of the classes.
        path: folder to make.
    """
    archive = keras.export.ExportArchive()  # without track(model), or each variable comes twice
    for name, (function, signature) in make_endpoints(model, labels).items():
        archive.add_endpoint(
            name, tf.function(function, input_signature=signature, autograph=False)
        )
    archive.write_out(str(path), verbose=False)


def expected_answers(model):
    """What a Keras model says of three faces of noise.

    Returns:
        Dict: `image` (3, size, size, 1) uint8, `files` (3,) the same as PNG, `probabilities`
        (3, classes) float32, `saliency` and `decisive` (3, size, size).
    """
    size = model.input.shape[1]
    faces = np.random.default_rng(0).integers(0, 256, (3, size, size, 1)).astype(np.uint8)
    maps = occlusion_saliency(
        lambda images: model(images, training=False), tf.constant(faces, tf.float32)
    )
    return {
        "image": faces,
        "files": np.array([tf.io.encode_png(face).numpy() for face in faces]),
        "probabilities": model.predict_on_batch(faces.astype(np.float32)),
        "saliency": maps.saliency.numpy(),
        "decisive": maps.decisive.numpy(),
    }


def write_assets(path, config, labels, report, expected):
    """Write what travels with a model.

    Args:
        path: the SavedModel's folder.
        config: `TrainConfig` of the run.
        labels: names of the classes.
        report: the run's report.json, None where it was not judged.
        expected: what `expected_answers` returns.
    """
    assets = Path(path) / "assets"
    assets.mkdir(exist_ok=True)
    (assets / "labels.txt").write_text("".join(f"{label}\n" for label in labels))
    about = {
        "project": f"keras-deep-emotion {__version__}",
        "dataset": config.dataset,
        "protocol": config.protocol,
        "accuracy": report and report["accuracy"],
        "accuracy_interval": report and report["accuracy_interval"],
        "judged_on": report and f"{report['faces']:,} faces of {report['split']}",
        "settings": dataclasses.asdict(config),
    }
    (assets / "config.json").write_text(json.dumps(about, indent=2) + "\n")
    card = (
        model_card(config, report)
        if report
        else "This model was not judged: how good it is is not known.\n"
    )
    (assets / "model_card.md").write_text(f"{card}\nMade by {about['project']}.\n")
    np.savez_compressed(assets / "expected.npz", **expected)


def versions(folder):
    """The numbers of the versions in a model's folder, rising."""
    return sorted(int(entry.name) for entry in Path(folder).glob("*") if entry.name.isdecimal())


def remove_older(folder, keep):
    """Remove all but the `keep` highest versions.

    Each is renamed first: a server that polls the folder never sees half of one.
    """
    for number in versions(folder)[:-keep]:
        aside = Path(tempfile.mkdtemp(prefix="partial-", dir=folder))
        try:
            with contextlib.suppress(FileNotFoundError):  # another export was faster
                os.rename(folder / str(number), aside / "model")
        finally:
            shutil.rmtree(aside)


def write_models_config(parent):
    """Bring `models.config`, the server's list of models, in step with the folders beside it.

    A model that came is added and one that went is removed; what a user wrote of the others, labels
    of versions, say, stays, and where no model comes or goes the file is not touched.

    Args:
        parent: folder of all exports.

    Raises:
        ValueError: what stands in it is no list of models.
    """
    path = Path(parent) / "models.config"
    # More than once: another's export may end meanwhile.
    while (config := models_config(parent)) != read_models_config(path):
        with written_whole(path) as aside:
            aside.write_text(text_format.MessageToString(config))


def models_config(parent):
    """What `models.config` is to hold for what stands in `parent` now, a ModelServerConfig.

    Raises:
        ValueError: as `write_models_config`.
    """
    config = read_models_config(Path(parent) / "models.config") or ModelServerConfig()
    models = config.model_config_list.config
    folders = {
        f"{MODELS_IN_CONTAINER}/{folder.name}": folder.name
        for folder in sorted(Path(parent).iterdir())
        if folder.is_dir() and versions(folder)
    }

    def place(model):
        return PurePosixPath(model.base_path)  # with or without / at its end

    # Elsewhere than below this folder is the user's own.
    kept = [
        model
        for model in models
        if str(place(model)) in folders or str(place(model).parent) != MODELS_IN_CONTAINER
    ]
    listed = {str(place(model)) for model in kept}
    del models[:]
    models.extend(kept)
    for base_path, name in folders.items():
        if base_path not in listed:
            models.add(name=name, base_path=base_path, model_platform="tensorflow")
    return config


def read_models_config(path):
    """What a `models.config` holds, a ModelServerConfig; None where there is none.

    Raises:
        ValueError: it is no list of models.
    """
    try:
        return text_format.Parse(Path(path).read_text(), ModelServerConfig())
    except FileNotFoundError:
        return None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no list of models ({error}); mend it, or remove it and export again: the "
            "list is then made anew."
        ) from None


def export_run(run_dir, name=None, parent="exports", keep=None):
    """Export a run's model as the next version under `<parent>/<name>/`.

    Written aside, verified (`verify_export.verify`), and only then renamed into place: a server
    that polls the folder never sees half of one, nor one that it could not serve.

    Args:
        run_dir: a folder that `fit` made.
        name: the model's name to clients, None for the run's data set (`/` becomes `_`).
        parent: folder of all exports.
        keep: remove all but so many of the highest versions, at least 1; None keeps all.

    Returns:
        Path of the version's folder.

    Raises:
        FileNotFoundError: the folder is no run.
        ValueError: the name is none, models.config cannot be read, or the export was not as it must
            be; nothing was put in place.
    """
    config, model, labels = open_run(run_dir)
    name = name or config.dataset.replace("/", "_")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):  # it becomes a folder, and part of an URL
        raise ValueError(f"A model's name has letters, digits, _ and - only. Received: {name!r}")
    if keep is not None and keep < 1:
        raise ValueError(f"keep must be 1 or more. Received: {keep}")
    report = Path(run_dir) / "report.json"
    report = json.loads(report.read_text()) if report.exists() else None
    folder = Path(parent) / name
    folder.mkdir(parents=True, exist_ok=True)
    models_config(parent)  # or say why not, before there is a version that is on no list
    remove_left(folder, "partial-*")  # by an export that was killed
    # No number: the server takes only those for versions.
    aside = Path(tempfile.mkdtemp(prefix="partial-", dir=folder))
    try:
        saved = aside / "model"
        write_saved_model(without_normalisation(model), labels, saved)
        expected = expected_answers(model)
        write_assets(saved, config, labels, report, expected)
        write_warmup(saved, expected["image"][0], name)
        try:
            for _ in verify(saved):
                pass
        except ValueError as error:
            raise ValueError(f"{error} Nothing was put in place.") from None
        while True:
            version = folder / str(max(versions(folder), default=0) + 1)
            try:
                os.rename(saved, version)
                break
            except OSError:
                if not version.exists():  # else another export took the number: try the next
                    raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if keep is not None:
        remove_older(folder, keep)
    write_models_config(parent)
    return version
