"""Compiled steps of training, evaluation and statistics on JAX, for `jax_loop`."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from keras_deep_emotion import stopping
from keras_deep_emotion.data.mixup import mixup
from keras_deep_emotion.data.targets import class_weights
from keras_deep_emotion.layers.batch_normalization import (
    BATCH_SIZE,
    FACES,
    recompute_statistics,
    trained_normalizations,
)
from keras_deep_emotion.training.compile import NOT_DECAYED, average_variables

EVALUATION_BATCH = 512  # faces


def with_fused_pooling(model: keras.Model) -> keras.Model:
    """Copy a model, with 2 x 2 max pooling by `pool_by_maximum` in place of Keras's layer."""

    def call(layer, *args, **kwargs):
        is_fused = isinstance(layer, keras.layers.MaxPooling2D) and (
            (layer.pool_size, layer.strides, layer.padding) == ((2, 2), (2, 2), "valid")
        )
        return (pool_by_maximum if is_fused else layer)(*args, **kwargs)

    copy = keras.models.clone_model(model, call_function=call)
    copy.set_weights(model.get_weights())
    return copy


def pool_by_maximum(x):
    """2 x 2 max pooling by two comparisons.

    x: (batch, height, width, channels). Returns (batch, height // 2, width // 2, channels).

    XLA joins their gradient with others; that of a pooling window is a kernel of its own, which
    scatters. (That of `max` compares again with the result, which XLA may have rounded otherwise:
    then no element is the largest, and the gradient is 0 / 0.)
    """
    _, height, width, channels = x.shape
    rows, columns = height // 2, width // 2
    x = keras.ops.reshape(x[:, : 2 * rows, : 2 * columns], (-1, rows, 2, columns, 2, channels))
    x = larger(x[:, :, 0], x[:, :, 1])  # (batch, rows, columns, 2, channels)
    return larger(x[:, :, :, 0], x[:, :, :, 1])


def larger(a, b):
    """The larger of two tensors at each place; its gradient goes to one of them alone."""
    return keras.ops.where(a >= b, a, b)


