"""FERG: six animated characters show seven expressions."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import tensorflow_datasets as tfds

from tfds_builders import contract, protocols
from tfds_builders.contract import EMOTIONS
from tfds_builders.sources import Source, find_sources, manual_folder, read_images

# FERG: the second part of its folders' names, such as aia_joy.
FERG_FOLDERS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}

HOMEPAGE = "https://grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html"
MISSING = (
    f"FERG is missing: request it at {HOMEPAGE} (signed agreement), then run "
    "python cli.py build-data ferg --source DIR_OR_ARCHIVE"
)
SIDE = 256
# Images of each character and of each emotion (in the order of EMOTIONS), as published.
CHARACTERS = {
    "aia": 10_003, "bonnie": 11_271, "jules": 10_755, "malcolm": 7_579, "mery": 7_558, "ray": 8_601,
}  # fmt: skip
PUBLISHED = (9169, 8571, 7419, 7330, 6939, 7627, 8712)
TOTAL = sum(PUBLISHED)
# The paper, section IV-A: about 34k / 14k / 7k, a thousand test images of each emotion.
VALIDATION = 14_000
TEST_PER_EMOTION = 1000
FOLDER = re.compile(rf"({'|'.join(CHARACTERS)})_({'|'.join(FERG_FOLDERS)})", re.IGNORECASE)
FILE = re.compile(rf"({FOLDER.pattern})_(\d+)\.png", re.IGNORECASE)


class Picture(NamedTuple):
    """What a file's place says.

    Attributes:
        name: the file's name without its ending: aia_joy_123.
        character: a key of `CHARACTERS`.
        emotion: one of `EMOTIONS`.
    """

    name: str
    character: str
    emotion: str


# It cannot be decoded in the release, so that many have deleted it.
DAMAGED = Picture("bonnie_surprise_1389", "bonnie", "surprise")


def parse_path(path: str) -> Picture | None:
    """Read where a file lies and how it is named.

    Args:
        path: with `/`, such as FERG_DB_256/aia/aia_joy/aia_joy_123.png.

    Returns:
        `Picture`, or None if the file is none of FERG's.

    Raises:
        ValueError: the file's name says another character or expression than its folder's.
    """
    path = PurePosixPath(path)
    folder, file = FOLDER.fullmatch(path.parent.name), FILE.fullmatch(path.name)
    if folder is None or file is None:
        return None
    if file[1].lower() != folder[0].lower():
        raise ValueError(
            f"{path} lies in a folder for {folder[0]} but its name says {file[1]}; unpack "
            "FERG_DB_256.zip again."
        )
    character, expression = folder[1].lower(), folder[2].lower()
    return Picture(f"{character}_{expression}_{file[4]}", character, FERG_FOLDERS[expression])


def find_pictures(sources: Iterable[Source]) -> list[tuple[Source, dict[str, Picture]]]:
    """Find FERG's files, each image once: the first in the order of the sources.

    A folder comes before its archives, so an encrypted zip beside its unpacked files does no harm.

    Args:
        sources: as from `sources.find_sources`.

    Returns:
        (source, {file in it: picture}) of each source.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a file's name contradicts its folder's.
    """
    found, seen = [], set()
    for source in sources:
        files = {}
        for file in source.names:
            picture = parse_path(file)
            if picture is not None and picture.name not in seen:
                seen.add(picture.name)
                files[file] = picture
        found.append((source, files))
    if not seen:
        raise FileNotFoundError(
            "FERG was not found: no file lies like FERG_DB_256/aia/aia_joy/aia_joy_1.png, neither "
            f"in the folder nor in an archive in it; request FERG at {HOMEPAGE} and name with "
            "--source what you got."
        )
    return found


def assign(pictures: Mapping[str, Picture], protocol: str) -> dict[str, str]:
    """Split of each picture.

    Args:
        pictures: by their names.
        protocol: "paper" (train, validation, test) or "subjects" (fold_0 to fold_5, one character
            each).

    Returns:
        The name of the split by the name of the picture. The sizes of `paper` are the paper's for
        the whole set, the same whether its damaged file is there or was deleted, and in the same
        shares for a part of it.

    Raises:
        ValueError: there is no such protocol, or the pictures are too few for it.
    """
    if protocol == "subjects":
        missing = sorted(CHARACTERS.keys() - {one.character for one in pictures.values()})
        if missing:
            raise ValueError(
                f"ferg/subjects needs images of all six characters; there are none of "
                f"{', '.join(missing)}. Request the whole set at {HOMEPAGE}, or build ferg/paper."
            )
        folds = protocols.subject_folds(CHARACTERS, folds=len(CHARACTERS))
        return {name: f"fold_{folds[picture.character]}" for name, picture in pictures.items()}
    if protocol != "paper":
        raise ValueError(f"protocol must be 'paper' or 'subjects'. Received: {protocol!r}")
    labels = {name: picture.emotion for name, picture in pictures.items()}
    whole = {DAMAGED.name: DAMAGED.emotion, **labels}
    if len(whole) >= TOTAL:
        splits = protocols.sized_split(whole, VALIDATION, TEST_PER_EMOTION)
        return {name: splits[name] for name in labels}
    tests = TEST_PER_EMOTION * len(EMOTIONS)
    splits = protocols.stratified_split(labels, VALIDATION / TOTAL, tests / TOTAL)
    if len(set(splits.values())) < 3:
        raise ValueError(
            f"{len(labels):,} of FERG's {TOTAL:,} images are too few for train, validation and "
            f"test. Request the whole set at {HOMEPAGE}."
        )
    return splits


class Builder(tfds.core.GeneratorBasedBuilder):
    """FERG-DB (Aneja et al., 2016): 55,767 drawn faces of 256 x 256 pixels, RGB."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="paper",
            description="34,767 train, 14,000 validation, 7,000 test (a thousand of each emotion); "
            "every character is in all three.",
        ),
        tfds.core.BuilderConfig(
            name="subjects", description="Six folds, fold_0 to fold_5, of one character each."
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = MISSING
    beam = False  # set on a builder: spread the reading over Apache Beam's workers

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=contract.features(
                tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png")
            ),
            supervised_keys=("image", "label"),
            homepage=HOMEPAGE,
        )

    def _split_generators(self, dl_manager):
        found = find_pictures(find_sources(manual_folder(dl_manager, MISSING)))
        pictures = {one.name: one for _, files in found for one in files.values()}
        _say_other_counts(pictures)
        splits = assign(pictures, self.builder_config.name)
        names = {split: set() for split in sorted(set(splits.values()))}
        for name, split in splits.items():
            names[split].add(name)
        return {split: self._generate_examples(found, names[split]) for split in names}

    def _generate_examples(self, found, names):
        wanted = [
            (source, {file: one for file, one in files.items() if one.name in names})
            for source, files in found
        ]
        return self._by_beam(wanted) if self.beam else self._in_order(wanted)

    def _in_order(self, wanted):
        for source, files in wanted:
            if files:
                yield from _read_examples(source, files)

    def _by_beam(self, wanted):
        beam = tfds.core.lazy_imports.apache_beam
        archives = [source.path.name for source, files in wanted if files and source.path.is_file()]
        if archives:
            raise ValueError(
                f"Beam's workers read files one by one: unpack {archives[0]} and name the folder."
            )
        pieces = [
            # Without the 55,767 names, which each worker would be sent with each file.
            (Source(source.path, ()), {file: picture})
            for source, files in wanted
            for file, picture in files.items()
        ]
        return beam.Create(pieces) | beam.FlatMapTuple(_read_examples)


