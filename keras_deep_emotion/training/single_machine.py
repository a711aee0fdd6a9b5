"""Train on one machine: from settings to a run folder with model, report, figures and page."""

import dataclasses
import logging
import math
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion import __version__
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.pipeline import load_split, training_batches, validation_batches
from keras_deep_emotion.data.reading import absent_classes, class_names, open_dataset
from keras_deep_emotion.data.targets import FaceArrays, class_weights
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.calibration import calibrate_run
from keras_deep_emotion.evaluation.evaluate import evaluate_run
from keras_deep_emotion.files import is_partial, refuse_links, write_json
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.reports.page import write_report
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.explain_run import explain_run
from keras_deep_emotion.training import devices
from keras_deep_emotion.training.callbacks import (
    AveragedEvaluation,
    Backup,
    BestModel,
    EpochTable,
    StopBetweenBatches,
    Throughput,
    restore_backup,
    write_history,
)
from keras_deep_emotion.training.compile import (
    compiled_trainer,
    dtype_policy,
    statistics_images,
    with_camera,
)
from keras_deep_emotion.training.distillation import distillation_targets, teacher_runs
from keras_deep_emotion.training.starting import copy_start, start_run
from keras_deep_emotion.training.tensorboard import tensorboard_callbacks


def fit(
    config: TrainConfig,
    run_dir: str | Path,
    data_dir: str | Path | None = None,
    profile: bool = False,
) -> dict:
    """Train, keep the best epoch on validation, and evaluate it on the test split.

    Creates `run_dir`, and returns the report of `evaluation.evaluate_run`. `data_dir` is that of
    `data.open_dataset`. With `profile`, some steps are profiled, see `tensorboard.ProfileSteps`.

    Raises:
        FileExistsError: If `run_dir` is not empty.
        FileNotFoundError: If the data set is not built, or a teacher is not a finished run.
        ValueError: If data set, protocol or fold do not exist, a teacher is unsuitable, or the
            training diverged.
    """
    run, task = Run(run_dir), Task.from_config(config)
    if task.is_all_folds:
        # For `fit --resume`, settings without a fold mean all folds.
        config = dataclasses.replace(config, fold=0)
    builder = open_dataset(task, data_dir)
    start_run(config), teacher_runs(config, class_names(builder))  # checked before a folder is made
    check_empty(run)
    if task.info.named_by_source and (absent := absent_classes(builder, task.splits["train"])):
        message = "The training split has no faces for %s: the model cannot learn these classes."
        logging.getLogger(__name__).warning(message, ", ".join(absent))
    create_run(run, config, class_names(builder))
    train(config, run, data_dir, profile)
    return finish(run, data_dir)


def resume(run_dir: str | Path, data_dir: str | Path | None = None, profile: bool = False) -> dict:
    """Continue an interrupted run from its last complete epoch, and evaluate it.

    Returns the report that `fit` would have returned without the interruption, on a CPU to 1e-6.

    Raises:
        FileNotFoundError: If the folder is not a run, or the data set is not built.
        ValueError: If the backup is damaged or missing, there is no epoch left to profile, or the
            folder holds a run for each fold.
    """
    run = Run(run_dir)
    config = run.config
    if run.task.is_all_folds:
        raise ValueError(f"{run} holds a run for each fold: call experiments.resume_run.")
    trained = [name for name in (Run.HISTORY, Run.REPORT) if run.has(name)]
    if trained and not run.has(Run.BACKUP):
        # Starting from the first epoch would overwrite the model.
        raise ValueError(
            f"{run} has {trained[0]} but no {Run.BACKUP}, which training on several machines does "
            f"not keep. To evaluate it: keras-deep-emotion evaluate {shlex.quote(str(run))}"
        )
    names = class_names(open_dataset(run.task, data_dir))
    if run.has(Run.LABELS):
        run.check_labels(names)
    else:  # killed while the folder was created
        create_run(run, config, names)
    train(config, run, data_dir, profile)
    return finish(run, data_dir)


def check_empty(run: Run) -> None:
    """Raise FileExistsError if the folder is not empty: runs are never overwritten.

    What a process left that was killed while it wrote the first file is no content.
    """
    if not run.path.exists() or all(map(is_partial, run.path.iterdir())):
        return
    message = f"{run} already holds something; name a new folder"
    if run.has(Run.CONFIG):
        quoted = shlex.quote(str(run))
        message += f", or go on with what is there: keras-deep-emotion fit --resume {quoted}"
    raise FileExistsError(f"{message}.")


def create_run(
    run: Run, config: TrainConfig, labels: list[str], precision: str | None = None
) -> None:
    """Create a run's folder with its settings (first, as `resume` needs them), versions, labels.

    `precision` is that of the training, None for that of the settings on this machine.
    """
    run.write_config(config)
    versions = {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "keras_deep_emotion": __version__,
        "machine": devices.describe_machine(),
        "precision": precision or devices.resolve_precision(config.precision),
    }
    write_json(run / Run.VERSIONS, versions)
    run.write_labels(labels)


def finish(run: Run, data_dir: str | Path | None) -> dict:
    """Calibrate a trained run, evaluate it on its test split, explain it, and write its report."""
    print("calibrating on validation, evaluating the test split, drawing maps", flush=True)
    calibrate_run(run, data_dir)
    report = evaluate_run(run, data_dir)
    explain_run(run, data_dir)
    write_report(run)
    return report


