"""One training on several machines: Keras on its JAX backend, each batch shared between them.

Keras's fit does not work under TensorFlow's MultiWorkerMirroredStrategy. On JAX all processes run
one program on one global batch (`keras.distribution.DataParallel`): batch normalisation sees the
whole batch, augmentation and dropout draw what one machine would draw, and so each step is that
of one machine but for rounding, which adds up over a training. The faces come from the same tf.data
as on one machine, and the model that is kept opens under TensorFlow, which judges it, explains and
exports.

JAX must be Keras's backend before Keras is imported: set KERAS_BACKEND=jax.
"""

import dataclasses
import json
import math
import os
import shlex
import subprocess
import sys
from pathlib import Path

try:
    import jax
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "Training on several machines needs JAX: pip install 'keras-deep-emotion[jax]'"
    ) from None
import keras
import pandas as pd
import tensorflow as tf

from keras_deep_emotion.data.pipeline import (
    class_weights,
    load_split,
    training_batches,
    validation_batches,
)
from keras_deep_emotion.data.reading import class_names, open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import atomic_write
from keras_deep_emotion.layers.batch_normalization import recompute_statistics
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.callbacks import Throughput
from keras_deep_emotion.training.compile import compiled_trainer
from keras_deep_emotion.training.single_machine import check_empty, create_run


def join(address, processes, process, seed):
    """Make this process one of several that train together; returns when all are there.

    Args:
        address: "HOST:PORT" of process 0, which listens there; the same for all.
        processes: how many there are.
        process: number of this one, from 0.
        seed: of the run; the same for all.

    Raises:
        ValueError: the process is none of them, or the address is no HOST:PORT.
        RuntimeError: Keras runs on another backend.
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
    # TensorFlow only reads the faces: the memory of the GPUs is JAX's.
    tf.config.set_visible_devices([], "GPU")
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # Before the next line, which would else draw a seed and let the processes agree on it.
    keras.utils.set_random_seed(seed)
    keras.distribution.initialize(address, processes, process)


def resolve_precision(precision):
    """As `training.resolve_precision`, by JAX: "auto" is bfloat16 on GPUs, float32 elsewhere."""
    if precision != "auto":
        return precision
    return "mixed_bfloat16" if jax.default_backend() == "gpu" else "float32"


def local_share(dataset, devices, processes, process):
    """The part of each global batch that a process feeds to its devices.

    Keras's own division cuts the stream of faces anew, so that its global batches are others than
    those of one machine wherever an epoch ends in a smaller one. Here each batch is cut by itself.

    Args:
        dataset: `tf.data.Dataset` of tuples of tensors whose first dimension is the batch.
        devices: of all processes; each has as many.
        processes: how many there are.
        process: number of this one, from 0.

    Returns:
        `tf.data.Dataset` of the same tuples, of the rows that are this process's. A batch that
        does not divide evenly is filled up with rows from its beginning, at most `devices` - 1:
        of the batches of an epoch, that is the last.
    """

    def share(*columns):
        count = tf.shape(columns[0])[0]
        local = (count + devices - 1) // devices * devices // processes
        rows = (process * local + tf.range(local)) % count
        return tuple(tf.gather(column, rows) for column in columns)

    return dataset.map(share).prefetch(2)


class Keeper(keras.callbacks.Callback):
    """Validates on this process alone, keeps the best model, and writes the history.

    Stands in for `AveragedEvaluation`, `BestModel` and `Backup`, which change the weights for a
    moment: here they are the common property of all processes and must not be touched by one.

    Args:
        kept: a float32 network that belongs to this process alone: made, as this callback, before
            the distribution is set. Set `network` to the network that is trained, of the same
            weights, without what only training needs.
        batches: validation batches, all of them.
        run_dir: folder that gets model.keras and history.csv.
        faces: as `AveragedEvaluation` takes them.
    """

    def __init__(self, kept, batches, run_dir, faces=None):
        super().__init__()
        self.kept = kept
        self.batches = batches
        self.run_dir = Path(run_dir)
        self.faces = faces
        self.best = (-1.0, 0.0)
        self.history = []
        self.scores = keras.Model(kept.input, kept.get_layer("logits").output)
        self.scores.compile(
            loss=keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
        )

    def learnt_values(self):
        """Weights of the network as arrays, averaged where the optimiser keeps an average."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        values = {id(weight): weight for weight in self.network.weights}
        if optimizer.use_ema:
            values |= {
                id(weight): average
                for weight, average in zip(
                    self.model.trainable_variables,
                    optimizer._model_variables_moving_average,
                    strict=True,
                )
            }
        return [keras.ops.convert_to_numpy(values[id(weight)]) for weight in self.network.weights]

    def on_epoch_end(self, epoch, logs=None):
        """Validate; save the model if it is the best so far."""
        self.kept.set_weights(self.learnt_values())
        common = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            if self.faces is not None:
                recompute_statistics(self.kept, self.faces)
            found = self.scores.evaluate(self.batches, verbose=0, return_dict=True)
        finally:
            keras.distribution.set_distribution(common)
        logs |= {f"val_{name}": value for name, value in found.items()}
        score = (logs["val_accuracy"], -logs["val_loss"])
        if score > self.best:
            self.best = score
            with atomic_write(self.run_dir / "model.keras") as aside:
                self.kept.save(aside)
        self.history.append({"epoch": epoch, **{key: float(logs[key]) for key in sorted(logs)}})
        with atomic_write(self.run_dir / "history.csv") as aside:
            pd.DataFrame(self.history).to_csv(aside, index=False)


