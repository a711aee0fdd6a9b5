"""From a data set and settings to a run folder: train, keep the best epoch, judge it on test."""

import dataclasses
import json
import math
import os
import platform
import shlex
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from keras_deep_emotion import __version__
from keras_deep_emotion.callbacks import (
    Backup,
    BestModel,
    Settled,
    Throughput,
    restore,
    write_history,
)
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data import (
    built_dataset,
    read_faces,
    training_batches,
    validation_batches,
)
from keras_deep_emotion.datasets import (
    DATASETS,
    differences_from_paper,
    parse_dataset,
    role_splits,
)
from keras_deep_emotion.evaluation import evaluate, read_predictions
from keras_deep_emotion.explanation import explain_run
from keras_deep_emotion.files import written_whole
from keras_deep_emotion.model import build_model
from keras_deep_emotion.monitoring import monitoring
from keras_deep_emotion.page import write_page
from keras_deep_emotion.runs import forget_judgement, is_finished, judge
from keras_deep_emotion.teaching import TEACHERS, taught, teacher_dirs
from keras_deep_emotion.trainer import compiled_trainer


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


def strategy_for_devices():
    """How this machine trains: each batch shared by all its GPUs, or on its one device."""
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def steps_in_one_call(steps):
    """How many of an epoch's steps to do in one call: 16 at most, and a divisor of `steps`.

    Of any other number Keras does whole calls, so more steps than the epoch has.
    """
    return max(count for count in range(1, 17) if steps % count == 0)


def class_weights(labels, classes, power):
    """Weight of each face in the loss, so that rare classes count more.

    Args:
        labels: (count,) integers.
        classes: how many classes.
        power: 0 weighs all faces alike, 1 all classes.

    Returns:
        (count,) float32 of mean 1, or None for power 0.
    """
    if not power:
        return None
    counts = np.bincount(labels, minlength=classes)
    weights = (1.0 / np.maximum(counts, 1)) ** power
    weights = weights[labels]
    return (weights / weights.mean()).astype(np.float32)


def refuse_used(run_dir):
    """Raise FileExistsError if a folder holds something: a run is never written over."""
    if run_dir.exists() and any(run_dir.iterdir()):
        raise FileExistsError(
            f"{run_dir} already holds something; name a new folder, or go on with what is there: "
            f"python cli.py fit --resume {shlex.quote(str(run_dir))}"
        )


