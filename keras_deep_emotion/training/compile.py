"""A network made ready for `fit`: augmentation before it, loss, optimiser and schedule after it.

No TensorFlow here: it trains on every Keras backend.
"""

import contextlib

import keras

from keras_deep_emotion.layers.augmentation import RandomAffine, RandomCutout


def compiled_trainer(model, config, steps_per_epoch, **compile_options):
    """Wrap a model for training: augmentation before it, loss on its scores.

    Args:
        model: what `build_model` returns; its weights are shared, not copied.
        config: `TrainConfig`.
        steps_per_epoch: batches in an epoch; the schedule's length hangs on it.
        compile_options: for `keras.Model.compile`, such as `jit_compile`.

    Returns:
        A compiled `keras.Model` on the same input, whose outputs are scores before the softmax; its
        targets are (batch, classes) shares.
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
        # Its own seed: of equal ones, the largest square would go with the largest turn.
        x = RandomCutout(config.cutout, seed=config.seed + 1, dtype="float32")(x)
    trainer = keras.Model(image, scores(x))
    trainer.compile(
        optimizer=build_optimizer(config, steps_per_epoch),
        # On scores: a softmax first would lose small probabilities to rounding.
        loss=keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **compile_options,
    )
    return trainer


def build_optimizer(config, steps_per_epoch):
    """The optimiser that a configuration names, with its schedule, decay and averaging.

    Args:
        config: `TrainConfig`.
        steps_per_epoch: batches in an epoch.

    Returns:
        `keras.optimizers.Optimizer`. Weight decay leaves out biases and the two numbers that batch
        normalisation learns of each channel: they are few and must be free to be large.
    """
    rate = config.learning_rate
    if config.cosine:
        # A schedule as long as the training at most: of one epoch, warm-up takes half.
        warmup = min(config.warmup, config.epochs / 2)
        warmup_steps = round(warmup * steps_per_epoch)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else rate,
            decay_steps=config.epochs * steps_per_epoch - warmup_steps,
            warmup_target=rate if warmup_steps else None,
            warmup_steps=warmup_steps,
        )
    # A short training must not keep where it began.
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
def averaged_weights(trainer):
    """Put the average of the weights over the last steps in their place, and back at the end.

    Keras's own SwapEMAWeights swaps by adding and subtracting, which rounds both; this is exact. It
    does nothing where the optimiser keeps no average.

    Args:
        trainer: what `compiled_trainer` returns.
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