def _read_examples(source, files):
    """Yield (key, example) of each of {file: picture}."""
    for image in read_images(source, files):
        height, width = image.pixels.shape[:2]
        if (height, width) != (SIDE, SIDE):
            raise ValueError(
                f"{image.name} must have {SIDE} x {SIDE} pixels. Found: {width} x {height}; name "
                f"the original images, from {HOMEPAGE}."
            )
        picture = files[image.name]
        yield (
            picture.name,
            {
                # As it is: TFDS decodes three channels and leaves alpha out.
                "image": image.content,
                "label": picture.emotion,
                "subject": picture.character,
                "name": picture.name,
                "face": contract.WHOLE,
            },
        )


def _say_other_counts(pictures):
    """Warn where the images are not those that were published."""
    characters = Counter(picture.character for picture in pictures.values())
    emotions = Counter(picture.emotion for picture in pictures.values())
    found = tuple(emotions[emotion] for emotion in EMOTIONS)
    if found == PUBLISHED and characters == CHARACTERS:
        return

    def told(emotions, characters):
        return ", ".join(
            f"{name} {count}"
            for name, count in (*zip(EMOTIONS, emotions, strict=True), *characters.items())
        )

    logging.getLogger(__name__).warning(
        "FERG as found has %s images (%s); published are %s (%s).",
        f"{len(pictures):,}",
        told(found, {character: characters[character] for character in CHARACTERS}),
        f"{TOTAL:,}",
        told(PUBLISHED, CHARACTERS),
    )
