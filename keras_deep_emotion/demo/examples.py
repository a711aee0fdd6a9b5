"""Example pictures: photos in the public domain from installed libraries, and drawn faces."""

from pathlib import Path

import matplotlib.cbook
import skimage.data
from PIL import Image

from tfds_builders.toon_faces.drawing import draw

DRAWINGS = (("mira", "happiness", 2), ("kofi", "surprise", 1))


def write_examples(folder: Path) -> list[tuple[Path, bool]]:
    """Write the examples to a folder; return (path, whether it is the crop of a face) of each."""
    folder.mkdir(parents=True, exist_ok=True)
    # Photos of the US Navy (Grace Hopper, 1906-1992) and NASA (Eileen Collins, born 1956).
    hopper = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    images = {
        "grace_hopper.jpg": (Image.open(hopper), False),
        "eileen_collins.jpg": (Image.fromarray(skimage.data.astronaut()), False),
    }
    for character, emotion, take in DRAWINGS:
        images[f"{character}_{emotion}.png"] = draw(character, emotion, take).face_image, True
    for name, (image, _) in images.items():
        image.save(folder / name, quality=92)
    return [(folder / name, cropped) for name, (_, cropped) in images.items()]
