"""What TensorBoard shows of a run: curves, pictures of what the network sees, settings, profile."""

import dataclasses
import logging

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams

from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.evaluation.predictions import predictions_table
from keras_deep_emotion.reports.figures.canvas import figure_pixels
from keras_deep_emotion.reports.figures.evaluation import confusion_figure
from keras_deep_emotion.reports.figures.saliency import attended_figure, saliency_figure
from keras_deep_emotion.saliency.occlusion import occlusion_saliency

PICTURES = 10  # of each kind in a run: TensorBoard keeps ten of a tag unless told otherwise


PROFILED_STEPS = 10


def tensorboard_callbacks(config, log_dir, averaged, validation, labels, best, profile=False):
    """The callbacks that write a run's logs for TensorBoard.

    Args:
        config: `TrainConfig`.
        log_dir: folder of the logs; what a run that was stopped left there stays.
        averaged: the `callbacks.Settled` of the run.
        validation: `data.Faces` that are judged and drawn.
        labels: names of the classes.
        best: the `BestModel` of the run.
        profile: record where the time goes, see `Profile`.

    Returns:
        List of `keras.callbacks.Callback`; `Throughput`, `averaged` and `best` go before them.
    """
    callbacks = [
        # The slowest first: what is written of an epoch that is stopped here is written again.
        ImageSummaries(config.epochs, log_dir / "pictures", averaged, validation, labels),
        keras.callbacks.TensorBoard(log_dir, write_graph=False),
        HParamsSummary(config, log_dir, best),
    ]
    return callbacks + ([ProfileSteps(log_dir / "train")] if profile else [])


def picture_epochs(epochs, count=PICTURES):
    """Which epochs, from 0, are drawn: `count` or all, evenly spread, with the first and last."""
    return set(np.linspace(0, epochs - 1, min(count, epochs)).round().astype(int).tolist())


class ImageSummaries(keras.callbacks.Callback):
    """Draws, in some epochs, the confusion matrix of validation and how fixed faces are seen.

    The fixed faces are the first of each class: the region that the transformer attends to, and
    where the network looks. All of the weights as they were validated.

    Args:
        epochs: of the whole training; those of `picture_epochs` are drawn.
        log_dir: folder of these logs.
        averaged: the `callbacks.Settled` of the run.
        validation: `data.Faces`.
        labels: names of the classes.
    """

    def __init__(self, epochs, log_dir, averaged, validation, labels):
        super().__init__()
        self.averaged = averaged
        network = averaged.network
        self.epochs = picture_epochs(epochs)
        self.log_dir = log_dir
        self.validation = validation
        self.labels = labels
        self.chosen = [
            int(np.flatnonzero(validation.labels == label)[0])
            for label in np.unique(validation.labels)
        ]
        outputs = {"probabilities": network.output}
        for layer in network.layers:
            if layer.name in ("theta", "attended"):  # none without a transformer
                outputs[layer.name] = layer.output
        seen = keras.Model(network.input, outputs)
        # Not Model.predict: XLA, its choice, takes longer to compile than there is to compute here.
        self.see = tf.function(
            lambda faces: seen(faces, training=False),
            input_signature=[tf.TensorSpec((None, *network.input.shape[1:]), tf.float32)],
            autograph=False,
        )
        self.saliency = tf.function(
            lambda faces: occlusion_saliency(lambda one: network(one, training=False), faces),
            autograph=False,
        )

    def on_train_begin(self, logs=None):
        """Open the log."""
        self.writer = tf.summary.create_file_writer(str(self.log_dir))

    def on_train_end(self, logs=None):
        """Close it."""
        self.writer.close()

    def on_epoch_end(self, epoch, logs=None):
        """Draw, if it is this epoch's turn."""
        if epoch not in self.epochs:
            return
        with self.averaged.validated_weights(), self.writer.as_default(step=epoch):
            for title, figure in self.figures().items():
                tf.summary.image(title, figure_pixels(figure)[None])
        self.writer.flush()

    def figures(self):
        """{title: matplotlib figure} of the network as it is."""
        images = self.validation.images
        count = len(images)
        probabilities = np.concatenate(
            [self.see(images[i : i + 256])["probabilities"] for i in range(0, count, 256)]
        )
        # A training that has diverged is drawn as what it is, not ended by its pictures.
        probabilities = np.nan_to_num(probabilities)
        table = predictions_table(
            [""] * count, [""] * count, self.validation.labels, probabilities, self.labels
        )
        figures = {"confusion matrix": confusion_figure(classification_report(table), "validation")}
        faces = images[self.chosen]
        truths = [self.labels[i] for i in self.validation.labels[self.chosen]]
        answers = [self.labels[i] for i in probabilities[self.chosen].argmax(axis=1)]
        seen = self.see(faces)
        if "attended" in seen:
            attended = (seen["attended"].numpy().astype(np.float32) + 1) * 127.5
            figures["attended region"] = attended_figure(
                faces, seen["theta"].numpy(), attended, truths
            )
        found = self.saliency(tf.constant(faces))
        figures["saliency"] = saliency_figure(
            faces, found.saliency.numpy(), found.decisive.numpy(), truths, answers
        )
        return figures


