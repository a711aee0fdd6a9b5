"""Everything around the expression: background, shoulders, head, hair, beard, glasses.

Each function takes the `width` of its lines, in pixels.
"""

import itertools
import random

import numpy as np

from tfds_builders.toon_faces import shapes
from tfds_builders.toon_faces.canvas import SIZE, Canvas, Color, mix, shade, shadow
from tfds_builders.toon_faces.characters import Character
from tfds_builders.toon_faces.shapes import Point, Pose

_SIDES = (-1, 1)  # left and right in the picture
_COLLARS = {"v": (96, 142), "crew": (98, 112), "shirt": (96, 128), "hood": (94, 118)}  # y
_FRECKLES = ((36, 24), (43, 30), (50, 24), (46, 20), (56, 29), (30, 30))
_WRINKLES = (
    ((20, 24), (31, 27), (42, 23)), ((52, 2), (58, 0), (63, -4)), ((52, 8), (58, 9), (63, 8)),
)  # fmt: skip


def paint_background(canvas: Canvas, rng: random.Random, color: Color) -> None:
    """Paint a plain wall, a halo, stripes, dots or hills, in shades of one color."""
    light = mix(color, (255, 255, 255), 0.22)
    kind = rng.choice(("plain", "halo", "stripes", "dots", "hills"))
    if kind == "halo":
        x, y = rng.uniform(90, 166), rng.uniform(90, 150)
        canvas.fill(shapes.ellipse(x, y, 112, 112, 60), light)
    elif kind == "stripes":
        slant, step = rng.uniform(-60, 60), rng.uniform(34, 56)
        band = np.array([(0, 0), (step / 2, 0), (step / 2 + slant, SIZE), (slant, SIZE)])
        for x in np.arange(-80, SIZE + 80, step):
            canvas.fill(band + (x, 0), light)
    elif kind == "dots":
        for _ in range(14):
            x, y, radius = rng.uniform(0, SIZE), rng.uniform(0, SIZE), rng.uniform(6, 20)
            canvas.fill(shapes.ellipse(x, y, radius, radius), light)
    elif kind == "hills":
        for low, tone in ((130, light), (175, shade(color, 0.86))):
            ridge = [(x, low + rng.uniform(-26, 26)) for x in range(-40, SIZE + 41, 48)]
            hill = np.concatenate([shapes.open_curve(ridge), [(SIZE + 40, SIZE), (-40, SIZE)]])
            canvas.fill(hill, tone)


def paint_back_hair(canvas: Canvas, pose: Pose, character: Character, width: float) -> None:
    """Paint the hair behind the head."""
    line, low = shade(character.hair, 0.55), shade(character.hair, 0.86)
    curls = [pose.head(shapes.ellipse(x, y, r, r)) for x, y, r in character.curls_back]
    for curl in curls:
        canvas.fill(curl + shapes.normals(curl, closed=True) * width, line)
    for curl in curls:
        canvas.fill(curl, low)
    for curve in character.hair_back:
        canvas.outlined(pose.head(shapes.closed_curve(curve)), low, line, width)


def paint_body(canvas: Canvas, pose: Pose, character: Character, width: float) -> None:
    """Paint neck, shoulders and collar."""
    skin_line = shadow(character.skin, 0.64)
    clothes, trim, line = character.clothes, character.trim, shade(character.clothes, 0.45)
    neck, far = character.neck, character.shoulders
    half = [(neck, 30), (neck, 84), (neck + 8, 104), (neck + 8, 150), (0, 150)]
    canvas.outlined(pose.body(shapes.mirrored([(0, 30), *half])), character.skin, skin_line, width)
    chin = [(-neck, 70), (neck, 70), (neck + 2, 96), (0, 112), (-neck - 2, 96)]
    canvas.fill(pose.body(shapes.closed_curve(chin)), shadow(character.skin, 0.26))

    edge, deep = _COLLARS[character.collar]
    shoulder = [(neck + 2, edge), (neck + 22, edge + 5), (far - 16, edge + 18), (far, edge + 44)]
    right = shapes.open_curve(shoulder)
    left = right[::-1] * (-1, 1)
    if character.collar in ("v", "shirt"):
        dip = np.array([(0, deep)])
    else:
        dip = shapes.open_curve([(-neck - 2, edge), (0, deep), (neck + 2, edge)])[1:-1]
    bottom = np.array([(far + 6, 190), (-far - 6, 190)])
    cloth = np.concatenate([right, bottom, left, dip])
    canvas.outlined(pose.body(cloth), clothes, line, width)
    if character.collar == "shirt":
        flap = [(neck - 1, edge - 8), (0, deep), (22, deep + 14), (neck + 17, edge + 8)]
        for side in _SIDES:
            canvas.outlined(pose.body(np.array(flap) * (side, 1)), trim, line, width)
    elif character.collar == "hood":
        fold = [(neck - 2, edge - 12), (neck + 26, edge + 2), (neck + 12, edge + 26)]
        fold = shapes.closed_curve([*fold, (0, deep + 8), (10, deep - 6)])
        cord = shapes.open_curve([(12, deep + 4), (14, deep + 34)])
        for side in _SIDES:
            canvas.outlined(pose.body(fold * (side, 1)), shade(clothes, 0.88), line, width)
            canvas.stroke(pose.body(cord * (side, 1)), 3.5, trim)
    else:
        rim = np.concatenate([left[-1:], dip, right[:1]])
        canvas.stroke(pose.body(rim), 7, trim)


