"""Train recipes as fast as one machine can: Keras on JAX alone, whole epochs in one call on a GPU.

    PYTHONPATH=. python benchmarks/train_gpu.py faces-1.npz faces-2.npz --out runs/gpu \
        --variant paper --variant 'best seed=1 transformer=false optimizer=sgd'

The machine needs JAX, Keras, NumPy and lazy_loader; `pack_faces.py` writes the .npz files where
TensorFlow is. A variant is a recipe and any settings of `TrainConfig` as name=value. Each gets a
run folder, which `python cli.py evaluate`, `export` and the rest take.
"""

import argparse
import dataclasses
import os
import re
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"  # before Keras loads

import jax
import numpy as np

from keras_deep_emotion.config import RECIPES, TrainConfig
from keras_deep_emotion.data.targets import FaceArrays, label_targets
from keras_deep_emotion.files import write_json
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training import jax_loop, jax_steps

# Settings that the faces determine, or that need other runs.
FIXED = ("recipe", "dataset", "protocol", "fold", "teachers", "teacher_share")


def parse_variant(text: str) -> TrainConfig:
    """Parse 'RECIPE name=value ...'; precision "auto" becomes the device's."""
    recipe, *changes = text.split()
    if recipe not in RECIPES:
        raise ValueError(f"a variant begins with one of {', '.join(RECIPES)}. Received: {text!r}")
    defaults = dataclasses.asdict(TrainConfig())
    settings = {}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in defaults or name in FIXED:
            raise ValueError(f"{name!r} is not a setting of a variant. Received: {text!r}")
        kind = str if defaults[name] is None else type(defaults[name])
        if kind is bool and value not in ("true", "false"):
            raise ValueError(f"{name} must be true or false. Received: {text!r}")
        settings[name] = value == "true" if kind is bool else kind(value)
    return jax_loop.supported_config(TrainConfig.from_recipe(recipe, **settings))


def read_parts(paths: list[Path]) -> dict[str, np.ndarray]:
    """Read the arrays that `pack_faces.py` wrote, from its parts in any order."""
    parts = sorted((dict(np.load(path)) for path in paths), key=lambda part: part["part"][0])
    if [part["part"].tolist() for part in parts] != [[i, len(parts)] for i in range(len(parts))]:
        raise ValueError(f"Name every part once. Received: {', '.join(map(str, paths))}")
    return {
        name: np.concatenate([part[name] for part in parts]) if "_" in name else value
        for name, value in parts[0].items()
    }


def train(config: TrainConfig, arrays: dict[str, np.ndarray], run: Run, every: int = 1) -> dict:
    """Train one variant and evaluate it; return what result.json gets."""
    labels = arrays["classes"].tolist()
    faces, validation, test = (
        FaceArrays(*(arrays[f"{role}_{kind}"] for kind in FaceArrays._fields))
        for role in ("train", "validation", "test")
    )
    if not (config.soft_labels and arrays["voted"]):
        targets = label_targets(faces.labels, len(labels), config.label_smoothing)
        faces = faces._replace(targets=targets)
    run.write_config(config)
    run.write_labels(labels)
    trained = jax_loop.train(config, faces, validation, labels, run, every)
    model = run.load_model()
    accuracy, flipped = (
        jax_steps.compile_evaluation(model, test.images, test.labels, flip)()["accuracy"]
        for flip in (False, True)
    )
    result = {
        "device": jax.devices()[0].device_kind, "precision": config.precision,
        "epochs": config.epochs, **trained,
        "test_accuracy": accuracy, "flip_averaged_test_accuracy": flipped,
    }  # fmt: skip
    write_json(run / "result.json", result)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("faces", nargs="+", type=Path, help="what pack_faces.py wrote")
    parser.add_argument("--variant", action="append", help="RECIPE [name=value ...]; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run folders")
    parser.add_argument("--validate-every", type=int, default=1, help="epochs")
    args = parser.parse_args()
    arrays = read_parts(args.faces)
    data = {name: arrays[name].item() for name in ("dataset", "protocol", "fold")}
    if data["fold"] < 0:
        data["fold"] = None
    # Check all variants before the first one trains.
    variants = [(text, parse_variant(text)) for text in args.variant or ["best"]]
    for text, config in variants:
        print(f"{text}, {config.precision}, on {jax.devices()[0].device_kind}", flush=True)
        run = Run(args.out / re.sub(r"[^\w.=]+", "-", text.strip()))
        result = train(dataclasses.replace(config, **data), arrays, run, args.validate_every)
        names = ("validation_accuracy", "test_accuracy", "flip_averaged_test_accuracy")
        validation, test, flipped = (f"{100 * result[name]:.2f} %" for name in names)
        print(
            f"{result['images_per_second']:,.0f} images a second (training, without the "
            f"{result['compile_seconds']:.1f} seconds of compiling), {result['seconds']:.1f} "
            f"seconds with validation\n"
            f"best epoch {result['best_epoch'] + 1}: validation {validation}, test {test}\n"
            f"averaged with mirror images: test {flipped}\n"
            f"wrote {run}",
            flush=True,
        )


if __name__ == "__main__":
    main()
