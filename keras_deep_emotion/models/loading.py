"""Open a `.keras` file that a stranger may have made: bounds are checked before memory is taken."""

import contextlib
import io
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path

import keras

import keras_deep_emotion.layers  # noqa: F401  (registers the layers)

# Ours: more than twice what the largest network, resnet50, has in each respect.
MOST_PARAMETERS = 60_000_000
MOST_OUTPUTS = 60_000_000  # numbers that a layer outputs for one image
MOST_SETTINGS = 2**19  # bytes of config.json
SETTINGS, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = {"metadata.json", SETTINGS, WEIGHTS}  # of the archive, as Keras 3 writes it


def load_network(path: str | Path) -> keras.Model:
    """Load a Functional model, uncompiled. Raises what Keras raises if it is damaged.

    Raises:
        ValueError: If its file, its weights or the output of a layer is far larger than any of
            this package's networks has.
    """
    check_archive(path)
    with bounded_variables():
        model = keras.saving.load_model(path, compile=False)
    check_outputs(model)
    return model


def check_archive(path: str | Path) -> None:
    """Raise ValueError if what a `.keras` file holds is too large, or of other files."""
    import h5py

    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if set(sizes) != MEMBERS:
            expected, received = (", ".join(sorted(names))[:200] for names in (MEMBERS, sizes))
            raise ValueError(f"it must hold {expected}. Received: {received}")
        if sizes[SETTINGS] > MOST_SETTINGS:
            raise ValueError(
                f"its {SETTINGS} has {sizes[SETTINGS]:,} bytes, over {MOST_SETTINGS:,}"
            )
        if sizes[WEIGHTS] > 5 * MOST_PARAMETERS:  # 4 bytes each, and their names
            raise too_many(sizes[WEIGHTS] // 4)
        content = archive.read(WEIGHTS)
    counts = []

    def add(name, item):
        if isinstance(item, h5py.Dataset):  # a chunk is read whole
            largest = max(item.size or 0, math.prod(item.chunks or ()))
            counts.append(largest * item.dtype.itemsize // 4)

    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(add)
    if sum(counts) > MOST_PARAMETERS:
        raise too_many(sum(counts))


@contextlib.contextmanager
def bounded_variables() -> Iterator[None]:
    """Within the context, ValueError is raised instead of creating too many parameters.

    The number is that of the variables' shapes, before their memory is taken. On TensorFlow only.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    count = 0

    def create(next_creator, **arguments):
        nonlocal count
        value = arguments["initial_value"]
        with tf.Graph().as_default():  # the shape, and no numbers
            size = (value() if callable(value) else value).shape.num_elements()
        count += math.inf if size is None else size
        if count > MOST_PARAMETERS:
            raise too_many(count)
        return next_creator(**arguments)

    with tf.variable_creator_scope(create):
        yield


def check_outputs(model: keras.Model) -> None:
    """Raise ValueError if a layer of a Functional model outputs too many numbers for an image."""
    for operation in model.operations:
        for output in keras.tree.flatten(operation.output):
            batch, *sizes = output.shape or (1,)
            if None in sizes or (batch or 1) * math.prod(sizes) > MOST_OUTPUTS:
                raise ValueError(
                    f"its layer {operation.name} outputs {output.shape}, over {MOST_OUTPUTS:,} "
                    "numbers for an image"
                )


def too_many(count: float) -> ValueError:
    """Error for a model of so many parameters."""
    return ValueError(f"it has {count:,} parameters or more, over {MOST_PARAMETERS:,}")
