"""Pictures of your own: `DIR/<emotion>/*.png|jpg`, with or without train, test, ... above."""

import hashlib
import io
import re
from pathlib import PurePosixPath

import tensorflow_datasets as tfds
from PIL import Image, ImageOps

from tfds_builders import contract
from tfds_builders.protocols import stratified_split
from tfds_builders.sources import find_sources, manual_folder, read_images

ORIENTATION = 0x0112  # EXIF 2.3, 4.6.4
# What people call their folders; lower case.
SPELLINGS = {
    "anger": "anger",
    "angry": "anger",
    "disgust": "disgust",
    "disgusted": "disgust",
    "fear": "fear",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "happiness": "happiness",
    "happy": "happiness",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "sad": "sadness",
    "surprise": "surprise",
    "surprised": "surprise",
}

MISSING = (
    "Your pictures are missing: python cli.py fit --dataset folder --source DIR, "
    "where DIR holds a folder for each emotion"
)
ENDINGS = (".png", ".jpg", ".jpeg")
PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
# Shares of each emotion that are cut from the training pictures where a part is missing: those of
# the paper for a set without official splits.
SHARES = {"validation": 0.1, "test": 0.2}


def find_pictures(folder):
    """Find the pictures in a folder, or in an archive in it.

    Args:
        folder: what the user named.

    Returns:
        (source, labels, parts): the `Source`; the emotion of each picture by its name; the part
        ("train", ...) of each, None for all where the user made none.

    Raises:
        FileNotFoundError: there are no pictures.
        ValueError: a folder's name is no spelling of an emotion, or a part is missing or unknown.
    """
    for source in find_sources(folder):
        names = [name for name in source.names if name.lower().endswith(ENDINGS)]
        if names:
            break
    else:
        raise FileNotFoundError(
            f"There are no PNG or JPEG files under {folder}; {MISSING.partition(': ')[2]}."
        )
    labels, parts = {}, {}
    for name in names:
        *above, emotion, _ = ("", "", *PurePosixPath(name).parts)
        label = SPELLINGS.get(emotion.lower())
        if label is None:
            raise ValueError(
                f"{emotion or 'The top folder'!r} (of {name}) is not the name of an emotion. Known "
                f"spellings: {', '.join(SPELLINGS)}."
            )
        labels[name] = label
        parts[name] = PARTS.get(above[-1].lower())
    if not any(parts.values()):
        return source, labels, None
    lost = [name for name, part in parts.items() if part is None]
    if lost:
        raise ValueError(
            f"{lost[0]} lies outside train, validation and test, where other pictures are."
        )
    if "train" not in parts.values():
        raise ValueError("There is no folder train beside the others; nothing to learn from.")
    return source, labels, parts


def complete_parts(labels, parts):
    """The split of every picture, with missing parts cut from the training pictures."""
    if parts is None:
        return stratified_split(labels, **SHARES)
    missing = {part: share for part, share in SHARES.items() if part not in parts.values()}
    training = {name: labels[name] for name, part in parts.items() if part == "train"}
    shares = {"validation": 0.0, "test": 0.0, **missing}
    return {**parts, **stratified_split(training, **shares)}


def config_of(folder, title):
    """The TFDS config of a folder: a title and a digest of what it holds.

    Other pictures are another data set, and one run keeps to one: the digest is of the names and
    sizes of all files.

    Args:
        folder: where the pictures, or an archive of them, lie.
        title: what the user calls it; letters and digits of it are kept.
    """
    digest = hashlib.sha256()
    for source in find_sources(folder):
        for name in source.names:
            path = source.path / name
            size = path.stat().st_size if path.is_file() else 0
            digest.update(f"{name}\0{size}\0".encode())
    slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "pictures"
    return tfds.core.BuilderConfig(
        name=f"{slug}_{digest.hexdigest()[:8]}", description="Pictures of your own."
    )


def as_stored(content):
    """A file as TensorFlow shows it upright: as it is, or, where it would not, as PNG.

    That is of WebP and GIF files under the name of others, which saving from a browser makes, and
    of photographs with an EXIF orientation.

    Args:
        content: bytes of a picture that Pillow reads.
    """
    with Image.open(io.BytesIO(content)) as image:
        if image.format in ("JPEG", "PNG") and image.getexif().get(ORIENTATION, 1) == 1:
            return content
        png = io.BytesIO()
        ImageOps.exif_transpose(image).convert("RGB").save(png, "PNG")
    return png.getvalue()


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pictures in folders named by emotions; a config for each folder, as from `config_of`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = MISSING

    def _info(self):
        return self.dataset_info_from_configs(
            features=contract.features(
                # No format: PNG and JPEG files are kept as they are.
                tfds.features.Image(shape=(None, None, 3))
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        source, labels, parts = find_pictures(manual_folder(dl_manager, MISSING))
        splits = complete_parts(labels, parts)
        empty = {"train", "validation", "test"} - set(splits.values())
        if empty:
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
            yield (
                image.name,
                {
                    "image": io.BytesIO(as_stored(image.content)),
                    "label": labels[image.name],
                    "subject": "",
                    "name": image.name,
                    "face": contract.WHOLE,
                },
            )
