"""HTML of the prediction for a picture: boxes, probabilities, and saliency maps."""

import base64
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import matplotlib
import numpy as np
from PIL import Image

from keras_deep_emotion.images.faces import Detector, Face, crop
from keras_deep_emotion.images.reading import UnreadableImage, decode_photo
from keras_deep_emotion.inference.media import ImageResult, predict_faces
from keras_deep_emotion.inference.tables import prediction_json
from keras_deep_emotion.reports.annotation import COLORS, annotate
from keras_deep_emotion.reports.figures.saliency import HEAT, attended_corners, scale_top

MAX_FACES = 24  # ours: the largest faces, which get a card each
MAX_MAPS = 6  # ours: a map takes about half a second on two cores
PHOTO_SIDE = 1280  # ours, pixels: longer side of the photo on the page
CROP_SIDE = 240  # pixels, of a crop on the page
# Errors of a server. A local model raises none, so these hide no bugs.
SERVER_ERRORS = (OSError, ValueError)
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,  # a file's name may contain HTML
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Sheet(NamedTuple):
    """The prediction for a picture, as two pieces of HTML."""

    photo: str  # the picture beside the answer, or the reason for its absence
    faces: str = ""  # a card for each face: where the model looked


def predict_sheets(
    model: Any, content: bytes, detector: Detector | None = None, name: str = "The picture"
) -> Iterator[Sheet]:
    """Predict a picture, first without maps, then again after each map; or yield one message.

    The content is that of an image file that `images.open_photo` reads; it is the crop of one face
    if there is no detector. `name` is for messages.
    """
    image = None
    try:
        if not content:
            raise UnreadableImage("the file is empty")
        image = decode_photo(content)
        faces, probabilities = predict_faces(model, image, detector)
    except UnreadableImage as error:
        yield Sheet(message(f"{name}: {error}."))
        return
    except SERVER_ERRORS as error:
        yield Sheet(message(str(error), image))
        return
    if not len(probabilities):
        remedy = "If it is the crop of a face already, choose “One face, cropped”"
        yield Sheet(message(f"{name}: no face is found. {remedy}.", image))
    elif not probabilities.any(axis=1).all():  # only of a server
        yield Sheet(message(f"{name}: the model cannot read the image.", image))
    else:
        photo = render_photo(image, faces, probabilities, model.labels, name)
        crops = [image] if faces is None else [crop(image, face) for face in faces[:MAX_FACES]]
        for cards in explained_cards(model, crops, probabilities):
            yield Sheet(photo, render_cards(cards, len(probabilities), faces is not None))


def explained_cards(
    model: Any, crops: list[Image.Image], probabilities: np.ndarray
) -> Iterator[list[dict[str, Any]]]:
    """Yield the cards of faces: first without maps, then again after each map."""
    answers = face_answers(model.labels, probabilities)
    cards = [
        {
            **answer,
            "picture": data_uri(shrink(picture, CROP_SIDE)),
            "waits": index < MAX_MAPS,
            "heat": None,
            "trouble": "no map: only the largest faces get one",
            "region": None,
            "attended": None,
        }
        for index, (answer, picture) in enumerate(zip(answers, crops, strict=False))
    ]
    yield cards
    for card, picture in zip(cards[:MAX_MAPS], crops, strict=False):
        try:
            card |= saliency_card(model, picture)
        except SERVER_ERRORS as error:
            card["trouble"] = str(error)
        card["waits"] = False
        yield cards


