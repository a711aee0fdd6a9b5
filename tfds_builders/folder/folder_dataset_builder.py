"""Pictures of your own: `DIR/<emotion>/*`, with or without train, test, ... above."""

import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import tensorflow_datasets as tfds

from keras_deep_emotion.images.finding import passed_over
from keras_deep_emotion.images.formats import decodes_alike
from tfds_builders import contract
from tfds_builders.protocols import STANDARD_SHARES, stratified_split
from tfds_builders.sources import (
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
# What people call the folders of splits, in lower case, letters only: "Train_set" is "trainset".
# "eval" is the validation split, or the test split where there is another for validation.
PARTS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "development": "validation", "validate": "validation", "publictest": "validation",
    "eval": "validation", "evaluation": "validation",
    "test": "test", "testing": "test", "privatetest": "test", "heldout": "test", "holdout": "test",
}  # fmt: skip
KNOWN = (
    f"Known names are, with words such as set or data beside them: {', '.join(PARTS)}. Rename the "
    "folders, or put the pictures of an emotion together in one."
)
AROUND = r"(?:data|dataset|set|split|images|imgs|pictures|faces|samples|folder)*"
REMEDY = (
    "keras-deep-emotion fit --dataset folder --source DIR, where DIR has a folder for each emotion"
)
ORDER = ("train", "validation", "test")
MISSING = f"Your pictures are missing: {REMEDY}"
logger = logging.getLogger(__name__)


def find_pictures(folder: Path) -> tuple[Source, dict[str, str], dict[str, str]]:
    """Find the pictures in a folder, or in the first archive in it that has any.

    Pictures in other archives are ignored with a warning: they may be the same. Returns the source,
    and by the names of the pictures their emotions and their parts ("train", ...), which are empty
    if the user made none. Raises FileNotFoundError if there are no pictures, ValueError if the name
    of a folder is not understood, or one of an emotion holds files and no picture.
    """
    found = [(source, *source.pictures()) for source in find_sources(folder)]
    others = [name for _, images, names in found if not images for name in names]
    found = [one for one in found if one[1]]
    if not found:
        note = f", only {', '.join(others[:5])}" if others else ""
        raise FileNotFoundError(f"The source holds no images{note}; {REMEDY}.")
    (source, names, others), *rest = found
    if rest:
        ignored = ", ".join(other.path.name for other, *_ in rest)
        logger.warning(f"Pictures are read from {source.path.name}; ignored: {ignored}.")
    labels = {name: _emotion_of(name) for name in names}
    _check_folders(names, others)
    if note := passed_over(others, "not images"):
        logger.warning(note)
    parts = _parts_of(names)
    if parts and "train" not in parts.values():
        raise ValueError("There is no folder train beside the others; nothing to learn from.")
    return source, labels, parts


def _plain(name):
    """A name in lower case, letters only."""
    return re.sub(r"[^a-z]", "", name.lower())


def _emotion_of(name):
    """The emotion that the folder of a picture says."""
    emotion = PurePosixPath(name).parent.name
    if _plain(emotion) not in SPELLINGS:
        raise ValueError(
            f"{emotion or 'The top folder'!r} (of {name}) is not the name of an emotion. Known "
            f"spellings: {', '.join(SPELLINGS)}."
        )
    return SPELLINGS[_plain(emotion)]


def _check_folders(names, others):
    """Raise ValueError if a folder of an emotion holds files and no picture."""
    folders = {PurePosixPath(name).parent for name in names}
    for name in others:
        folder = PurePosixPath(name).parent
        if folder not in folders and _plain(folder.name) in SPELLINGS:
            raise ValueError(
                f"The folder {folder} holds files such as {name}, none of which is an image."
            )


