"""CK+: people show an emotion, from a neutral face to its peak."""

import dataclasses
import io
import itertools
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders import contract, protocols
from tfds_builders.ck_plus.landmarks import face_box, read_landmarks
from tfds_builders.ck_plus.native import HOMEPAGE, File, Release, Take, choose, find_release
from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013.native import SIDE
from tfds_builders.sources import find_sources, manual_folder, read_images

MISSING = (
    f"CK+ is missing: request it at {HOMEPAGE} (signed agreement), then run "
    "python cli.py build-data ck_plus --source DIR_OR_ARCHIVE"
)
# Labelled sequences of each emotion and people in all images (Lucey et al., 2010, and its release).
PUBLISHED = {
    "anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28,
    "surprise": 83,
}  # fmt: skip
PEOPLE = 123
EXTENDED_NEUTRAL = 593  # the neutral rows of ckextended.csv: a frame of every sequence
# The paper, section IV-A: 70 % train, 10 % validation, 20 % test.
VALIDATION = 0.1
TEST = 0.2
FOLDS = 10
FRAMES = {"peak": 1, "last3": 3}


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """Which images, under which classes and in which splits.

    Attributes:
        frames: "peak", the last frame of a sequence, or "last3", its last three.
        neutral: whether its first frame is taken too, as neutral.
        contempt: whether contempt is an eighth class; else its sequences are left out.
        protocol: "paper" or "subjects".
    """

    frames: str = "peak"
    neutral: bool = False
    contempt: bool = False
    protocol: str = "paper"


class Picture(NamedTuple):
    """An image to be written.

    Attributes:
        name: its file, or the row of ckextended.csv.
        take: its sequence.
        number: of the frame in it.
        emotion: what it shows, neutral where the sequence begins.
        image: its file, or (48, 48) uint8 grey levels.
    """

    name: str
    take: Take
    number: int
    emotion: str
    image: File | np.ndarray


def _configs():
    """One config for each variant and protocol, the default first."""
    images = {"peak": "last frame", "last3": "last three frames"}
    splits = {
        "paper": "train 70 %, validation 10 %, test 20 % of the sequences",
        "subjects": "ten folds, fold_0 to fold_9, that share no person",
    }
    return [
        Config(
            name=f"{frames}{'_neutral' * neutral}{'_contempt' * contempt}_{protocol}",
            description=f"The {images[frames]} of each labelled sequence"
            f"{', and the first as neutral' * neutral}; "
            f"{'with' if contempt else 'without'} contempt; {splits[protocol]}.",
            frames=frames,
            neutral=neutral,
            contempt=contempt,
            protocol=protocol,
        )
        for contempt, neutral, frames, protocol in itertools.product(
            (False, True), (False, True), images, splits
        )
    ]


def assign(takes: Iterable[Take], protocol: str) -> dict[str, str]:
    """Split of each sequence: all its frames go with it.

    Args:
        takes: the sequences.
        protocol: "paper" (train, validation, test) or "subjects" (fold_0 to fold_9).

    Returns:
        The name of the split by the name of the sequence.

    Raises:
        ValueError: there is no such protocol, or the sequences or people are too few for it.
    """
    if protocol == "subjects":
        people = {take.subject for take in takes}
        if len(people) < FOLDS:
            raise ValueError(
                f"The protocol subjects needs at least {FOLDS} people. Found: {len(people)}; "
                f"request the whole set at {HOMEPAGE}, or build the protocol paper."
            )
        folds = protocols.subject_folds(people, FOLDS)
        return {take.name: f"fold_{folds[take.subject]}" for take in takes}
    if protocol != "paper":
        raise ValueError(f"protocol must be 'paper' or 'subjects'. Received: {protocol!r}")
    labels = {take.name: take.emotion for take in takes}
    splits = protocols.stratified_split(labels, VALIDATION, TEST)
    if len(set(splits.values())) < 3:
        raise ValueError(
            f"{len(labels)} of CK+'s {sum(PUBLISHED.values())} labelled sequences are too few for "
            f"train, validation and test; request the whole set at {HOMEPAGE}."
        )
    return splits


