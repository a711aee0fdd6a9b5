"""Keras layers: spatial transformer, augmentation, normalization, operating points.

They run on every Keras backend; on TensorFlow, batch normalization uses its fused operation.
Importing this package registers them, so that `keras.saving.load_model` finds them. Networks built
from them are in `models`.
"""

from keras_deep_emotion.layers.augmentation import AlignmentLoss, RandomAffine, RandomCutout
from keras_deep_emotion.layers.batch_normalization import BatchNormalization
from keras_deep_emotion.layers.camera import RandomCamera
from keras_deep_emotion.layers.operating_point import OperatingPoint
from keras_deep_emotion.layers.spatial_transformer import BoundedAffine, SpatialTransformer

__all__ = [
    "AlignmentLoss",
    "BatchNormalization",
    "BoundedAffine",
    "OperatingPoint",
    "RandomAffine",
    "RandomCamera",
    "RandomCutout",
    "SpatialTransformer",
]
