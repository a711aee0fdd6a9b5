"""The Deep-Emotion networks: localization network, spatial transformer, feature extractor.

Public implementations differ in what the transformer warps. Here it is the input image: section III
says that the transformer "tries to focus on the most relevant part of the image, by estimating a
sample over the attended region", and in figure 3 the localization network and the sampler take the
same image. A warped feature map would not be a region of the face.

Networks: `paper`, as in figure 3; `wide` and `residual`, our larger ones; `resnet50`, a baseline.
They take grey levels 0..255, rescale them, and return float32 probabilities whatever the dtype
policy. They use Keras only and run on every backend.
"""

import keras
from keras import layers

from keras_deep_emotion.layers.batch_normalization import BatchNormalization
from keras_deep_emotion.layers.spatial_transformer import BoundedAffine, SpatialTransformer


def build_model(config, classes: int = 7) -> keras.Model:
    """Build the network of a configuration.

    Args:
        config: A `TrainConfig`; `network`, `width`, `transformer`, `theta_reach`, `theta_rate`,
            `dropout`, `regularization` and `image_size` are used.
        classes: Number of classes.

    Returns:
        A model from (batch, image_size, image_size, 1) grey levels 0..255 to (batch, classes)
        float32 probabilities. Layer `logits` outputs the scores before the softmax. With a
        transformer, layer `theta` outputs the (batch, 6) affine transforms, and layer `attended`
        the warped images.

    Raises:
        ValueError: If Keras, as by a keras.json, has the channels of images first.
    """
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "The network takes images with channels last, and Keras is set to channels_first: call "
            "keras.config.set_image_data_format('channels_last') before."
        )
    localization, features = {
        "paper": (paper_localization, paper_features),
        "wide": (wide_localization, wide_features),
        "residual": (wide_localization, residual_features),
        "resnet50": (wide_localization, resnet50_features),
    }[config.network]
    image = layers.Input((config.image_size, config.image_size, 1), name="image")
    # ours: -1..1, so that the transformer's 0 outside the image is mid-grey. A Rescaling layer
    # would need TensorFlow on every backend.
    x = layers.Identity(name="scaled")(image / 127.5 - 1)
    if config.transformer:
        # Positions need float32 from here to the sampler.
        unbounded = layers.Dense(6, kernel_initializer="zeros", dtype="float32")(localization(x))
        # ours: the paper's learning rate can move an unbounded grid off the face for good.
        theta = BoundedAffine(config.theta_reach, config.theta_rate, name="theta")(unbounded)
        x = SpatialTransformer(name="attended")([x, theta])
    # paper, III: lambda times the squared L2 norm of the last two dense layers
    penalty = keras.regularizers.L2(config.regularization) if config.regularization else None
    x, initializer = features(x, config, penalty)
    options = {"kernel_initializer": initializer, "kernel_regularizer": penalty}
    logits = layers.Dense(classes, **options, dtype="float32", name="logits")(x)
    probabilities = layers.Softmax(dtype="float32", name="probabilities")(logits)
    return keras.Model(image, probabilities, name="deep_emotion")


def paper_normal():
    """A new initializer N(0, 0.05) (paper, IV-B): one would draw equal numbers every time."""
    return keras.initializers.RandomNormal(stddev=0.05)


def paper_conv(filters, size):
    """Convolution without padding, as in the paper."""
    return layers.Conv2D(filters, size, kernel_initializer=paper_normal())


def paper_localization(x):
    """Localization network of figure 3: (batch, size, size, 1) to (batch, 32)."""
    for filters, size in ((8, 7), (10, 5)):
        x = layers.ReLU()(layers.MaxPooling2D()(paper_conv(filters, size)(x)))
    x = layers.Dense(32, kernel_initializer=paper_normal())(layers.Flatten()(x))
    return layers.ReLU()(x)


def paper_features(x, config, penalty):
    """Feature extractor of section III: (batch, size, size, 1) to (batch, 50)."""
    for _ in range(2):
        x = layers.ReLU()(paper_conv(config.width, 3)(x))
        x = paper_conv(config.width, 3)(x)
        x = layers.ReLU()(layers.MaxPooling2D()(x))
    x = layers.Dropout(config.dropout)(layers.Flatten()(x))
    x = layers.Dense(50, kernel_initializer=paper_normal(), kernel_regularizer=penalty)(x)
    return layers.ReLU()(x), paper_normal()


def linear_conv(x, filters, size=3, pool=False):
    """Convolution, batch normalization, and 2 x 2 max pooling if `pool`."""
    options = {"padding": "same", "use_bias": False, "kernel_initializer": "he_normal"}
    x = layers.Conv2D(filters, size, **options)(x)
    x = BatchNormalization(momentum=0.9)(x)
    return layers.MaxPooling2D()(x) if pool else x


def normalized_conv(x, filters, size=3, pool=False):
    """`linear_conv` and ReLU, which after pooling has a quarter of the pixels to compute."""
    return layers.ReLU()(linear_conv(x, filters, size, pool))


def wide_localization(x):
    """Localization network, ours: half the resolution, (batch, size, size, 1) to (batch, 32)."""
    x = layers.AveragePooling2D(2)(x)
    x = normalized_conv(x, 16, size=5, pool=True)
    x = normalized_conv(x, 32, pool=True)
    # Not global average pooling: the transform depends on where a feature is.
    x = layers.Dense(32, use_bias=False)(layers.Flatten()(x))
    # Without normalization, all 32 units died in training: their output was 0 for every face.
    return layers.ReLU()(BatchNormalization(momentum=0.9)(x))


def wide_features(x, config, penalty):
    """Four stages of two convolutions, ours: (batch, size, size, 1) to (batch, 8 * width).

    From stage to stage, the resolution is halved and the number of channels doubled.
    """
    for stage in (1, 2, 4, 8):
        x = normalized_conv(x, stage * config.width)
        x = normalized_conv(x, stage * config.width, pool=stage < 8)
    return layers.Dropout(config.dropout)(layers.GlobalAveragePooling2D()(x)), "glorot_uniform"


def residual_features(x, config, penalty):
    """`wide_features` with a shortcut and channel attention in each stage, ours.

    The shortcut is that of ResNet-D (He et al., 2019): 2 x 2 average pooling, then a 1 x 1
    convolution. The first stage, whose input has one channel, has no shortcut.
    """
    for stage in (1, 2, 4, 8):
        filters, pool = stage * config.width, stage < 8
        shortcut = x
        x = normalized_conv(x, filters)
        x = channel_attention(linear_conv(x, filters, pool=pool))
        if stage > 1:
            shortcut = layers.AveragePooling2D(2)(shortcut) if pool else shortcut
            x = layers.Add()([x, linear_conv(shortcut, filters, size=1)])
        x = layers.ReLU()(x)
    return layers.Dropout(config.dropout)(layers.GlobalAveragePooling2D()(x)), "glorot_uniform"


def channel_attention(x):
    """Squeeze and excitation (Hu et al., 2018): scales each channel by 0..1."""
    channels = x.shape[-1]
    scales = layers.GlobalAveragePooling2D(keepdims=True)(x)
    scales = layers.Dense(max(channels // 8, 1), activation="relu")(scales)
    scales = layers.Dense(channels, activation="sigmoid")(scales)
    return layers.Multiply()([x, scales])


def resnet50_features(x, config, penalty):
    """ResNet50 (He et al., 2016) without pretraining: (batch, size, size, 1) to (batch, 2048)."""
    network = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=tuple(x.shape[1:]), pooling="avg"
    )
    return layers.Dropout(config.dropout)(network(x)), "glorot_uniform"
