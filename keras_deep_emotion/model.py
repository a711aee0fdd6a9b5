"""The Deep-Emotion network: a localisation network, a spatial transformer, a small feature path.

Public readings of the paper differ on what the transformer warps. Here it is the input image:
section III says that the transformer "tries to focus on the most relevant part of the image, by
estimating a sample over the attended region", and figure 3 feeds the localisation network and the
sampler from the same image. A transformer on the feature map, or beside the features, would attend
to no region of the face that could be drawn.

The model takes grey levels 0..255 and scales them itself, so that nobody who serves it can forget
to, and gives probabilities in float32 whatever the precision. No TensorFlow here: it runs on every
Keras backend.
"""

import keras
from keras import layers

from keras_deep_emotion.spatial_transformer import BoundedAffine, SpatialTransformer


def build_model(config, classes=7):
    """The paper's network (section III, figure 3), 66,857 parameters at its default sizes.

    Args:
        config: `TrainConfig`; `image_size`, `dropout` and `regularization` are read.
        classes: how many emotions.

    Returns:
        `keras.Model` from (batch, image_size, image_size, 1) grey levels 0..255 to
        (batch, classes) float32 probabilities. Layer `logits` holds the scores before the softmax,
        layer `theta` the (batch, 6) affine transform, layer `attended` the warped image.
    """

    def normal():  # each weight needs its own: one initialiser gives the same numbers every time
        return keras.initializers.RandomNormal(stddev=0.05)  # paper, IV-B

    def conv(filters, size):
        return layers.Conv2D(filters, size, kernel_initializer=normal())

    def dense(units, **kwargs):
        return layers.Dense(units, kernel_initializer=normal(), **kwargs)

    # The paper's lambda times the squared norm of the last two dense layers' weights.
    penalty = keras.regularizers.L2(config.regularization)

    image = layers.Input((config.image_size, config.image_size, 1), name="image")
    # ours: -1..1, so that the transformer's 0 outside the image is mid-grey, not black. Not a
    # Rescaling layer, which needs TensorFlow on every backend.
    scaled = layers.Identity(name="scaled")(image / 127.5 - 1)

    x = conv(8, 7)(scaled)
    x = layers.ReLU()(layers.MaxPooling2D()(x))
    x = conv(10, 5)(x)
    x = layers.ReLU()(layers.MaxPooling2D()(x))
    x = layers.Flatten()(x)
    x = layers.ReLU()(dense(32)(x))
    # Positions need more than half precision: float32 from here to the sampler.
    x = layers.Dense(6, kernel_initializer="zeros", dtype="float32")(x)
    # ours: unbounded, the paper's learning rate can throw the grid off the face for good.
    theta = BoundedAffine(reach=config.theta_reach, rate=config.theta_rate, name="theta")(x)
    x = SpatialTransformer(name="attended")([scaled, theta])

    for _ in range(2):
        x = layers.ReLU()(conv(10, 3)(x))
        x = conv(10, 3)(x)
        x = layers.ReLU()(layers.MaxPooling2D()(x))
    x = layers.Dropout(config.dropout)(layers.Flatten()(x))
    x = layers.ReLU()(dense(50, kernel_regularizer=penalty)(x))
    logits = dense(classes, kernel_regularizer=penalty, dtype="float32", name="logits")(x)
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(image, probabilities, name="deep_emotion")