def face_answers(
    labels: Sequence[str], probabilities: np.ndarray, numbers: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Values for the templates, of each face: bars have the largest probability first.

    `numbers` are those of the faces; from 1 if None.
    """
    colours = [COLORS[index % len(COLORS)] for index in range(len(labels))]
    answers = []
    for index, row in enumerate(probabilities[:MAX_FACES]):
        order = np.argsort(-row, kind="stable")
        bars = [(labels[i], float(row[i]), colours[i]) for i in order]
        emotion, probability, colour = bars[0]
        number = index + 1 if numbers is None else numbers[index]
        answers.append(
            {"number": number, "emotion": emotion, "probability": probability, "colour": colour}
            | {"bars": bars}
        )
    return answers


def saliency_card(model: Any, picture: Image.Image) -> dict[str, Any]:
    """Values of a card that explain the prediction for a crop."""
    # A third of the side, blurred: smaller squares change little. A server has windows of its own.
    windows = {} if model.size is None else {"window": model.size // 3, "filling": "blur"}
    maps = model.explain([picture], **windows)
    most = float(maps.saliency[0].max())
    strength = np.clip(maps.saliency[0] / scale_top(maps.saliency[0]), 0, 1)
    # As in the figures of `reports`: the more a region matters, the more opaque the map.
    heat = matplotlib.colormaps[HEAT](strength)
    heat[..., 3] = strength
    heat = Image.fromarray((255 * heat).astype(np.uint8))
    card = {
        "heat": data_uri(heat.resize((CROP_SIDE, CROP_SIDE), Image.Resampling.BICUBIC)),
        "most": most,  # the largest probability that a place holds
        "decisive": float(maps.decisive[0].mean()),  # fraction of places that change the class
    }
    theta, attended = model.attend([model.prepare(picture)])
    if theta is None:
        return card
    # From pixels, with 0 at the center of the first, to fractions of the sides.
    corners = (attended_corners(theta, (model.size, model.size))[0] + 0.5) / model.size
    warped = Image.fromarray(np.clip(np.round(attended[0]), 0, 255).astype(np.uint8))
    return card | {
        "region": " ".join(f"{100 * x:.2f},{100 * y:.2f}" for x, y in corners),  # percent
        "attended": data_uri(warped.resize((CROP_SIDE, CROP_SIDE), Image.Resampling.NEAREST)),
    }


def render_photo(
    image: Image.Image,
    faces: list[Face] | None,
    probabilities: np.ndarray,
    labels: list[str],
    name: str,
) -> str:
    """HTML of a picture with its faces beside the answer; without faces it is the crop of one."""
    result = ImageResult(Path(name), faces, probabilities)
    table = json.dumps(list(prediction_json(result, labels)), indent=1)
    answers = face_answers(labels, probabilities)
    picture, text, alt = shrink(image, PHOTO_SIDE), "", f"The picture, {name}"
    numbers = None
    if faces is not None:
        scale = picture.width / image.width
        emotions = [f"{face['emotion']} {100 * face['probability']:.0f} %" for face in answers]
        alt = f"The picture, with its faces: {', '.join(emotions)}"
        text = f"Turned by {faces[0].turned} degrees to find the faces." if faces[0].turned else ""
        faces = [face._replace(box=face.box * scale) for face in faces]
        numbers = range(1, len(faces) + 1) if len(faces) > 1 else None
    picture = annotate(picture, faces, probabilities, labels, numbers)
    return _render_picture(
        picture, alt, text, name=name, stem=Path(name).stem, faces=answers,
        count=len(probabilities), json=_uri(table.encode(), "application/json"),
    )  # fmt: skip


def message(text: str, image: Image.Image | None = None) -> str:
    """HTML of a sentence, above the picture if there is one."""
    return _render_picture(image and shrink(image, PHOTO_SIDE), "The picture", text, faces=[])


def _render_picture(image, alt, text, **values):
    values |= {"picture": image and data_uri(image), "size": image and image.size}
    return TEMPLATES.get_template("photo.html.j2").render(alt=alt, text=text, **values)


def render_live(
    size: tuple[int, int],
    labels: Sequence[str],
    boxes: Sequence[np.ndarray],
    probabilities: np.ndarray,
    tracks: Sequence[int],
) -> str:
    """HTML of the faces in a webcam's frame of that width and height: boxes, and the answer."""
    faces = face_answers(labels, probabilities, tracks)
    for face, box in zip(faces, boxes, strict=False):
        face["box"] = np.round(box).astype(int).tolist()
    return TEMPLATES.get_template("live.html.j2").render(size=size, faces=faces)


def render_cards(cards: list[dict[str, Any]], count: int, in_photo: bool) -> str:
    """HTML of the cards; `count` of all faces, `in_photo` if they were detected in a photo."""
    return TEMPLATES.get_template("faces.html.j2").render(
        cards=cards, count=count, in_photo=in_photo, most_maps=MAX_MAPS
    )


def shrink(image: Image.Image, longest: int) -> Image.Image:
    """Shrink an image until its longer side has at most `longest` pixels."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = [max(1, round(side * scale)) for side in image.size]
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)


def data_uri(image: Image.Image) -> str:
    """An image as a data URI: RGB as JPEG, others as PNG. No file is written."""
    file = io.BytesIO()
    kind = "jpeg" if image.mode == "RGB" else "png"
    image.save(file, format=kind, quality=90)  # PNG has none, and ignores it
    return _uri(file.getvalue(), f"image/{kind}")


def _uri(content, kind):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
