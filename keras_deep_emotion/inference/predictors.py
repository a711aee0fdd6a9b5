"""Predictors: a run's model and an exported one, with the same methods. `client` has a server's.

Every predictor has `labels`, `predict`, `predict_bytes` and `explain`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_deep_emotion.exports import LABELS
from keras_deep_emotion.images.inputs import check_images, prepare_batch
from keras_deep_emotion.images.preprocessing import decode_image, prepare_face
from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.occlusion import SaliencyMaps, occlusion_saliency, window_starts


class LocalPredictor:
    """What predictors of a run and of an export share; `classify` is theirs.

    Attributes:
        labels: Class names, in the order of the probabilities.
        size: Side of the images, pixels.
        network: The `keras.Model` of a run; None for an export, whose layers cannot be read.
    """

    network = None

    def __init__(self, labels: list[str], size: int):
        self.labels, self.size = labels, size
        self._compiled: dict[tuple, Callable] = {}  # compiled, by settings

    def predict(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """Probabilities of cropped faces, (batch, classes) float32 in the order of `labels`.

        Args:
            images: (batch, size, size, 1) array or tensor of grey levels 0..255, or a list of
                crops of any size: paths, `PIL.Image`s, arrays or tensors (height, width) or
                (height, width, channels) of levels 0..255, in any mixture.
            batch_size: Images at once.

        Raises:
            ValueError: If an element of `images` is not a valid image.

        Example:
        >>> import numpy as np
        >>> from keras_deep_emotion import load
        >>> load("ferplus").predict(np.zeros((2, 48, 48, 1))).shape
        (2, 7)
        """
        faces = prepare_batch(images, self.size)
        return predict_batches(self.classify, faces, batch_size, len(self.labels))

    def explain(
        self, images: Any, window: int = 8, stride: int = 2, filling: str = "zero"
    ) -> SaliencyMaps:
        """Saliency maps of the predicted classes, see `saliency.occlusion_saliency`.

        Args:
            images: As `predict` takes them, one or more.
            window: Side of the hidden square, pixels of the network's input.
            stride: Step between windows, pixels, at most `window`.
            filling: What hidden pixels become: "zero" (black), "mean" or "blur".

        Returns:
            Arrays: probabilities (batch, classes) float32, class_id (batch,) int64, saliency
            (batch, size, size) float32, decisive (batch, size, size) bool.

        Raises:
            ValueError: If an argument is invalid.

        Example:
        >>> import numpy as np
        >>> from keras_deep_emotion import load
        >>> maps = load("ferplus").explain(np.zeros((1, 48, 48, 1)), window=24, stride=24)
        >>> maps.saliency.shape
        (1, 48, 48)
        """
        if not len(check_images(images)):
            raise ValueError("images must hold one image or more. Received: none")
        window_starts(self.size, window, stride)
        settings = {"window": window, "stride": stride, "filling": filling}
        explain = self._compiled.setdefault(
            tuple(settings.values()),
            tf.function(
                lambda faces: occlusion_saliency(self.classify, faces, **settings),
                input_signature=[tf.TensorSpec((None, self.size, self.size, 1), tf.float32)],
                autograph=False,
            ),
        )
        maps = explain(tf.constant(prepare_batch(images, self.size)))
        return SaliencyMaps(*(part.numpy() for part in maps))


class RunPredictor(LocalPredictor):
    """The model of a run."""

    def __init__(self, run: Run):
        super().__init__(run.labels, run.config.image_size)
        self.network = run.load_model()
        self._folded = fold_batch_normalization(self.network)
        # Traced here, not with the first image.
        self._folded.predict_on_batch(tf.zeros((1, *self.network.input.shape[1:])))

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """Probabilities of (batch, size, size, 1) float32 grey levels 0..255. Graph code."""
        return self._folded(images, training=False)

    def predict_bytes(self, contents: list[bytes]) -> np.ndarray:
        """Probabilities of JPEG or PNG files: (batch, classes) float32.

        A damaged file raises tf.errors.InvalidArgumentError; exports and servers return zeros.
        """
        faces = [prepare_face(decode_image(content), self.size) for content in contents]
        return self._folded.predict_on_batch(tf.stack(faces))


class ExportPredictor(LocalPredictor):
    """One version of an exported model, from the version's folder."""

    def __init__(self, path: str | Path):
        self._saved_model = tf.saved_model.load(str(path))
        _, inputs = self._signature("serving_default").structured_input_signature
        labels = (Path(path) / LABELS).read_text().split()
        super().__init__(labels, inputs["image"].shape[1])

    def _signature(self, name):
        # Looked up each time: a signature alone does not keep its variables alive.
        return self._saved_model.signatures[name]

    def classify(self, images: tf.Tensor) -> tf.Tensor:
        """As `RunPredictor.classify`."""
        return self._signature("serving_default")(image=images)["probabilities"]

    def predict_bytes(self, contents: list[bytes]) -> np.ndarray:
        """Probabilities of JPEG or PNG files; a row of zeros where one cannot be read."""
        outputs = self._signature("predict_bytes")(image_bytes=tf.constant(contents))
        return outputs["probabilities"].numpy()


def predict_batches(
    predict: Callable[[Any], Any], inputs: Any, batch_size: int, classes: int
) -> np.ndarray:
    """Apply a function to batches of `inputs`; (count, classes) float32, also for no inputs."""
    batches = [
        np.asarray(predict(inputs[start : start + batch_size]), np.float32)
        for start in range(0, len(inputs), batch_size)
    ]
    return np.concatenate([np.zeros((0, classes), np.float32), *batches])
