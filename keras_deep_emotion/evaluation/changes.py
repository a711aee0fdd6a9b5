"""Changes of face images by known amounts: geometry, light, sharpness, noise, hidden parts.

Each is a function of images, (count, side, side) float32 grey levels 0..255, one of its levels and
a random generator. It returns images of the same shape, integer levels as files hold them. Pixels
from outside an image are those at its edge. They share no code with the augmentation in training.
"""

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

NATIVE = 48  # pixels; the side that amounts in pixels refer to
EYES = 0.39  # of the side; the height of the eyes in FER-2013's images, see `images.faces`


class Change(NamedTuple):
    """A kind of change.

    Attributes:
        title: What is changed.
        unit: Of the levels.
        levels: Five amounts, in the order of an axis.
        clean: The level at which nothing changes.
        apply: A function of (images, level, generator), see the module.
    """

    title: str
    unit: str
    levels: tuple[float, ...]
    clean: float
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def apply_change(name: str, level: float, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Apply one of `CHANGES` to (count, side, side) images; the same seed draws the same numbers.

    Example:
    >>> import numpy as np
    >>> apply_change("brightness", 0.5, np.full((1, 48, 48), 80.0))[0, 0, 0]
    np.float32(40.0)
    """
    random = np.random.default_rng([seed, *name.encode()])
    changed = CHANGES[name].apply(images.astype(np.float32), level, random)
    return np.round(np.clip(changed, 0, 255)).astype(np.float32)


def warp(images, degrees=0.0, scale=1.0, shift=(0.0, 0.0)):
    """Turn, scale and move (x, y; pixels) each image about its center; each is one or an array."""
    count, side = images.shape[:2]
    center = np.full(2, (side - 1) / 2)
    rows = (np.broadcast_to(one, count) for one in (degrees, scale, *shift))
    changed = np.empty_like(images)
    for i, (angle, size, x, y) in enumerate(zip(*rows, strict=True)):
        cos, sin = np.cos(np.radians(angle)) / size, np.sin(np.radians(angle)) / size
        matrix = np.array([[cos, -sin], [sin, cos]])
        offset = center - matrix @ (center + [y, x])
        changed[i] = ndimage.affine_transform(images[i], matrix, offset, order=1, mode="nearest")
    return changed


def turn(images, level, random):
    """Turn by `level` degrees in either direction."""
    return warp(images, degrees=level * random.choice([-1, 1], len(images)))


def move(images, level, random):
    """Move by `level` pixels of `NATIVE` in a random direction."""
    angle = random.uniform(0, 2 * np.pi, len(images))
    distance = level * images.shape[1] / NATIVE
    return warp(images, shift=(distance * np.cos(angle), distance * np.sin(angle)))


def contrast(images, level, random):
    """Multiply the differences from each image's mean."""
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mean + level * (images - mean)


def blur(images, level, random):
    """Gaussian blur; the level is the standard deviation, pixels of `NATIVE`."""
    sigma = level * images.shape[1] / NATIVE
    return ndimage.gaussian_filter(images, (0, sigma, sigma), mode="nearest")


def each_picture(change):
    """A change of arrays from one of PIL images."""

    def apply(images, level, random):
        pictures = (Image.fromarray(image) for image in np.round(images).astype(np.uint8))
        return np.stack([np.asarray(change(one, level), np.float32) for one in pictures])

    return apply


@each_picture
def lower_resolution(picture, level):
    """Reduce to `level` pixels a side, as detectors find small faces, and enlarge again."""
    small = picture.resize((round(level), round(level)), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.BICUBIC)


@each_picture
def jpeg(picture, level):
    """Save as JPEG and read again; the level is its quality."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=round(level))
    return Image.open(file)


def hide(images, top, bottom):
    """Black rows from `top` to `bottom`, shares of the height."""
    side, changed = images.shape[1], images.copy()
    changed[:, max(round(top * side), 0) : round(bottom * side)] = 0
    return changed


CHANGES = {
    "turn": Change("turned", "degrees", (10, 20, 30, 45, 60), 0, turn),
    "shift": Change("moved", "pixels of 48", (2, 4, 6, 9, 12), 0, move),
    "scale": Change(
        "scaled", "times as large", (0.6, 0.7, 0.85, 1.2, 1.4), 1,
        lambda images, level, random: warp(images, scale=level),
    ),
    "brightness": Change(
        "brightness", "times", (0.2, 0.4, 0.7, 1.4, 1.8), 1,
        lambda images, level, random: images * level,
    ),
    "contrast": Change("contrast", "times", (0.2, 0.4, 0.7, 1.5, 2.0), 1, contrast),
    "gamma": Change(
        "gamma", "exponent", (0.4, 0.6, 1.5, 2.0, 3.0), 1,
        lambda images, level, random: 255 * (images / 255) ** level,
    ),
    "blur": Change("blur", "pixels of 48, deviation", (0.5, 1.0, 1.5, 2.0, 3.0), 0, blur),
    "noise": Change(
        "noise", "levels, deviation", (5, 15, 25, 35, 50), 0,
        lambda images, level, random: images + random.normal(0, level, images.shape),
    ),
    "jpeg": Change("JPEG", "quality", (5, 10, 20, 30, 50), 100, jpeg),
    "resolution": Change("low resolution", "pixels", (12, 16, 20, 24, 32), 48, lower_resolution),
    "eyes": Change(
        "eyes hidden", "% of the height", (10, 15, 20, 25, 30), 0,
        lambda images, level, random: hide(images, EYES - level / 200, EYES + level / 200),
    ),
    "mouth": Change(
        "mouth hidden", "% of the height", (20, 25, 30, 35, 40), 0,
        lambda images, level, random: hide(images, 1 - level / 100, 1),
    ),
}  # fmt: skip
