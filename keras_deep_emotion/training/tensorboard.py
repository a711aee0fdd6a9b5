"""Logs for TensorBoard: curves, images of what the network attends to, settings, profile."""

import dataclasses
import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.evaluation.predictions import predictions_table
from keras_deep_emotion.reports.figures.canvas import figure_pixels
from keras_deep_emotion.reports.figures.evaluation import confusion_figure
from keras_deep_emotion.reports.figures.saliency import attended_figure, saliency_figure
from keras_deep_emotion.saliency.occlusion import occlusion_saliency
from keras_deep_emotion.training.callbacks import AveragedEvaluation, BestModel

IMAGES = 10  # by default, TensorBoard keeps ten images of a tag


def tensorboard_callbacks(
    config: TrainConfig,
    log_dir: Path,
    averaged: AveragedEvaluation,
    validation: FaceArrays,
    labels: list[str],
    best: BestModel,
    profile: bool = False,
) -> list[keras.callbacks.Callback]:
    """Create the callbacks that log a run for TensorBoard; with `profile`, `ProfileSteps` too.

    They come after `Throughput`, `averaged` and `best`. Logs of an interrupted run are continued.
    """
    return [
        # The slowest first: if it is interrupted, the epoch is logged once, after resuming.
        ImageSummaries(config.epochs, log_dir / "pictures", averaged, validation, labels),
        keras.callbacks.TensorBoard(log_dir, write_graph=False),
        HParamsSummary(config, log_dir, best),
        *([ProfileSteps(log_dir / "train")] if profile else []),
    ]


def drawn_epochs(epochs: int) -> set[int]:
    """At most `IMAGES` epochs, counted from 0: evenly spaced, with the first and the last."""
    return set(np.linspace(0, epochs - 1, min(IMAGES, epochs)).round().astype(int).tolist())


class ImageSummaries(keras.callbacks.Callback):
    """Draws the confusion matrix of the validation split in `drawn_epochs` of all `epochs`.

    It also draws attended regions and saliency maps of the split's first face of each class. The
    weights are those that `averaged` validated.
    """

    def __init__(
        self,
        epochs: int,
        log_dir: Path,
        averaged: AveragedEvaluation,
        validation: FaceArrays,
        labels: list[str],
    ):
        super().__init__()
        self.averaged = averaged
        network = averaged.network
        self.epochs = drawn_epochs(epochs)
        self.log_dir = log_dir
        self.validation = validation
        self.labels = labels
        self.chosen = np.unique(validation.labels, return_index=True)[1].tolist()
        outputs = {"probabilities": network.output}
        for layer in network.layers:
            if layer.name in ("theta", "attended"):  # absent without a transformer
                outputs[layer.name] = layer.output
        layers = keras.Model(network.input, outputs)
        # Model.predict would compile with XLA, which takes longer than it saves here.
        self.predict = tf.function(
            lambda faces: layers(faces, training=False),
            input_signature=[tf.TensorSpec((None, *network.input.shape[1:]), tf.float32)],
            autograph=False,
        )
        self.saliency = tf.function(
            lambda faces: occlusion_saliency(lambda one: network(one, training=False), faces),
            autograph=False,
        )

    def on_train_begin(self, logs=None):
        """Open the logs."""
        self.writer = tf.summary.create_file_writer(str(self.log_dir))

    def on_train_end(self, logs=None):
        """Close the logs."""
        self.writer.close()

    def on_epoch_end(self, epoch, logs=None):
        """Draw the epoch if it is one of `epochs`."""
        if epoch not in self.epochs:
            return
        with self.averaged.validated_weights(), self.writer.as_default(step=epoch):
            for title, figure in self.figures().items():
                tf.summary.image(title, figure_pixels(figure)[None])
        self.writer.flush()

    def figures(self):
        """Matplotlib figures of the network with its current weights, by title."""
        images = self.validation.images
        count = len(images)
        batches = (images[i : i + 256] for i in range(0, count, 256))
        probabilities = np.concatenate([self.predict(one)["probabilities"] for one in batches])
        # Drawing must not end a training that has diverged.
        probabilities = np.nan_to_num(probabilities)
        unknown = [""] * count
        labels = self.validation.labels
        table = predictions_table(unknown, unknown, labels, probabilities, self.labels)
        figures = {"confusion matrix": confusion_figure(classification_report(table), "validation")}
        faces = images[self.chosen]
        true = [self.labels[i] for i in labels[self.chosen]]
        predicted = [self.labels[i] for i in probabilities[self.chosen].argmax(axis=1)]
        outputs = self.predict(faces)
        if "attended" in outputs:
            attended = (outputs["attended"].numpy().astype(np.float32) + 1) * 127.5
            theta = outputs["theta"].numpy()
            figures["attended region"] = attended_figure(faces, theta, attended, true)
        maps = self.saliency(tf.constant(faces))
        saliency, decisive = maps.saliency.numpy(), maps.decisive.numpy()
        figures["saliency"] = saliency_figure(faces, saliency, decisive, true, predicted)
        return figures


