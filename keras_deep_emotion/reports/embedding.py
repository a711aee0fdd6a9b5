"""Pictures inside the page: data URIs with their size on screen and a text alternative."""

import base64
from pathlib import Path
from typing import Any

from PIL import Image

from keras_deep_emotion.reports.text import confusion_text, reliability_text
from keras_deep_emotion.runs import Run

SCREEN_DPI = 96  # CSS pixels per inch
PHONE_WIDTH = 358  # CSS pixels
COLUMN_WIDTH = 730  # of the text, CSS pixels
# Text in figures is about 9 points. On a phone, a figure may shrink to the first scale and stay
# legible; a wider one scrolls sideways and is shown at the second.
SMALLEST_SCALE, SCROLLING_SCALE = 0.58, 0.75


def embed_pictures(run: Run, report: dict | None, labels: list[str]) -> dict[str, dict[str, Any]]:
    """Embed the figures in a run folder, see `embed_png`, by file name without suffix."""
    descriptions = {
        Run.CONFUSION_MATRIX: confusion_text(report) if report else "Confusion matrix.",
        Run.RELIABILITY: reliability_text(report) if report else "Reliability diagram.",
        Run.SALIENCY: (
            f"Faces of each emotion ({', '.join(labels)}), one a row: the face; the face with the "
            "regions highlighted whose occlusion lowers the probability of the true emotion; the "
            "regions whose occlusion changes the prediction."
        ),
        Run.OCCLUSIONS: (
            "One row for each face: the whole face, then the face with a different region hidden "
            "each time, the most important first, with the predicted emotion and the probability "
            "lost."
        ),
        Run.MEAN_SALIENCY: (
            "For each predicted emotion the mean saliency map over the mean face, and below it the "
            "share of the map in each third of the face."
        ),
        Run.ATTENDED: (
            "Faces with an outline around the region that the spatial transformer attends to, and "
            "below each the transformed image that the network receives."
        ),
        Run.MISTAKES: (
            "The most confident mistakes, each beside a map of the regions that the prediction "
            "depends on."
        ),
    }
    return {
        Path(name).stem: embed_png(run / name, alt)
        for name, alt in descriptions.items()
        if run.has(name)
    }


def embed_png(path: Path, alt: str) -> dict[str, Any]:
    """Embed a PNG file at its printed size, see `embed`.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        with Image.open(path) as image:
            image.verify()
            dpi = image.info.get("dpi", (SCREEN_DPI, SCREEN_DPI))[0] or SCREEN_DPI
            width, height = (round(side * SCREEN_DPI / dpi) for side in image.size)
    except (OSError, SyntaxError) as error:  # Pillow raises either for a truncated file
        raise ValueError(f"{path} is damaged: {error}") from None
    return embed("image/png", path.read_bytes(), width, height, alt)


def embed(mime_type: str, content: bytes, width: int, height: int, alt: str) -> dict[str, Any]:
    """Embed a picture in the page.

    Args:
        mime_type: Such as "image/png".
        content: The file.
        width: CSS pixels.
        height: CSS pixels.
        alt: Text alternative.

    Returns:
        `source` (data URI), `width`, `height` and `alt`; `wide`, whether it is wider than the text;
        `min_width` on a phone in CSS pixels, 0 if it fits.
    """
    scrolls = SMALLEST_SCALE * width > PHONE_WIDTH
    return {
        "source": f"data:{mime_type};base64,{base64.b64encode(content).decode()}",
        "width": width,
        "height": height,
        "wide": width > COLUMN_WIDTH,
        "min_width": min(round(SCROLLING_SCALE * width), COLUMN_WIDTH) if scrolls else 0,
        "alt": alt,
    }
