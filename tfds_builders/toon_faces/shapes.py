"""Geometry: curves, and the pose of a head.

Points are (n, 2) floats in pixels of the picture, y down; a character's around its head's middle.
"""

import dataclasses
import functools
import math

import numpy as np
from numpy.typing import ArrayLike

# Catmull-Rom: the cubic between the middle two of four control points passes through both.
_CATMULL_ROM = 0.5 * np.array(
    [[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], dtype=np.float64
)
ACROSS = np.sin(np.linspace(-math.pi / 2, math.pi / 2, 33))  # -1 to 1, denser at the ends

# The face is a shallow dome: half axes of its rim, and how far it bulges out of the picture.
_RIM, _BULGE = (84.0, 104.0), 56.0
_NECK = (0.0, 78.0)  # the head rolls about this point

Point = tuple[float, float]  # x, y


@functools.cache
def _basis(steps):
    t = np.arange(steps) / steps
    return np.stack([np.ones(steps), t, t**2, t**3], axis=1) @ _CATMULL_ROM  # (steps, 4)


def closed_curve(points: ArrayLike, steps: int = 8) -> np.ndarray:
    """Smooth closed curve through (n, 2) points: (n * steps, 2). A point twice is a corner."""
    points = np.asarray(points, dtype=np.float64)
    controls = np.stack([np.roll(points, shift, axis=0) for shift in (1, 0, -1, -2)])
    curve = np.einsum("sc,cnd->nsd", _basis(steps), controls)  # (n, steps, 2)
    corner = (controls[1] == controls[2]).all(axis=1)
    return curve[~corner].reshape(-1, 2)  # between the two of a corner there is only a small loop


def open_curve(points: ArrayLike, steps: int = 8) -> np.ndarray:
    """Smooth curve from the first to the last of (n, 2) points: ((n - 1) * steps + 1, 2)."""
    points = np.asarray(points, dtype=np.float64)
    padded = np.concatenate([points[:1], points, points[-1:]])
    controls = np.stack([padded[i : len(points) - 1 + i] for i in range(4)])
    curve = np.einsum("sc,cnd->nsd", _basis(steps), controls).reshape(-1, 2)
    return np.concatenate([curve, points[-1:]])


def ellipse(x: float, y: float, width: float, height: float, steps: int = 40) -> np.ndarray:
    """Outline of an ellipse around (x, y) with the given half axes: (steps, 2)."""
    return _circle(steps) * (width, height) + (x, y)


@functools.cache
def _circle(steps):
    angle = np.arange(steps) * (2 * math.pi / steps)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def mirrored(half: ArrayLike) -> np.ndarray:
    """Closed outline from its right half, listed from top to bottom: (2n - 2, 2) of (n, 2)."""
    half = np.asarray(half, dtype=np.float64)
    return np.concatenate([half, half[-2:0:-1] * (-1, 1)])


def band(x: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Closed outline between two curves over the same (n,) x: (2n, 2)."""
    return np.concatenate([np.stack([x, high], 1), np.stack([x, low], 1)[::-1]])


def normals(points: np.ndarray, closed: bool = False) -> np.ndarray:
    """Unit vectors at right angles to a curve: (n, 2). They point out of a closed outline."""
    if closed:
        after = np.roll(points, -1, axis=0)
        along = after - np.roll(points, 1, axis=0)
        area = (points[:, 0] * after[:, 1] - points[:, 1] * after[:, 0]).sum()
        along *= np.sign(area)  # positive where the outline runs clockwise, as y points down
    else:
        along = np.gradient(points, axis=0)
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
    return np.stack([along[:, 1], -along[:, 0]], axis=1) / length


def ribbon(points: np.ndarray, widths: ArrayLike) -> np.ndarray:
    """Outline of a stroke along (n, 2) points, `widths` wide (a number or (n,)): (2n, 2)."""
    half = np.broadcast_to(np.asarray(widths, dtype=np.float64) / 2, len(points))[:, None]
    side = normals(points) * half
    return np.concatenate([points + side, (points - side)[::-1]])


@functools.cache
def taper(count: int, power: float = 0.5) -> np.ndarray:
    """Widths from 0 over 1 in the middle to 0, for a stroke with pointed ends: (count,)."""
    return np.sin(np.linspace(0, math.pi, count)) ** power


@dataclasses.dataclass(frozen=True)
class Pose:
    """Where the head is and which way it looks. Angles in radians, lengths in pixels."""

    roll: float = 0.0  # positive: clockwise in the picture
    yaw: float = 0.0  # positive: towards the right of the picture
    pitch: float = 0.0  # positive: up
    scale: float = 1.0
    x: float = 128.0  # where the middle of the unturned head is in the picture
    y: float = 128.0
    jaw: float = 0.0  # how far the chin has dropped

    def body(self, points: ArrayLike) -> np.ndarray:
        """Neck and shoulders: scaled and moved only."""
        return np.asarray(points, dtype=np.float64) * self.scale + (self.x, self.y)

    def head(self, points: ArrayLike) -> np.ndarray:
        """Outline of the head, ears, back hair: rolled too, and the chin follows jaw and turn."""
        points = np.array(points, dtype=np.float64)
        low = np.clip((points[:, 1] - 10) / 75, 0, 1)
        points[:, 0] += low * 32 * math.sin(self.yaw)
        points[:, 1] += low * (self.jaw - 14 * math.sin(self.pitch))
        return self.body(self._rolled(points))

    def face(self, points: ArrayLike) -> np.ndarray:
        """Parts on the front of the head, which also move over its dome."""
        points = np.array(points, dtype=np.float64)
        x, y = points.T
        depth = 1 - (x / _RIM[0]) ** 2 - (y / _RIM[1]) ** 2
        depth = _BULGE * np.sqrt(np.maximum(depth, 0))
        points[:, 0] = x * math.cos(self.yaw) + depth * math.sin(self.yaw)
        points[:, 1] = y * math.cos(self.pitch) - depth * math.sin(self.pitch)
        return self.body(self._rolled(points))

    def _rolled(self, points):
        cos, sin = math.cos(self.roll), math.sin(self.roll)
        turn = np.array([[cos, sin], [-sin, cos]])
        return (points - _NECK) @ turn + _NECK