def _parts_of(names):
    """The part of each picture, by the folders above its emotion; empty if the user made none."""
    above = {name: PurePosixPath(name).parts[:-2] for name in names}
    known = _known_parts({folder for folders in above.values() for folder in folders})
    parts = {
        name: [known[one] for one in folders if one in known] for name, folders in above.items()
    }
    others = {name: [one for one in folders if one not in known] for name, folders in above.items()}
    first = names[0]
    for name in names:
        if len(parts[name]) > 1:
            raise ValueError(f"{name} lies in several splits: {' and '.join(parts[name])}.")
        if len(parts[name]) != len(parts[first]):
            lost = first if parts[name] else name
            raise ValueError(
                f"{lost} lies outside train, validation and test, where other pictures are. {KNOWN}"
            )
        if others[name] != others[first]:
            one, other = ("/".join(above[each]) or "the top folder" for each in (first, name))
            raise ValueError(
                f"There are folders of emotions in {one} and in {other}, and these are not the "
                f"names of splits. {KNOWN}"
            )
    return {name: part for name, (part, *_) in parts.items()} if parts[first] else {}


def _known_parts(folders):
    """The part that each folder's name says, of those that say one."""
    words = {}
    for folder in folders:
        if match := re.fullmatch(rf"{AROUND}({'|'.join(PARTS)}){AROUND}", _plain(folder)):
            words[folder] = match[1]
    is_eval = {folder: word.startswith("eval") for folder, word in words.items()}
    has_other = any(PARTS[words[one]] == "validation" and not is_eval[one] for one in words)
    return {
        folder: "test" if is_eval[folder] and has_other else PARTS[word]
        for folder, word in words.items()
    }


def complete_parts(labels: dict[str, str], parts: dict[str, str]) -> dict[str, str]:
    """The split of every picture; missing parts are cut from the training pictures."""
    shares = STANDARD_SHARES | dict.fromkeys(STANDARD_SHARES.keys() & parts.values(), 0.0)
    training = [name for name in labels if parts.get(name, "train") == "train"]
    return parts | stratified_split({name: labels[name] for name in training}, **shares)


def config_of(folder: Path, title: str) -> tfds.core.BuilderConfig:
    """The TFDS config of a folder, named by its title, its files' names and their content.

    Other pictures are another data set.
    """
    digest = hashlib.sha256()
    for source in find_sources(folder):
        is_folder = source.path.is_dir()
        for name in source.names:
            digest.update(f"{name}\0".encode())
            if is_folder:
                digest.update(content_digest(source.path / name))
        if not is_folder:
            digest.update(content_digest(source.path))
    slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "pictures"
    name = f"{slug}_{digest.hexdigest()[:8]}"
    return tfds.core.BuilderConfig(name=name, description="Pictures of your own.")


def content_digest(path: Path) -> bytes:
    """SHA-256 of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def as_stored(image: NativeImage) -> bytes:
    """The bytes to store for a picture: the file itself if TensorFlow decodes it as it should."""
    return image.content if decodes_alike(image.content) else image.png


def warn_of_absent(labels: Mapping[str, str], splits: Mapping[str, str]) -> None:
    """Log which emotions have no picture at all, and which have none in a split."""
    held = {part: {labels[name] for name in splits if splits[name] == part} for part in ORDER}
    absent = [one for one in contract.EMOTIONS if one not in labels.values()]
    if absent:
        logger.warning(f"No picture shows {', '.join(absent)}: no model can learn them from these.")
    for part, emotions in held.items():
        rest = [one for one in contract.EMOTIONS if one not in {*emotions, *absent}]
        if rest:
            logger.warning(f"No picture in {part} shows {', '.join(rest)}.")


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
        if empty := {*ORDER} - set(splits.values()):
            raise ValueError(
                f"{len(splits)} pictures are too few: none would be in {', '.join(sorted(empty))}. "
                "Give at least ten of an emotion, or folders train, validation and test."
            )
        warn_of_absent(labels, splits)
        return {
            part: self._generate_examples(
                source, {name: label for name, label in labels.items() if splits[name] == part}
            )
            for part in ORDER
        }

    def _generate_examples(self, source, labels):
        for image in read_images(source, labels):
            png_or_jpeg = as_stored(image)
            yield image.name, contract.example(image.name, png_or_jpeg, labels[image.name])
