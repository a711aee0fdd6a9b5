"""Train recipes as fast as one device can: Keras on JAX alone, whole epochs in one call.

    PYTHONPATH=. python benchmarks/train_gpu.py faces-1.npz faces-2.npz --out runs/gpu \
        --variant paper --variant 'best seed=1 transformer=false optimizer=sgd'

The machine needs JAX, Keras and NumPy, and no TensorFlow; `pack_faces.py` makes the .npz files
where TensorFlow is. A variant is a recipe, and any settings of `TrainConfig` as name=value. Each
gets a run folder of its own, which `python cli.py evaluate`, `export` and the rest take.

It is the training of `python cli.py fit` (the same network, augmentation, optimiser, averaged
weights, choice of epoch on validation), but for its random numbers and two things: the faces lie in
the device's memory, and an epoch is one compiled loop, so that nothing waits for Python between
steps; and the last batch of an epoch is filled up with faces from its beginning, since a compiled
loop has batches of one size only.
"""

import argparse
import csv
import dataclasses
import json
import os
import re
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"  # before Keras loads

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_deep_emotion.config import RECIPES, TrainConfig
from keras_deep_emotion.layers.batch_normalization import recompute_statistics
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.training.compile import compiled_trainer

NO_SETTINGS = ("recipe", "dataset", "protocol", "fold", "teachers", "teacher_share")
EVALUATED_AT_ONCE = 512  # faces
# In a compiled loop on a CPU, XLA's convolutions run on one core, at a third of their speed.
IN_ONE_CALL = jax.default_backend() != "cpu"


def parse_variant(text):
    """Settings of a variant: 'RECIPE name=value ...' to `TrainConfig`.

    Raises:
        ValueError: it names no recipe, no setting, or a value that the setting cannot have.
    """
    recipe, *changes = text.split()
    if recipe not in RECIPES:
        raise ValueError(f"a variant begins with one of {', '.join(RECIPES)}. Received: {text!r}")
    defaults = dataclasses.asdict(TrainConfig())
    settings = {}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in defaults or name in NO_SETTINGS:
            raise ValueError(f"{name!r} is no setting of a variant. Received: {text!r}")
        kind = type(defaults[name])
        if kind is bool and value not in ("true", "false"):
            raise ValueError(f"{name} must be true or false. Received: {text!r}")
        settings[name] = value == "true" if kind is bool else kind(value)
    if settings.get("precision") == "mixed_float16":  # the loss would have to be scaled
        raise ValueError(f"precision must be float32 or mixed_bfloat16. Received: {text!r}")
    return TrainConfig.from_recipe(recipe, **settings)


def read_parts(paths):
    """Arrays that `pack_faces.py` wrote, its parts in order, whatever the order of `paths`.

    Raises:
        ValueError: parts are missing.
    """
    parts = []
    for path in paths:
        with np.load(path) as file:
            parts.append({name: file[name] for name in file.files})
    parts.sort(key=lambda part: part["part"][0])
    found = [tuple(part["part"].tolist()) for part in parts]
    if found != [(i, len(parts)) for i in range(len(parts))]:
        raise ValueError(f"Name every part once. Received: {', '.join(map(str, paths))}")
    return {
        name: np.concatenate([part[name] for part in parts]) if "_" in name else value
        for name, value in parts[0].items()
    }


def training_targets(arrays, config):
    """What to train on, as `data.read_faces` and `training.class_weights` make it.

    Returns:
        (targets (count, classes) float32, weights (count,) float32 of mean 1).
    """
    labels, classes = arrays["train_labels"], len(arrays["classes"])
    if config.soft_labels and arrays["voted"]:
        targets = arrays["train_targets"]
    else:
        one_hot = np.eye(classes, dtype=np.float32)[labels]
        targets = one_hot * (1 - config.label_smoothing) + config.label_smoothing / classes
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    weights = (1.0 / counts[labels]) ** config.class_balance
    return targets.astype(np.float32), (weights / weights.mean()).astype(np.float32)


def looped(function, carry, rows, *data):
    """`function(carry, row, *data)` over `rows`, arrays in a tree, compiled, as by `jax.lax.scan`.

    Returns:
        Function of (carry, rows, *data), to be called with arguments of these shapes: it gives
        the last carry and the mean, over the rows, of each of the numbers that `function` gives.
    """
    if not IN_ONE_CALL:

        def row_of(rows, number):
            return jax.tree.map(lambda column: column[number], rows)

        one = jax.jit(function).lower(carry, row_of(rows, 0), *data).compile()

        def call(carry, rows, *data):
            numbers = []
            for number in range(len(jax.tree.leaves(rows)[0])):
                carry, found = one(carry, row_of(rows, number), *data)
                numbers.append(found)
            return carry, jnp.mean(jnp.array(numbers), axis=0)

        return call

    def whole(carry, rows, *data):
        carry, numbers = jax.lax.scan(lambda *args: function(*args, *data), carry, rows)
        return carry, jnp.mean(jnp.stack(numbers, axis=1), axis=0)

    return jax.jit(whole).lower(carry, rows, *data).compile()