class HParamsSummary(keras.callbacks.Callback):
    """Logs the settings and results of a run for TensorBoard's HParams, which compares runs.

    Results are the validation metrics of the best epoch so far; the test split is not used.
    """

    METRICS = (  # subfolder of the logs, tag, title
        ("", "best_val_accuracy", "best validation accuracy"),
        ("", "best_val_loss", "its validation loss"),
        ("train", "epoch_accuracy", "last training accuracy"),
        ("train", "epoch_loss", "last training loss"),
    )

    def __init__(self, config: TrainConfig, log_dir: Path, best: BestModel):
        super().__init__()
        self.log_dir = log_dir
        self.best = best
        settings = dataclasses.asdict(config)
        self.settings = {name: value for name, value in settings.items() if value is not None}

    def on_train_begin(self, logs=None):
        """Log the settings, and which metrics are results."""
        # TensorBoard filters and sorts by typed settings only.
        types = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING}
        settings = [
            api_pb2.HParamInfo(name=name, type=types.get(type(value), api_pb2.DATA_TYPE_FLOAT64))
            for name, value in self.settings.items()
        ]
        metrics = [
            api_pb2.MetricInfo(name=api_pb2.MetricName(group=group, tag=tag), display_name=title)
            for group, tag, title in self.METRICS
        ]
        self.writer = tf.summary.create_file_writer(str(self.log_dir))
        self.write(hparams.experiment_pb(settings, metrics))
        # Without a group, the run is listed by its folder.
        self.write(hparams.session_start_pb(self.settings))

    def on_epoch_end(self, epoch, logs=None):
        """Log the metrics of the best epoch so far."""
        accuracy, negative_loss = self.best.best
        with self.writer.as_default(step=epoch):
            tf.summary.scalar("best_val_accuracy", accuracy)
            tf.summary.scalar("best_val_loss", -negative_loss)

    def on_train_end(self, logs=None):
        """Log that the run has ended."""
        self.write(hparams.session_end_pb(api_pb2.STATUS_SUCCESS))
        self.writer.close()

    def write(self, summary):
        """Log a message of the HParams plugin."""
        with self.writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=0)


class ProfileSteps(keras.callbacks.Callback):
    """Profiles the first `steps` steps of the second epoch, after compilation, in whole calls.

    With a single epoch, it profiles the steps after the first call of the training function. The
    profiler of `keras.callbacks.TensorBoard` never starts if a call runs several steps, and hides
    its failures. The profile is written to plugins/profile in `log_dir`.
    """

    def __init__(self, log_dir: Path, steps: int = 10):
        super().__init__()
        self.log_dir = log_dir
        self.steps = steps

    def on_train_begin(self, logs=None):
        """Reset the state."""
        self.compiled = False
        self.first = None  # first profiled batch
        self.recording = False
        self.trace = None  # of the running call

    def on_epoch_begin(self, epoch, logs=None):
        """Remember whether this is the last epoch."""
        self.last = epoch + 1 == self.params["epochs"]

    def on_train_batch_begin(self, batch, logs=None):
        """Start the profiler if it is due; trace the call."""
        if self.first is None and self.compiled and (batch == 0 or self.last):
            tf.profiler.experimental.start(str(self.log_dir))
            self.first = batch
            self.recording = True
        self.compiled = True  # after this call
        if self.recording:
            # The profiler's views of steps need these traces.
            self.trace = tf.profiler.experimental.Trace("train", step_num=batch, _r=1)
            self.trace.__enter__()

    def on_train_batch_end(self, batch, logs=None):
        """Stop the profiler after its steps or the epoch's last, before validation."""
        if self.trace is None:
            return
        self.trace.__exit__(None, None, None)
        self.trace = None
        if batch + 1 >= min(self.first + self.steps, self.params["steps"]):
            tf.profiler.experimental.stop()
            self.recording = False

    def on_train_end(self, logs=None):
        """Warn if no step was profiled."""
        if self.first is None:
            logging.warning(
                "No profile was recorded: the only call of the training function compiles it. "
                "Train for two epochs or more."
            )
