"""Pictures from strangers: what a small file may cost, and that fuzzed ones get a sentence."""

import io
import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from keras_deep_emotion.images.inputs import load_pixels
from keras_deep_emotion.images.reading import MAX_PHOTO_PIXELS, UnreadableImage, decode_image

FORMATS = "JPEG PNG GIF BMP TIFF WEBP JPEG2000 PPM AVIF".split()
MOST_MEMORY, MOST_SECONDS = 2**20, 10  # kilobytes


def encoded(format, size=(64, 48), **options):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_fuzzed_pictures_are_read_or_get_a_clause(format):
    """Bits flipped, parts cut, doubled, moved and zeroed; 150 of each format, seeded."""
    whole, chance = encoded(format), random.Random(format)
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            at, length = chance.randrange(len(content)), chance.randint(1, 64)
            match chance.randrange(4):
                case 0:
                    content[at] ^= 1 << chance.randrange(8)
                case 1:
                    del content[at : at + length]
                case 2:
                    content[at:at] = content[at : at + length]
                case 3:
                    content[at : at + length] = bytes(length)
            content = content or bytearray(b"\0")
        start = time.perf_counter()
        try:
            image = decode_image(bytes(content))
            assert image.mode in ("L", "RGB")
        except UnreadableImage as error:
            assert str(error) and "\n" not in str(error)
        assert time.perf_counter() - start < MOST_SECONDS


PROGRAM = """
import re, sys
from keras_deep_emotion.images.reading import UnreadableImage, open_photo
try:
    print(open_photo(sys.argv[1]).size)
except UnreadableImage as error:
    print(error)
# Not ru_maxrss, which starts with that of the process that started this one.
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "side"),
    [
        ("PNG", 7090), ("JPEG", 7090), ("GIF", 7090), ("WEBP", 5000), ("JPEG2000", 5000),
        ("WEBP", 13_000), ("PNG", 13_000), ("JPEG2000", 7090),
    ],
)  # fmt: skip
def test_a_small_file_of_many_pixels_costs_little(format, side, tmp_path):
    path = tmp_path / "a"
    writer = "from PIL import Image; import sys; s = int(sys.argv[3]);"
    writer += "Image.new('RGB', (s, s), (9, 99, 200)).save(sys.argv[1], sys.argv[2])"
    arguments = [path, format, str(side)]
    subprocess.run([sys.executable, "-c", writer, *arguments], check=True)
    start = time.perf_counter()
    command = [sys.executable, "-c", PROGRAM, path]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    says, kilobytes = answer.stdout.splitlines()
    is_costly = format in ("JPEG2000", "WEBP")
    is_read = side**2 <= MAX_PHOTO_PIXELS // (1 + is_costly)
    assert says.startswith(f"({side}, " if is_read else f"{side} x {side} pixels are too many")
    assert int(kilobytes) < MOST_MEMORY
    assert time.perf_counter() - start < 3 * MOST_SECONDS  # other tests run beside it


@pytest.mark.parametrize(
    "name", ["/dev/zero", "/dev/stdin", "/proc/self/mem", "/", "\0", "x" * 5000]
)
def test_what_is_no_file_is_refused_at_once(name):
    start = time.perf_counter()
    with pytest.raises(UnreadableImage):
        load_pixels(name)
    assert time.perf_counter() - start < 1


def test_a_pipe_in_a_folder_does_not_hang(tmp_path):
    from keras_deep_emotion.images import find_files

    Image.new("L", (48, 48)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    (found,) = find_files([tmp_path])
    assert found.passed_over == (tmp_path / "pipe",)
    os.mkfifo(tmp_path / "b.png")
    paths = [one.path.name for one in find_files([tmp_path])]
    assert paths == ["a.png", "b.png"]
    with pytest.raises(UnreadableImage, match="a pipe or device"):
        load_pixels(tmp_path / "b.png")
