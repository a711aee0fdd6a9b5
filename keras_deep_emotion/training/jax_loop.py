"""Train with Keras's stateless functions in JAX: on a GPU, or on several machines.

The faces lie in the memory of every device and each batch is sharded over the devices of all
processes, so batch normalization sees the whole batch. Random numbers depend on the seed, not on
the number of devices: a step on several machines is that of one except for rounding, which adds up
over a training. A last batch is filled up with faces from the beginning of the epoch, because
compiled steps have one batch size.

The model that is kept opens under TensorFlow, for evaluation and export. Set KERAS_BACKEND=jax
before Keras is imported. Only `fit` needs TensorFlow, to read the data set.
"""

import dataclasses
import math
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

try:
    import jax
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "Training on several machines needs JAX: pip install 'keras-deep-emotion[jax]'"
    ) from None
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.mixup import mixup
from keras_deep_emotion.data.targets import FaceArrays, class_weights
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import atomic_write
from keras_deep_emotion.layers.batch_normalization import recompute_statistics
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.callbacks import history_row, write_history
from keras_deep_emotion.training.compile import average_variables, compiled_trainer

EVALUATION_BATCH = 512  # faces


def join(address: str, processes: int, process: int) -> None:
    """Make this process one of several that train together; return when all have joined.

    Args:
        address: HOST:PORT of process 0, which listens there; the same for all.
        processes: Number of processes.
        process: Number of this one, from 0.

    Raises:
        ValueError: If the address or the number is wrong.
        RuntimeError: If Keras runs on another backend.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"--distribute must be HOST:PORT of process 0. Received: {address}")
    if not 0 <= process < processes:
        raise ValueError(
            f"--process must be between 0 and {processes - 1} with --processes {processes}. "
            f"Received: {process}"
        )
    if keras.backend.backend() != "jax":
        raise RuntimeError(
            "Set KERAS_BACKEND=jax before Keras is imported. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, processes, process)


def fit(
    config: TrainConfig, run_dir: str | Path, data_dir: str | Path | None = None
) -> dict | None:
    """Train on all processes that have joined; each calls this with the same settings.

    Process 0 validates and writes the run folder, without TensorBoard's logs and the backup that
    `--resume` needs. The data set is built on every machine, or in a folder that they share.

    Args:
        config: The settings.
        run_dir: Folder to create; it must not exist or be empty. Used by process 0.
        data_dir: Folder of the built data sets; None for TFDS's default.

    Returns:
        The report in process 0, None in the others.

    Raises:
        FileExistsError: If `run_dir` is not empty.
        FileNotFoundError: If the data set is not built.
        ValueError: If data set, protocol or fold do not exist; or as `supported_config`.
    """
    import tensorflow as tf

    from keras_deep_emotion.data.pipeline import load_split
    from keras_deep_emotion.data.reading import class_names, open_dataset
    from keras_deep_emotion.training.single_machine import check_empty, create_run

    tf.config.set_visible_devices([], "GPU")  # their memory is for JAX
    run, task, size = Run(run_dir), Task.from_config(config), config.image_size
    if task.is_all_folds:
        config = dataclasses.replace(config, fold=0)
    supported = supported_config(config)
    builder = open_dataset(task, data_dir)
    labels, validation = class_names(builder), None
    if jax.process_index() == 0:
        check_empty(run)
        create_run(run, config, labels)
        validation = load_split(builder, task.splits["validation"], size)
    faces = load_split(
        builder, task.splits["train"], size, config.soft_labels, config.label_smoothing
    )
    train(supported, faces, validation, labels, run)
    return evaluate_in_subprocess(run, data_dir) if validation is not None else None


def supported_config(config: TrainConfig) -> TrainConfig:
    """Resolve precision "auto": bfloat16 on GPUs, float32 elsewhere.

    Raises:
        ValueError: If the batch does not divide evenly between all devices, or the settings need
            teachers or float16.
    """
    devices = jax.device_count()
    if config.batch_size % devices:
        raise ValueError(
            f"batch_size must be a multiple of the {devices} devices of all processes. "
            f"Received: batch_size={config.batch_size}"
        )
    if config.teachers:
        raise ValueError("--teachers is for training on one machine: leave --distribute out.")
    if config.precision == "mixed_float16":  # would need loss scaling
        raise ValueError(
            "precision must be auto, float32 or mixed_bfloat16 on JAX. Received: mixed_float16"
        )
    if config.precision != "auto":
        return config
    best = "mixed_bfloat16" if jax.default_backend() == "gpu" else "float32"
    return dataclasses.replace(config, precision=best)


def train(
    config: TrainConfig,
    faces: FaceArrays,
    validation: FaceArrays | None,
    labels: list[str],
    run: Run,
) -> dict:
    """Train, and keep the best epoch on validation in the run folder.

    Args:
        config: The settings, from `supported_config`.
        faces: The training split; the same in all processes.
        validation: The validation split; process 0 must have it, the others None.
        labels: Class names.
        run: An existing folder, which gets model.keras and history.csv from process 0.

    Returns:
        `compile_seconds`; `seconds` of all epochs with validation; `images_per_second` without;
        and in process 0 `best_epoch` (from 0) and `validation_accuracy`.
    """
    count = len(faces.images)
    steps = math.ceil(count / config.batch_size)
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    kept = build_model(config, len(labels))  # float32 whatever the precision: serves anywhere
    keras.utils.set_random_seed(config.seed)  # the same initial weights in all processes
    keras.config.set_dtype_policy(config.precision)
    network = build_model(config, len(labels))
    trainer = compiled_trainer(network, config, steps)
    trainer.optimizer.build(trainer.trainable_variables)

    start = time.perf_counter()
    state, train_epoch = compile_training(trainer, faces, config)
    best = None
    if validation is not None:
        best = BestWeights(kept, kept_indices(network, trainer), faces, validation, config, run)
    compiled = time.perf_counter()
    training = 0.0
    for epoch in range(config.epochs):
        start_of_epoch = time.perf_counter()
        state, (loss, accuracy) = train_epoch(state, epoch)
        seconds = time.perf_counter() - start_of_epoch
        training += seconds
        if best is not None:
            trainer.optimizer.iterations.assign((epoch + 1) * steps)
            rate = float(keras.ops.convert_to_numpy(trainer.optimizer.learning_rate))
            logs = {"loss": loss, "accuracy": accuracy, "learning_rate": rate}
            best.update(epoch, state, {**logs, "images_per_second": count / seconds})
    return {
        "compile_seconds": compiled - start,
        "seconds": time.perf_counter() - compiled,
        "images_per_second": count * config.epochs / training,
        **({"best_epoch": best.epoch, "validation_accuracy": best.score[0]} if best else {}),
    }


def compile_training(
    trainer: keras.Model, faces: FaceArrays, config: TrainConfig
) -> tuple[tuple, Callable]:
    """Place state and faces on all devices and compile an epoch.

    Args:
        trainer: From `compiled_trainer`, its optimizer built.
        faces: The training split.
        config: The settings.

    Returns:
        (state, train_epoch): `state` is the values of trainable, other and optimizer variables,
        three lists; `train_epoch(state, epoch)` returns the new state and the epoch's mean
        (loss, accuracy), an array.
    """
    mesh = Mesh(jax.devices(), ("batch",))
    replicated = NamedSharding(mesh, PartitionSpec())
    sharded = NamedSharding(mesh, PartitionSpec("batch"))
    replicate = partial(
        jax.tree.map, lambda x: jax.make_array_from_process_local_data(replicated, np.asarray(x))
    )
    count, classes = faces.targets.shape
    weights = class_weights(faces.labels, classes, config.class_balance)
    weights = np.ones(count, np.float32) if weights is None else weights
    columns = replicate((faces.images, faces.targets, weights))
    groups = trainer.trainable_variables, trainer.non_trainable_variables
    groups += (trainer.optimizer.variables,)
    state = tuple(replicate([variable.value for variable in group]) for group in groups)

    def loss_and_metrics(trainable, others, images, targets, weights):
        logits, others, penalties = trainer.stateless_call(
            trainable, others, images, training=True, return_losses=True
        )
        loss = trainer.loss(targets, logits, sample_weight=weights) + sum(penalties)
        accuracy = jnp.mean(jnp.argmax(logits, -1) == jnp.argmax(targets, -1))
        return loss, (others, jnp.stack([loss, accuracy]))

    def step(state, number, rows, columns):
        trainable, others, optimizer = state
        chosen, shares = jax.tree.map(lambda row: row[number], rows)
        batch = [column[chosen].astype("float32") for column in columns]
        batch = mixup(shares, *batch) if config.mixup else batch
        batch = jax.lax.with_sharding_constraint(tuple(batch), sharded)
        gradients, (others, metrics) = jax.grad(loss_and_metrics, has_aux=True)(
            trainable, others, *batch
        )
        trainable, optimizer = trainer.optimizer.stateless_apply(optimizer, gradients, trainable)
        return jax.lax.with_sharding_constraint(
            ((trainable, others, optimizer), metrics), replicated
        )

    rows_of = jax.jit(
        partial(epoch_rows, config.seed, count, config.batch_size, config.mixup),
        out_shardings=replicated,
    )
    rows = rows_of(0)
    epoch_steps = compile_steps(step, len(rows[0]), state, rows, columns)

    def train_epoch(state, epoch):
        state, metrics = epoch_steps(state, rows_of(epoch), columns)
        return state, metrics.mean(axis=0)

    return state, train_epoch


def epoch_rows(seed: int, count: int, batch_size: int, mixup: float, epoch: int) -> tuple:
    """Order and mixing of the faces of an epoch: functions of seed and epoch.

    Returns:
        (order, shares): (steps, batch_size) indices, the last batch filled up from the first; and,
        unless `mixup` is 0, as many shares from Beta(mixup, mixup), else None.
    """
    key, mixing = jax.random.split(jax.random.fold_in(jax.random.key(seed), epoch))
    steps = math.ceil(count / batch_size)
    order = jax.random.permutation(key, count)[jnp.arange(steps * batch_size) % count]
    order = order.reshape(steps, batch_size)
    return order, jax.random.beta(mixing, mixup, mixup, order.shape) if mixup else None


def in_one_call() -> bool:
    """Whether steps are compiled into one loop, so that nothing waits for Python between them.

    In a compiled loop on a CPU, XLA's convolutions run on one core, at a third of their speed.
    """
    return jax.default_backend() != "cpu"


def compile_steps(function: Callable, steps: int, state, *data) -> Callable:
    """Compile `function(state, number, *data)` for each step number, as in `jax.lax.scan`.

    Returns:
        A function of (state, *data), with these shapes, that returns the last state and the
        metrics of all steps, an array.
    """
    if in_one_call():

        def scan(state, *data):
            body = lambda state, number: function(state, number, *data)  # noqa: E731
            return jax.lax.scan(body, state, jnp.arange(steps))

        loop = jax.jit(scan).lower(state, *data).compile()
    else:
        step = jax.jit(function).lower(state, 0, *data).compile()

        def loop(state, *data):
            metrics = []
            for number in range(steps):
                state, found = step(state, number, *data)
                metrics.append(found)
            return state, metrics

    def run_steps(state, *data):
        state, metrics = loop(state, *data)
        return state, np.asarray(metrics)  # waits for the last step

    return run_steps


def compile_evaluation(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, flip: bool = False
) -> Callable[[], tuple[float, float]]:
    """Compile the evaluation of a model on a split, in float32.

    Args:
        model: From `build_model`.
        images: (count, size, size, 1) grey levels 0..255.
        labels: (count,) integers.
        flip: Average the probabilities for each image and its mirror image.

    Returns:
        A function that evaluates the model's present weights and returns (loss, accuracy).
    """
    scores = keras.Model(model.input, model.get_layer("logits").output)
    cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)
    count = len(images)

    def batch_sums(state, number, weights, images, labels):
        rows = number * EVALUATION_BATCH + jnp.arange(EVALUATION_BATCH)
        real, rows = rows < count, rows % count  # the last batch is filled up
        faces = images[rows].astype("float32")
        logits, _ = scores.stateless_call(*weights, faces, training=False)
        if flip:
            mirrored, _ = scores.stateless_call(*weights, faces[:, :, ::-1], training=False)
            logits = jnp.log((jax.nn.softmax(logits) + jax.nn.softmax(mirrored)) / 2)
        losses = cross_entropy(jax.nn.one_hot(labels[rows], logits.shape[1]), logits)
        correct = jnp.argmax(logits, -1) == labels[rows]
        return state, jnp.stack([jnp.sum(losses * real), jnp.sum(correct & real)])

    def weights():
        groups = scores.trainable_variables, scores.non_trainable_variables
        return tuple([variable.value for variable in group] for group in groups)

    data = jax.device_put((images, labels))
    steps = math.ceil(count / EVALUATION_BATCH)
    with jax.default_matmul_precision("highest"):  # tensor cores would round float32 to 10 bits
        all_sums = compile_steps(batch_sums, steps, None, weights(), *data)

    def evaluate():
        loss, correct = all_sums(None, weights(), *data)[1].sum(axis=0, dtype=np.float64)
        return float(loss / count), float(correct / count)

    return evaluate


def kept_indices(network: keras.Model, trainer: keras.Model) -> list[int]:
    """Indices of the network's weights in a flat training state; of their averages, if kept."""
    optimizer = trainer.optimizer
    averages = average_variables(optimizer)
    trained = trainer.trainable_variables if averages else []
    source = {id(one): average for one, average in zip(trained, averages, strict=True)}
    variables = [*trainer.trainable_variables, *trainer.non_trainable_variables]
    index = {id(one): i for i, one in enumerate([*variables, *optimizer.variables])}
    return [index[id(source.get(id(weight), weight))] for weight in network.weights]


