"""The pictures of a run folder, for the page: their bytes, their size on a screen, their words."""

import base64

from PIL import Image

from keras_deep_emotion.reports.text import confusion_text, reliability_text

SCREEN_DPI = 96  # CSS: pixels of an inch


# Letters in a picture are 9 points or so. A phone's width may shrink them to this share: small
# print, and the picture is seen whole. One that would have to shrink more scrolls, and is drawn
# larger.
SMALLEST, SCROLLING = 0.58, 0.75


PHONE = 358  # CSS pixels


COLUMN = 730  # of the text, CSS pixels


def embed_pictures(run, report, labels):
    """{stem: `picture`} of the PNGs that a run folder holds, with what they show in words."""
    names = ", ".join(labels)
    texts = {
        "confusion_matrix": confusion_text(report) if report else "Confusion matrix.",
        "reliability": reliability_text(report) if report else "Reliability diagram.",
        "saliency": (
            f"Faces of each emotion, {names}, one a row: the face; the same face with the regions "
            "lit up whose hiding costs the true emotion probability."
        ),
        "occlusions": (
            "One row for each face: the whole face, then the same with a different region hidden "
            "each time, the most telling first, each with the answer that the model then gives "
            "and the probability lost."
        ),
        "mean_saliency": (
            "For each answer the mean face with what the maps of all its faces have in common, and "
            "below it how much of the map lies in each third of the face."
        ),
        "attended": (
            "Faces with an outline around the region that the spatial transformer attends to, and "
            "below each what the network sees of it."
        ),
        "mistakes": (
            "Faces that the model was surest of and wrong about, each beside a map of the regions "
            "that its answer relies on."
        ),
    }
    return {
        stem: embed_png(run / f"{stem}.png", alt)
        for stem, alt in texts.items()
        if run.has(f"{stem}.png")
    }


def embed_png(path, alt):
    """A PNG for the page.

    Args:
        path: of the PNG.
        alt: what it shows, for who cannot see it.

    Returns:
        dict: `source`, a data URI; `width` and `height` in CSS pixels, those of its printed size;
        `wide`, whether it is wider than the text; `least`, the width that it keeps on a phone, 0
        if it fits; `alt`.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        with Image.open(path) as image:
            image.verify()
            width, height = image.size
            dpi = image.info.get("dpi", (SCREEN_DPI, SCREEN_DPI))[0] or SCREEN_DPI
    except (OSError, SyntaxError) as error:  # what PIL raises of half a PNG
        raise ValueError(f"{path} is damaged: {error}") from None
    width, height = (round(side * SCREEN_DPI / dpi) for side in (width, height))
    return embedded(data_uri("image/png", path.read_bytes()), width, height, alt)


def embedded(source, width, height, alt):
    """The dict that `picture` returns, of a picture's own size in CSS pixels."""
    scrolls = SMALLEST * width > PHONE
    return {
        "source": source,
        "width": width,
        "height": height,
        "wide": width > COLUMN,
        "least": min(round(SCROLLING * width), COLUMN) if scrolls else 0,
        "alt": alt,
    }


def data_uri(kind, content):
    """Bytes of a MIME type as a URI that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
