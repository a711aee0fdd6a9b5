"""JAFFE: ten Japanese women pose seven expressions."""

import io
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders import contract, protocols
from tfds_builders.contract import EMOTIONS
from tfds_builders.sources import Source, find_sources, manual_folder, read_images

# JAFFE: the two letters in a file's name, such as KA.AN1.39.tiff.
JAFFE_CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}

ZENODO = "https://zenodo.org/records/3451524"
MISSING = (
    f"JAFFE is missing: request it at {ZENODO} (non-commercial research), then run "
    "python cli.py build-data jaffe --source DIR_OR_ARCHIVE"
)
SIDE = 256
# Images of each person and of each emotion (in the order of EMOTIONS) in the release.
PEOPLE = {
    "KA": 23, "KL": 22, "KM": 22, "KR": 20, "MK": 21,
    "NA": 21, "NM": 20, "TM": 21, "UY": 21, "YM": 22,
}  # fmt: skip
PUBLISHED = (30, 29, 32, 31, 30, 31, 30)
TOTAL = sum(PUBLISHED)
# The paper, section IV-A: 120 / 23 / 70, ten test images of each emotion.
VALIDATION = 23
TEST_PER_EMOTION = 10
# KA.AN1.39.tiff: person, emotion, take (always one digit), running number. Between the parts
# anything goes that cannot be misread: dots and spaces doubled or missing, KA.AN1.39.tiff.jpg.
FILE_NAME = re.compile(
    rf"\s*({'|'.join(PEOPLE)})[\s._-]*({'|'.join(JAFFE_CODES)})(\d)[\s._-]*(\d{{1,3}})"
    r"(?:[\s.]*tiff?)?[\s.]*(tiff?|png|jpe?g)\s*",
    re.IGNORECASE,
)
# Of the same image in several formats, the first of these: what lost nothing before what did.
FORMATS = ("tiff", "tif", "png", "jpg", "jpeg")


class Picture(NamedTuple):
    """What a file's name says.

    Attributes:
        name: person, emotion, take and number as the release writes them: KA.AN1.39.
        person: two letters, a key of `PEOPLE`.
        emotion: one of `EMOTIONS`.
        format: one of `FORMATS`.
    """

    name: str
    person: str
    emotion: str
    format: str


def parse_file_name(file: str) -> Picture | None:
    """Read a file's name.

    Args:
        file: path with `/`; only its last part counts.

    Returns:
        `Picture`, or None if the file is none of JAFFE's.
    """
    match = FILE_NAME.fullmatch(PurePosixPath(file).name)
    if match is None:
        return None
    person, code, take, number, ending = match.groups()
    person, code = person.upper(), code.upper()
    name = f"{person}.{code}{take}.{int(number)}"
    return Picture(name, person, JAFFE_CODES[code], ending.lower())


def find_pictures(sources: Iterable[Source]) -> list[tuple[Source, dict[str, Picture]]]:
    """Find JAFFE's files, each image once: by format, then in the order of the sources.

    Args:
        sources: as from `sources.find_sources`.

    Returns:
        (source, {file in it: picture}) of each source.

    Raises:
        FileNotFoundError: there is none.
    """
    sources = list(sources)
    best = {}
    for place, source in enumerate(sources):
        for file in source.names:
            picture = parse_file_name(file)
            if picture is not None:
                candidate = (FORMATS.index(picture.format), place, file, picture)
                best[picture.name] = min(best.get(picture.name, candidate), candidate)
    if not best:
        raise FileNotFoundError(
            "JAFFE was not found: no file is named like KA.AN1.39.tiff, neither in the folder nor "
            f"in an archive in it; request JAFFE at {ZENODO} and name with --source what you got."
        )
    found = [(source, {}) for source in sources]
    for _, place, file, picture in best.values():
        found[place][1][file] = picture
    return found


