"""The answer to a picture as HTML: boxes, probabilities, and where the model looked."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import jinja2
import matplotlib
import numpy as np
from PIL import Image

from keras_deep_emotion.images.faces import crop
from keras_deep_emotion.images.inputs import to_batch
from keras_deep_emotion.images.reading import UnreadableImage, decode_photo
from keras_deep_emotion.inference.media import predict_faces
from keras_deep_emotion.reports.annotation import COLORS, annotate
from keras_deep_emotion.reports.figures.saliency import HEAT, attended_corners
from keras_deep_emotion.saliency.explain import attended_regions

MOST_FACES = 24  # ours: of more, the largest are shown one by one


MOST_MAPS = 6  # ours: a map takes some half a second on two cores


LONGEST = 1280  # ours, pixels: of the photo on the page


SIDE = 240  # pixels of a crop on the page


# What `serving` raises; of a model in this process they would be bugs, and it raises none.
SERVER_ERRORS = (OSError, ValueError)


TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,  # a file's name may hold anything
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Sheet(NamedTuple):
    """Two pieces of HTML.

    Attributes:
        photo: the picture with its boxes, or why there is no answer; empty of a crop, which its
            card shows.
        faces: one card a face.
    """

    photo: str
    faces: str


def sheets(model, content, detector=None, name="The picture"):
    """Answer for a picture, at once without maps, then with each map as it comes.

    Args:
        model: `predict.Model`.
        content: bytes of a file, a picture in any format that `photos.decode_photo` reads.
        detector: `faces.Detector`, or None where the picture is the crop of one face.
        name: the file's, for messages.

    Yields:
        `Sheet`; the last is whole.
    """
    try:
        if not content:
            raise UnreadableImage("the file is empty")
        image = decode_photo(content)
    except UnreadableImage as error:
        yield Sheet(message(f"{name}: {error}."), "")
        return
    try:
        found, probabilities = predict_faces(model, image, detector)
    except SERVER_ERRORS as error:
        yield Sheet(message(str(error), image), "")
        return
    if not len(probabilities):
        yield Sheet(
            message(
                f"{name}: no face is found. If it is the crop of a face already, choose “One face, "
                "cropped” and drop it again.",
                image,
            ),
            "",
        )
        return
    if not probabilities.any(axis=1).all():  # only a server answers so, of a file it cannot read
        yield Sheet(message(f"{name}: the model cannot read the image.", image), "")
        return
    photo = "" if found is None else render_photo(image, found, probabilities, model.labels)
    crops = [image] if found is None else [crop(image, face) for face in found[:MOST_FACES]]
    cards = [card(model.labels, row) for row in probabilities[: len(crops)]]
    for one, picture in zip(cards, crops, strict=True):
        one["picture"] = data_uri(shrunk(picture, SIDE))
    waiting = min(len(cards), MOST_MAPS)
    for place in range(waiting):
        cards[place]["waits"] = True
    yield Sheet(photo, render_faces(cards, len(probabilities), found is not None))
    for place in range(waiting):
        try:
            cards[place] |= look(model, crops[place])
        except SERVER_ERRORS as error:
            cards[place] |= {"waits": False, "trouble": str(error)}
        yield Sheet(photo, render_faces(cards, len(probabilities), found is not None))


def card(labels, row):
    """What a face's card says, before its map is there."""
    order = np.argsort(-row, kind="stable")
    return {
        "emotion": labels[order[0]],
        "probability": float(row[order[0]]),
        "bars": [
            (label, float(share), COLORS[i % len(COLORS)])
            for i, (label, share) in enumerate(zip(labels, row, strict=True))
        ],
        "waits": False,
        "heat": None,
        "trouble": "no map: only the largest faces get one",
        "region": None,
        "attended": None,
    }


def look(model, picture):
    """What a card says of where the model looks.

    Args:
        model: `predict.Model`.
        picture: crop of a face, `PIL.Image`.

    Returns:
        dict of `heat`, a transparent picture to lay over the crop, `most`, the probability that its
        strongest place holds, and `decisive`, the share of places whose hiding changes the answer;
        of a run also `region`, the corners of what the transformer attends to in shares of the
        crop, and `attended`, a picture of it.
    """
    found = model.explain([picture])
    lost = found.saliency[0]
    most = max(float(lost.max()), 1e-6)
    share = np.clip(lost / most, 0, 1)
    # As report.saliency_figure: the more a region matters, the less it is seen through.
    heat = matplotlib.colormaps[HEAT](share)
    heat[..., 3] = share
    heat = Image.fromarray((255 * heat).astype(np.uint8)).resize((SIDE, SIDE), Image.BICUBIC)
    seen = {
        "waits": False,
        "heat": data_uri(heat),
        "most": most,
        "decisive": float(found.decisive[0].mean()),
    }
    if model.network is None:
        return seen
    face = to_batch([picture], model.size)
    theta, attended = attended_regions(model.network, face)
    if theta is None:
        return seen
    # Pixels of the face, 0 at the centre of the first, to shares of its sides.
    corners = (attended_corners(theta, (model.size, model.size))[0] + 0.5) / model.size
    warped = Image.fromarray(np.clip(np.round(attended[0]), 0, 255).astype(np.uint8))
    return seen | {
        "region": " ".join(f"{100 * x:.2f},{100 * y:.2f}" for x, y in corners),
        "attended": data_uri(warped.resize((SIDE, SIDE), Image.NEAREST)),
    }


def render_photo(image, found, probabilities, labels):
    """HTML of the picture with its boxes."""
    small = shrunk(image, LONGEST)
    scale = small.width / image.width
    found = [face._replace(box=face.box * scale) for face in found]
    drawn = annotate(small, found, probabilities, labels)
    said = [f"{labels[row.argmax()]} {row.max():.0%}" for row in probabilities[:MOST_FACES]]
    return TEMPLATES.get_template("photo.html.j2").render(
        picture=data_uri(drawn),
        alt=f"The picture, with its faces: {', '.join(said)}",
        text="",
        size=drawn.size,
    )


def render_faces(cards, count, in_photo):
    """HTML of the cards.

    Args:
        cards: list of dicts, as from `card` and `look`.
        count: of all faces.
        in_photo: they were found in a photo, not given as a crop.
    """
    return TEMPLATES.get_template("faces.html.j2").render(
        cards=cards, count=count, in_photo=in_photo, most_maps=MOST_MAPS
    )


def message(text, image=None):
    """HTML of a sentence in place of an answer, below the picture if there is one."""
    small = None if image is None else shrunk(image, LONGEST)
    return TEMPLATES.get_template("photo.html.j2").render(
        picture=small and data_uri(small), alt="The picture", text=text, size=small and small.size
    )


def shrunk(image, longest):
    """A picture whose longer side is at most so many pixels."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)


def data_uri(image):
    """A picture inside the page: nothing is written on the server."""
    file = io.BytesIO()
    kind = "png" if image.mode != "RGB" else "jpeg"
    image.save(file, format=kind, **({"quality": 90} if kind == "jpeg" else {}))
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