class FlatWeights:
    """The trainable variables of a compiled model, joined into two vectors for its optimizer.

    The optimizer changes one vector by one kernel of a GPU where it would take one, and more, for
    each variable. The vectors are of the variables that weight decay changes and of the others.
    """

    def __init__(self, trainer: keras.Model):
        self.trainer = trainer
        self.variables = trainer.trainable_variables
        kinds = {"kernel": [], "bias": []}  # names that `build_optimizer` decays, and does not
        for number, variable in enumerate(self.variables):
            is_kernel = not any(word in variable.name for word in NOT_DECAYED)
            kinds["kernel" if is_kernel else "bias"].append(number)
        self.groups = {name: numbers for name, numbers in kinds.items() if numbers}
        vectors = self.join([keras.ops.convert_to_numpy(one) for one in self.variables])
        self.vectors = [
            keras.Variable(vector, dtype="float32", name=name)
            for name, vector in zip(self.groups, vectors, strict=True)
        ]
        trainer.optimizer.build(self.vectors)

    def join(self, arrays):
        """Vectors of arrays, one for each trainable variable."""
        return [
            np.concatenate([np.ravel(arrays[number]) for number in numbers])
            for numbers in self.groups.values()
        ]

    def split(self, vectors):
        """Arrays of the trainable variables' shapes, of vectors; differentiable."""
        arrays = [None] * len(self.variables)
        for vector, numbers in zip(vectors, self.groups.values(), strict=True):
            place = 0
            for number in numbers:
                shape = self.variables[number].shape
                size = math.prod(shape)
                arrays[number] = vector[place : place + size].reshape(shape)
                place += size
        return arrays

    def state(self):
        """What a step changes: vectors, other variables, the optimizer's variables; as values."""
        others = self.trainer.non_trainable_variables
        groups = self.vectors, others, self.trainer.optimizer.variables
        return jax.tree.map(lambda variable: variable.value, groups)

    def assign(self, state) -> None:
        """Give the model a state's weights, moving averages if the optimizer has them."""
        vectors, others, optimizer = jax.tree.map(lambda value: value.addressable_data(0), state)
        optimizer_variables = self.trainer.optimizer.variables
        for variables, values in (
            (self.trainer.non_trainable_variables, others),
            (optimizer_variables, optimizer),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        averages = [one.value for one in average_variables(self.trainer.optimizer)]
        arrays = self.split(averages or vectors)
        for variable, value in zip(self.variables, arrays, strict=True):
            variable.assign(value)


def compile_training(trainer, flat, faces, config):
    """Place state and faces on all devices and compile an epoch.

    Returns the state, three lists as `FlatWeights.state`, and a function of (state, epoch) to the
    new state and the mean loss and accuracy.
    """
    mesh = Mesh(jax.devices(), ("batch",))
    replicated = NamedSharding(mesh, PartitionSpec())
    sharded = NamedSharding(mesh, PartitionSpec("batch"))
    count = len(faces.targets)
    weights = class_weights(faces.labels, config.class_balance)
    weights = np.ones(count, np.float32) if weights is None else weights
    state, columns = jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(replicated, np.asarray(x)),
        (flat.state(), (faces.images, faces.targets, weights)),
    )
    is_kept = [
        config.fresh_statistics and "moving_" in variable.name
        for variable in trainer.non_trainable_variables
    ]

    def loss_and_metrics(vectors, others, images, targets, weights):
        logits, new, penalties = trainer.stateless_call(
            flat.split(vectors), others, images, training=True, return_losses=True
        )
        # Statistics that are recomputed are not changed, so that XLA leaves them out.
        others = [old if keep else one for old, one, keep in zip(others, new, is_kept, strict=True)]
        loss = trainer.loss(targets, logits, sample_weight=weights) + sum(penalties)
        accuracy = jnp.mean(jnp.argmax(logits, -1) == jnp.argmax(targets, -1))
        return loss, (others, jnp.stack([loss, accuracy]))

    def step(state, number, rows, columns):
        vectors, others, optimizer = state
        chosen, shares = jax.tree.map(lambda row: row[number], rows)
        batch = tuple(column[chosen].astype("float32") for column in columns)
        batch = mixup(shares, *batch) if config.mixup else batch
        batch = jax.lax.with_sharding_constraint(batch, sharded)
        gradients, (others, metrics) = jax.grad(loss_and_metrics, has_aux=True)(
            vectors, others, *batch
        )
        vectors, optimizer = trainer.optimizer.stateless_apply(optimizer, gradients, vectors)
        new_state = vectors, others, optimizer
        return jax.lax.with_sharding_constraint((new_state, metrics), replicated)

    def rows_of(epoch):
        rows = epoch_rows(config.seed, count, config.batch_size, config.mixup, epoch)
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(replicated, x), rows)

    rows = rows_of(0)
    run_steps = compile_steps(step, len(rows[0]), state, rows, columns)

    def train_epoch(state, epoch):
        state, metrics = run_steps(state, rows_of(epoch), columns)
        loss, accuracy = metrics.mean(axis=0)
        return state, {"loss": loss, "accuracy": accuracy}

    return state, train_epoch


def values_of(model):
    """Values of the trainable and the other variables, as Keras's stateless functions take them."""
    groups = model.trainable_variables, model.non_trainable_variables
    return jax.tree.map(lambda variable: variable.value, groups)


def epoch_rows(seed, count, batch_size, mixup, epoch):
    """Order and mixing of the faces of an epoch, functions of seed and epoch.

    Returns (steps, batch_size) indices, the last batch filled up from the first; and as many shares
    from Beta(mixup, mixup), None if `mixup` is 0.
    """
    # On the host: Beta draws are slow on a GPU, and an epoch's are few.
    random = np.random.default_rng([seed, epoch])
    steps = math.ceil(count / batch_size)
    order = np.resize(random.permutation(count).astype(np.int32), (steps, batch_size))
    return order, random.beta(mixup, mixup, order.shape).astype(np.float32) if mixup else None


def in_one_call():
    """Whether to compile all steps into one loop, so that none waits for Python.

    In a compiled loop on a CPU, XLA's convolutions run on one core, at a third of their speed.
    """
    return jax.default_backend() != "cpu"


