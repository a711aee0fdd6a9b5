"""A Keras model whose predictions are to be explained."""

import keras
import numpy as np
import tensorflow as tf

from keras_deep_emotion.models.folding import fold_batch_normalization
from keras_deep_emotion.runs import Run

BATCH = 256  # faces


class Network:
    """A Keras model, with its batch normalization folded, compiled once.

    Args:
        model: From (batch, size, size, 1) grey levels 0..255 to probabilities.
        labels: Class names.
    """

    def __init__(self, model: keras.Model, labels: list[str]):
        self.model, self.labels = model, labels
        self.size = model.input.shape[1]
        folded = fold_batch_normalization(model)
        self.classify = tf.function(  # graph code
            lambda images: folded(images, training=False),
            input_signature=[tf.TensorSpec((None, *model.input.shape[1:]), tf.float32)],
            autograph=False,
        )

    @classmethod
    def from_run(cls, run: Run) -> "Network":
        """The model of a run."""
        return cls(run.load_model(), run.labels)

    def predict_prepared(self, faces) -> np.ndarray:
        """Probabilities of (batch, size, size, 1) images: (batch, classes) float32."""
        faces = np.asarray(faces, np.float32)
        batches = (faces[i : i + BATCH] for i in range(0, len(faces), BATCH))
        return np.concatenate([self.classify(batch).numpy() for batch in batches])

    def attend(self, faces) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Transforms of images, (batch, 6), and the transformed images: (batch, size, size).

        Grey levels are 0..255. Both are None without a spatial transformer.
        """
        if not any(layer.name == "attended" for layer in self.model.layers):
            return None, None
        outputs = [self.model.get_layer(name).output for name in ("theta", "attended")]
        # Made for each batch: compiled for a second size, it would round otherwise.
        transformer = keras.Model(self.model.input, outputs)
        theta, attended = transformer.predict_on_batch(np.asarray(faces, np.float32))
        return theta, to_grey_levels(attended.astype(np.float32))


def to_grey_levels(attended):
    """Transformed images as the network has them, -1 to 1, as grey levels: (batch, size, size).

    Tensors or arrays, float32.
    """
    return (attended[..., 0] + 1) * 127.5
