"""Example pictures: photos in the public domain from installed libraries, and drawn faces."""

import io

import matplotlib.cbook
import skimage.data
from PIL import Image

from keras_deep_emotion.demo.uploads import Picture
from tfds_builders.toon_faces.drawing import draw

DRAWINGS = (("mira", "happiness", 2), ("kofi", "surprise", 1))


def example_pictures() -> list[tuple[Picture, bool]]:
    """The examples: (picture, whether it is the crop of a face) of each."""
    # Photos of the US Navy (Grace Hopper, 1906-1992) and NASA (Eileen Collins, born 1956).
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    images = {
        "grace_hopper.jpg": (Image.open(hopper), False),
        "eileen_collins.jpg": (Image.fromarray(skimage.data.astronaut()), False),
    }
    for character, emotion, take in DRAWINGS:
        images[f"{character}_{emotion}.png"] = draw(character, emotion, take).face_image, True
    return [
        (Picture(encode(image, name), name), cropped) for name, (image, cropped) in images.items()
    ]


def encode(image: Image.Image, name: str) -> bytes:
    """The content of an image file of a name."""
    file = io.BytesIO()
    image.save(file, format="JPEG" if name.endswith(".jpg") else "PNG", quality=92)
    return file.getvalue()