def epoch_function(trainer, state, data, batch, seed, mixup):
    """A compiled epoch.

    Args:
        trainer: what `compiled_trainer` returns, its optimiser built.
        state: values of its trainable variables, its others, its optimiser's: three lists, as
            Keras's stateless functions take them.
        data: images, targets and weights, on the device.
        batch: faces in a step.
        seed: with the epoch's number it decides the order of the faces, and their mixing.
        mixup: as `data.training_batches` takes it.

    Returns:
        Function of (state, number of the epoch) to (state, (loss, accuracy)).
    """
    count = len(data[0])
    steps = -(-count // batch)

    def loss_of(trainable, others, faces, targets, weights):
        scores, others, penalties = trainer.stateless_call(
            trainable, others, faces, training=True, return_losses=True
        )
        loss = trainer.loss(targets, scores, sample_weight=weights) + sum(penalties)
        hits = jnp.mean(jnp.argmax(scores, -1) == jnp.argmax(targets, -1))
        return loss, (others, hits)

    def step(state, row, images, targets, weights):
        trainable, others, optimizer = state
        chosen, key = row
        batch = images[chosen].astype("float32"), targets[chosen], weights[chosen]
        if mixup:
            batch = mixup(jax.random.beta(key, mixup, mixup, chosen.shape), *batch)
        (loss, (others, hits)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            trainable, others, *batch
        )
        trainable, optimizer = trainer.optimizer.stateless_apply(optimizer, gradients, trainable)
        return (trainable, others, optimizer), (loss, hits)

    @jax.jit
    def rows_of(number):
        key = jax.random.fold_in(jax.random.key(seed), number)
        shuffled = jax.random.permutation(key, count)
        order = shuffled[jnp.arange(steps * batch) % count].reshape(steps, batch)
        return order, jax.random.split(jax.random.fold_in(key, 1), steps)

    steps_of_epoch = looped(step, state, rows_of(0), *data)
    return lambda state, number: steps_of_epoch(state, rows_of(number), *data)


def evaluate_function(scores, weights, images, labels, flip=False):
    """A compiled evaluation of a split, in float32 whatever trains.

    Args:
        scores: `keras.Model` from faces to scores before the softmax.
        weights: values of its trainable variables and its others, two lists.
        images, labels: the split, on the device.
        flip: average each face's probabilities with its mirror image's.

    Returns:
        Function of `weights` to (loss, accuracy).
    """
    count = len(images)
    chunks = -(-count // EVALUATED_AT_ONCE)
    rows = jnp.arange(chunks * EVALUATED_AT_ONCE).reshape(chunks, -1)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, reduction=None)

    def chunk(weights, rows, images, labels):
        faces = images[rows % count].astype("float32")
        answers, _ = scores.stateless_call(*weights, faces, training=False)
        if flip:
            mirrored, _ = scores.stateless_call(*weights, faces[:, :, ::-1], training=False)
            answers = jnp.log((jax.nn.softmax(answers) + jax.nn.softmax(mirrored)) / 2)
        truth = labels[rows % count]
        losses = loss(jax.nn.one_hot(truth, answers.shape[1]), answers)
        hits = jnp.argmax(answers, -1) == truth
        real = rows < count  # the last chunk is filled up
        return weights, (jnp.sum(losses * real), jnp.sum(hits & real))

    # Tensor cores would round float32 to 10 bits.
    with jax.default_matmul_precision("highest"):
        whole = looped(chunk, weights, rows, images, labels)

    def evaluate(weights):
        loss, hits = (float(mean) * chunks for mean in whole(weights, rows, images, labels)[1])
        return loss / count, round(hits) / count

    return evaluate


def places(wanted, among):
    """Index in `among` of each variable in `wanted`."""
    index = {id(variable): i for i, variable in enumerate(among)}
    return [index[id(variable)] for variable in wanted]


def put(model, trainable, others):
    """Give a model's variables values: of its trainable ones and of its others, two lists."""
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    for variable, value in zip(variables, [*trainable, *others], strict=True):
        variable.assign(value)


def train(config, arrays, folder):
    """Train one variant; write its run folder.

    Args:
        config: `TrainConfig`, whose precision is one of Keras's.
        arrays: as from `read_parts`.
        folder: made if it is not there.

    Returns:
        dict, as in result.json.
    """
    classes = [str(name) for name in arrays["classes"]]
    count = len(arrays["train_images"])
    steps = -(-count // config.batch_size)
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")
    kept = build_model(config, len(classes))  # float32 whatever trains it, so it serves anywhere
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    network = build_model(config, len(classes))
    trainer = compiled_trainer(network, config, steps)
    optimizer = trainer.optimizer
    optimizer.build(trainer.trainable_variables)
    # `kept` has the variables of `network`, in its order, which are some of the trainer's.
    learnt = places(network.trainable_variables, trainer.trainable_variables)
    counted = places(network.non_trainable_variables, trainer.non_trainable_variables)
    averages = (
        places(optimizer._model_variables_moving_average, optimizer.variables)
        if optimizer.use_ema
        else None
    )

    def kept_weights(state):
        """Values of the variables of `kept`: averaged where the optimiser averages."""
        trainable, others, optimizer_values = state
        if averages is not None:
            trainable = [optimizer_values[i] for i in averages]
        put(kept, [trainable[i] for i in learnt], [others[i] for i in counted])
        if config.fresh_statistics:
            recompute_statistics(kept, arrays["train_images"])
        return tuple(
            [variable.value for variable in variables]
            for variables in (kept.trainable_variables, kept.non_trainable_variables)
        )

    state = tuple(
        [variable.value for variable in variables]
        for variables in (
            trainer.trainable_variables,
            trainer.non_trainable_variables,
            optimizer.variables,
        )
    )
    data = [jax.device_put(arrays["train_images"])]
    data += [jax.device_put(column) for column in training_targets(arrays, config)]
    validation, test = (
        [jax.device_put(arrays[f"{role}_{kind}"]) for kind in ("images", "labels")]
        for role in ("validation", "test")
    )
    scores = keras.Model(kept.input, kept.get_layer("logits").output)
    start = time.perf_counter()
    epoch = epoch_function(trainer, state, data, config.batch_size, config.seed, config.mixup)
    validate = evaluate_function(scores, kept_weights(state), *validation)
    compiling = time.perf_counter() - start

    history, best, best_weights = [], (-1.0, 0.0), None
    training = 0.0
    begin = time.perf_counter()
    for number in range(config.epochs):
        start = time.perf_counter()
        state, (loss, accuracy) = jax.block_until_ready(epoch(state, number))
        seconds = time.perf_counter() - start
        training += seconds
        weights = kept_weights(state)
        val_loss, val_accuracy = validate(weights)
        if (val_accuracy, -val_loss) > best:
            best, best_weights, best_epoch = (val_accuracy, -val_loss), weights, number
        history.append(
            {
                "epoch": number,
                "loss": float(loss),
                "accuracy": float(accuracy),
                "val_loss": val_loss,
                "val_accuracy": val_accuracy,
                "images_per_second": count / seconds,
            }
        )
        print(
            f"epoch {number + 1}/{config.epochs}: {count / seconds:,.0f} images a second, "
            f"loss {float(loss):.4f}, validation {100 * val_accuracy:.2f} %",
            flush=True,
        )
    elapsed = time.perf_counter() - begin

    put(kept, *best_weights)
    (_, test_accuracy), (_, flipped_accuracy) = (
        evaluate_function(scores, best_weights, *test, flip=flip)(best_weights)
        for flip in (False, True)
    )
    result = {
        "device": jax.devices()[0].device_kind,
        "precision": config.precision,
        "epochs": config.epochs,
        "compile_seconds": compiling,
        "seconds": elapsed,
        "images_per_second": count * config.epochs / training,
        "best_epoch": best_epoch,
        "validation_accuracy": best[0],
        "test_accuracy": test_accuracy,
        "flip_averaged_test_accuracy": flipped_accuracy,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(config.to_json())
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in classes))
    kept.save(folder / "model.keras")
    with open(folder / "history.csv", "w", newline="") as file:
        table = csv.DictWriter(file, history[0])
        table.writeheader()
        table.writerows(history)
    (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("faces", nargs="+", type=Path, help="what pack_faces.py wrote")
    parser.add_argument("--variant", action="append", help="RECIPE [name=value ...]; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run folders")
    args = parser.parse_args()
    arrays = read_parts(args.faces)
    data = {"dataset": str(arrays["dataset"]), "protocol": str(arrays["protocol"])}
    if arrays["fold"] >= 0:
        data["fold"] = int(arrays["fold"])
    # Refuse what is wrong before the first variant takes its time.
    variants = [(text, parse_variant(text)) for text in args.variant or ["best"]]
    for text, config in variants:
        if config.precision == "auto":
            on_cpu = jax.default_backend() == "cpu"
            config = dataclasses.replace(
                config, precision="float32" if on_cpu else "mixed_bfloat16"
            )
        folder = args.out / re.sub(r"[^\w.=]+", "-", text.strip())
        print(f"{text}, {config.precision}, on {jax.devices()[0].device_kind}", flush=True)
        result = train(dataclasses.replace(config, **data), arrays, folder)
        print(
            f"{result['images_per_second']:,.0f} images a second (training, without the "
            f"{result['compile_seconds']:.1f} seconds of compiling), {result['seconds']:.1f} "
            f"seconds with validation\n"
            f"best epoch {result['best_epoch'] + 1}: "
            f"validation {100 * result['validation_accuracy']:.2f} %, "
            f"test {100 * result['test_accuracy']:.2f} %\n"
            f"averaged with mirror images: test "
            f"{100 * result['flip_averaged_test_accuracy']:.2f} %\n"
            f"wrote {folder}",
            flush=True,
        )


if __name__ == "__main__":
    main()
