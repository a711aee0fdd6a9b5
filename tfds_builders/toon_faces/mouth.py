"""The mouth, from the line between the lips to the tongue."""

import math

import numpy as np

from tfds_builders.toon_faces import shapes
from tfds_builders.toon_faces.canvas import WHITE, Canvas, mix, shade, shadow
from tfds_builders.toon_faces.characters import Character
from tfds_builders.toon_faces.expressions import Expression
from tfds_builders.toon_faces.shapes import ACROSS, Pose

_INSIDE = (78, 22, 30)
_TONGUE = (226, 100, 106)
_Y = 50.0


def mouth_edges(expression: Expression) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower edge of the opening: (33, 2) each, left to right, around the middle."""
    middle = expression.corners * (0.42 - np.abs(ACROSS) ** 2.2)
    # A superellipse: exponent 2 is round, 5 nearly a box.
    power = 2 + 3 * min(1.0, expression.squareness)
    swell = (1 - np.abs(ACROSS) ** power) ** (1 / power)
    tremble = expression.tremble * np.sin(11 * ACROSS) * swell
    side = math.copysign(0.45, expression.sneer)
    sneer = abs(expression.sneer) * np.exp(-(((ACROSS - side) / 0.4) ** 2)) * np.sqrt(1 - ACROSS**2)
    upper = middle - expression.upper_lip * swell - sneer + tremble
    lower = middle + expression.lower_lip * swell - 0.3 * sneer + tremble
    x = expression.mouth_width * ACROSS
    return np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)


def paint_mouth(
    canvas: Canvas, pose: Pose, character: Character, expression: Expression
) -> list[np.ndarray]:
    """Paint lips and what shows between them; returns outlines of lips and tongue."""
    upper, lower = mouth_edges(expression)
    size = character.mouth_scale
    middle = (0, _Y + 0.25 * expression.jaw)

    def place(points):
        return pose.face(np.asarray(points) * size + middle)

    line = shadow(character.skin, 0.8)

    # Lips: fullest in the middle, the upper one with a bow, thinner when rolled in.
    thin = 1 - 0.55 * expression.press
    full = np.sqrt(1 - ACROSS**2)
    bow = 1 - 0.28 * np.exp(-((ACROSS / 0.16) ** 2))
    above = upper - np.outer(full * bow * character.upper_lip * thin, (0, 1))
    below = lower + np.outer(full * character.lower_lip * thin, (0, 1))
    lips = place(np.concatenate([above, below[::-1]]))
    canvas.fill(lips, character.lips)
    gloss = place(((lower + below) / 2)[10:23])
    canvas.pointed(gloss, 1.6, mix(character.lips, WHITE, 0.5), 170)
    outlines = [lips]

    opening = lower[:, 1] - upper[:, 1]
    if opening.max() > 3:
        _paint_open_mouth(canvas, place, upper, lower, expression, line)
    else:
        seam = place((upper + lower) / 2)
        canvas.stroke(seam, 1.2 + 3.2 * shapes.taper(len(seam), 0.6), line)
        outlines.append(seam)
    if expression.tongue > 4:
        outlines.append(_paint_tongue_out(canvas, place, lower, expression, line))
    if expression.pout > 0.2:
        y = lower[16, 1] + character.lower_lip * thin + 5
        crease = shapes.open_curve([(-11, y + 3), (0, y), (11, y + 3)])
        canvas.pointed(place(crease), 2.4, line, 150)
    return outlines


def _paint_open_mouth(canvas, place, upper, lower, expression, line):
    inside = place(np.concatenate([upper, lower[::-1]]))
    canvas.fill(inside, _INSIDE)
    (x, top), bottom = upper.T, lower[:, 1]

    def band(high, low):
        return place(shapes.band(x, high, low))

    height = (bottom - top).max()
    if expression.clenched > 0.5:
        canvas.fill(band(top, bottom), WHITE)
        canvas.stroke(place((upper + lower) / 2), 2.0, _INSIDE)
        for share in (-0.66, -0.33, 0.0, 0.33, 0.66):
            column = np.argmin(np.abs(ACROSS - share))
            tooth = [(x[column], top[column]), (x[column], bottom[column])]
            canvas.stroke(place(tooth), 1.2, _INSIDE, 190)
    else:
        if expression.tongue <= 4:
            hump = np.maximum(bottom - 0.45 * height * np.sqrt(1 - ACROSS**2), top)
            canvas.fill(band(np.minimum(hump, bottom), bottom), _TONGUE)
        rows = 0.34 * height if expression.corners > 0 else 0.16 * height
        canvas.fill(band(top, np.minimum(top + rows * (1 - ACROSS**6), bottom)), WHITE)
    canvas.stroke(place(np.concatenate([upper, lower[-2::-1]])), 2.6, line)


def _paint_tongue_out(canvas, place, lower, expression, line):
    y, long, wide = lower[16, 1] - 4, expression.tongue, 11.5
    half = [(0, y - 2), (wide - 1, y), (wide, y + 0.55 * long), (0, y + long + 3)]
    outline = place(shapes.closed_curve(shapes.mirrored(half)))
    canvas.outlined(outline, _TONGUE, line, 2.0)
    canvas.stroke(place([(0, y + 3), (0, y + 0.7 * long)]), 2.0, shade(_TONGUE, 0.72))
    return outline
