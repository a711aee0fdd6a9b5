"""Pictures to try: photos in the public domain that libraries bring, and faces drawn by code."""

import matplotlib.cbook
import skimage.data
from PIL import Image

from tfds_builders.toon_faces.drawing import draw

TOONS = (("mira", "happiness", 2), ("kofi", "surprise", 1))


def examples(folder):
    """Write the examples.

    Args:
        folder: made if it is not there.

    Returns:
        List of (path, whether the picture is the crop of a face already).
    """
    folder.mkdir(parents=True, exist_ok=True)
    photos = {
        # Both by the government of the United States: Grace Hopper (1906-1992) by the Navy, Eileen
        # Collins (born 1956) by NASA.
        "grace_hopper.jpg": Image.open(
            matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
        ),
        "eileen_collins.jpg": Image.fromarray(skimage.data.astronaut()),
    }
    made = []
    for name, image in photos.items():
        image.save(folder / name, quality=92)
        made.append((folder / name, False))
    for character, emotion, take in TOONS:
        path = folder / f"{character}_{emotion}.png"
        drawn = draw(character, emotion, take)
        top, left, bottom, right = drawn.face  # cropped as the data set is
        drawn.image.crop((left, top, right, bottom)).save(path)
        made.append((path, True))
    return made
