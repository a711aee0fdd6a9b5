"""JSON as the server reads and repeats it: its parser's (RapidJSON's) errors, its way with floats.

Forms and texts are those of tensorflow_serving/util/json_tensor.
"""

import json
import os
import re

import numpy as np

from keras_deep_emotion.serving.local_server.errors import invalid

# What Python's parser says, and RapidJSON's words for it.
PARSE_ERRORS = (
    ("Expecting property name", "Missing a name for object member."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid \\escape", "Invalid escape character in string."),
    ("Invalid \\u", "Incorrect hex digit after \\u escape in string."),
    ("Invalid control", "Invalid encoding in string."),
    ("Extra data", "The document root must not be followed by other values."),
)


WORDS = ("true", "false", "null", "Infinity", "NaN", "-")


NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def encoded(text):
    """Bytes of a text, those that were no UTF-8 as they came."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def first_of_each(pairs):
    """Dict of an object's members; of several with one name the first counts."""
    members = {}
    for name, value in pairs:
        members.setdefault(name, value)
    return members


def parse(body):
    """The object that a request's body holds.

    Args:
        body: bytes.

    Raises:
        Refusal: it is no JSON object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        document = json.loads(text, object_pairs_hook=first_of_each)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {parse_error(text, error)}") from None
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; too deep
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {value_text(document)} Is not object")
    return document


def parse_error(text, error):
    """RapidJSON's words for an error of Python's parser, with the place."""
    place = error.pos
    known = [words for sign, words in PARSE_ERRORS if error.msg.startswith(sign)]
    if known:
        words = known[0]
        if error.msg.startswith("Unterminated"):  # Python names its beginning
            place = len(text)
    else:
        opened = re.findall(r'"(?:[^"\\]|\\.)*"|[][{}]', text[:place])
        stack = []
        for token in opened:
            if token in "[{":
                stack.append(token)
            elif token in "]}" and stack:
                stack.pop()
        in_object = stack[-1:] == ["{"]
        if error.msg.startswith("Expecting ','"):
            bracket, what = ("}", "object member") if in_object else ("]", "array element")
            words = f"Missing a comma or {bracket} after an {what}."
        elif error.msg.startswith("Illegal trailing comma") and in_object:
            words = "Missing a name for object member."
        elif not text.strip(" \t\r\n"):
            words, place = "The document is empty.", len(text)
        else:
            words = "Invalid value."
            for word in WORDS:  # the part of a word that was right is passed by
                begun = os.path.commonprefix([word, text[place:]])
                place += len(begun)
                if begun:
                    break
    return f"{words} at offset: {len(encoded(text[:place]))}"


def float_text(value, digits):
    """A float as the server writes it: six digits if they read back as it, else `digits`."""
    text = f"{value:.6g}"
    if text in NOT_FINITE:
        return NOT_FINITE[text]
    kind = np.float32 if digits == 9 else np.float64
    if kind(float(text)) != kind(value):
        text = f"{value:.{digits}g}"
    return text if "." in text or "e" in text else f"{text}.0"


def value_text(value):
    """A JSON value as the server repeats it in an error."""
    if isinstance(value, float):
        small = abs(value) <= np.finfo(np.float32).max
        return float_text(float(np.float32(value)), 9) if small else float_text(value, 17)
    return json.dumps(value, indent=4, ensure_ascii=False)


def type_text(value):
    """A JSON value's type in the server's words."""
    if value is None or isinstance(value, bool):
        return {None: "Null", False: "False", True: "True"}[value]
    names = {dict: "Object", list: "Array", str: "String", int: "Number", float: "Number"}
    return names[type(value)]
