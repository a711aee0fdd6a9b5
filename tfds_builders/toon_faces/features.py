"""Eyes, brows and nose: with the mouth, the parts that carry the expression."""

import numpy as np

from tfds_builders.toon_faces import shapes
from tfds_builders.toon_faces.canvas import WHITE, Canvas, mix, shade, shadow
from tfds_builders.toon_faces.characters import Character
from tfds_builders.toon_faces.expressions import Expression
from tfds_builders.toon_faces.shapes import ACROSS, Point, Pose

_BROW_Y = -34.5


def paint_eye(
    canvas: Canvas, pose: Pose, character: Character, expression: Expression, side: int, gaze: Point
) -> list[np.ndarray]:
    """Paint one eye with its lids; returns outlines of the eye and its lashes.

    `side` is -1 on the left of the picture, 1 on the right; `gaze` moves the iris, (x, y) pixels.
    """
    width = character.eye_width * (1 + 0.4 * expression.eye_widening)
    height = character.eye_height * (1 + expression.eye_widening)

    def place(points):
        return pose.face(np.asarray(points) * (width, height) + (side * character.eye_x, 0))

    def edge(y):
        return place(np.stack([ACROSS, y], axis=1))

    def between(high, low):
        return place(shapes.band(ACROSS, high, low))

    line = shadow(character.skin, 0.84)
    rim = np.sqrt(1 - ACROSS**2)
    inner = -side * ACROSS  # 1 at the nose
    tilt = expression.lid_tilt * (inner + 0.7 if expression.lid_tilt > 0 else inner - 0.7)
    top = np.clip(-rim * (1 - 2 * expression.upper_lid) + tilt, -rim, rim)
    bottom = np.clip(rim * (1 - 2 * expression.lower_lid), top, rim)

    socket = place(shapes.ellipse(0, 0, 1.16, 1.18))
    canvas.fill(socket, shadow(character.skin, 0.28), 56)
    canvas.fill(between(-rim, rim), WHITE)
    canvas.fill(between(top, np.minimum(top + 0.3, bottom)), (120, 130, 150), 60)
    _paint_iris(canvas, pose, character, expression, side, gaze, height)
    canvas.fill(between(-rim, top), shadow(character.skin, 0.12))
    canvas.fill(between(bottom, rim), shadow(character.skin, 0.06))
    canvas.pointed(edge(-rim * 1.04), 1.8, line, 150)
    canvas.pointed(edge(bottom), 1.0, line, 200, ends=1.0)
    canvas.pointed(edge(top), 4.2 if character.lashes else 3.2, line, ends=1.2)
    outlines = [edge(-rim), edge(rim)]
    if character.lashes:
        for share, reach in ((0.55, 0.36), (0.78, 0.42), (0.95, 0.42)):
            column = np.argmin(np.abs(ACROSS - side * share))
            root = np.array([ACROSS[column], top[column]])
            tip = root + (side * reach * share, -reach * 0.8)
            lashes = place(shapes.open_curve([root, (root + tip) / 2 + (0, 0.06), tip], 4))
            canvas.stroke(lashes, np.linspace(3.0, 0.6, len(lashes)), line)
            outlines.append(lashes)
    return outlines


def _paint_iris(canvas, pose, character, expression, side, gaze, height):
    radius = character.iris_radius * (1 - 0.4 * expression.eye_widening)
    x = side * character.eye_x + gaze[0]
    y = gaze[1] + expression.gaze_down * 0.35 * height

    def disc(dx, dy, size):
        across = size * radius
        return pose.face(shapes.ellipse(x + dx * radius, y + dy * radius, across, across, 28))

    canvas.fill(disc(0, 0, 1), shade(character.iris, 0.45))
    canvas.fill(disc(0, 0, 0.86), character.iris)
    canvas.fill(disc(0, 0.28, 0.5), mix(character.iris, (255, 240, 200), 0.45), 150)
    canvas.fill(disc(0, 0, 0.5), (18, 14, 18))
    canvas.fill(disc(-0.34, -0.38, 0.27), WHITE)
    canvas.fill(disc(0.36, 0.4, 0.13), WHITE, 200)


def paint_brow(
    canvas: Canvas, pose: Pose, character: Character, expression: Expression, side: int
) -> list[np.ndarray]:
    """Paint one brow, thick at the nose, pointed at the temple; returns its outline in a list."""
    length = character.brow_length
    inner = character.eye_x - 0.5 * length - expression.brow_squeeze
    outer = character.eye_x + 0.54 * length
    y_inner = _BROW_Y - expression.brow_inner
    y_outer = _BROW_Y + 4 - expression.brow_outer
    spine = []
    for share, lift in ((0.0, 0.0), (0.33, 2.5), (0.68, 5.0), (1.0, 0.0)):
        x = inner + (outer - inner) * share
        y = y_inner + (y_outer - y_inner) * share - lift - expression.brow_arch * lift / 5
        spine.append((side * x, y))
    spine = shapes.open_curve(spine, 7)
    places = np.linspace(0, 1, len(spine))
    profile = np.interp(places, [0, 0.06, 0.3, 0.65, 1], [0.5, 0.85, 1.0, 0.85, 0.2])
    brow = pose.face(shapes.ribbon(spine, profile * character.brow_thickness))
    canvas.fill(brow, character.brow)
    if expression.brow_squeeze > 2:
        x = side * (inner - 3.5)
        crease = shapes.open_curve([(x, _BROW_Y + 4), (x - side, _BROW_Y + 12)], 6)
        canvas.pointed(pose.face(crease), 2.4, shadow(character.skin, 0.50), 170)
    return [brow]


def paint_nose(canvas: Canvas, pose: Pose, character: Character, expression: Expression) -> None:
    """Paint the nose, the creases of disgust beside it and the folds down to the mouth."""
    width, lift = character.nose_width, 4 * expression.wrinkle
    y = character.nose_y - lift
    line = shadow(character.skin, 0.52)
    bridge = shapes.closed_curve(
        [(2, -6), (0.5 * width, y - 8), (1.0 * width, y), (0.2 * width, y + 4), (0, y - 6)]
    )
    canvas.fill(pose.face(bridge), shadow(character.skin, 0.30), 70)
    tip = shapes.ellipse(-0.15 * width, y - 5, 0.4 * width, 0.34 * width, 20)
    canvas.fill(pose.face(tip), mix(character.skin, WHITE, 0.6), 110)
    base = shapes.open_curve(
        [(-width, y - 3), (-0.8 * width, y + 2), (-0.3 * width, y + 1.5), (0, y + 4),
         (0.3 * width, y + 1.5), (0.8 * width, y + 2), (width, y - 3)]
    )  # fmt: skip
    canvas.pointed(pose.face(base), 2.0, line, ends=1.0)
    depth = max(expression.cheek, expression.wrinkle)
    x = expression.mouth_width * character.mouth_scale + 7
    for side in (-1, 1):
        if expression.wrinkle > 0.2:
            # From the inner corner of the eye down to the wing, bunched up at the root.
            alpha = int(220 * min(1.0, expression.wrinkle))
            for low in (0, 7, 14):
                crease = shapes.open_curve([(3, low - 10), (8, low - 8), (13, low)], 6) * (side, 1)
                canvas.pointed(pose.face(crease), 2.8, line, alpha)
        if depth > 0.2:
            fold = shapes.open_curve([(width + 5, y), (x - 3, y + 10), (x + 2, y + 25)])
            alpha = int(170 * min(1.0, depth))
            canvas.pointed(pose.face(fold * (side, 1)), 2.6, line, alpha)
