"""Draws one picture of toon_faces; nothing but its name matters."""

import colorsys
import dataclasses
import math
import random
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops

from tfds_builders.toon_faces import bust, features, mouth, shapes
from tfds_builders.toon_faces.canvas import SIZE, Canvas, mix, shade
from tfds_builders.toon_faces.characters import CHARACTERS
from tfds_builders.toon_faces.expressions import express

TAKES = 60  # pictures of each character in each emotion
_SEED = 0  # part of the data set's definition: another seed is another data set
_FACE_TOP = -66.0  # the hairline: the face box runs from here to the chin

Box = tuple[float, float, float, float]


class ToonFace(NamedTuple):
    """A picture and the boxes of its parts: (ymin, xmin, ymax, xmax) in pixels, 0 to 256."""

    image: Image.Image
    face: Box
    mouth: Box
    eyes: Box
    brows: Box

    @property
    def face_image(self) -> Image.Image:
        """The picture, cropped to the face."""
        top, left, bottom, right = map(round, self.face)
        return self.image.crop((left, top, right, bottom))


def picture_name(character: str, emotion: str, take: int) -> str:
    """Name of a picture, such as `mira_happiness_07`."""
    return f"{character}_{emotion}_{take:02d}"


def draw(character: str, emotion: str, take: int) -> ToonFace:
    """Draw one picture, RGB and 256 x 256: one of `CHARACTERS`, one of `contract.EMOTIONS`.

    Every `take` gives another picture, the same on every machine with the same version of Pillow.
    """
    rng = random.Random(f"{_SEED}:{picture_name(character, emotion, take)}")
    expression = express(emotion, rng, rng.uniform(0.65, 1.0))
    pose = shapes.Pose(
        roll=math.radians(rng.gauss(0, 5)),
        yaw=math.radians(rng.uniform(-16, 16)),
        pitch=math.radians(rng.uniform(-9, 9)),
        scale=rng.uniform(0.92, 1.04),
        x=128 + rng.uniform(-9, 9),
        y=130 + rng.uniform(-5, 5),
        jaw=expression.jaw,
    )
    person = _varied(CHARACTERS[character], rng)
    wall = _rgb(rng.random(), rng.uniform(0.12, 0.42), rng.uniform(0.65, 0.95))
    line = rng.uniform(1.5, 2.4)
    light = rng.choice((-1, 1)) * rng.uniform(0.6, 0.95), -rng.uniform(0.2, 0.5)
    gaze = rng.uniform(-3, 3), rng.uniform(-1.5, 1.5)
    blush = person.blush * rng.uniform(0.3, 1.0)
    glasses = rng.random() < person.glasses_share

    canvas = Canvas(wall)
    bust.paint_background(canvas, rng, wall)
    bust.paint_back_hair(canvas, pose, person, line)
    bust.paint_body(canvas, pose, person, line)
    bust.paint_ears(canvas, pose, person, line)
    head = bust.paint_head(canvas, pose, person, line, light, blush)
    bust.paint_beard(canvas, pose, person, line)
    features.paint_nose(canvas, pose, person, expression)
    lips = mouth.paint_mouth(canvas, pose, person, expression)
    eyes, brows = [], []
    for side in (-1, 1):
        eyes += features.paint_eye(canvas, pose, person, expression, side, gaze)
    bust.paint_front_hair(canvas, pose, person, line)
    if glasses:
        bust.paint_glasses(canvas, pose, person)
    for side in (-1, 1):
        brows += features.paint_brow(canvas, pose, person, expression, side)

    below_hairline = pose.head(head[head[:, 1] >= _FACE_TOP])
    return ToonFace(
        image=_lit(canvas.finish(), rng, light),
        face=_box(below_hairline, *lips, *eyes, *brows),
        mouth=_box(*lips),
        eyes=_box(*eyes),
        brows=_box(*brows),
    )


def _varied(person, rng):
    """The same person drawn by another hand: colors and sizes a little off."""
    return dataclasses.replace(
        person,
        clothes=mix(person.clothes, _rgb(rng.random(), 0.6, 0.8), 0.4),
        skin=shade(person.skin, rng.uniform(0.93, 1.03)),
        hair=shade(person.hair, rng.uniform(0.88, 1.12)),
        lips=shade(person.lips, rng.uniform(0.92, 1.06)),
        eye_width=person.eye_width * rng.uniform(0.95, 1.05),
        eye_height=person.eye_height * rng.uniform(0.94, 1.06),
        brow_thickness=person.brow_thickness * rng.uniform(0.88, 1.12),
        mouth_scale=person.mouth_scale * rng.uniform(0.94, 1.06),
    )


def _rgb(hue, saturation, value):
    return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))


def _lit(image, rng, light):
    """Dim the side away from the light, and the whole picture."""
    bright, fall = rng.uniform(0.9, 1.04), rng.uniform(0.04, 0.26)
    across = np.linspace(-0.5, 0.5, SIZE)
    towards = across[None, :] * light[0] + across[:, None] * light[1]
    level = 255 * bright * (1 - fall * (0.5 - towards))
    level = Image.fromarray(np.minimum(level, 255).astype(np.uint8))
    return ImageChops.multiply(image, Image.merge("RGB", [level] * 3))


def _box(*outlines):
    """Smallest box around the outlines, inside the picture."""
    points = np.clip(np.concatenate(outlines), 0, SIZE)
    (xmin, ymin), (xmax, ymax) = points.min(axis=0), points.max(axis=0)
    return float(ymin), float(xmin), float(ymax), float(xmax)
