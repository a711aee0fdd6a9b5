"""Predict with LiteRT, from a .tflite file: no TensorFlow is imported.

LiteRT (the package ai-edge-litert) is TensorFlow Lite's successor.
"""

import importlib.util
import threading
from collections.abc import Sequence

import numpy as np

from keras_deep_emotion.files import quiet_stderr
from keras_deep_emotion.inference.predictor import Predictor, in_batches
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.windows import SaliencyMaps, explain_by_windows

BATCH = 8  # faces; larger ones take longer a face
THREADS = 2


def is_available() -> bool:
    """Whether LiteRT is installed."""
    return importlib.util.find_spec("ai_edge_litert") is not None


class LiteRTPredictor(Predictor):
    """The LiteRT model of a run."""

    runtime = "litert"

    def __init__(self, run: Run):
        from ai_edge_litert.interpreter import Interpreter

        self._lock = threading.Lock()  # tensors belong to the interpreter
        with quiet_stderr():  # it tells of its delegate
            interpreter = Interpreter(str(run / Run.LITERT), num_threads=THREADS)
            self._run = interpreter.get_signature_runner()
            size = int(self._run.get_input_details()["image"]["shape"][1])
            super().__init__(run, run.labels, size)
            self.classify(np.zeros((1, size, size, 1), np.float32))

    def classify(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of (batch, size, size, 1) float32 grey levels 0..255."""

        def predict(batch):
            with self._lock:
                return self._run(image=batch)["probabilities"].copy()

        return in_batches(predict, images, BATCH)

    def predict_prepared(self, faces: Sequence[np.ndarray]) -> np.ndarray:
        """See `Predictor`."""
        return self.classify(np.stack(faces))

    def explain_prepared(self, faces, window, stride, filling) -> SaliencyMaps:
        """See `Predictor`."""
        return explain_by_windows(self.classify, np.stack(faces), window, stride, filling)