def fit(config, run_dir, data_dir=None):
    """As `training.fit`, by all processes that have joined; each calls it with the same settings.

    Process 0 alone validates, and has the run folder; TensorBoard's logs and what `--resume` needs
    are not written. The data set is built on every machine, or in a folder that they share.

    Args:
        config: `TrainConfig`.
        run_dir: folder to make; it must not exist or be empty. Of process 0 only.
        data_dir: where the data sets are built, None for TFDS's own place.

    Returns:
        The test report in process 0; None in the others.

    Raises:
        FileExistsError: `run_dir` holds something already.
        FileNotFoundError: the data set is not built.
        ValueError: data set, protocol or fold do not exist, the batch does not divide evenly
            between the devices, or there are teachers.
    """
    run_dir = Path(run_dir)
    first = jax.process_index() == 0
    devices = jax.device_count()
    if config.batch_size % devices:
        raise ValueError(
            f"batch_size must be a multiple of the {devices} devices of all processes. "
            f"Received: batch_size={config.batch_size}"
        )
    if config.teachers:
        raise ValueError("--teachers is for training on one machine: leave --distribute out.")
    task = Task.from_config(config)
    splits = task.splits
    if task.is_all_folds:  # as on one machine
        config = dataclasses.replace(config, fold=0)
    builder = open_dataset(task, data_dir)
    if first:
        check_empty(Run(run_dir))
        create_run(Run(run_dir), config, class_names(builder))
    size, batch = config.image_size, config.batch_size
    faces = load_split(builder, splits["train"], size, config.soft_labels, config.label_smoothing)
    steps = math.ceil(len(faces.images) / batch)
    classes = faces.targets.shape[1]

    callbacks = [Throughput(len(faces.images))]
    keras.config.set_dtype_policy("float32")
    # Before the distribution is set: this process's own, and float32 whatever trains it.
    kept = build_model(config, classes)
    if first:
        validation = load_split(builder, splits["validation"], size)
        whole = faces.images if config.fresh_statistics else None
        callbacks.append(Keeper(kept, validation_batches(validation, batch), run_dir, whole))
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    keras.utils.set_random_seed(config.seed)  # the processes begin alike
    keras.config.set_dtype_policy(resolve_precision(config.precision))
    network = build_model(config, classes)
    trainer = compiled_trainer(network, config, steps)
    if first:
        callbacks[-1].network = network
    weights = class_weights(faces.labels, classes, config.class_balance)
    batches = training_batches(faces, batch, config.seed, weights=weights, mixup=config.mixup)
    trainer.fit(
        local_share(batches, devices, jax.process_count(), jax.process_index()),
        epochs=config.epochs,
        steps_per_epoch=steps,
        shuffle=False,  # training_batches does
        verbose=2 if first else 0,
        callbacks=callbacks,
    )
    return judge_apart(run_dir, data_dir) if first else None


def judge_apart(run_dir, data_dir=None):
    """`runs.judge` in a process of its own: this one's Keras is on JAX, judging is TensorFlow's.

    Returns:
        The report, as read from report.json.

    Raises:
        ChildProcessError: judging failed; the run and its model are there.
    """
    command = ["evaluate", str(run_dir), *(["--data-dir", str(data_dir)] if data_dir else [])]
    done = subprocess.run(
        [sys.executable, "-c", "from keras_deep_emotion.cli import main; main()", *command],
        # JAX holds the memory of the GPUs until this process ends.
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ChildProcessError(
            f"{run_dir} is trained, but judging it failed. To see why: "
            f"python cli.py {shlex.join(command)}"
        )
    return json.loads((Path(run_dir) / "report.json").read_text())