class BestWeights:
    """Validates after each epoch; writes the history, and the model of the best epoch.

    Validation, and what is kept, is of averaged weights and recomputed normalization statistics,
    if the settings say so. The best epoch has the highest accuracy, then the lowest loss.

    Args:
        kept: A float32 network of this process.
        indices: From `kept_indices`.
        faces: The training split, for the statistics.
        validation: The validation split.
        config: The settings.
        run: The run folder.

    Attributes:
        score: (accuracy, -loss) of the best epoch.
        epoch: Its number, from 0.
    """

    def __init__(
        self,
        kept: keras.Model,
        indices: list[int],
        faces: FaceArrays,
        validation: FaceArrays,
        config: TrainConfig,
        run: Run,
    ):
        self.kept, self.indices, self.config, self.run = kept, indices, config, run
        self.images = faces.images if config.fresh_statistics else None
        self.evaluate = compile_evaluation(kept, validation.images, validation.labels)
        self.score, self.epoch, self.history = (-1.0, 0.0), None, []

    def update(self, epoch: int, state: tuple, logs: dict[str, float]) -> None:
        """Validate the weights of a training state and write what changed."""
        values = jax.tree.leaves(state)
        self.kept.set_weights(jax.device_get([values[i] for i in self.indices]))
        if self.images is not None:
            recompute_statistics(self.kept, self.images)
        loss, accuracy = self.evaluate()
        if (accuracy, -loss) > self.score:
            self.score, self.epoch = (accuracy, -loss), epoch
            with atomic_write(self.run / Run.MODEL) as temporary:
                self.kept.save(temporary)
        logs = {**logs, "val_loss": loss, "val_accuracy": accuracy}
        self.history.append(history_row(epoch, logs))
        write_history(self.run, self.history)
        print(
            f"epoch {epoch + 1}/{self.config.epochs}: {logs['images_per_second']:,.0f} images a "
            f"second, loss {logs['loss']:.4f}, validation {100 * accuracy:.2f} %",
            flush=True,
        )


def evaluate_in_subprocess(run: Run, data_dir: str | Path | None = None) -> dict:
    """Evaluate a run as `python cli.py evaluate` does, on the TensorFlow backend.

    Returns:
        The report, as from `evaluation.evaluate_run`.

    Raises:
        ChildProcessError: If evaluation failed; the run and its model are complete.
    """
    command = ["evaluate", str(run), *(["--data-dir", str(data_dir)] if data_dir else [])]
    completed = subprocess.run(
        [sys.executable, "-c", "from keras_deep_emotion.cli import main; main()", *command],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},  # JAX holds their memory until it exits
        capture_output=True,
        text=True,
    )
    if completed.returncode:
        raise ChildProcessError(
            f"{run} is trained, but its evaluation failed. To see why: "
            f"python cli.py {shlex.join(command)}"
        )
    return run.report
