"""The Deep-Emotion network: a localisation network, a spatial transformer, a feature path.

Public readings of the paper differ on what the transformer warps. Here it is the input image:
section III says that the transformer "tries to focus on the most relevant part of the image, by
estimating a sample over the attended region", and figure 3 feeds the localisation network and the
sampler from the same image. A transformer on the feature map, or beside the features, would attend
to no region of the face that could be drawn.

There are two networks of this form, and a third to compare with: `paper`, as in figure 3; `wide`,
the same idea with what has been learnt since; `resnet50`, 50 layers in place of the feature path.

The models take grey levels 0..255 and scale them themselves, so that nobody who serves one can
forget to, and give probabilities in float32 whatever the precision. No TensorFlow here: they run on
every Keras backend.
"""

import keras
from keras import layers

from keras_deep_emotion.layers.batch_normalization import BatchNormalization
from keras_deep_emotion.layers.spatial_transformer import BoundedAffine, SpatialTransformer


def build_model(config, classes=7):
    """The network that a configuration names.

    Args:
        config: `TrainConfig`; `network`, `width`, `transformer`, `theta_reach`, `theta_rate`,
            `dropout`, `regularization` and `image_size` are read.
        classes: how many emotions.

    Returns:
        `keras.Model` from (batch, image_size, image_size, 1) grey levels 0..255 to
        (batch, classes) float32 probabilities. Layer `logits` holds the scores before the softmax;
        with a transformer, layer `theta` holds the (batch, 6) affine transform and layer
        `attended` the warped image.
    """
    locate, features = {
        "paper": (paper_localisation, paper_features),
        "wide": (wide_localisation, wide_features),
        "residual": (wide_localisation, residual_features),
        "resnet50": (wide_localisation, resnet50_features),
    }[config.network]
    image = layers.Input((config.image_size, config.image_size, 1), name="image")
    # ours: -1..1, so that the transformer's 0 outside the image is mid-grey, not black. Not a
    # Rescaling layer, which needs TensorFlow on every backend.
    x = layers.Identity(name="scaled")(image / 127.5 - 1)
    if config.transformer:
        # Positions need more than half precision: float32 from here to the sampler.
        free = layers.Dense(6, kernel_initializer="zeros", dtype="float32")(locate(x))
        # ours: unbounded, the paper's learning rate can throw the grid off the face for good.
        theta = BoundedAffine(config.theta_reach, config.theta_rate, name="theta")(free)
        x = SpatialTransformer(name="attended")([x, theta])
    # The paper's lambda times the squared norm of the last two dense layers' weights.
    penalty = keras.regularizers.L2(config.regularization) if config.regularization else None
    x, normal = features(x, config, penalty)
    logits = layers.Dense(
        classes,
        kernel_initializer=normal,
        kernel_regularizer=penalty,
        dtype="float32",
        name="logits",
    )(x)
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(image, probabilities, name="deep_emotion")


def paper_normal():
    """Initialiser N(0, 0.05) (paper, IV-B).

    Each weight needs its own: one initialiser gives the same numbers every time.
    """
    return keras.initializers.RandomNormal(stddev=0.05)


def paper_conv(filters, size):
    """A convolution without padding, as the paper's."""
    return layers.Conv2D(filters, size, kernel_initializer=paper_normal())


def paper_localisation(x):
    """Figure 3: (batch, size, size, 1) to (batch, 32)."""
    x = paper_conv(8, 7)(x)
    x = layers.ReLU()(layers.MaxPooling2D()(x))
    x = paper_conv(10, 5)(x)
    x = layers.ReLU()(layers.MaxPooling2D()(x))
    x = layers.Flatten()(x)
    return layers.ReLU()(layers.Dense(32, kernel_initializer=paper_normal())(x))


def paper_features(x, config, penalty):
    """Section III, figure 3: (batch, size, size, 1) to (batch, 50); 66,857 parameters in all."""
    for _ in range(2):
        x = layers.ReLU()(paper_conv(config.width, 3)(x))
        x = paper_conv(config.width, 3)(x)
        x = layers.ReLU()(layers.MaxPooling2D()(x))
    x = layers.Dropout(config.dropout)(layers.Flatten()(x))
    x = layers.Dense(50, kernel_initializer=paper_normal(), kernel_regularizer=penalty)(x)
    return layers.ReLU()(x), paper_normal()


def linear_conv(x, filters, size=3, pool=False):
    """Convolution, batch normalisation; the maximum over 2 x 2 pixels if `pool`."""
    x = layers.Conv2D(
        filters, size, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    x = BatchNormalization(momentum=0.9)(x)
    return layers.MaxPooling2D()(x) if pool else x


def normalized_conv(x, filters, size=3, pool=False):
    """Convolution, batch normalisation, ReLU; after a maximum over 2 x 2 pixels if `pool`."""
    # The maximum comes before the ReLU, which then has a quarter to do.
    return layers.ReLU()(linear_conv(x, filters, size, pool))


def wide_localisation(x):
    """Ours: (batch, size, size, 1) to (batch, 32), on the face at half its resolution."""
    x = layers.AveragePooling2D(2)(x)
    x = normalized_conv(x, 16, size=5, pool=True)
    x = normalized_conv(x, 32, pool=True)
    # Flat, not averaged: where a feature lies is what this network is for.
    x = layers.Dense(32, use_bias=False)(layers.Flatten()(x))
    # Without it, all 32 units died in training: each then answers 0 to every face, for good.
    return layers.ReLU()(BatchNormalization(momentum=0.9)(x))


def wide_features(x, config, penalty):
    """Ours: eight convolutions, (batch, size, size, 1) to (batch, 8 * width).

    A stage of two convolutions for each resolution, twice the channels each time it is halved.
    """
    for stage in (1, 2, 4, 8):
        x = normalized_conv(x, stage * config.width)
        x = normalized_conv(x, stage * config.width, pool=stage < 8)
    x = layers.Dropout(config.dropout)(layers.GlobalAveragePooling2D()(x))
    return x, "glorot_uniform"


def residual_features(x, config, penalty):
    """Ours: the stages of `wide_features`, each with a way past it and attention on its channels.

    The way past a stage is that of ResNet-D (He et al., 2019): a mean over 2 x 2 pixels, then a
    1 x 1 convolution. The first stage, whose input is one grey level, has none.
    """
    for stage in (1, 2, 4, 8):
        filters, pool = stage * config.width, stage < 8
        past = x
        x = normalized_conv(x, filters)
        x = channel_attention(linear_conv(x, filters, pool=pool))
        if stage > 1:
            past = layers.AveragePooling2D(2)(past) if pool else past
            x = layers.Add()([x, linear_conv(past, filters, size=1)])
        x = layers.ReLU()(x)
    x = layers.Dropout(config.dropout)(layers.GlobalAveragePooling2D()(x))
    return x, "glorot_uniform"


def channel_attention(x):
    """Squeeze and excitation (Hu et al., 2018): channels times shares 0..1 of the whole image."""
    channels = x.shape[-1]
    shares = layers.GlobalAveragePooling2D(keepdims=True)(x)
    shares = layers.Dense(max(channels // 8, 1), activation="relu")(shares)
    shares = layers.Dense(channels, activation="sigmoid")(shares)
    return layers.Multiply()([x, shares])


def resnet50_features(x, config, penalty):
    """ResNet50 from scratch (He et al., 2016): (batch, size, size, 1) to (batch, 2048)."""
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=tuple(x.shape[1:]), pooling="avg"
    )
    return layers.Dropout(config.dropout)(network(x)), "glorot_uniform"
