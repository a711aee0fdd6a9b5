"""Arrays and tf.Examples from the JSON of REST requests, and the JSON of outputs.

Formats are those of tensorflow_serving/util/json_tensor. Errors are `ServingError`.
"""

import base64
import json
import reprlib
import time

import numpy as np
import tensorflow as tf

from keras_deep_emotion.serving.local_server.errors import ServingError, invalid

# Kinds of NumPy's dtypes, and the kinds of JSON values that are converted to them.
KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}


def parse(body):
    """The JSON object of a request's body."""
    try:
        document = json.loads(body)
        if b"\\ud" in body.lower():  # half of a surrogate pair is no text
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON parse error: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("signature_name", ""), str):
        raise invalid("The request must be a JSON object, and its 'signature_name' a string.")
    return document


def is_object(value):
    """Whether a JSON value is an object, but not {"b64": text}, which stands for bytes."""
    return isinstance(value, dict) and list(value) != ["b64"]


def to_bytes(value):
    """Bytes of a JSON string, or of {"b64": text}, whose padding may be left out."""
    if isinstance(value, str):
        return value.encode()
    try:
        text = "".join(value["b64"].split()).rstrip("=")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise invalid(f"Not a string and not base64: {reprlib.repr(value)}") from None


def loses_precision(array, converted):
    """Whether a conversion changed a value by more than a number's rounding."""
    if array.dtype.kind not in KINDS.get(converted.dtype.kind, ""):
        return array.size > 0
    if converted.dtype.kind != "f":
        return (converted != array).any()
    if array.dtype.kind == "f":
        return (np.isinf(converted) & np.isfinite(array)).any()
    return (np.abs(array) >= 2 ** (np.finfo(converted.dtype).nmant + 1)).any()


class Deadline:
    """When the time for a call is over; `ServingError` is raised by `check` then."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def check(self):
        """Raise if the time is over; called between two steps, and for each item of long ones."""
        if time.monotonic() > self.end:
            raise ServingError("DEADLINE_EXCEEDED", "The time for the call is over.")


def to_array(value, dtype, check=lambda: None):
    """Array of a tf.DType from a JSON value, or from nested lists of equal lengths."""

    def bytes_of(one):
        check()
        return to_bytes(one)

    check()
    if dtype == tf.string:
        return np.vectorize(bytes_of, otypes=[object])(np.array(value, object))
    try:
        array = np.array(value)
        check()
        with np.errstate(over="ignore"):
            converted = array.astype(dtype.as_numpy_dtype)
    except (OverflowError, TypeError, ValueError):
        raise invalid(f"Expected {dtype.name}, in evenly nested lists.") from None
    if loses_precision(array, converted):
        raise invalid(
            f"{reprlib.repr(value)} cannot be converted to {dtype.name} without loss of precision."
        )
    return converted


def columns_of_inputs(value, names):
    """{name: value} of `inputs`: an object by input, or the value of the only input."""
    if not is_object(value) and len(names) == 1:
        return dict.fromkeys(names, value)
    if not is_object(value) or not set(names) <= set(value):
        raise invalid(f"'inputs' must have the keys {sorted(names)}.")
    return value


def columns_of_rows(rows, names):
    """{name: list of values} of `instances`: objects by input, or values of the only input."""
    if not isinstance(rows, list) or not rows:
        raise invalid("'instances' must be a list of one row or more.")
    if len(names) == 1 and not any(map(is_object, rows)):
        return dict.fromkeys(names, rows)
    for place, row in enumerate(rows):
        if not is_object(row) or set(row) != set(names):
            raise invalid(f"Item {place} of 'instances' must have the keys {sorted(names)}.")
    return {name: [row[name] for row in rows] for name in names}


def predict_inputs(document, dtypes, check):
    """({name: array}, whether the request is in rows), from {name: tf.DType} of the inputs."""
    check()
    in_rows = "instances" in document
    if in_rows == ("inputs" in document):
        raise invalid("The request must have one of the keys 'instances' and 'inputs'.")
    parse_columns = columns_of_rows if in_rows else columns_of_inputs
    columns = parse_columns(document["instances" if in_rows else "inputs"], dtypes)
    return {name: to_array(columns[name], dtype, check) for name, dtype in dtypes.items()}, in_rows


def to_json(name, array):
    """Nested lists of an output; its strings as {"b64": text} if its name ends in _bytes."""
    if array.dtype == object and name.endswith("_bytes"):
        array = np.vectorize(lambda one: {"b64": base64.b64encode(one).decode()}, [object])(array)
    elif array.dtype == object:
        array = np.vectorize(lambda one: one.decode(errors="replace"), [object])(array)
    return array.tolist()


def predictions(outputs, in_rows, check):
    """JSON value that answers :predict with {name: array}."""
    check()
    columns = {name: to_json(name, array) for name, array in outputs.items()}
    first, *others = columns.values()
    if not in_rows:
        return {"outputs": columns if others else first}
    sizes = {array.shape[:1] for array in outputs.values()}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise invalid("Rows need outputs of one batch size above 0; send 'inputs'.")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(first, *others, strict=True)]
    return {"predictions": rows if others else first}


def to_feature(name, content):
    """tf.train.Feature of a JSON value or a list of them."""
    values = content if isinstance(content, list) else [content]
    types = set(map(type, values))
    feature = tf.train.Feature()
    if types <= {str, dict}:
        feature.bytes_list.value.extend(map(to_bytes, values))
    elif types == {float}:
        feature.float_list.value.extend(to_array(values, tf.float32).tolist())
    elif types == {int}:
        feature.int64_list.value.extend(to_array(values, tf.int64).tolist())
    else:
        raise invalid(f"Feature {name} must hold strings, integers or floats, all of one type.")
    return feature


def to_example(value):
    """tf.train.Example of a JSON object."""
    if not is_object(value):
        raise invalid(f"An example must be a JSON object. Received: {reprlib.repr(value)}")
    features = {name: to_feature(name, content) for name, content in value.items()}
    return tf.train.Example(features=tf.train.Features(feature=features))


def to_examples(document, check):
    """(list of tf.train.Examples, the Example that is merged into each) for :classify."""

    def example_of(value):
        check()
        return to_example(value)

    examples = document.get("examples")
    if not isinstance(examples, list):
        raise invalid("'examples' must be a list of examples.")
    return list(map(example_of, examples)), to_example(document.get("context", {}))
