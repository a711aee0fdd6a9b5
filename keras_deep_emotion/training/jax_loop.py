"""Train in JAX through Keras's stateless functions: on a GPU, or on several machines.

All devices hold all faces; each batch is sharded over the devices of all processes. Batch
normalization sees the whole batch and random numbers do not depend on the devices, so a step on
several machines is that of one except for rounding, which adds up over a training. The last batch
of an epoch is filled up with its first faces, because compiled steps have one batch size.

Set KERAS_BACKEND=jax before Keras is imported. The model opens under TensorFlow, which evaluates
and exports it.
"""

import contextlib
import dataclasses
import math
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

from keras_deep_emotion.program import install_command

try:
    import jax
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        f"Training on several machines needs JAX: {install_command('jax')}"
    ) from None
import keras

from keras_deep_emotion import stopping
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.callbacks import (
    EPOCH_HEAD,
    AveragedEvaluation,
    BestModel,
    epoch_row,
    history_row,
    write_history,
)
from keras_deep_emotion.training.compile import (
    compiled_trainer,
    dtype_policy,
    statistics_images,
    with_camera,
)
from keras_deep_emotion.training.jax_steps import (
    FlatWeights,
    compile_evaluation,
    compile_statistics,
    compile_training,
    with_fused_pooling,
)
from keras_deep_emotion.training.starting import copy_start, start_run


