"""Predictors that TensorFlow runs: the Keras model of a run, and an export."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_deep_emotion.exports import ABOUT, LABELS, damaged
from keras_deep_emotion.files import parse_labels, plain_path, read_json, read_text
from keras_deep_emotion.inference.operations import refuse_programs
from keras_deep_emotion.inference.predictor import Predictor, in_batches
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.networks import BATCH, Network


class KerasPredictor(Predictor):
    """The Keras model of a run."""

    runtime = "keras"

    def __init__(self, run: Run):
        about = {"dataset": run.config.dataset, "operating_point": run.operating_point()}
        super().__init__(run, run.labels, run.config.image_size, about)
        self._network = Network.from_run(run)
        self.network = self._network.model
        self.attend = self._network.attend
        self.classify = self._network.classify
        self.predict_prepared(np.zeros((1, *self.network.input.shape[1:])))  # traced here

    def _predict(self, faces: Sequence[np.ndarray]) -> np.ndarray:
        """See `Predictor`."""
        return self._network.predict_prepared(faces)


class SavedModelPredictor(Predictor):
    """One version of an exported model, from the version's folder."""

    runtime = "saved_model"

    def __init__(self, path: str | Path, trust: bool = False):
        if not trust:
            refuse_programs(str(path))
        try:
            with plain_path(path) as plain:
                self._saved_model = tf.saved_model.load(plain)
            signature = self._signature("serving_default")
            size = signature.structured_input_signature[1]["image"].shape[1]
            count = signature.structured_outputs["probabilities"].shape[1]
            labels = parse_labels(read_text(Path(path) / LABELS), LABELS, count)
            super().__init__(Path(path), labels, int(size), read_json(Path(path) / ABOUT, {}))
            self.predict_prepared(np.zeros((1, size, size, 1)))
        except Exception as error:  # of any type: TensorFlow has many
            raise damaged(path, error) from error

    def _signature(self, name):
        # Looked up each time: a signature alone does not keep its variables alive.
        return self._saved_model.signatures[name]

    def _predict(self, faces: Sequence[np.ndarray]) -> np.ndarray:
        """See `Predictor`."""

        def predict(images):
            return self._signature("serving_default")(image=images)["probabilities"]

        return in_batches(predict, np.stack(faces).astype(np.float32), BATCH)
