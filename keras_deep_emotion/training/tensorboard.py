"""Logs for TensorBoard: curves, settings with their result, pictures, profile."""

import logging
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.evaluation.predictions import predictions_table
from keras_deep_emotion.reports.commands import changed_settings
from keras_deep_emotion.reports.figures.canvas import figure_pixels
from keras_deep_emotion.reports.figures.cards import confusion_card, faces_card
from keras_deep_emotion.saliency.occlusion import occlusion_saliency
from keras_deep_emotion.training.callbacks import AveragedEvaluation, BestModel

STRIDE = 4  # ours: of windows of 8 pixels: a quarter of the time, and as legible in a card
IMAGES = 10  # by default, TensorBoard keeps ten images of a tag
CURVES = {  # tag by name in the logs; TensorBoard sorts them, also in the table of settings
    "val_accuracy": "accuracy/validation",
    "accuracy": "accuracy/training",
    "val_loss": "loss/validation",
    "loss": "loss/training",
    "learning_rate": "training/learning rate",
    "images_per_second": "training/images per second",
}


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
    pictures = Pictures(averaged, validation, labels)
    summaries = RunSummaries(config, log_dir, best, pictures)
    return [summaries, *([ProfileSteps(log_dir)] if profile else [])]


def drawn_epochs(epochs: int) -> set[int]:
    """At most `IMAGES` epochs, counted from 1: evenly spaced, with the first and the last."""
    return set(np.linspace(1, epochs, min(IMAGES, epochs)).round().astype(int).tolist())


class RunSummaries(keras.callbacks.Callback):
    """Logs curves, settings, results and pictures of a run as one entry of TensorBoard.

    Steps are epochs, counted from 1. The settings are those that name the run and those that
    differ from the recipe's; TensorBoard's HParams compares them among runs, with the best
    validation accuracy so far as the first result. The test split is not used. `figures` draws
    the pictures of `drawn_epochs`.
    """

    def __init__(self, config: TrainConfig, log_dir: Path, best: BestModel, figures):
        super().__init__()
        self.log_dir = log_dir
        self.best = best
        self.figures = figures
        self.drawn = drawn_epochs(config.epochs)
        named = {name: getattr(config, name) for name in ("dataset", "recipe")}
        changed = changed_settings(config)
        self.settings = {
            name: value for name, value in (named | changed).items() if value is not None
        }

    def on_train_begin(self, logs=None):
        """Open the logs; log the settings and which curves share a chart."""
        self.writer = tf.summary.create_file_writer(str(self.log_dir))
        # Without a list of all settings and results, TensorBoard collects those of all runs.
        # Without a group, the run is listed by its folder.
        self.write(hparams.session_start_pb(self.settings))
        charts = [
            layout_pb2.Chart(
                title=title, multiline=layout_pb2.MultilineChartContent(tag=[f"{title}/.*"])
            )
            for title in ("accuracy", "loss")
        ]
        curves = layout_pb2.Category(title="curves", chart=charts)
        self.write(custom_scalar.pb(layout_pb2.Layout(category=[curves])))

    def on_epoch_end(self, epoch, logs=None):
        """Log an epoch."""
        accuracy, negative_loss = self.best.best
        with self.writer.as_default(step=epoch + 1):
            # The slowest first: if it is interrupted, the epoch is logged once, after resuming.
            if epoch + 1 in self.drawn:
                for title, figure in self.figures().items():
                    tf.summary.image(title, figure_pixels(figure)[None])
            tf.summary.scalar("accuracy/best validation", accuracy)
            tf.summary.scalar("loss/best validation", -negative_loss)
            for name, tag in CURVES.items():
                tf.summary.scalar(tag, logs[name])
        self.writer.flush()

    def on_train_end(self, logs=None):
        """Log that the run has ended."""
        self.write(hparams.session_end_pb(api_pb2.STATUS_SUCCESS))
        self.writer.close()

    def write(self, summary):
        """Log a message of a plugin."""
        with self.writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=0)


class Pictures:
    """Draws the validated weights of `averaged`; call it for Matplotlib figures by title.

    They are the confusion matrix of the validation split, and attended regions and saliency maps
    of the split's first face of each class.
    """

    def __init__(self, averaged: AveragedEvaluation, validation: FaceArrays, labels: list[str]):
        self.averaged = averaged
        network = averaged.network
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
            lambda faces: occlusion_saliency(
                lambda one: network(one, training=False), faces, stride=STRIDE
            ),
            autograph=False,
        )

    def __call__(self):
        """Figures of the weights that were validated last."""
        with self.averaged.validated_weights():
            return self.figures()

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
        figures = {"confusion matrix": confusion_card(classification_report(table))}
        faces = images[self.chosen]
        true = [self.labels[i] for i in labels[self.chosen]]
        predicted = [self.labels[i] for i in probabilities[self.chosen].argmax(axis=1)]
        answers = [
            f"{name}\n" + ("correct" if name == answer else f"\u2192 {answer}")
            for name, answer in zip(true, predicted, strict=True)
        ]
        outputs = self.predict(faces)
        if "attended" in outputs:
            attended = (outputs["attended"].numpy().astype(np.float32) + 1) * 127.5
            figures["attended region"] = faces_card(faces, true, theta=outputs["theta"].numpy())
            figures["attended, transformed"] = faces_card(attended, true)
        maps = self.saliency(tf.constant(faces)).saliency.numpy()
        figures["saliency"] = faces_card(faces, answers, maps=maps)
        return figures


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