class HParamsSummary(keras.callbacks.Callback):
    """Lists the run among others in TensorBoard's HParams: its settings and what came of them.

    What came of them is the validation of the epoch that is kept, as far as the run has come; the
    test split has no part in comparing runs.

    Args:
        config: `TrainConfig`.
        log_dir: folder of the run's logs.
        best: the `BestModel` of the run.
    """

    METRICS = (  # folder below the logs, curve, title
        ("", "best_val_accuracy", "best validation accuracy"),
        ("", "best_val_loss", "its validation loss"),
        ("train", "epoch_accuracy", "last training accuracy"),
        ("train", "epoch_loss", "last training loss"),
    )

    def __init__(self, config, log_dir, best):
        super().__init__()
        self.log_dir = log_dir
        self.best = best
        self.settings = {
            name: value for name, value in dataclasses.asdict(config).items() if value is not None
        }

    def on_train_begin(self, logs=None):
        """Write the settings, and which of the curves are the run's result."""
        settings = [
            # Without its type, a setting can neither be filtered nor sorted by.
            api_pb2.HParamInfo(name=name, type=hparam_type(value))
            for name, value in self.settings.items()
        ]
        metrics = [
            api_pb2.MetricInfo(name=api_pb2.MetricName(group=group, tag=tag), display_name=title)
            for group, tag, title in self.METRICS
        ]
        self.writer = tf.summary.create_file_writer(str(self.log_dir))
        self.write(hparams.experiment_pb(settings, metrics))
        # In no group, so that it is listed by its folder.
        self.write(hparams.session_start_pb(self.settings))

    def on_epoch_end(self, epoch, logs=None):
        """Write the best so far."""
        accuracy, negative_loss = self.best.best
        with self.writer.as_default(step=epoch):
            tf.summary.scalar("best_val_accuracy", accuracy)
            tf.summary.scalar("best_val_loss", -negative_loss)

    def on_train_end(self, logs=None):
        """Say that it came to its end."""
        self.write(hparams.session_end_pb(api_pb2.STATUS_SUCCESS))
        self.writer.close()

    def write(self, summary):
        """Write one of the plugin's own messages."""
        with self.writer.as_default():
            tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=0)


def hparam_type(value):
    """How HParams calls the type of a setting."""
    if isinstance(value, bool):  # before the numbers, of which Python has it be one
        return api_pb2.DATA_TYPE_BOOL
    return api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64


class ProfileSteps(keras.callbacks.Callback):
    """Records where the time goes in the first steps of the second epoch, when all is compiled.

    Where there is one epoch only: in those after its first call. That of Keras counts calls of the
    training function as if they were steps, and never starts where a call takes several; nor does
    it let its failure be one.

    Args:
        log_dir: folder that gets the profile, in plugins/profile.
        steps: batches at least; a call of the training function is not divided, and none is taken
            from the next epoch.
    """

    def __init__(self, log_dir, steps=PROFILED_STEPS):
        super().__init__()
        self.log_dir = log_dir
        self.steps = steps

    def on_train_begin(self, logs=None):
        """Nothing is compiled, nothing recorded yet."""
        self.compiled = False
        self.first = None  # batch that the record begins with
        self.recording = False
        self.running = None  # the mark of the call that is recorded

    def on_epoch_begin(self, epoch, logs=None):
        """See whether a better epoch comes."""
        self.last = epoch + 1 == self.params["epochs"]

    def on_train_batch_begin(self, batch, logs=None):
        """Begin the record, if it is time; mark the call."""
        if self.first is None and self.compiled and (batch == 0 or self.last):
            tf.profiler.experimental.start(str(self.log_dir))
            self.first = batch
            self.recording = True
        self.compiled = True  # when this call has been made
        if self.recording:
            # The profiler's views of steps go by these marks.
            self.running = tf.profiler.experimental.Trace("train", step_num=batch, _r=1)
            self.running.__enter__()

    def on_train_batch_end(self, batch, logs=None):
        """End the record, if it has its steps or the epoch has no more: validation is not in it."""
        if self.running is None:
            return
        self.running.__exit__(None, None, None)
        self.running = None
        if batch + 1 >= min(self.first + self.steps, self.params["steps"]):
            tf.profiler.experimental.stop()
            self.recording = False

    def on_train_end(self, logs=None):
        """Say so if there was nothing to record."""
        if self.first is None:
            logging.warning(
                "No profile was recorded: all steps of this training were those that compile it. "
                "Train for two epochs or more."
            )
