"""Compile a network for training: augmentation, loss, optimizer and schedule, on every backend."""

import contextlib
from collections.abc import Iterator

import keras

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.layers.augmentation import RandomAffine, RandomCutout
from keras_deep_emotion.layers.camera import RandomCamera

NOT_DECAYED = ["bias", "gamma", "beta"]  # names of variables


def compiled_trainer(
    model: keras.Model, config: TrainConfig, steps_per_epoch: int, **compile_options
) -> keras.Model:
    """Wrap a model for training: augmentation before it, loss on its logits.

    `model`, from `build_model`, shares its weights. `steps_per_epoch` determines the length of the
    schedule; `compile_options` are passed to `keras.Model.compile`, such as `jit_compile`. Returns
    a compiled model from the same input to logits, with (batch, classes) probabilities as targets.
    """
    scores = keras.Model(model.input, model.get_layer("logits").output)
    image = keras.Input(model.input.shape[1:])
    x = RandomAffine(
        flip=config.flip,
        rotation=config.rotation,
        zoom=config.zoom,
        shift=config.shift,
        seed=config.seed,
        dtype="float32",
    )(image)
    if config.camera:
        x = RandomCamera(
            config.camera_changes.split(","), config.camera, seed=config.seed + 2, dtype="float32"
        )(x)
    if config.cutout:
        # With equal seeds, the largest squares would come with the largest rotations.
        x = RandomCutout(config.cutout, seed=config.seed + 1, dtype="float32")(x)
    trainer = keras.Model(image, scores(x))
    trainer.compile(
        optimizer=build_optimizer(config, steps_per_epoch),
        # A softmax first would round small probabilities to 0.
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **compile_options,
    )
    return trainer


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