class Builder(tfds.core.GeneratorBasedBuilder):
    """The Extended Cohn-Kanade set (Lucey et al., 2010): frames of 640 x 490 or 640 x 480."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = _configs()
    MANUAL_DOWNLOAD_INSTRUCTIONS = MISSING

    def _info(self) -> tfds.core.DatasetInfo:
        names = (*EMOTIONS, "contempt") if self.builder_config.contempt else EMOTIONS
        return self.dataset_info_from_configs(
            features=contract.features(
                tfds.features.Image(shape=(None, None, 3), encoding_format="png"), labels=names
            ),
            supervised_keys=("image", "label"),
            homepage=HOMEPAGE,
        )

    def _split_generators(self, dl_manager):
        config = self.builder_config
        sources = find_sources(manual_folder(dl_manager, MISSING))
        release = find_release(sources)
        _refuse(release.form, config)
        _say_other_counts(release)
        left_out = {
            *(() if config.contempt else ("contempt",)),
            *(() if config.neutral else ("neutral",)),  # rows of ckextended.csv
        }
        takes = [take for take in release.takes if take.emotion not in left_out]
        splits = assign(takes, config.protocol)
        native = release.form == "native"
        pictures = [
            _picture(take, number, emotion)
            for take in takes
            for number, emotion in choose(take, FRAMES[config.frames], config.neutral and native)
        ]
        if native and config.neutral:
            _say_late_beginnings(takes)
        landmarks = None
        if native:
            frames = {(one.take.name, one.number) for one in pictures}
            landmarks = read_landmarks(sources, frames)
            _say_unmarked(len(frames) - len(landmarks), len(frames))
        parts = {split: [] for split in sorted(set(splits.values()))}
        for picture in pictures:
            parts[splits[picture.take.name]].append(picture)
        return {
            split: self._generate_examples(sources, part, release.form, landmarks)
            for split, part in parts.items()
        }

    def _generate_examples(self, sources, pictures, form, landmarks):
        files = defaultdict(dict)
        for picture in pictures:
            if form == "ckextended.csv":
                yield picture.name, _example(picture, _png(picture.image), contract.WHOLE)
            else:
                files[picture.image.place][picture.image.path] = picture
        for place in sorted(files):
            for image in read_images(sources[place], files[place]):
                picture = files[place][image.name]
                height, width = image.pixels.shape[:2]
                face = contract.WHOLE
                if form == "CK+48" and (height, width) != (SIDE, SIDE):
                    raise ValueError(
                        f"{image.name} must have {SIDE} x {SIDE} pixels, as in CK+48. Found: "
                        f"{width} x {height}; name the native images with their emotion files."
                    )
                if form == "native" and (picture.take.name, picture.number) in landmarks:
                    points = landmarks[picture.take.name, picture.number]
                    face = face_box(points, height, width, picture.name)
                # A PNG file is kept as it is; whatever else bears its name becomes one.
                whole = image.format == "PNG"
                png = io.BytesIO(image.content) if whole else _png(image.pixels)
                yield picture.name, _example(picture, png, face)


def _picture(take, number, emotion):
    image = take.frames[number]
    name = PurePosixPath(image.path).name if isinstance(image, File) else take.name
    return Picture(name, take, number, emotion, image)


def _example(picture, png, face):
    return {
        "image": png,
        "label": picture.emotion,
        "subject": picture.take.subject,
        "name": picture.name,
        "face": face,
    }


def _png(pixels):
    """PNG file of pixels."""
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    png.seek(0)
    return png


def _refuse(form, config):
    """Raise where a form does not hold what a config is made of."""
    native = "or name the native images with their emotion files"
    endings = "_contempt" * config.contempt
    if form == "CK+48" and config.neutral:
        raise ValueError(
            f"CK+48 holds no neutral face for ck_plus/{config.name}: build "
            f"ck_plus/{config.frames}{endings}, {native}."
        )
    if form == "ckextended.csv" and FRAMES[config.frames] > 1:
        raise ValueError(
            f"ckextended.csv has one frame a sequence, too few for ck_plus/{config.name}: build "
            f"ck_plus/{config.name.replace(config.frames, 'peak')}, {native}."
        )
    if form == "ckextended.csv" and config.protocol == "subjects":
        raise ValueError(
            f"ckextended.csv names no people, so ck_plus/{config.name} cannot keep them apart: "
            f"build ck_plus/{config.name.removesuffix('subjects')}paper, {native}."
        )


def _say_other_counts(release: Release):
    """Warn where the sequences are not those that were published."""
    published = dict(PUBLISHED)
    if release.form == "ckextended.csv":
        published["neutral"] = EXTENDED_NEUTRAL
    found = Counter(take.emotion for take in release.takes)
    if found == published and release.people in (PEOPLE, None):
        return

    def told(counts, people):
        emotions = ", ".join(f"{name} {counts[name]}" for name in sorted({*published, *found}))
        apart = f", of {people} people" if release.people is not None else ""
        return f"{sum(counts.values())} ({emotions}){apart}"

    logging.getLogger(__name__).warning(
        "Labelled sequences of CK+ as found: %s; published: %s.",
        told(found, release.people),
        told(Counter(published), PEOPLE),
    )


def _say_late_beginnings(takes):
    """Warn where the frame that is taken as neutral may be none."""
    late = [take.name for take in takes if min(take.frames) != 1]
    if late:
        logging.getLogger(__name__).warning(
            "%d of %d sequences do not begin at frame 1 (%s, ...): the first there is taken as "
            "neutral.",
            len(late),
            len(takes),
            late[0],
        )


def _say_unmarked(unmarked, frames):
    """Warn of frames without landmarks."""
    if unmarked:
        logging.getLogger(__name__).warning(
            "%d of %d frames have no landmark file: their face is the whole frame; put "
            "Landmarks.zip beside the images.",
            unmarked,
            frames,
        )