def paint_ears(canvas: Canvas, pose: Pose, character: Character, width: float) -> None:
    """Paint the ears, half hidden by the head, and what hangs from them."""
    skin, size = character.skin, character.ear
    edge = np.interp(4, [y for _, y in character.head], [x for x, _ in character.head])
    for side in _SIDES:
        x = side * (edge + 3) - 16 * np.sin(pose.yaw)
        ear = pose.head(shapes.ellipse(x, 5, 0.68 * size, size))
        canvas.outlined(ear, shadow(skin, 0.05), shadow(skin, 0.64), width)
        hollow = pose.head(shapes.ellipse(x, 6, 0.36 * size, 0.6 * size))
        canvas.fill(hollow, shadow(skin, 0.24))
        if character.earrings:
            ring = pose.head(shapes.ellipse(x + 2 * side, 5 + size + 5, 5, 5, 20))
            canvas.outlined(ring, character.earrings, shade(character.earrings, 0.5), width)


def paint_head(
    canvas: Canvas, pose: Pose, character: Character, width: float, light: Point, blush: float
) -> np.ndarray:
    """Paint the head without hair, shaded away from `light` (x, y); returns its outline."""
    skin = character.skin
    outline = shapes.closed_curve(shapes.mirrored(character.head))
    placed = pose.head(outline)
    canvas.outlined(placed, shadow(skin, 0.18), shadow(skin, 0.64), width)
    away = np.maximum(0, shapes.normals(placed, closed=True) @ -np.asarray(light))
    canvas.fill(placed - shapes.normals(placed, closed=True) * (9 * away)[:, None], skin)
    glow = mix(skin, (255, 255, 255), 0.5)
    for radius in (30, 22, 14):
        spot = shapes.ellipse(22 * light[0], -62, radius * 1.3, radius * 0.5)
        canvas.fill(pose.face(spot), glow, 30)
    rosy = mix(skin, (232, 70, 70), 0.55)
    for side, radius in itertools.product(_SIDES, (17, 14, 11, 8)):
        cheek = shapes.ellipse(side * 46, 29, radius * 1.05, radius * 0.8)
        canvas.fill(pose.face(cheek), rosy, int(70 * blush))
    for (x, y), side in itertools.product(_FRECKLES * character.freckles, _SIDES):
        spot = shapes.ellipse(side * x, y, 1.7, 1.5, 12)
        canvas.fill(pose.face(spot), shadow(skin, 0.34))
    for side, fold in itertools.product(_SIDES, _WRINKLES * character.wrinkles):
        curve = pose.face(shapes.open_curve(fold) * (side, 1))
        canvas.pointed(curve, 1.8, shadow(skin, 0.45), 150)
    return outline


def paint_beard(canvas: Canvas, pose: Pose, character: Character, width: float) -> None:
    """Paint a beard that leaves the mouth free."""
    if character.beard:
        line = shade(character.hair, 0.55)
        beard = pose.head(shapes.closed_curve(character.beard))
        canvas.outlined(beard, character.hair, line, width)
        for strand in character.beard_strands:
            canvas.pointed(pose.head(shapes.open_curve(strand)), 2.6, line, 150)


def paint_front_hair(canvas: Canvas, pose: Pose, character: Character, width: float) -> None:
    """Paint hair over the forehead that ends above the highest brow."""
    line = shade(character.hair, 0.55)
    for curve in character.hair_front:
        canvas.outlined(pose.face(shapes.closed_curve(curve)), character.hair, line, width)
    for x, y, radius in character.curls_front:
        curl = pose.face(shapes.ellipse(x, y, radius, radius))
        canvas.outlined(curl, character.hair, shade(character.hair, 0.78), width)
    shine = mix(character.hair, (255, 255, 255), 0.28)
    for strand in character.strands:
        canvas.pointed(pose.face(shapes.open_curve(strand)), 3.2, shine, 200)
    if character.ribbons:
        for side, (x, y) in itertools.product(_SIDES, ((81, -44), (89, -28))):
            knot = pose.head(shapes.ellipse(side * x, y, 8, 8, 20))
            canvas.outlined(knot, character.trim, shade(character.trim, 0.5), width)


def paint_glasses(canvas: Canvas, pose: Pose, character: Character) -> None:
    """Paint round glasses; their upper rim runs below the brows."""
    radius = character.eye_width + 6.5
    for side in _SIDES:
        lens = pose.face(shapes.ellipse(side * (character.eye_x + 1), 3, radius, radius * 0.96, 48))
        canvas.fill(lens, (255, 255, 255), 28)
        canvas.stroke(np.concatenate([lens, lens[:1]]), 2.6, character.glasses)
        hinge = side * (character.eye_x + 1 + radius)
        arm = pose.face([(hinge, 0), (side * 64, -1), (side * 69, -1)])
        canvas.stroke(arm, 2.4, character.glasses)
    gap = character.eye_x + 1 - radius
    bridge = shapes.open_curve([(-gap, 0), (0, -3), (gap, 0)])
    canvas.stroke(pose.face(bridge), 2.6, character.glasses)
