"""JAFFE: ten Japanese women pose seven expressions."""

import re
from pathlib import PurePosixPath

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import contract
from tfds_builders.contract import EMOTIONS
from tfds_builders.release import Picture, Release
from tfds_builders.sources import check_size, read_images

# The two letters after the person in a file's name, such as AN in KA.AN1.39.tiff.
JAFFE_CODES = {
    "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "NE": "neutral",
    "SA": "sadness", "SU": "surprise",
}  # fmt: skip
SIDE = 256  # pixels
# Images of each person and of each emotion (in the order of EMOTIONS) in the release.
PEOPLE = {
    "KA": 23, "KL": 22, "KM": 22, "KR": 20, "MK": 21,
    "NA": 21, "NM": 20, "TM": 21, "UY": 21, "YM": 22,
}  # fmt: skip
PUBLISHED = (30, 29, 32, 31, 30, 31, 30)
RELEASE = Release(
    name="jaffe",
    title="JAFFE",
    homepage="https://zenodo.org/records/3451524",
    terms="non-commercial research",
    emotions=dict(zip(EMOTIONS, PUBLISHED, strict=True)),
    subjects=PEOPLE,
    folds=len(PEOPLE),
    example="KA.AN1.39.tiff",
    sizes=(23, 10),  # the paper, section IV-A: 120 / 23 / 70, ten test images of each emotion
)
# KA.AN1.39.tiff: person, emotion, take (always one digit), running number. Separators may be
# doubled or missing, as long as the name is unambiguous: KA.AN1..39.tiff.jpg. Any ending will do.
FILE_NAME = re.compile(
    rf"\s*({'|'.join(PEOPLE)})[\s._-]*({'|'.join(JAFFE_CODES)})(\d)[\s._-]*(\d{{1,3}})"
    r"(?:[a-z]\w*)?(?:\s*\.+\s*[a-z]\w*)*\s*",
    re.IGNORECASE,
)
# Of the same image in several formats, the first of these is read: lossless ones come first.
FORMATS = ("tiff", "tif", "png", "bmp", "webp")


def parse_file_name(file: str) -> Picture | None:
    """Read the name of a file, given by its path; None if it is not an image of JAFFE."""
    match = FILE_NAME.fullmatch(PurePosixPath(file).name.upper())
    if match is None:
        return None
    person, code, take, number = match.groups()
    return Picture(f"{person}.{code}{take}.{int(number)}", person, JAFFE_CODES[code])


class Builder(tfds.core.GeneratorBasedBuilder):
    """JAFFE (Lyons et al., 1998): 213 grey faces of 256 x 256 pixels."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = contract.configs(
        standard="120 train, 23 validation, 70 test (ten of each emotion); every person is in all "
        "three.",
        subjects="Ten folds, fold_0 to fold_9, of one person each.",
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = RELEASE.missing

    def _info(self) -> tfds.core.DatasetInfo:
        return contract.dataset_info(self, (SIDE, SIDE, 1), homepage=RELEASE.homepage)

    def _split_generators(self, dl_manager):
        protocol = self.builder_config.name
        splits = RELEASE.find_splits(dl_manager, protocol, parse_file_name, _format_rank)
        return {split: self._generate_examples(part) for split, part in splits.items()}

    def _generate_examples(self, files):
        for source, pictures in files:
            for image in read_images(source, pictures):
                name, person, emotion = pictures[image.name]
                png = contract.encode_png(_grayscale(image))
                yield name, contract.example(name, png, emotion, person)


def _format_rank(file):
    """Place of a file's ending in `FORMATS`, or after them."""
    return next(
        (i for i, one in enumerate(FORMATS) if file.rstrip().lower().endswith(one)), len(FORMATS)
    )


def _grayscale(image):
    """(256, 256) uint8 of an image that is grey, though perhaps stored in three channels."""
    check_size(image, SIDE, f"name the original images, from {RELEASE.homepage}")
    channels = np.atleast_3d(image.pixels)[..., :3]  # a fourth channel is alpha
    if np.any(channels != channels[..., :1]):
        raise ValueError(
            f"{image.name} must be grey. Found: colors; name the original images, from "
            f"{RELEASE.homepage}."
        )
    return np.ascontiguousarray(channels[..., 0])
