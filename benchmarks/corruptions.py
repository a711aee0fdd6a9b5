"""Random damage to JPEG and PNG files, sent in batches beside whole ones: what comes back.

    python benchmarks/corruptions.py EXPORT_OR_URL [--count 1000] [--seed 0]

EXPORT_OR_URL is an export's folder, or where one is served (grpc://HOST:8500/NAME, http://...).
"""

import io
import time

import click
import numpy as np
from PIL import Image, ImageDraw

BATCH = 10  # damaged files, and one whole one

KINDS = {
    "PNG": {},
    "JPEG": {},
    "JPEG, progressive": {"progressive": True},
    "JPEG, CMYK": {"mode": "CMYK"},
    "PNG, 16 bits": {"mode": "I;16"},
}


def drawing(random):
    """A face that anyone would take for one: a disc, two eyes, a mouth."""
    size = int(random.integers(40, 200))
    picture = Image.new(
        "RGB", (size, size), tuple(int(one) for one in random.integers(256, size=3))
    )
    draw = ImageDraw.Draw(picture)
    draw.ellipse((size * 0.1, size * 0.05, size * 0.9, size * 0.95), fill=(230, 190, 160))
    for x in (0.35, 0.65):
        draw.ellipse((size * (x - 0.06), size * 0.35, size * (x + 0.06), size * 0.45), fill=0)
    draw.arc((size * 0.3, size * 0.5, size * 0.7, size * 0.8), 0, 180, fill=0, width=3)
    return picture


def encode(picture, kind):
    """The file of a picture."""
    options = dict(KINDS[kind])
    mode = options.pop("mode", None)
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    elif mode:
        picture = picture.convert(mode)
    file = io.BytesIO()
    picture.save(file, kind.partition(",")[0], **options)
    return file.getvalue()


def cut_off(content, random):
    return content[: random.integers(len(content))]


def bytes_changed(content, random):
    content = bytearray(content)
    for place in random.integers(len(content), size=random.integers(1, 10)):
        content[place] ^= random.integers(1, 256)
    return bytes(content)


def header_changed(content, random):
    content = bytearray(content)
    for place in random.integers(min(100, len(content)), size=random.integers(1, 4)):
        content[place] ^= random.integers(1, 256)
    return bytes(content)


def piece_repeated(content, random):
    start, end = sorted(random.integers(len(content), size=2))
    return content[:end] + content[start:]


def piece_missing(content, random):
    start, end = sorted(random.integers(len(content), size=2))
    return content[:start] + content[end + 1 :]


DAMAGE = (cut_off, bytes_changed, header_changed, piece_repeated, piece_missing)


@click.command()
@click.argument("model")
@click.option("--count", default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(model, count, seed):
    from keras_deep_emotion.inference.client import connect
    from keras_deep_emotion.inference.loading import load_folder

    ask = (connect(model) if "://" in model else load_folder(model)).predict_bytes
    random = np.random.default_rng(seed)
    whole = encode(drawing(random), "PNG")
    (alone,) = ask([whole])
    table = {(kind, damage.__name__): [0, 0] for kind in KINDS for damage in DAMAGE}
    refused, lost, slowest = 0, 0, 0.0
    cells = list(table)
    rows = [cells[i % len(cells)] for i in range(count)]
    for start in range(0, count, BATCH):
        batch = rows[start : start + BATCH]
        files = []
        for kind, damage in batch:
            function = next(one for one in DAMAGE if one.__name__ == damage)
            files.append(function(encode(drawing(random), kind), random))
        begun = time.perf_counter()
        try:
            *found, beside = ask([*files, whole])
        except Exception as error:
            refused += len(batch)
            click.echo(f"refused: {type(error).__name__}: {error}")
            continue
        slowest = max(slowest, time.perf_counter() - begun)
        lost += not np.allclose(beside, alone, atol=1e-5)
        for cell, probabilities in zip(batch, found, strict=True):
            answered = bool(np.any(probabilities))
            assert np.isclose(np.sum(probabilities), answered, atol=1e-4), probabilities
            table[cell][not answered] += 1
    click.echo("| file | damage | answered | marked |\n|---|---|---|---|")
    for (kind, damage), (answered, marked) in table.items():
        click.echo(f"| {kind} | {damage.replace('_', ' ')} | {answered} | {marked} |")
    answered, marked = np.sum(list(table.values()), axis=0)
    click.echo(
        f"{count} damaged files: {answered} answered, {marked} marked, {refused} refused with "
        f"their batch; {lost} whole files beside them answered otherwise; slowest batch "
        f"{1000 * slowest:.0f} ms."
    )


if __name__ == "__main__":
    main()
