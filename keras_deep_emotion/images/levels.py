"""The one rule for the levels of pixels, whatever they come from: a file, a PIL image, an array.

| pixels | are read as |
|---|---|
| 8 bits (1, palette, grey, RGB, CMYK, ...) | levels from 0 to 255 |
| integers up to 255 of 16 or 32 bits | levels from 0 to 255 |
| integers whose largest is from 16,384 to 65,535 | 16 bits: the upper eight |
| floats up to 255, the largest above 1 | levels from 0 to 255 |
| only zeros | black |

All others are refused, since nobody can know what is white: of 10, 12 and 14 bits kept in 16,
floats from 0 to 1, below 0, above 65,535, NaN.
"""

import numpy as np
from PIL import Image

# A 16-bit picture this dark would have no level above 63 of 255; 14 bits kept in 16 have none.
LEAST_WHITE = 2**14
REMEDY = "of a depth that is not known: convert them so that white is 255"
# Raw modes of files with 16 bits a channel of which Pillow keeps the upper eight.
DEEP_COLORS = ("RGB;16", "RGBA;16", "RGBX;16", "LA;16", "CMYK;16", "RGBa;16")


class UnknownLevels(ValueError):
    """Pixels of which nobody can know what is white; the message is one clause with the reason."""


def eight_bits(levels: np.ndarray) -> np.ndarray:
    """Levels of an image from 0 to 255, by the rule above: uint8 of integers, floats as they are.

    Raises:
        UnknownLevels: If they may mean several things.

    Example:
    >>> eight_bits(np.array([0, 256, 65535], np.uint16))
    array([  0,   1, 255], dtype=uint8)
    """
    if levels.dtype == np.uint8:
        return levels
    low, high = float(levels.min()), float(levels.max())
    received = f"levels from {low:g} to {high:g}"
    if not (low >= 0 and high <= 65535):  # NaN fails too
        raise UnknownLevels(f"{received}, which should be from 0 to 255")
    if levels.dtype.kind == "f":
        if high > 255:
            raise UnknownLevels(f"{received}, which should be from 0 to 255")
        if 0 < high <= 1:
            raise UnknownLevels(f"{received}: multiply them by 255")
        return levels
    if high <= 255:
        return levels.astype(np.uint8)
    if high < LEAST_WHITE:
        raise UnknownLevels(f"{received}, {REMEDY}")
    return (levels >> 8).astype(np.uint8)


def has_deep_colors(image: Image.Image) -> bool:
    """Whether the file of an image has 16 bits a channel, of which Pillow keeps the upper eight.

    False once Pillow has loaded it.
    """
    for tile in getattr(image, "tile", ()):
        mode, *more = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        is_deep_pnm = tile.codec_name == "ppm" and max(more, default=0) > 255
        if is_deep_pnm or str(mode).startswith(DEEP_COLORS):
            return True
    return False


def to_image(image: Image.Image, is_deep: bool = False) -> Image.Image:
    """Convert an image of any mode of Pillow to mode L or RGB by the rule above; alpha is dropped.

    `is_deep` is what `has_deep_colors` says of the file. Raises UnknownLevels as `eight_bits`.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        levels = eight_bits(np.asarray(image))
        return Image.fromarray(np.round(levels).astype(np.uint8))
    is_grey = image.mode in ("1", "L", "LA", "La")
    # Multiplied by alpha, or with transparency in bytes: Pillow has no direct way, or warns.
    between = {"La": "LA", "RGBa": "RGBA", "P": "RGBA", "PA": "RGBA"}.get(image.mode)
    image = image.convert(between) if between else image
    image = image if image.mode in ("L", "RGB") else image.convert("L" if is_grey else "RGB")
    if is_deep:
        high = np.max(image.getextrema()) << 8
        if high < LEAST_WHITE:
            raise UnknownLevels(f"levels up to about {high}, {REMEDY}")
    return image