def make_run_dir(config, run_dir, builder):
    """Make the folder of a run with what is known before it.

    config.json, versions.json (what it is trained with, which a later reader's machine cannot tell)
    and labels.txt. The settings come first: with them `resume` goes on, wherever this was killed.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with written_whole(run_dir / "config.json") as aside:
        aside.write_text(config.to_json())
    versions = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "keras_deep_emotion": __version__,
        "machine": machine(),
    }
    (run_dir / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")
    with written_whole(run_dir / "labels.txt") as aside:
        aside.write_text("".join(f"{name}\n" for name in builder.info.features["label"].names))


def machine():
    """System, processor and GPUs of this machine in one line."""
    processor = platform.processor() or platform.machine()
    try:  # Linux leaves the name here and nowhere else
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    cores = f"{os.cpu_count()} cores"
    return ", ".join([platform.system(), platform.machine(), processor, cores, *gpus])


def fit(config, run_dir, data_dir=None, profile=False):
    """Train, keep the best epoch on validation, and judge it on test.

    Args:
        config: `TrainConfig`.
        run_dir: folder to make; it must not exist or be empty.
        data_dir: where the data sets are built, None for TFDS's own place.
        profile: record where the time goes, see `monitoring.Profile`.

    Returns:
        The test report, as from `evaluation.evaluate`.

    Raises:
        FileExistsError: `run_dir` holds something already.
        FileNotFoundError: the data set is not built.
        ValueError: data set, protocol or fold do not exist.
    """
    run_dir = Path(run_dir)
    name, _ = parse_dataset(config.dataset)
    role_splits(name, config.protocol, config.fold)
    if config.protocol == "subjects" and config.fold is None:
        # Written down: a folder of settings without a fold is of them all, to `resume`.
        config = dataclasses.replace(config, fold=0)
    builder = built_dataset(config.dataset, config.protocol, data_dir)
    # Or say what is wrong with one.
    teacher_dirs(config, builder.info.features["label"].names)
    refuse_used(run_dir)
    make_run_dir(config, run_dir, builder)
    train(config, run_dir, data_dir, profile)
    return finish(run_dir, data_dir)


def resume(run_dir, data_dir=None, profile=False):
    """Take up a run that was stopped, from its last whole epoch; judge it again if it was not.

    Args:
        run_dir: a folder that `fit` or `fit_folds` made.
        data_dir: where the data sets are built, None for TFDS's own place.
        profile: as in `fit`.

    Returns:
        What `fit` returns, or `fit_folds`, as if the run had never stopped: on a CPU to
        1e-6.

    Raises:
        FileNotFoundError: the folder is no run, or the data set is not built.
        ValueError: its backup is damaged, or missing though it was trained; or there is nothing
            that could be profiled.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "config.json").is_file():
        raise FileNotFoundError(
            f"{run_dir} is no run: it has no config.json. Name a folder that `python cli.py fit` "
            "made."
        )
    config = TrainConfig.from_json(run_dir / "config.json")
    begun = [name for name in ("history.csv", "report.json") if (run_dir / name).is_file()]
    if begun and not (run_dir / "backup.npz").is_file():
        # From its first epoch it would go over the model that is there.
        raise ValueError(
            f"{run_dir} has {begun[0]} but no backup.npz, which a training on several machines "
            f"does not keep: it cannot be gone on with. To judge it: python cli.py evaluate "
            f"{shlex.quote(str(run_dir))}"
        )
    if config.protocol == "subjects" and config.fold is None:
        if profile:
            raise ValueError(f"--profile is of one run, and {run_dir} is of all folds.")
        return fit_folds(config, run_dir, data_dir, resumed=True)
    if not (run_dir / "labels.txt").is_file():  # killed while the folder was made
        make_run_dir(config, run_dir, built_dataset(config.dataset, config.protocol, data_dir))
    train(config, run_dir, data_dir, profile)
    return finish(run_dir, data_dir)


def finish(run_dir, data_dir):
    """Judge a trained run on its test split, draw where it looks, write its page.

    Args:
        run_dir: folder of the run.
        data_dir: where the data sets are built, None for TFDS's own place.

    Returns:
        The test report.
    """
    report = judge(run_dir, data_dir)
    explain_run(run_dir, data_dir)
    write_page(run_dir)
    return report


def train(config, run_dir, data_dir, profile=False):
    """Train and keep the best epoch on validation; the test split is not looked at.

    Args:
        config: `TrainConfig`.
        run_dir: folder that is there, with a backup if the training was begun; model.keras,
            history.csv and logs are written to it.
        data_dir: where the data sets are built, None for TFDS's own place.
        profile: as in `fit`.

    Returns:
        Highest validation accuracy of an epoch, that of the kept model.

    Raises:
        ValueError: the backup is damaged; or there is no epoch left to profile.
    """
    run_dir = Path(run_dir)
    name, _ = parse_dataset(config.dataset)
    splits = role_splits(name, config.protocol, config.fold)
    builder = built_dataset(config.dataset, config.protocol, data_dir)
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    size, batch = config.image_size, config.batch_size
    faces = read_faces(builder, splits["train"], size, config.soft_labels, config.label_smoothing)
    validation = read_faces(builder, splits["validation"], size)
    steps = math.ceil(len(faces.images) / batch)
    labels = builder.info.features["label"].names
    classes = len(labels)

    keras.config.set_dtype_policy("float32")
    faces = taught(faces, labels, config, run_dir)
    kept = build_model(config, classes)  # float32 whatever trains it, so it serves anywhere
    keras.utils.set_random_seed(config.seed)
    if not on_gpu:
        tf.config.experimental.enable_op_determinism()  # two runs of one seed are alike
    keras.config.set_dtype_policy(resolve_precision(config.precision))
    backup = run_dir / "backup.npz"
    strategy = strategy_for_devices()
    with strategy.scope():
        network = build_model(config, classes)
        trainer = compiled_trainer(
            network,
            config,
            steps,
            # On a CPU, XLA halves the speed of these networks; between GPUs it cannot reduce.
            jit_compile="auto" if on_gpu and strategy.num_replicas_in_sync == 1 else False,
            # Calls cost more than small networks' steps do.
            steps_per_execution=steps_in_one_call(steps) if on_gpu else 1,
        )
        state = {"history": [], "best": (-1.0, 0.0)}
        if backup.exists():
            state = restore(backup, trainer)
            write_history(run_dir, state["history"])  # killed between the two, it was behind
    done = len(state["history"])
    if profile and done == config.epochs:
        raise ValueError(f"--profile records training, and {run_dir} has all its epochs.")
    settled = Settled(network, faces.images if config.fresh_statistics else None)
    best = BestModel(settled, kept, run_dir / "model.keras", state["best"])
    if done < config.epochs:
        forget_judgement(run_dir)
        weights = class_weights(faces.labels, classes, config.class_balance)
        trainer.fit(
            training_batches(faces, batch, config.seed, done, weights, config.mixup),
            validation_data=validation_batches(validation, batch),
            initial_epoch=done,
            epochs=config.epochs,
            steps_per_epoch=steps,
            shuffle=False,  # training_batches does
            # A progress bar where someone watches, a line an epoch in a log.
            verbose=1 if sys.stdout.isatty() else 2,
            callbacks=[
                Throughput(len(faces.images)),
                settled,
                best,
                *monitoring(config, run_dir / "logs", settled, validation, labels, best, profile),
                Backup(backup, best, state["history"]),
            ],
        )
    return best.best[0]


