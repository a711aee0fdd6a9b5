"""The JSON that REST answers with; forms as in tensorflow_serving/util/json_tensor."""

import base64
import json

import numpy as np

from keras_deep_emotion.serving.local_server.errors import invalid
from keras_deep_emotion.serving.local_server.json_text import float_text
from keras_deep_emotion.serving.local_server.versions import dtype_name

INTEGERS = "iu"  # kinds of NumPy's dtypes


def texts_of(name, array):
    """Nested lists of the JSON texts of an output's values.

    Raises:
        Refusal: JSON has no form for the output's type.
    """
    if array.dtype in (np.float32, np.float64):
        digits = 9 if array.dtype == np.float32 else 17
        texts = [float_text(value, digits) for value in array.ravel().tolist()]
    elif array.dtype == bool or array.dtype.kind in INTEGERS:
        texts = [json.dumps(value) for value in array.ravel().tolist()]
    elif array.dtype == object and name.endswith("_bytes"):
        texts = [json.dumps({"b64": base64.b64encode(one).decode()}) for one in array.ravel()]
    elif array.dtype == object:
        decoded = (one.decode("utf-8", "surrogateescape") for one in array.ravel())
        texts = [json.dumps(one, ensure_ascii=False) for one in decoded]
    else:
        raise invalid(f"Failed to write JSON value for tensor type: {dtype_name(array.dtype)}")
    nested = np.empty(len(texts), object)
    nested[:] = texts
    return nested.reshape(array.shape).tolist()


def joined(nested):
    """One text of nested lists of texts."""
    return nested if isinstance(nested, str) else "[" + ", ".join(map(joined, nested)) + "]"


def object_text(members, indent):
    """Text of an object of texts."""
    space = " " * indent
    inner = ",\n".join(f"{space}    {json.dumps(name)}: {text}" for name, text in members.items())
    return f"{{\n{inner}\n{space}}}"


def predictions_text(outputs, in_rows):
    """Answer to :predict.

    Args:
        outputs: {name: array}.
        in_rows: whether the request was.

    Raises:
        Refusal: rows need the batch as the first dimension of each output, and not an empty one.
    """
    if not in_rows:
        columns = {name: joined(texts_of(name, array)) for name, array in outputs.items()}
        alone = len(columns) == 1
        found = next(iter(columns.values())) if alone else object_text(columns, 4)
        return object_text({"outputs": found}, 0) + "\n"
    batch = 0
    for name, array in outputs.items():
        if not array.shape:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if not len(array):
            raise invalid(f"Tensor name: {name} has invalid batch size: 0")
        if batch and len(array) != batch:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}"
            )
        batch = len(array)
    columns = {name: list(map(joined, texts_of(name, array))) for name, array in outputs.items()}
    if len(columns) == 1:
        rows = next(iter(columns.values()))
    else:
        rows = [object_text({name: c[i] for name, c in columns.items()}, 8) for i in range(batch)]
    inner = ",\n".join(f"        {row}" for row in rows)
    return object_text({"predictions": f"[\n{inner}\n    ]"}, 0) + "\n"


def classifications_text(result):
    """Answer to :classify: for each example a list of [label, score]."""
    rows = [
        [
            [json.dumps(one.label, ensure_ascii=False), float_text(one.score, 9)]
            for one in row.classes
        ]
        for row in result.classifications
    ]
    return object_text({"results": joined(rows)}, 0) + "\n"


def regressions_text(result):
    """Answer to :regress: one number for each example."""
    values = [float_text(one.value, 9) for one in result.regressions]
    return object_text({"results": joined(values)}, 0) + "\n"


def error_text(message):
    """Answer that refuses."""
    return object_text({"error": json.dumps(message, ensure_ascii=False)}, 0) + "\n"
