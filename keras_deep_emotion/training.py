"""From a data set and settings to a run folder: train, keep the best epoch, judge it on test."""

import dataclasses
import json
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_deep_emotion.augmentation import RandomAffine
from keras_deep_emotion.data import built_dataset, training_batches
from keras_deep_emotion.datasets import DATASETS, parse_dataset, role_splits
from keras_deep_emotion.evaluation import evaluate, read_predictions
from keras_deep_emotion.model import build_model
from keras_deep_emotion.runs import judge


def resolve_precision(precision):
    """Keras dtype policy for a `--precision` choice on this machine.

    Args:
        precision: "auto" or a policy of Keras. "auto" is bfloat16 on GPUs that compute in it
            (compute capability 8.0 and above), float16 on those with float16 tensor cores (7.0),
            else float32: a CPU computes half precision no faster.

    Returns:
        "float32", "mixed_float16" or "mixed_bfloat16".
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "float32"
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    weakest = min(detail.get("compute_capability", (0, 0)) for detail in details)
    if weakest >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if weakest >= (7, 0) else "float32"


class BestModel(keras.callbacks.Callback):
    """Keeps the model of the epoch with the highest validation accuracy (of equals, least loss).

    Written beside and renamed, so that `path` is whole at any moment.

    Args:
        model: the model to keep: not the one that is fitted, which augments.
        path: a `.keras` file.
    """

    def __init__(self, model, path):
        super().__init__()
        self.kept = model
        self.path = Path(path)
        self.best = (-1.0, 0.0)
        self.epoch = None

    def on_epoch_end(self, epoch, logs=None):
        """Save if this epoch is the best so far."""
        score = (logs["val_accuracy"], -logs["val_loss"])
        if score > self.best:
            self.best, self.epoch = score, epoch + 1
            aside = self.path.with_name(f"partial.{self.path.name}")
            self.kept.save(aside)
            os.replace(aside, self.path)


class Throughput(keras.callbacks.Callback):
    """Adds `images_per_second` of training, without validation, to each epoch's logs.

    Args:
        images: how many images an epoch holds.
    """

    def __init__(self, images):
        super().__init__()
        self.images = images

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.start = time.perf_counter()
        self.stop = None

    def on_test_begin(self, logs=None):
        """Stop it: training is over, validation begins."""
        self.stop = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Log the rate."""
        logs["images_per_second"] = self.images / ((self.stop or time.perf_counter()) - self.start)


def compiled_trainer(model, config):
    """Wrap a model for training: augmentation before it, loss on its scores.

    Args:
        model: what `build_model` returns; its weights are shared, not copied.
        config: `TrainConfig`.

    Returns:
        A compiled `keras.Model` on the same input, whose output are scores before the softmax.
    """
    scores = keras.Model(model.input, model.get_layer("logits").output)
    augmentation = RandomAffine(
        flip=config.flip,
        rotation=config.rotation,
        zoom=config.zoom,
        shift=config.shift,
        seed=config.seed,
        dtype="float32",
    )
    image = keras.Input(model.input.shape[1:])
    trainer = keras.Model(image, scores(augmentation(image)))
    trainer.compile(
        optimizer=keras.optimizers.Adam(config.learning_rate),
        # On scores: a softmax first would lose small probabilities to rounding.
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # On a CPU, XLA halves the speed of this network.
        jit_compile="auto" if tf.config.list_physical_devices("GPU") else False,
    )
    return trainer


def fit(config, run_dir, data_dir=None):
    """Train, keep the best epoch on validation, and judge it on test.

    Args:
        config: `TrainConfig`.
        run_dir: folder to make; it must not exist or be empty.
        data_dir: where the data sets are built, None for TFDS's own place.

    Returns:
        The test report, as from `evaluation.evaluate`.

    Raises:
        FileExistsError: `run_dir` holds something already.
        FileNotFoundError: the data set is not built.
        ValueError: data set, protocol or fold do not exist.
    """
    run_dir = Path(run_dir)
    name, _ = parse_dataset(config.dataset)
    splits = role_splits(name, config.protocol, config.fold)
    builder = built_dataset(config.dataset, config.protocol, data_dir)
    if run_dir.exists() and any(run_dir.iterdir()):
        raise FileExistsError(f"{run_dir} already holds something; name a new folder.")

    keras.utils.set_random_seed(config.seed)
    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()  # two runs of one seed are alike
    keras.config.set_dtype_policy(resolve_precision(config.precision))

    classes = builder.info.features["label"].names
    model = build_model(config, len(classes))
    trainer = compiled_trainer(model, config)
    size, batch = config.image_size, config.batch_size
    training = training_batches(builder, splits["train"], size, batch, shuffle_seed=config.seed)
    validation = training_batches(builder, splits["validation"], size, batch)
    faces = sum(builder.info.splits[part].num_examples for part in splits["train"].split("+"))

    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.json").write_text(config.to_json())
    (run_dir / "labels.txt").write_text("".join(f"{label}\n" for label in classes))
    best = BestModel(model, run_dir / "model.keras")
    trainer.fit(
        training,
        validation_data=validation,
        epochs=config.epochs,
        shuffle=False,  # tf.data shuffles
        # A progress bar where someone watches, a line an epoch in a log.
        verbose=1 if sys.stdout.isatty() else 2,
        callbacks=[
            Throughput(faces),
            best,
            keras.callbacks.CSVLogger(run_dir / "history.csv"),
            keras.callbacks.TensorBoard(run_dir / "logs", write_graph=False),
        ],
    )
    return judge(run_dir, data_dir)


def fit_folds(config, run_dir, data_dir=None):
    """Train and judge one run for each fold of the `subjects` protocol.

    Args:
        config: `TrainConfig` with that protocol; its `fold` does not matter.
        run_dir: folder to make, of one run folder a fold (`fold_0`, ...) and folds.json.
        data_dir: where the data sets are built, None for TFDS's own place.

    Returns:
        dict, as in folds.json: `accuracies` of the folds in order, their `mean` and `spread`
        (standard deviation, n - 1), and `pooled`, the report of all test faces together: each
        person's faces are predicted by a model that never saw that person.

    Raises:
        ValueError: the data set has no such protocol.
        FileExistsError, FileNotFoundError: as `fit`.
    """
    run_dir = Path(run_dir)
    name, _ = parse_dataset(config.dataset)
    if config.protocol != "subjects":
        raise ValueError(f"--fold all goes with --protocol subjects. Received: {config.protocol}")
    role_splits(name, config.protocol, None)
    accuracies, tables = [], []
    for fold in range(DATASETS[name].folds):
        keras.backend.clear_session()
        fold_dir = run_dir / f"fold_{fold}"
        report = fit(dataclasses.replace(config, fold=fold), fold_dir, data_dir)
        accuracies.append(report["accuracy"])
        tables.append(read_predictions(fold_dir / "predictions.csv"))
    result = {
        "accuracies": accuracies,
        "mean": float(np.mean(accuracies)),
        "spread": float(np.std(accuracies, ddof=1)),
        "paper_accuracy": DATASETS[name].paper_accuracy,
        "pooled": evaluate(pd.concat(tables)),
    }
    (run_dir / "folds.json").write_text(json.dumps(result, indent=2) + "\n")
    return result
