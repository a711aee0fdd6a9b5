"""Predictors that TensorFlow runs: the Keras model of a run, and an export."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_deep_emotion.exports import LABELS
from keras_deep_emotion.inference.predictor import Predictor, in_batches
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.occlusion import occlusion_saliency
from keras_deep_emotion.saliency.windows import SaliencyMaps

BATCH = 256  # faces


class GraphPredictor(Predictor):
    """What the two share; `classify` is of each."""

    def __init__(self, source, labels: list[str], size: int):
        super().__init__(source, labels, size)
        self._compiled: dict[tuple, Callable] = {}  # compiled, by settings

    def predict_prepared(self, faces: Sequence[np.ndarray]) -> np.ndarray:
        """See `Predictor`."""
        return in_batches(self.classify, np.stack(faces), BATCH)

    def explain_prepared(self, faces, window, stride, filling) -> SaliencyMaps:
        """See `Predictor`."""
        settings = {"window": window, "stride": stride, "filling": filling}
        explain = self._compiled.setdefault(
            tuple(settings.values()),
            tf.function(
                lambda faces: occlusion_saliency(self.classify, faces, **settings),
                input_signature=[tf.TensorSpec((None, self.size, self.size, 1), tf.float32)],
                autograph=False,
            ),
        )
        return SaliencyMaps(*(part.numpy() for part in explain(tf.constant(np.stack(faces)))))


class KerasPredictor(GraphPredictor):
    """The Keras model of a run."""

    runtime = "keras"

    def __init__(self, run: Run):
        super().__init__(run, run.labels, run.config.image_size)
        self.network = run.load_model()
        self._folded = fold_batch_normalization(self.network)
        # Traced here, not with the first image.
        self._folded.predict_on_batch(tf.zeros((1, *self.network.input.shape[1:])))

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """Probabilities of (batch, size, size, 1) float32 grey levels 0..255. Graph code."""
        return self._folded(images, training=False)


class SavedModelPredictor(GraphPredictor):
    """One version of an exported model, from the version's folder."""

    runtime = "saved_model"

    def __init__(self, path: str | Path):
        self._saved_model = tf.saved_model.load(str(path))
        _, inputs = self._signature("serving_default").structured_input_signature
        labels = (Path(path) / LABELS).read_text().split()
        super().__init__(Path(path), labels, inputs["image"].shape[1])

    def _signature(self, name):
        # Looked up each time: a signature alone does not keep its variables alive.
        return self._saved_model.signatures[name]

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """As `KerasPredictor.classify`."""
        return self._signature("serving_default")(image=images)["probabilities"]
