"""Tensors and tf.Examples out of the JSON of REST requests.

Forms and texts are those of tensorflow_serving/util/json_tensor.
"""

import base64
import binascii
import math
import re

import numpy as np
import tensorflow as tf

from keras_deep_emotion.serving.local_server.errors import ServingError, invalid
from keras_deep_emotion.serving.local_server.json_text import encoded, type_text, value_text
from keras_deep_emotion.serving.local_server.versions import dtype_name

INT_RANGES = {
    "int8": (-(2**31), 2**31),  # the server reads small integers as 32 bits, and lets them wrap
    "int16": (-(2**31), 2**31),
    "uint8": (-(2**31), 2**31),
    "int32": (-(2**31), 2**31),
    "int64": (-(2**63), 2**63),
    "uint32": (0, 2**32),
    "uint64": (0, 2**64),
}


def is_base64(value):
    """Whether it is `{"b64": text}`."""
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def from_base64(value):
    """Bytes of `{"b64": text}`; the padding may be left out.

    Raises:
        Refusal: it is not such an object, or its text is no base64.
    """
    if not is_base64(value):
        raise invalid(f"JSON Value: {value_text(value)} not formatted correctly for base64 data")
    text = re.sub(r"\s", "", value["b64"]).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def number(value, dtype):
    """A JSON number as a float of a dtype; refused if it loses more than the dtype's rounding."""
    limits = np.finfo(dtype.as_numpy_dtype)
    whole = isinstance(value, int) and -(2**63) <= value < 2**64
    try:
        fits = abs(value) < 2 ** (limits.nmant + 1) if whole else abs(float(value)) <= limits.max
    except OverflowError:
        fits = False
    if not fits and (isinstance(value, int) or math.isfinite(value)):
        raise invalid(
            f"Cannot convert JSON value: {value_text(value)} to {dtype_name(dtype)} without loss "
            "of precision."
        )
    return float(value)


def leaf(value, dtype):
    """One value of a tensor.

    Raises:
        Refusal: it is not of the dtype.
    """
    if dtype == tf.string:
        if isinstance(value, str):
            return encoded(value)
        if isinstance(value, dict):
            return from_base64(value)
    elif dtype in (tf.float32, tf.float64):
        if type(value) in (int, float):
            return number(value, dtype)
    elif dtype.name in INT_RANGES:
        low, high = INT_RANGES[dtype.name]
        if type(value) is int and low <= value < high:
            return value
    elif dtype == tf.bool:
        if isinstance(value, bool):
            return value
    elif not isinstance(value, dict):
        raise ServingError(
            "UNIMPLEMENTED",
            f"Conversion of JSON Value: {value_text(value)} to type: {dtype_name(dtype)}",
        )
    raise invalid(
        f"JSON Value: {value_text(value)} Type: {type_text(value)} is not of expected type: "
        f"{dtype_name(dtype)}"
    )


def fill(value, level, shape, dtype, flat):
    """Append the values of nested lists to `flat`; refuse lists that are not of `shape`."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {value_text(value)} found at incorrect level: {level + 1} in the "
                f"JSON DOM. Expected at level: {len(shape)}"
            )
        flat.append(leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    # Grey levels come by the thousand: a row of plain numbers is taken as a whole.
    plain = dtype == tf.float32 and level == len(shape) - 1 and set(map(type, value)) <= {float}
    if plain and value and max(map(abs, value)) < 1e38:
        flat.extend(value)
        return
    for item in value:
        fill(item, level + 1, shape, dtype, flat)


def tensor(value, dtype):
    """(shape, flat list of values) of a JSON value: a scalar or nested lists.

    Raises:
        Refusal: the lists are uneven, or a value is not of the dtype.
    """
    shape, inner, flat = [], value, []
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    try:
        fill(value, 0, shape, dtype, flat)
    except RecursionError:
        raise invalid("The lists are nested too deeply.") from None
    return shape, flat


def array_of(flat, shape, dtype, name):
    """Array of a flat list of values."""
    if dtype == tf.string:
        array = np.empty(len(flat), object)
        array[:] = flat
    else:
        wide = np.int64 if dtype.name in INT_RANGES and dtype != tf.uint64 else None
        array = np.array(flat, wide or dtype.as_numpy_dtype).astype(dtype.as_numpy_dtype)
    try:
        return array.reshape(shape)
    except ValueError:  # more dimensions than a tensor may have
        raise invalid(f"tensor parsing error: {name}") from None


def signature_name(document):
    """The signature that a request names, or an empty text.

    Raises:
        Refusal: the name is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {value_text(document)} not formatted correctly. 'signature_name' key "
            "must be a string value."
        )
    return name


