"""Values and files of other types than the program wrote, by a seed."""

import copy
import random
import zipfile

OTHER_VALUES = (
    None,
    True,
    -1,
    0,
    0.5,
    10**21,
    1e308,
    float("nan"),
    "",
    "x",
    [],
    [[]],
    {},
    {"a": 1},
)
# Contents of a file that is to be text: cut, of other types, too deep, in another encoding.
OTHER_TEXTS = {
    "empty": b"",
    "cut": b'{"a": ',
    "deep": b"[" * 100_000,
    "null": b"null",
    "number": b"3",
    "digits": b"9" * 5_000,
    "list": b"[]",
    "object": b"{}",
    "text": b'"x"',
    "NUL": b"\0" * 64,
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "Latin-1": "dégoût\n".encode("latin-1"),
    "ZIP": b"PK\x03\x04" + b"\0" * 64,
}


def places(value, path=()):
    """The place of each part of a JSON value, as a tuple of keys."""
    yield path
    parts = value if isinstance(value, (dict, list)) else ()
    for key, one in parts.items() if isinstance(value, dict) else enumerate(parts):
        yield from places(one, (*path, key))


def damaged_values(value, seed, count):
    """(place, JSON value with another value there, or nothing), `count` times."""
    numbers = random.Random(seed)
    every = [place for place in places(value) if place]
    for _ in range(count):
        place, changed = numbers.choice(every), copy.deepcopy(value)
        part = changed
        for key in place[:-1]:
            part = part[key]
        if numbers.random() < 0.2:
            del part[place[-1]]
        else:
            part[place[-1]] = numbers.choice(OTHER_VALUES)
        yield place, changed


def damaged_bytes(content, seed, count):
    """Bytes that are cut, have a changed byte or a block of others, `count` times."""
    numbers = random.Random(seed)
    for _ in range(count):
        place = numbers.randrange(len(content))
        block = numbers.randbytes(numbers.choice((1, 16, 4096)))
        yield numbers.choice(
            (
                content[:place],
                content[:place] + block + content[place + len(block) :],
                content[:place] + content[place + len(block) :],
            )
        )


def change_member(path, name, content):
    """Replace a file in a ZIP archive."""
    with zipfile.ZipFile(path) as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for one, old in files.items():
            archive.writestr(one, content if one == name else old)
