"""A Pillow picture, painted larger and averaged down: smooth edges."""

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.toon_faces import shapes

SIZE = 256  # pixels of the finished picture
_OVERSAMPLING = 3
WHITE = (252, 252, 250)  # of eyes and teeth

Color = tuple[int, int, int]


def mix(first: Color, second: Color, share: float) -> Color:
    """Color that is `share` of the way from the first color to the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def shade(color: Color, factor: float) -> Color:
    """Color made darker (factor below 1) or lighter, each channel within 0 to 255."""
    return tuple(min(255, max(0, round(channel * factor))) for channel in color)


def shadow(skin: Color, share: float) -> Color:
    """Skin in shadow, or a line on it: `share` of the way to a dark warm brown, never to grey."""
    return mix(skin, (58, 14, 18), share)


class Canvas:
    """Paints outlines and curves: (n, 2) arrays in pixels of the finished picture."""

    def __init__(self, background: Color):
        side = SIZE * _OVERSAMPLING
        self._image = Image.new("RGB", (side, side), background)
        self._opaque = ImageDraw.Draw(self._image)
        self._blended = ImageDraw.Draw(self._image, "RGBA")  # half the speed

    def fill(self, points: np.ndarray, color: Color, alpha: int = 255) -> None:
        """Fill a closed outline; alpha is 0, invisible, to 255, opaque."""
        corners = (points * _OVERSAMPLING).ravel().tolist()
        if alpha == 255:
            self._opaque.polygon(corners, fill=color)
        else:
            self._blended.polygon(corners, fill=(*color, alpha))

    def stroke(
        self, points: np.ndarray, width: float | np.ndarray, color: Color, alpha: int = 255
    ) -> None:
        """Paint a line along a curve; `width` is one for all points or (n,)."""
        self.fill(shapes.ribbon(points, width), color, alpha)

    def pointed(
        self, points: np.ndarray, width: float, color: Color, alpha: int = 255, ends: float = 0.0
    ) -> None:
        """Paint a line that is `ends` wide at its ends and `width` wider in the middle."""
        self.stroke(points, ends + width * shapes.taper(len(points)), color, alpha)

    def outlined(self, points: np.ndarray, color: Color, line: Color, width: float) -> None:
        """Fill a closed outline and draw a line around it on the outside."""
        corners = (points * _OVERSAMPLING).ravel().tolist()
        self._opaque.line(corners + corners[:4], fill=line, width=round(2 * width * _OVERSAMPLING))
        self._opaque.polygon(corners, fill=color)

    def finish(self) -> Image.Image:
        """The finished RGB picture, SIZE x SIZE."""
        return self._image.reduce(_OVERSAMPLING)