def predict_inputs(document, infos):
    """Tensors of a request for :predict.

    Args:
        document: from `parse`.
        infos: {name: TensorInfo} of the signature's inputs.

    Returns:
        ({name: array}, whether the request is in rows).

    Raises:
        Refusal: as the server refuses.
    """
    dtypes = {name: tf.dtypes.as_dtype(info.dtype) for name, info in infos.items()}
    if "instances" not in document and "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    if "instances" not in document:
        return from_columns(document["inputs"], dtypes), False
    start = f"JSON Value: {value_text(document)} " if refuses_rows(document) else ""
    if "inputs" in document:
        raise invalid(
            f"{start}Not formatted correctly expecting only one of 'inputs' or 'instances' keys "
            "to exist "
        )
    if not isinstance(document["instances"], list):
        raise invalid(f"{start}Excepting 'instances' to be an list/array")
    if not document["instances"]:
        raise invalid(f"{start}No values in 'instances' array")
    return from_rows(document["instances"], dtypes), True


def refuses_rows(document):
    """Whether a request in rows is refused as a whole: only then is it worth repeating."""
    rows = document["instances"]
    return "inputs" in document or not isinstance(rows, list) or not rows


def from_columns(value, dtypes):
    """{name: array} of the value of `inputs`."""
    if not isinstance(value, dict) or is_base64(value):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = {next(iter(dtypes)): value}
    arrays = {}
    for name, dtype in dtypes.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        shape, flat = tensor(value[name], dtype)
        arrays[name] = array_of(flat, shape, dtype, name)
    return arrays


def from_rows(rows, dtypes):
    """{name: array} of the list of `instances`."""
    if not isinstance(rows[0], dict) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    are_objects = isinstance(rows[0], dict) and not is_base64(rows[0])
    shapes, flats = {}, {name: [] for name in dtypes}

    def add(value, name):
        if name not in dtypes:
            raise invalid(f"JSON object: does not have named input: {name}")
        shape, flat = tensor(value, dtypes[name])
        first = shapes.setdefault(name, shape)
        if math.prod(first) != len(flat):
            raise invalid(f"Expecting tensor size: {math.prod(first)} but got: {len(flat)}")
        if first != shape:
            texts = ["[" + ",".join(map(str, one)) + "]" for one in (first, shape)]
            raise invalid(f"Expecting shape {texts[0]} but got: {texts[1]}")
        flats[name] += flat

    for place, row in enumerate(rows):
        is_object = isinstance(row, dict) and not is_base64(row)
        if are_objects and not is_object:
            raise invalid(f"Expecting object but got list at item {place} of input list")
        if is_object and not are_objects:
            raise invalid(f"Expecting value/list but got object at item {place} of input list")
        for name, value in (row if is_object else {next(iter(dtypes)): row}).items():
            try:
                add(value, name)
            except ServingError as refusal:
                key = f" key: {name}" if is_object else ""
                raise invalid(
                    f"Failed to process element: {place}{key} of 'instances' list. Error: "
                    f"{refusal.code}: {refusal.message}"
                ) from None
        if is_object and set(row) != set(dtypes):
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: "
                f"{value_text(row)} must only have keys: {','.join(sorted(dtypes))}"
            )
    return {
        name: array_of(flat, [len(rows), *shapes[name]], dtypes[name], name)
        for name, flat in flats.items()
    }


def feature(name, content):
    """tf.train.Feature of a JSON value or list of them.

    Raises:
        Refusal: a value is of no kind that a feature has, or not of the kind of those before.
    """
    made = tf.train.Feature()

    def add(kind, value):
        if made.WhichOneof("kind") not in (None, kind):
            so_far = made.WhichOneof("kind").removesuffix("_list")
            raise invalid(f"Unexpected element type in feature: {name} expecting type: {so_far}")
        getattr(made, kind).value.append(value)

    for value in content if isinstance(content, list) else [content]:
        if isinstance(value, str):
            add("bytes_list", encoded(value))
        elif is_base64(value):
            add("bytes_list", from_base64(value))
        elif isinstance(value, float):
            add("float_list", number(value, tf.float32))
        elif isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                raise invalid(f"Feature: {name} has uint64 element. Only int64 is supported.")
            add("int64_list", int(value))
        else:
            raise invalid(
                f"Feature: {name} has element with unexpected JSON type: {type_text(value)}"
            )
    return made


def example(value):
    """tf.train.Example of a JSON object.

    Raises:
        Refusal: it is none.
    """
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_text(value)}")
    made = tf.train.Example()
    for name, content in value.items():
        made.features.feature[name].CopyFrom(feature(name, content))
    return made


def examples(document):
    """Examples of a request for :classify or :regress.

    Args:
        document: from `parse`.

    Returns:
        (the context's tf.train.Example or None, list of tf.train.Examples).

    Raises:
        Refusal: as the server refuses.
    """
    context = example(document["context"]) if "context" in document else None
    found = document.get("examples")
    if not isinstance(found, list) or not found:
        start = f"JSON Value: {value_text(document)} "
        if "examples" not in document:
            raise invalid(
                f"{start}When method is classify, key 'examples' is expected and was not found"
            )
        if not isinstance(found, list):
            raise invalid(f"{start}Expecting 'examples' value to be an list/array")
        raise invalid(f"{start}'examples' value is an empty array")
    return context, [example(one) for one in found]