def fit_folds(config, run_dir, data_dir=None, resumed=False):
    """Train and judge one run for each fold of the `subjects` protocol.

    Args:
        config: `TrainConfig` with that protocol; its `fold` does not matter.
        run_dir: folder to make, of one run folder a fold (`fold_0`, ...) and folds.json.
        data_dir: where the data sets are built, None for TFDS's own place.
        resumed: go on with the folds that `run_dir` lacks.

    Returns:
        dict, as in folds.json: `accuracies` of the folds in order, their `mean` and `spread`
        (standard deviation, n - 1), and `pooled`, the report of all test faces together: each
        person's faces are predicted by a model that never saw that person.

    Raises:
        ValueError: the data set has no such protocol, or a teacher may know faces of a fold.
        FileExistsError, FileNotFoundError: as `fit`.
    """
    run_dir = Path(run_dir)
    name, _ = parse_dataset(config.dataset)
    if config.protocol != "subjects":
        raise ValueError(f"--fold all goes with --protocol subjects. Received: {config.protocol}")
    role_splits(name, config.protocol, None)
    labels = built_dataset(config.dataset, config.protocol, data_dir).info.features["label"].names
    for fold in range(DATASETS[name].folds):
        if not (resumed and (run_dir / f"fold_{fold}" / TEACHERS).is_file()):
            teacher_dirs(dataclasses.replace(config, fold=fold), labels)
    if not resumed:
        refuse_used(run_dir)
    config = dataclasses.replace(config, fold=None)  # so that `resume` knows what this is
    run_dir.mkdir(parents=True, exist_ok=True)
    with written_whole(run_dir / "config.json") as aside:
        aside.write_text(config.to_json())
    accuracies, tables = [], []
    for fold in range(DATASETS[name].folds):
        keras.backend.clear_session()
        fold_dir = run_dir / f"fold_{fold}"
        if is_finished(fold_dir):
            report = json.loads((fold_dir / "report.json").read_text())
        elif (fold_dir / "config.json").is_file():
            report = resume(fold_dir, data_dir)
        else:
            report = fit(dataclasses.replace(config, fold=fold), fold_dir, data_dir)
        accuracies.append(report["accuracy"])
        tables.append(read_predictions(fold_dir / "predictions.csv"))
    result = {
        "accuracies": accuracies,
        "mean": float(np.mean(accuracies)),
        "spread": float(np.std(accuracies, ddof=1)),
        "paper_accuracy": DATASETS[name].paper_accuracy,
        "paper_differs": differences_from_paper(config.dataset, config.protocol),
        "pooled": evaluate(pd.concat(tables)),
    }
    with written_whole(run_dir / "folds.json") as aside:
        aside.write_text(json.dumps(result, indent=2) + "\n")
    return result
