"""The features that every builder gives, so that one pipeline reads them all."""

from collections.abc import Sequence

import tensorflow_datasets as tfds

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


WHOLE = tfds.features.BBox(0.0, 0.0, 1.0, 1.0)  # `face` of an image that is cropped already


def features(
    image: tfds.features.Image,
    labels: Sequence[str] = EMOTIONS,
    **more: tfds.features.FeatureConnector,
) -> tfds.features.FeaturesDict:
    """The data contract.

    Args:
        image: of the native size and channels, uint8.
        labels: names of the classes.
        more: what a data set has beyond the contract, such as `votes`.

    Returns:
        `image`; `label`, one of the labels; `subject`, the person or character, "" where unknown;
        `name`, the native file or row; `face`, the box of the face in shares of the sides; `more`.
    """
    return tfds.features.FeaturesDict(
        {
            "image": image,
            "label": tfds.features.ClassLabel(names=labels),
            "subject": tfds.features.Text(),
            "name": tfds.features.Text(),
            "face": tfds.features.BBoxFeature(),
            **more,
        }
    )