def train(
    config: TrainConfig,
    run: Run,
    data_dir: str | Path | None = None,
    profile: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> float:
    """Train, from the run's backup if it has one, and keep the best epoch on validation.

    With `config.camera`, validation has each face twice: as it is, and as a camera changes it. The
    test split is not read. `callbacks` come after those of the run. Returns the validation
    accuracy of the best epoch.

    Raises:
        ValueError: If the backup is damaged, there is no epoch left to profile, or another process
            trains the run.
    """
    refuse_links(run.path)  # TensorBoard's logs are in a folder
    with run.locked(), dtype_policy("float32"):
        return train_locked(config, run, data_dir, profile, callbacks)


def train_locked(config, run, data_dir, profile, callbacks) -> float:
    """Train a run that no other process trains, see `train`."""
    task = Task.from_config(config)
    builder = open_dataset(task, data_dir)
    labels = class_names(builder)
    keras.backend.clear_session()  # else the networks of several runs stay in memory
    faces, validation = load_faces(config, run, builder)
    steps = math.ceil(len(faces.images) / config.batch_size)
    network, trainer, kept = build_trainer(config, len(labels), steps)
    shapes = [tuple(one.shape) for one in network.weights] if config.start_share else []
    if run.has(Run.BACKUP):
        with trainer.distribute_strategy.scope():  # the optimizer's variables are on every GPU
            state = restore_backup(run / Run.BACKUP, trainer, shapes)
        write_history(run, state["history"])  # outdated if killed between the two writes
    else:
        copy_start(network, config, faces, labels)
        start = network.get_weights() if config.start_share else []
        state = {"history": [], "best": (-1.0, 0.0), "start": start}
    done = len(state["history"])
    if profile and done == config.epochs:
        raise ValueError(f"--profile records training, and {run} has all its epochs.")
    images = statistics_images(faces, config) if config.fresh_statistics else None
    averaged = AveragedEvaluation(network, images, state["start"], config.start_share)
    best = BestModel(averaged, kept, run / Run.MODEL, state["best"])
    if done == config.epochs:
        return best.best[0]
    run.delete_derived()
    weights = class_weights(faces.labels, config.class_balance)
    batches = training_batches(faces, config.batch_size, config.seed, done, weights, config.mixup)
    logs = run / Run.LOGS
    logging = tensorboard_callbacks(config, logs, averaged, validation, labels, best, profile)
    trainer.fit(
        batches,
        validation_data=validation_batches(validation, config.batch_size),
        initial_epoch=done,
        epochs=config.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # training_batches shuffles
        verbose=0,  # `EpochTable` prints
        callbacks=[
            StopBetweenBatches(),
            Throughput(len(faces.images)),
            EpochTable(summary(config, run, faces, validation, network)),
            averaged,
            best,
            *logging,
            Backup(run, best, state["history"], state["start"]),
            *callbacks,
        ],
    )
    return best.best[0]


def summary(config, run, faces, validation, network) -> list[str]:
    """What is trained, on what and where, in three lines."""
    precision = devices.resolve_precision(config.precision)
    return [
        f"{config.dataset}: {len(faces.images):,} faces to train on, "
        f"{len(validation.images):,} for validation",
        f"network {config.network}, {network.count_params():,} parameters, {precision} on "
        f"{devices.describe_devices()}",
        f"run folder: {run}",
    ]


def load_faces(config: TrainConfig, run: Run, builder) -> tuple[FaceArrays, FaceArrays]:
    """Read the splits that a run is trained and validated on, with the targets of its settings."""
    task, size = Task.from_config(config), config.image_size
    faces = load_split(
        builder, task.splits["train"], size, config.soft_labels, config.label_smoothing
    )
    validation = load_split(builder, task.splits["validation"], size)
    if config.camera:
        validation = with_camera(validation, config)
    return distillation_targets(faces, class_names(builder), config, run), validation


def build_trainer(config: TrainConfig, classes: int, steps: int) -> tuple[keras.Model, ...]:
    """Seed everything, and build the network for some number of classes and steps an epoch.

    Returns the network in the device's precision, the compiled model that trains it, and a float32
    network to save, so that it can be served anywhere.
    """
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    kept = build_model(config, classes)
    keras.utils.set_random_seed(config.seed)
    if not on_gpu:
        tf.config.experimental.enable_op_determinism()  # equal seeds give equal runs
    strategy = devices.strategy_for_devices()
    with strategy.scope(), dtype_policy(devices.resolve_precision(config.precision)):
        network = build_model(config, classes)
        trainer = compiled_trainer(
            network,
            config,
            steps,
            # On a CPU, XLA halves the speed of these networks; across GPUs it cannot reduce.
            jit_compile="auto" if on_gpu and strategy.num_replicas_in_sync == 1 else False,
            # On a GPU, a call costs more than a step of these small networks.
            steps_per_execution=devices.steps_per_execution(steps) if on_gpu else 1,
        )
        create_variables(trainer)
    return network, trainer, kept


def create_variables(trainer: keras.Model) -> None:
    """Create the variables of optimizer and metrics, so that the first step is traced once."""
    trainer.optimizer.build(trainer.trainable_variables)
    blank = np.zeros((1, trainer.output.shape[-1]), np.float32)
    trainer.compute_metrics(None, blank, blank)
    trainer.reset_metrics()
