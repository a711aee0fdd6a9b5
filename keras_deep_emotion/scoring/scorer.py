"""An export's answers to image files, for the workers of a job."""

import tensorflow as tf
from apache_beam.utils.shared import Shared

from keras_deep_emotion.exports import LABELS, newest_version
from keras_deep_emotion.scoring import storage

SIGNATURE = "predict_bytes"
MODEL = Shared()  # one for each process, however many threads score


def find_version(path):
    """Folder of the version to take, as `predict.load` finds it; an URL may name it too.

    Raises:
        FileNotFoundError: there is no export.
    """
    gfile = tf.io.gfile
    try:
        if gfile.exists(storage.join(path, "saved_model.pb")):
            return path
        if gfile.exists(storage.join(path, "config.json")):
            raise FileNotFoundError(
                f"{path} is a run; `python cli.py export {path}` makes an export of it to name."
            )
        names = [name.rstrip("/") for name in gfile.listdir(path)] if gfile.isdir(path) else []
    except tf.errors.OpError as error:
        raise FileNotFoundError(f"{path} cannot be read: {error.message}.") from None
    newest = newest_version(
        name for name in names if gfile.exists(storage.join(path, name, "saved_model.pb"))
    )
    if newest is None:
        raise FileNotFoundError(
            f"{path} is no export (no saved_model.pb); `python cli.py export RUN` makes one."
        )
    return storage.join(path, newest)


class Scorer:
    """The `predict_bytes` of an export.

    Attributes:
        labels: names of the classes, in the order of the probabilities.
    """

    def __init__(self, path):
        self.saved = tf.saved_model.load(path)
        if SIGNATURE not in self.saved.signatures:
            raise ValueError(
                f"{path} has no signature {SIGNATURE!r}; `python cli.py export RUN` makes an "
                "export that has."
            )
        with tf.io.gfile.GFile(storage.join(path, *LABELS.split("/"))) as file:
            self.labels = file.read().split()

    def __call__(self, images):
        """Answers for image files.

        Args:
            images: list of bytes.

        Returns:
            For each (its label, (classes,) float32 probabilities), or None of a damaged one.
        """
        try:
            # Looked up each time: the signature alone would let the variables be freed.
            answer = self.saved.signatures[SIGNATURE](image_bytes=tf.constant(images, tf.string))
        except (tf.errors.InvalidArgumentError, tf.errors.ResourceExhaustedError):
            # An export of old fails for a file that ends too soon: which one, halving finds.
            if len(images) == 1:
                return [None]
            half = len(images) // 2
            return self(images[:half]) + self(images[half:])
        answer = {name: value.numpy() for name, value in answer.items()}
        return [
            (label.decode(), probabilities) if valid else None
            for label, probabilities, valid in zip(
                answer["class_name"], answer["probabilities"], answer["valid"], strict=True
            )
        ]
