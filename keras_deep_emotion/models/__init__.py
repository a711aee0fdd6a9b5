"""The networks, as Keras functional models, and folding of batch normalization for inference.

They use Keras only and run on every backend. Training is in `training`.
"""

from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.models.folding import fold_batch_normalization

__all__ = ["build_model", "fold_batch_normalization"]