def join(address: str, processes: int, process: int) -> None:
    """Join the `processes` that train together, as number `process`; return when all have joined.

    Raises ValueError for a wrong address or number, RuntimeError on another backend.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--distribute must be HOST:PORT of process 0. Received: {address}")
    if not 0 <= process < processes:
        raise ValueError(f"--process must be between 0 and {processes - 1}. Received: {process}")
    if keras.backend.backend() != "jax":
        raise RuntimeError(
            "Set KERAS_BACKEND=jax before Keras is imported. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, processes, process)


def fit(config: TrainConfig, run_dir: str | Path, data_dir: str | Path | None) -> dict | None:
    """Train as `single_machine.fit` on all processes that have joined, with the same settings.

    Process 0 validates, writes the run folder (without TensorBoard's logs and the backup that
    `--resume` needs) and returns the report; the others return None. The data set is built on every
    machine, or in a folder that they share.
    """
    import tensorflow as tf

    from keras_deep_emotion.data.pipeline import load_split
    from keras_deep_emotion.data.reading import class_names, open_dataset
    from keras_deep_emotion.evaluation.calibration import calibrate_run
    from keras_deep_emotion.training.single_machine import check_empty, create_run

    tf.config.set_visible_devices([], "GPU")  # their memory is for JAX
    run, task, size = Run(run_dir), Task.from_config(config), config.image_size
    if task.is_all_folds:
        config = dataclasses.replace(config, fold=0)
    supported = supported_config(config)
    builder = open_dataset(task, data_dir)
    start_run(config)
    labels, validation = class_names(builder), None
    if jax.process_index() == 0:
        check_empty(run)
        create_run(run, config, labels, supported.precision)
        validation = load_split(builder, task.splits["validation"], size)
    faces = load_split(
        builder, task.splits["train"], size, config.soft_labels, config.label_smoothing
    )
    with run.locked() if validation is not None else contextlib.nullcontext():
        train(supported, faces, validation, labels, run)
    if validation is not None:
        calibrate_run(run, data_dir)
    jax.distributed.shutdown()  # the other processes do not wait for the evaluation
    return evaluate_in_subprocess(run, data_dir) if validation is not None else None


def supported_config(config: TrainConfig) -> TrainConfig:
    """Return the settings with precision "auto" resolved: bfloat16 on GPUs, float32 elsewhere.

    Raises ValueError for what the loop cannot train.
    """
    devices = jax.device_count()
    if config.batch_size % devices:
        raise ValueError(
            f"batch_size must be a multiple of the {devices} devices of all processes. "
            f"Received: batch_size={config.batch_size}"
        )
    if config.teachers:
        raise ValueError("--teachers is for training on one machine: leave --distribute out.")
    if config.precision == "mixed_float16":  # the loss would have to be scaled
        raise ValueError(
            f"precision must be float32 or mixed_bfloat16 on JAX. Received: {config.precision}"
        )
    if config.precision != "auto":
        return config
    best = "mixed_bfloat16" if jax.default_backend() == "gpu" else "float32"
    return dataclasses.replace(config, precision=best)


def train(
    config: TrainConfig, faces, validation, labels: list[str], run: Run, validate_every: int = 1
) -> dict:
    """Train, and keep the best epoch on validation: model.keras and history.csv of an existing run.

    `config` is from `supported_config`; `validation` is None in all processes but 0, which writes.
    Every `validate_every`-th epoch is validated, and the last.
    Returns `compile_seconds`; `seconds` of all epochs with validation; `images_per_second` without;
    and in process 0 `best_epoch` (from 0) and its `validation_accuracy`.
    """
    keras.backend.clear_session()
    with dtype_policy("float32"):  # whatever the precision: serves anywhere
        kept = build_model(config, len(labels))
    keras.utils.set_random_seed(config.seed)  # the same initial weights in all processes
    steps = math.ceil(len(faces.images) / config.batch_size)
    with dtype_policy(config.precision):
        network = with_fused_pooling(build_model(config, len(labels)))
        trainer = compiled_trainer(network, config, steps)
    copy_start(network, config, faces, labels)
    start_weights = network.get_weights()
    if config.camera and validation is not None:
        validation = with_camera(validation, config)
    flat = FlatWeights(trainer)

    start = time.perf_counter()
    state, train_epoch = compile_training(trainer, flat, faces, config)
    if validation is not None:
        evaluate = compile_evaluation(kept, validation.images, validation.labels)
        if config.fresh_statistics:
            update_statistics = compile_statistics(kept, statistics_images(faces, config))
    compiled = time.perf_counter()
    averaged = AveragedEvaluation(kept, None, start_weights, config.start_share)
    history, training = [], 0.0
    if validation is not None:
        print(EPOCH_HEAD, flush=True)
    best = BestModel(averaged, kept, run / Run.MODEL)
    for epoch in range(config.epochs):
        stopping.check()
        start_of_epoch = time.perf_counter()
        state, logs = train_epoch(state, epoch)
        seconds = time.perf_counter() - start_of_epoch
        training += seconds
        if validation is None:
            continue
        is_validated = not (epoch + 1) % validate_every or epoch + 1 == config.epochs
        flat.assign(state)
        logs["learning_rate"] = keras.ops.convert_to_numpy(trainer.optimizer.learning_rate)
        logs["images_per_second"] = len(faces.images) / seconds
        logs |= dict.fromkeys(("val_loss", "val_accuracy"), math.nan)
        if is_validated:
            kept.set_weights(averaged.mixed(network.get_weights()))
            if config.fresh_statistics:
                update_statistics()
            averaged.values = kept.get_weights()
            logs |= {f"val_{name}": value for name, value in evaluate().items()}
            best.on_epoch_end(epoch, logs)
        history.append(history_row(epoch, logs))
        write_history(run, history)
        left = (config.epochs - epoch - 1) * (time.perf_counter() - compiled) / (epoch + 1)
        print(epoch_row(epoch, config.epochs, logs, left), flush=True)
    return {
        "compile_seconds": compiled - start,
        "seconds": time.perf_counter() - compiled,
        "images_per_second": len(faces.images) * config.epochs / training,
        "best_epoch": best.epoch,
        "validation_accuracy": best.best[0],
    }


def evaluate_in_subprocess(run, data_dir):
    """Evaluate a run by the command `evaluate`, on the TensorFlow backend; return its report."""
    options = ["--data-dir", str(data_dir)] if data_dir else []
    command = ["evaluate", *options, "--", str(run)]
    places = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "CUDA_VISIBLE_DEVICES": "",  # JAX holds the GPUs' memory until it exits
    }
    completed = subprocess.run(
        # -P: a keras.py in the current folder is not Keras.
        [sys.executable, "-P", "-m", "keras_deep_emotion", *command],
        env={**os.environ, **environment},
        capture_output=True,
    )
    if completed.returncode:
        raise ChildProcessError(
            f"{run} is trained, but its evaluation failed. To see why: "
            f"keras-deep-emotion {shlex.join(command)}"
        )
    return run.report
