"""A Pillow picture painted larger than needed and averaged down: smooth edges."""

from PIL import Image, ImageDraw

from tfds_builders.toon_faces import shapes

SIZE = 256  # pixels of the finished picture
_OVERSAMPLING = 3


def mix(first, second, share):
    """Color that is `share` of the way from the first color to the second."""
    return tuple(round(a + (b - a) * share) for a, b in zip(first, second, strict=True))


def shade(color, factor):
    """Color made darker (factor below 1) or lighter, each channel within 0 to 255."""
    return tuple(min(255, max(0, round(channel * factor))) for channel in color)


def shadow(skin, share):
    """Skin in shadow, or a line on it: `share` of the way to a dark warm brown, never to grey."""
    return mix(skin, (58, 14, 18), share)


class Canvas:
    """Takes outlines in pixels of the finished picture, as (n, 2) arrays."""

    def __init__(self, background):
        side = SIZE * _OVERSAMPLING
        self._image = Image.new("RGB", (side, side), background)
        self._opaque = ImageDraw.Draw(self._image)
        self._blended = ImageDraw.Draw(self._image, "RGBA")  # half the speed

    def fill(self, points, color, alpha=255):
        """Fill a closed outline; alpha is 0, invisible, to 255, opaque."""
        corners = (points * _OVERSAMPLING).ravel().tolist()
        if alpha == 255:
            self._opaque.polygon(corners, fill=color)
        else:
            self._blended.polygon(corners, fill=(*color, alpha))

    def stroke(self, points, width, color, alpha=255):
        """Line along a curve; `width` is a number or one for each point."""
        self.fill(shapes.ribbon(points, width), color, alpha)

    def outlined(self, points, color, line, width):
        """Fill a closed outline, and draw a line around it on the outside."""
        corners = (points * _OVERSAMPLING).ravel().tolist()
        self._opaque.line(corners + corners[:4], fill=line, width=round(2 * width * _OVERSAMPLING))
        self._opaque.polygon(corners, fill=color)

    def finish(self):
        """The finished RGB picture, SIZE x SIZE."""
        return self._image.reduce(_OVERSAMPLING)
