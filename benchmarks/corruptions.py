"""Randomly damaged JPEG and PNG files, in batches with an intact one: how a model answers.

    PYTHONPATH=. python benchmarks/corruptions.py EXPORT_OR_URL [--count 1000] [--seed 0]

EXPORT_OR_URL is an export's folder, or where one is served (grpc://HOST:8500/NAME, http://...).
"""

import io
import itertools
import time

import click
import numpy as np
from PIL import Image
from timing import echo_header, echo_row

from tfds_builders.contract import EMOTIONS
from tfds_builders.toon_faces.drawing import draw

BATCH = 10  # damaged files, with an intact one
KINDS = {  # Pillow's mode and options
    "PNG": ("RGB", {}),
    "JPEG": ("RGB", {}),
    "JPEG, progressive": ("RGB", {"progressive": True}),
    "JPEG, CMYK": ("CMYK", {}),
    "PNG, 16 bits": ("I;16", {}),
}


def draw_face(random):
    """A toon face of 40 to 200 pixels."""
    size = int(random.integers(40, 200))
    return draw("mira", random.choice(EMOTIONS), size).image.resize((size, size))


def encode(image, kind):
    mode, options = KINDS[kind]
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    file = io.BytesIO()
    image.save(file, kind.partition(",")[0], **options)
    return file.getvalue()


def change_bytes(content, random, length, most):
    content = bytearray(content)
    for place in random.integers(min(length, len(content)), size=random.integers(1, most + 1)):
        content[place] ^= random.integers(1, 256)
    return bytes(content)


def change_piece(content, random, repeat):
    start, end = sorted(random.integers(len(content), size=2))
    return content[:end] + content[start:] if repeat else content[:start] + content[end + 1 :]


DAMAGE = {
    "cut off": lambda content, random: content[: random.integers(len(content))],
    "bytes changed": lambda content, random: change_bytes(content, random, len(content), 9),
    "header changed": lambda content, random: change_bytes(content, random, 100, 3),
    "piece repeated": lambda content, random: change_piece(content, random, repeat=True),
    "piece missing": lambda content, random: change_piece(content, random, repeat=False),
}


@click.command()
@click.argument("model")
@click.option("--count", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(model, count, seed):
    from keras_deep_emotion import load

    predict, random = load(model).predict_bytes, np.random.default_rng(seed)
    intact = encode(draw_face(random), "PNG")
    (expected,) = predict([intact])
    answers = {cell: [0, 0] for cell in itertools.product(KINDS, DAMAGE)}  # predicted, invalid
    cells = itertools.islice(itertools.cycle(answers), count)
    refused, changed, slowest = 0, 0, 0.0
    while batch := list(itertools.islice(cells, BATCH)):
        files = [DAMAGE[damage](encode(draw_face(random), kind), random) for kind, damage in batch]
        begin = time.perf_counter()
        try:
            *probabilities, answer = predict([*files, intact])
        except Exception as error:
            refused += len(batch)
            click.echo(f"refused: {type(error).__name__}: {error}")
            continue
        slowest = max(slowest, time.perf_counter() - begin)
        changed += not np.allclose(answer, expected, atol=1e-5)
        for cell, row in zip(batch, probabilities, strict=True):
            valid = bool(np.any(row))
            assert np.isclose(np.sum(row), valid, atol=1e-4), row
            answers[cell][not valid] += 1
    echo_header("file", "damage", "predicted", "marked invalid")
    for cell, counts in answers.items():
        echo_row(*cell, *counts)
    valid, invalid = np.sum(list(answers.values()), axis=0)
    click.echo(
        f"{count} damaged files: {valid} predicted, {invalid} marked invalid, {refused} refused "
        f"with their batch; {changed} predictions for the intact file changed; slowest batch "
        f"{1000 * slowest:.0f} ms"
    )


if __name__ == "__main__":
    main()
