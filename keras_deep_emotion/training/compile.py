"""Compile a network for training: augmentation, loss, optimizer and schedule, on every backend."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.layers.augmentation import AlignmentLoss, RandomAffine, RandomCutout
from keras_deep_emotion.layers.batch_normalization import FACES as STATISTICS
from keras_deep_emotion.layers.camera import RandomCamera

NOT_DECAYED = ["bias", "gamma", "beta"]  # names of variables


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Set Keras's policy, by which layers are built, within the context."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def compiled_trainer(
    model: keras.Model, config: TrainConfig, steps_per_epoch: int, **compile_options
) -> keras.Model:
    """Wrap a model for training: augmentation before it, loss on its logits.

    `model`, from `build_model`, shares its weights. `steps_per_epoch` determines the length of the
    schedule; `compile_options` are passed to `keras.Model.compile`, such as `jit_compile`. Returns
    a compiled model from the same input to logits, with (batch, classes) probabilities as targets.
    """
    aligned = config.transformer and config.alignment > 0
    layers = ("logits", "theta") if aligned else ("logits",)
    network = keras.Model(model.input, [model.get_layer(name).output for name in layers])
    image = keras.Input(model.input.shape[1:])
    x, augmentation = RandomAffine(
        flip=config.flip,
        rotation=config.rotation,
        zoom=config.zoom,
        shift=config.shift,
        seed=config.seed,
        return_theta=True,
        dtype="float32",
    )(image)
    if config.camera:
        x = RandomCamera(
            config.camera_changes.split(","), config.camera, seed=config.seed + 2, dtype="float32"
        )(x)
    if config.cutout:
        # With equal seeds, the largest squares would come with the largest rotations.
        x = RandomCutout(config.cutout, seed=config.seed + 1, dtype="float32")(x)
    scores, *theta = network(x)
    if aligned:
        scores = AlignmentLoss(config.alignment, dtype="float32")([scores, augmentation, *theta])
    trainer = keras.Model(image, scores)
    trainer.compile(
        optimizer=build_optimizer(config, steps_per_epoch),
        # A softmax first would round small probabilities to 0.
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **compile_options,
    )
    return trainer


def with_camera(faces: FaceArrays, config: TrainConfig) -> FaceArrays:
    """Each face twice: as it is, and as `RandomCamera` changes it, the same at each call."""
    camera = RandomCamera(config.camera_changes.split(","), config.camera, clean=0.0, seed=0)
    images = faces.images.astype(np.float32)
    parts = (images[first : first + 1024] for first in range(0, len(images), 1024))
    changed = [keras.ops.convert_to_numpy(camera(part, training=True)) for part in parts]
    pairs = np.stack([images, np.concatenate(changed)], axis=1)
    images = pairs.reshape(-1, *images.shape[1:])
    return FaceArrays(images, np.repeat(faces.targets, 2, axis=0), np.repeat(faces.labels, 2))


def statistics_images(faces: FaceArrays, config: TrainConfig) -> np.ndarray:
    """Training images to recompute batch normalization statistics from.

    They are not augmented; with `config.camera`, half of them are as a camera changes them.
    """
    if not config.camera:
        return faces.images
    count = min(len(faces.images), STATISTICS // 2)
    chosen = np.linspace(0, len(faces.images) - 1, count).astype(int)
    some = FaceArrays(*(getattr(faces, name)[chosen] for name in FaceArrays._fields))
    return with_camera(some, config).images


def build_optimizer(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Build the optimizer with its schedule, weight decay and averaging of weights.

    Biases, and scale and offset of batch normalization, are few and must be free to grow.
    """
    rate = config.learning_rate
    if config.cosine:
        # Warm up for half of a short training at most.
        warmup_steps = round(min(config.warmup, config.epochs / 2) * steps_per_epoch)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else rate,
            decay_steps=config.epochs * steps_per_epoch - warmup_steps,
            warmup_target=rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    # Averages of a short training must not include the initial weights.
    window = min(config.average, config.epochs / 10) * steps_per_epoch
    common = {
        "learning_rate": rate,
        "weight_decay": config.weight_decay or None,
        "use_ema": window > 1,
        "ema_momentum": 1 - 1 / max(window, 1),
    }
    if config.optimizer == "adam":
        optimizer = keras.optimizers.Adam(**common)
    else:
        optimizer = keras.optimizers.SGD(momentum=0.9, nesterov=True, **common)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return optimizer


def average_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Moving averages of the trainable variables; empty if the optimizer keeps none yet."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if not optimizer.use_ema or not optimizer.built:
        return []
    return optimizer._model_variables_moving_average  # private, as in Keras 3.15


@contextlib.contextmanager
def averaged_weights(trainer: keras.Model) -> Iterator[None]:
    """Replace the weights by their moving averages within the context, if the optimizer has any.

    Keras's SwapEMAWeights swaps by adding and subtracting, which rounds both; this is exact.
    """
    averages = average_variables(trainer.optimizer)
    weights = trainer.trainable_variables if averages else []
    trained = [keras.ops.convert_to_numpy(weight) for weight in weights]
    for weight, average in zip(weights, averages, strict=True):
        weight.assign(average)
    try:
        yield
    finally:
        for weight, value in zip(weights, trained, strict=True):
            weight.assign(value)
