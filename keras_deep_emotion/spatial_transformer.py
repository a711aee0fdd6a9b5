"""Alias of `keras_deep_emotion.layers` for code written before the layers moved; goes in 0.3."""

from keras_deep_emotion.layers import BoundedAffine, SpatialTransformer

__all__ = ["BoundedAffine", "SpatialTransformer"]