def compile_steps(function, steps, state, *data):
    """Compile a loop of `state, metrics = function(state, number, *data)`.

    Returns a function of (state, *data) to the last state and an array of the metrics of all steps.
    """

    def scan(state, *data):
        return jax.lax.scan(lambda *args: function(*args, *data), state, jnp.arange(steps))

    whole = in_one_call()
    loop, arguments = (scan, (state,)) if whole else (function, (state, 0))
    compiled = jax.jit(loop).lower(*arguments, *data).compile()

    def run_steps(state, *data):
        if whole:
            state, metrics = compiled(state, *data)
        else:
            metrics = [None] * steps
            for number in range(steps):
                stopping.check()
                state, metrics[number] = compiled(state, number, *data)
        return state, np.asarray(metrics)  # waits for the last step

    return run_steps


def compile_evaluation(model, images, labels, flip=False) -> Callable[[], dict[str, float]]:
    """Compile the evaluation of a model on a split, in float32.

    Returns a function that returns `loss` and `accuracy` of the model's present weights. With
    `flip`, the probabilities for each image and its mirror image are averaged.
    """
    scores = keras.Model(model.input, model.get_layer("logits").output)
    cross_entropy = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)
    count = len(images)

    def batch_sums(state, number, weights, images, labels):
        rows = number * EVALUATION_BATCH + jnp.arange(EVALUATION_BATCH)
        real, rows = rows < count, rows % count  # the last batch is filled up
        faces = images[rows].astype("float32")
        logits, _ = scores.stateless_call(*weights, faces, training=False)
        if flip:
            mirrored, _ = scores.stateless_call(*weights, faces[:, :, ::-1], training=False)
            logits = jnp.log((jax.nn.softmax(logits) + jax.nn.softmax(mirrored)) / 2)
        losses = cross_entropy(jax.nn.one_hot(labels[rows], logits.shape[1]), logits)
        correct = jnp.argmax(logits, -1) == labels[rows]
        return state, jnp.stack([jnp.sum(losses * real), jnp.sum(correct & real)])

    data = jax.device_put((images, labels))
    steps = math.ceil(count / EVALUATION_BATCH)
    with jax.default_matmul_precision("highest"):  # tensor cores would round float32 to 10 bits
        all_sums = compile_steps(batch_sums, steps, None, values_of(scores), *data)

    def evaluate():
        _, sums = all_sums(None, values_of(scores), *data)
        loss, accuracy = sums.sum(axis=0, dtype=np.float64) / count
        return {"loss": float(loss), "accuracy": float(accuracy)}

    return evaluate


def compile_statistics(model, images) -> Callable[[], None]:
    """Compile `recompute_statistics` of a model; return a function that does it."""
    normalizations = list(trained_normalizations(model))
    images = images[np.linspace(0, len(images) - 1, min(len(images), FACES)).astype(int)]
    batches = math.ceil(len(images) / BATCH_SIZE)
    if (
        not normalizations or len(images) % batches
    ):  # the mean over unequal batches would weigh their images unequally
        return partial(recompute_statistics, model, images)
    images = jax.device_put(images.reshape(batches, -1, *images.shape[1:]))
    is_moving = ["moving_" in variable.name for variable in model.non_trainable_variables]

    def of_batch(_, batch, trainable, others):
        _, new = model.stateless_call(trainable, others, batch.astype("float32"), training=True)
        return None, [one for one, moving in zip(new, is_moving, strict=True) if moving]

    @jax.jit
    def mean_statistics(trainable, others, images):
        _, found = jax.lax.scan(partial(of_batch, trainable=trainable, others=others), None, images)
        return jax.tree.map(lambda rows: rows.mean(axis=0), found)

    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0  # the moving statistics are then those of the batch
    mean_statistics = mean_statistics.lower(*values_of(model), images).compile()
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum

    def update():
        found = iter(mean_statistics(*values_of(model), images))
        for variable, moving in zip(model.non_trainable_variables, is_moving, strict=True):
            if moving:
                variable.assign(next(found))

    return update
