"""Pictures inside the page: data URIs with their size on screen."""

import base64
from pathlib import Path
from typing import Any

from PIL import Image

from keras_deep_emotion.runs import Run

SCREEN_DPI = 96  # CSS pixels per inch
PHONE_WIDTH = 358  # CSS pixels
COLUMN_WIDTH = 730  # of the text, CSS pixels
# Text in figures is about 9 points. On a phone, a figure may shrink to the first scale and stay
# legible; a wider one scrolls sideways and is shown at the second.
SMALLEST_SCALE, SCROLLING_SCALE = 0.58, 0.75
FIGURES = [name for name in Run.DERIVED if name.endswith(".png")]


def embed_figures(run: Run) -> dict[str, dict[str, Any]]:
    """Embed the figures in a run folder, by file name without suffix."""
    return {Path(name).stem: embed_png(run / name) for name in FIGURES if run.has(name)}


def embed_png(path: Path) -> dict[str, Any]:
    """Embed a PNG file at its printed size, see `embed`; raise ValueError if it is damaged."""
    try:
        with Image.open(path) as image:
            image.verify()
            dpi = image.info.get("dpi", (SCREEN_DPI, SCREEN_DPI))[0] or SCREEN_DPI
            width, height = (round(side * SCREEN_DPI / dpi) for side in image.size)
    except (OSError, SyntaxError) as error:  # Pillow raises either for a truncated file
        raise ValueError(f"{path} is damaged: {error}") from None
    return embed("image/png", path.read_bytes(), width, height)


def embed(mime_type: str, content: bytes, width: int, height: int) -> dict[str, Any]:
    """A picture as the template shows it; `width` and `height` are CSS pixels.

    Returns `source` (data URI), `width`, `height`, `wide` (whether it is wider than the text), and
    `min_width` on a phone in CSS pixels, 0 if it fits.
    """
    scrolls = SMALLEST_SCALE * width > PHONE_WIDTH
    return {
        "source": f"data:{mime_type};base64,{base64.b64encode(content).decode()}",
        "width": width,
        "height": height,
        "wide": width > COLUMN_WIDTH,
        "min_width": min(round(SCROLLING_SCALE * width), COLUMN_WIDTH) if scrolls else 0,
    }