def assign(pictures: Mapping[str, Picture], protocol: str) -> dict[str, str]:
    """Split of each picture.

    Args:
        pictures: by their names.
        protocol: "paper" (train, validation, test) or "subjects" (fold_0 to fold_9, one person
            each).

    Returns:
        The name of the split by the name of the picture. The sizes of `paper` are the paper's for
        the whole set, and in the same shares for a part of it.

    Raises:
        ValueError: there is no such protocol, or the pictures are too few for it.
    """
    if protocol == "subjects":
        missing = sorted(PEOPLE.keys() - {picture.person for picture in pictures.values()})
        if missing:
            raise ValueError(
                f"jaffe/subjects needs images of all ten people; there are none of "
                f"{', '.join(missing)}. Request the whole set at {ZENODO}, or build jaffe/paper."
            )
        folds = protocols.subject_folds(PEOPLE, folds=len(PEOPLE))
        return {name: f"fold_{folds[picture.person]}" for name, picture in pictures.items()}
    if protocol != "paper":
        raise ValueError(f"protocol must be 'paper' or 'subjects'. Received: {protocol!r}")
    labels = {name: picture.emotion for name, picture in pictures.items()}
    if len(labels) >= TOTAL:
        return protocols.sized_split(labels, VALIDATION, TEST_PER_EMOTION)
    tests = TEST_PER_EMOTION * len(EMOTIONS)
    splits = protocols.stratified_split(labels, VALIDATION / TOTAL, tests / TOTAL)
    if len(set(splits.values())) < 3:
        raise ValueError(
            f"{len(labels)} of JAFFE's {TOTAL} images are too few for train, validation and test. "
            f"Request the whole set at {ZENODO}."
        )
    return splits


class Builder(tfds.core.GeneratorBasedBuilder):
    """JAFFE (Lyons et al., 1998): 213 grey faces of 256 x 256 pixels."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="paper",
            description="120 train, 23 validation, 70 test (ten of each emotion); every person is "
            "in all three.",
        ),
        tfds.core.BuilderConfig(
            name="subjects", description="Ten folds, fold_0 to fold_9, of one person each."
        ),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = MISSING

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=contract.features(
                tfds.features.Image(shape=(SIDE, SIDE, 1), encoding_format="png")
            ),
            supervised_keys=("image", "label"),
            homepage=ZENODO,
        )

    def _split_generators(self, dl_manager):
        sources = find_sources(manual_folder(dl_manager, MISSING))
        found = find_pictures(sources)
        pictures = {one.name: one for _, files in found for one in files.values()}
        _say_other_counts(pictures, sources)
        splits = assign(pictures, self.builder_config.name)
        return {
            split: self._generate_examples(
                found, {name for name in splits if splits[name] == split}
            )
            for split in sorted(set(splits.values()))
        }

    def _generate_examples(self, found, names):
        for source, files in found:
            wanted = [file for file, picture in files.items() if picture.name in names]
            for image in read_images(source, wanted) if wanted else ():
                picture = files[image.name]
                png = io.BytesIO()
                Image.fromarray(_grey(image)).save(png, "PNG")
                yield (
                    picture.name,
                    {
                        "image": png.getvalue(),
                        "label": picture.emotion,
                        "subject": picture.person,
                        "name": picture.name,
                        "face": contract.WHOLE,
                    },
                )


def _grey(image):
    """(256, 256) uint8 of an image that is grey, though perhaps stored in three channels."""
    height, width = image.pixels.shape[:2]
    if (height, width) != (SIDE, SIDE):
        raise ValueError(
            f"{image.name} must have {SIDE} x {SIDE} pixels. Found: {width} x {height}; name the "
            f"original images, from {ZENODO}."
        )
    if image.pixels.ndim == 2:
        return image.pixels
    colours = image.pixels[..., :3]  # a fourth channel is alpha
    if np.any(colours != colours[..., :1]):
        raise ValueError(
            f"{image.name} must be grey. Found: colours; name the original images, from {ZENODO}."
        )
    return np.ascontiguousarray(colours[..., 0])


def _say_other_counts(pictures, sources):
    """Warn where the images are not those of the release, and name images that were passed over."""
    people = Counter(picture.person for picture in pictures.values())
    emotions = Counter(picture.emotion for picture in pictures.values())
    found = tuple(emotions[emotion] for emotion in EMOTIONS)
    if found == PUBLISHED and people == PEOPLE:
        return

    def told(emotions, people):
        return ", ".join(
            f"{name} {count}"
            for name, count in (*zip(EMOTIONS, emotions, strict=True), *sorted(people.items()))
        )

    others = [
        file
        for source in sources
        for file in source.names
        if PurePosixPath(file).suffix.lower().lstrip(".") in FORMATS
        and not PurePosixPath(file).name.startswith("._")
        and parse_file_name(file) is None
    ]
    logging.getLogger(__name__).warning(
        "JAFFE as found has %d images (%s); published are %d (%s).%s",
        len(pictures),
        told(found, {person: people[person] for person in PEOPLE}),
        TOTAL,
        told(PUBLISHED, PEOPLE),
        f" Passed over for their names: {', '.join(others[:5])}." if others else "",
    )
