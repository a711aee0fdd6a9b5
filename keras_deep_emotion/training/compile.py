"""Compile a network for training: augmentation, loss, optimizer and schedule, on every backend."""

import contextlib
from collections.abc import Iterator

import keras

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.layers.augmentation import RandomAffine, RandomCutout


def compiled_trainer(
    model: keras.Model, config: TrainConfig, steps_per_epoch: int, **compile_options
) -> keras.Model:
    """Build the model that trains a network: with augmentation and the loss on its scores.

    Args:
        model: From `build_model`; its weights are shared, not copied.
        config: The settings.
        steps_per_epoch: Batches an epoch, which the schedule depends on.
        compile_options: For `keras.Model.compile`, such as `jit_compile`.

    Returns:
        A compiled model on the same input, whose outputs are the scores before the softmax. Its
        targets are (batch, classes) probabilities.
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
    if config.cutout:
        # With an equal seed, the largest square would go with the largest rotation.
        x = RandomCutout(config.cutout, seed=config.seed + 1, dtype="float32")(x)
    trainer = keras.Model(image, scores(x))
    trainer.compile(
        optimizer=build_optimizer(config, steps_per_epoch),
        # A softmax before the loss would round small probabilities.
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **compile_options,
    )
    return trainer


def build_optimizer(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Build the optimizer of a configuration, with its schedule, weight decay and averaging.

    Biases and the parameters of batch normalization are excluded from weight decay.
    """
    rate = config.learning_rate
    if config.cosine:
        # Warm-up takes at most half of the training.
        warmup = min(config.warmup, config.epochs / 2)
        warmup_steps = round(warmup * steps_per_epoch)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else rate,
            decay_steps=config.epochs * steps_per_epoch - warmup_steps,
            warmup_target=rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    # The average of a short training must not contain the initial weights.
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
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


@contextlib.contextmanager
def averaged_weights(trainer: keras.Model) -> Iterator[None]:
    """Replace the weights of a compiled trainer by their moving average within the context.

    It restores them exactly; Keras's SwapEMAWeights swaps by adding and subtracting, which rounds.
    Without an average in the optimizer, it does nothing.
    """
    optimizer = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
    if not optimizer.use_ema or not optimizer.built:
        yield
        return
    weights = trainer.trainable_variables
    kept = [keras.ops.convert_to_numpy(weight) for weight in weights]
    for weight, average in zip(weights, optimizer._model_variables_moving_average, strict=True):
        weight.assign(average)
    try:
        yield
    finally:
        for weight, value in zip(weights, kept, strict=True):
            weight.assign(value)
