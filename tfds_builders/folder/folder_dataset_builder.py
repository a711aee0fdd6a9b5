"""Pictures of your own: `DIR/<emotion>/*`, with or without train, test, ... above."""

import hashlib
import io
import logging
import re
from pathlib import Path, PurePosixPath

import numpy as np
import tensorflow_datasets as tfds
from PIL import ExifTags, Image, ImageOps

from tfds_builders import contract
from tfds_builders.protocols import PAPER_SHARES, stratified_split
from tfds_builders.sources import (
    IMAGES,
    NativeImage,
    Source,
    find_sources,
    manual_folder,
    read_images,
)

# What people call their folders, in lower case.
SPELLINGS = {
    "anger": "anger", "angry": "anger", "disgust": "disgust", "disgusted": "disgust",
    "fear": "fear", "fearful": "fear", "afraid": "fear", "scared": "fear",
    "happiness": "happiness", "happy": "happiness", "joy": "happiness", "neutral": "neutral",
    "sadness": "sadness", "sad": "sadness", "surprise": "surprise", "surprised": "surprise",
}  # fmt: skip
PARTS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "test": "test", "testing": "test",
}  # fmt: skip
REMEDY = "python cli.py fit --dataset folder --source DIR, where DIR has a folder for each emotion"
MISSING = f"Your pictures are missing: {REMEDY}"
logger = logging.getLogger(__name__)


def find_pictures(folder: Path) -> tuple[Source, dict[str, str], dict[str, str]]:
    """Find the pictures in a folder, or in the first archive in it that has any.

    Pictures in other archives are ignored with a warning: they may be the same. Returns the source,
    and by the names of the pictures their emotions and their parts ("train", ...), which are empty
    if the user made none. Raises FileNotFoundError if there are no pictures, ValueError if one lies
    in a folder of another name, or outside the parts.
    """
    found = [
        (source, names)
        for source in find_sources(folder)
        if (names := [name for name in source.names if name.lower().endswith(IMAGES)])
    ]
    if not found:
        raise FileNotFoundError(f"There are no images under {folder}; {REMEDY}.")
    (source, names), *others = found
    if others:
        ignored = ", ".join(other.path.name for other, _ in others)
        logger.warning(f"Pictures are read from {source.path.name}; ignored: {ignored}.")
    labels, parts = {}, {}
    for name in names:
        *_, part, emotion, _ = ("", "", *PurePosixPath(name).parts)
        if emotion.lower() not in SPELLINGS:
            raise ValueError(
                f"{emotion or 'The top folder'!r} (of {name}) is not the name of an emotion. Known "
                f"spellings: {', '.join(SPELLINGS)}."
            )
        labels[name] = SPELLINGS[emotion.lower()]
        if part.lower() in PARTS:
            parts[name] = PARTS[part.lower()]
    if lost := [name for name in names if parts and name not in parts]:
        raise ValueError(
            f"{lost[0]} lies outside train, validation and test, where other pictures are."
        )
    if parts and "train" not in parts.values():
        raise ValueError("There is no folder train beside the others; nothing to learn from.")
    return source, labels, parts


def complete_parts(labels: dict[str, str], parts: dict[str, str]) -> dict[str, str]:
    """The split of every picture; missing parts are cut from the training pictures."""
    shares = PAPER_SHARES | dict.fromkeys(PAPER_SHARES.keys() & parts.values(), 0.0)
    training = [name for name in labels if parts.get(name, "train") == "train"]
    return parts | stratified_split({name: labels[name] for name in training}, **shares)


def config_of(folder: Path, title: str) -> tfds.core.BuilderConfig:
    """The TFDS config of a folder, named by its title and by its files' names and sizes.

    Other pictures are another data set.
    """
    digest = hashlib.sha256()
    for source in find_sources(folder):
        for name in source.names:
            path = source.path / name
            size = path.stat().st_size if path.is_file() else 0
            digest.update(f"{name}\0{size}\0".encode())
    slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "pictures"
    name = f"{slug}_{digest.hexdigest()[:8]}"
    return tfds.core.BuilderConfig(name=name, description="Pictures of your own.")


def as_stored(image: NativeImage) -> bytes:
    """The bytes to store for a picture, which TensorFlow decodes upright.

    PNG and JPEG files as they are, unless their EXIF orientation turns them; a PNG of all others.
    """
    try:
        with Image.open(io.BytesIO(image.content)) as file:
            orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises many types for damaged EXIF data, which count as none
        orientation = 1
    if image.format in ("JPEG", "PNG") and orientation == 1:
        return image.content
    upright = Image.fromarray(image.pixels)
    upright.getexif()[ExifTags.Base.Orientation] = orientation
    return contract.encode_png(np.asarray(ImageOps.exif_transpose(upright)))


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pictures in folders named by emotions; a config for each folder, as from `config_of`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = MISSING

    def _info(self) -> tfds.core.DatasetInfo:
        return contract.dataset_info(self, (None, None, 3), encoding=None)

    def _split_generators(self, dl_manager):
        source, labels, parts = find_pictures(manual_folder(dl_manager, MISSING))
        splits = complete_parts(labels, parts)
        if empty := {"train", "validation", "test"} - set(splits.values()):
            raise ValueError(
                f"{len(splits)} pictures are too few: none would be in {', '.join(sorted(empty))}. "
                "Give at least ten of an emotion, or folders train, validation and test."
            )
        return {
            part: self._generate_examples(
                source, {name: label for name, label in labels.items() if splits[name] == part}
            )
            for part in ("train", "validation", "test")
        }

    def _generate_examples(self, source, labels):
        for image in read_images(source, labels):
            png_or_jpeg = as_stored(image)
            yield image.name, contract.example(image.name, png_or_jpeg, labels[image.name])
