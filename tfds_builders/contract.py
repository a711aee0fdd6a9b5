"""The features that every builder provides, so that one pipeline reads all data sets."""

import io
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

# The classes of every data set, in the order of the paper.
EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
WHOLE = tfds.features.BBox(0.0, 0.0, 1.0, 1.0)  # `face` of an image that is already cropped


def configs(**descriptions: str) -> list[tfds.core.BuilderConfig]:
    """Builder configs from their names and descriptions, the default first."""
    return [
        tfds.core.BuilderConfig(name=name, description=text) for name, text in descriptions.items()
    ]


def dataset_info(
    builder: tfds.core.DatasetBuilder,
    shape: tuple[int | None, int | None, int],
    encoding: str | None = "png",
    labels: Sequence[str] = EMOTIONS,
    homepage: str | None = None,
    **more: tfds.features.FeatureConnector,
) -> tfds.core.DatasetInfo:
    """Describe a data set that keeps the contract; `more` is beyond it, such as `votes`.

    `shape` is height, width and channels, None where they vary; `encoding` is the stored format,
    None for PNG and JPEG as they come.
    """
    return builder.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=shape, encoding_format=encoding),
                "label": tfds.features.ClassLabel(names=labels),
                "subject": tfds.features.Text(),  # person or character, "" if unknown
                "name": tfds.features.Text(),  # the native file or row
                "face": tfds.features.BBoxFeature(),  # fractions of the image's sides
                **more,
            }
        ),
        supervised_keys=("image", "label"),
        homepage=homepage,
    )


def example(
    name: str,
    image: bytes,
    label: str,
    subject: str = "",
    face: tfds.features.BBox = WHOLE,
    **more: object,
) -> dict[str, object]:
    """One example of the contract; `image` is an encoded file."""
    return {"image": image, "label": label, "subject": subject, "name": name, "face": face, **more}


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode (height, width) or (height, width, channels) uint8 as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
