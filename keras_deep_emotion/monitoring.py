"""What TensorBoard shows of a run: curves, pictures of what the network sees, settings, profile."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary

from keras_deep_emotion import report as reports
from keras_deep_emotion.evaluation import evaluate, predictions_table
from keras_deep_emotion.saliency import occlusion_saliency
from keras_deep_emotion.trainer import averaged_weights

PICTURES_EVERY = 5  # epochs
PROFILED_STEPS = 5


def monitoring(config, log_dir, network, validation, labels, first_epoch, steps, profile=False):
    """The callbacks that write a run's logs for TensorBoard.

    Args:
        config: `TrainConfig`.
        log_dir: folder of the logs; what a run that was stopped left there stays.
        network: the network that is trained.
        validation: `data.Faces` that are judged and drawn.
        labels: names of the classes.
        first_epoch: epoch that training begins with, from 0.
        steps: batches in an epoch.
        profile: record where the time goes in some steps of the second epoch, when all is compiled
            and warm; of the only one, if there is no second.

    Returns:
        List of `keras.callbacks.Callback`; `Throughput` and `AveragedValidation` go before them.
    """
    profiled = 0
    if profile:
        start = steps + 2 if config.epochs - first_epoch > 1 else min(3, steps)
        profiled = (start, start + PROFILED_STEPS - 1)
    curves = keras.callbacks.TensorBoard(log_dir, write_graph=False, profile_batch=profiled)
    pictures = Pictures(config.epochs, log_dir / "pictures", network, validation, labels)
    return [curves, pictures, Settings(config, log_dir)]


class Pictures(keras.callbacks.Callback):
    """Draws, every few epochs, the confusion matrix of validation and how fixed faces are seen.

    The fixed faces are the first of each class: the region that the transformer attends to, and
    where the network looks. All of the averaged weights, those that are kept.

    Args:
        epochs: of the whole training: the last is drawn in any case.
        log_dir: folder of these logs.
        network: the network that is trained.
        validation: `data.Faces`.
        labels: names of the classes.
        every: epochs between pictures.
    """

    def __init__(self, epochs, log_dir, network, validation, labels, every=PICTURES_EVERY):
        super().__init__()
        self.epochs = epochs
        self.log_dir = log_dir
        self.network = network
        self.validation = validation
        self.labels = labels
        self.every = every
        self.chosen = [
            int(np.flatnonzero(validation.labels == label)[0])
            for label in np.unique(validation.labels)
        ]
        layers = [layer.name for layer in network.layers]
        self.attention = None
        if "attended" in layers:
            outputs = [network.get_layer(name).output for name in ("theta", "attended")]
            self.attention = keras.Model(network.input, outputs)
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
        if (epoch + 1) % self.every and epoch + 1 != self.epochs:
            return
        with averaged_weights(self.model), self.writer.as_default(step=epoch):
            for title, figure in self.figures().items():
                tf.summary.image(title, reports.figure_pixels(figure)[None])
        self.writer.flush()

    def figures(self):
        """{title: matplotlib figure} of the network as it is."""
        images = self.validation.images
        count = len(images)
        probabilities = np.concatenate(
            [self.network.predict_on_batch(images[i : i + 256]) for i in range(0, count, 256)]
        )
        table = predictions_table(
            [""] * count, [""] * count, self.validation.labels, probabilities, self.labels
        )
        figures = {"confusion matrix": reports.confusion_figure(evaluate(table), "validation")}
        faces = images[self.chosen]
        truths = [self.labels[i] for i in self.validation.labels[self.chosen]]
        answers = [self.labels[i] for i in probabilities[self.chosen].argmax(axis=1)]
        if self.attention is not None:
            theta, attended = (np.asarray(one) for one in self.attention.predict_on_batch(faces))
            figures["attended region"] = reports.attended_figure(
                faces, theta, (attended.astype(np.float32) + 1) * 127.5, truths
            )
        found = self.saliency(tf.constant(faces))
        figures["saliency"] = reports.saliency_figure(
            faces, found.saliency.numpy(), found.decisive.numpy(), truths, answers
        )
        return figures


class Settings(keras.callbacks.Callback):
    """Lists the run among others in TensorBoard's HParams, with its settings and validation.

    Args:
        config: `TrainConfig`.
        log_dir: folder of the run's logs.
    """

    def __init__(self, config, log_dir):
        super().__init__()
        self.log_dir = log_dir
        self.settings = {
            name: value for name, value in dataclasses.asdict(config).items() if value is not None
        }

    def on_train_begin(self, logs=None):
        """Write the settings, and which of the curves are the run's result."""
        metrics = [
            hparams.Metric(f"epoch_{name}", group=group, display_name=f"{title} {name}")
            for group, title in (("validation", "validation"), ("train", "training"))
            for name in ("accuracy", "loss")
        ]
        self.writer = tf.summary.create_file_writer(str(self.log_dir))
        with self.writer.as_default():
            hparams.hparams_config([hparams.HParam(name) for name in self.settings], metrics)
            hparams.hparams(self.settings)

    def on_train_end(self, logs=None):
        """Say that it came to its end."""
        ended = hparams_summary.session_end_pb(api_pb2.STATUS_SUCCESS)
        with self.writer.as_default():
            tf.summary.experimental.write_raw_pb(ended.SerializeToString(), step=0)
        self.writer.close()
