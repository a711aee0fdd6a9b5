"""FERG: six animated characters show seven expressions."""

import re
from pathlib import PurePosixPath

import tensorflow_datasets as tfds

from tfds_builders import contract
from tfds_builders.contract import EMOTIONS
from tfds_builders.release import Picture, Release
from tfds_builders.sources import Source, check_size, read_images

# The second part of a folder's name, such as joy in aia_joy.
FERG_FOLDERS = {
    "anger": "anger", "disgust": "disgust", "fear": "fear", "joy": "happiness",
    "neutral": "neutral", "sadness": "sadness", "surprise": "surprise",
}  # fmt: skip
SIDE = 256  # pixels
# Images of each character and of each emotion (in the order of EMOTIONS), as published.
CHARACTERS = {
    "aia": 10_003, "bonnie": 11_271, "jules": 10_755, "malcolm": 7_579, "mery": 7_558, "ray": 8_601,
}  # fmt: skip
PUBLISHED = (9169, 8571, 7419, 7330, 6939, 7627, 8712)
RELEASE = Release(
    name="ferg",
    title="FERG",
    homepage="https://grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html",
    terms="signed agreement",
    emotions=dict(zip(EMOTIONS, PUBLISHED, strict=True)),
    subjects=CHARACTERS,
    folds=len(CHARACTERS),
    people="characters",
    example="FERG_DB_256/aia/aia_joy/aia_joy_1.png",
    # The paper, section IV-A: about 34k / 14k / 7k, a thousand test images of each emotion.
    sizes=(14_000, 1000),
    undecodable=(Picture("bonnie_surprise_1389", "bonnie", "surprise"),),
)
FOLDER = re.compile(rf"({'|'.join(CHARACTERS)})_({'|'.join(FERG_FOLDERS)})", re.IGNORECASE)
FILE = re.compile(rf"({FOLDER.pattern})_(\d{{1,9}})(?:\.\w+)+", re.IGNORECASE)


def parse_path(path: str) -> Picture | None:
    """Read a path such as FERG_DB_256/aia/aia_joy/aia_joy_123.png; None if it is another file."""
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


class Builder(tfds.core.GeneratorBasedBuilder):
    """FERG-DB (Aneja et al., 2016): 55,767 drawn faces of 256 x 256 pixels, RGB."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = contract.configs(
        standard="34,767 train, 14,000 validation, 7,000 test (a thousand of each emotion); every "
        "character is in all three.",
        subjects="Six folds, fold_0 to fold_5, of one character each.",
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = RELEASE.missing
    beam = False  # set on a builder: spread the reading over Apache Beam's workers

    def _info(self) -> tfds.core.DatasetInfo:
        return contract.dataset_info(self, (SIDE, SIDE, 3), homepage=RELEASE.homepage)

    def _split_generators(self, dl_manager):
        splits = RELEASE.find_splits(dl_manager, self.builder_config.name, parse_path)
        return {split: self._generate_examples(part) for split, part in splits.items()}

    def _generate_examples(self, files):
        if self.beam:
            return self._by_beam(files)
        return (example for part in files for example in _read_examples(*part))

    def _by_beam(self, files):
        beam = tfds.core.lazy_imports.apache_beam
        archives = [source.path.name for source, group in files if group and source.path.is_file()]
        if archives:
            raise ValueError(
                f"Beam's workers read files one by one: unpack {archives[0]} and name the folder."
            )
        pieces = [
            # Without the 55,767 names, which would be sent to each worker with each file.
            (Source(source.path, ()), {file: picture})
            for source, pictures in files
            for file, picture in pictures.items()
        ]
        return beam.Create(pieces) | beam.FlatMapTuple(_read_examples)


def _read_examples(source, pictures):
    """Yield (key, example) of each file."""
    for image in read_images(source, pictures):
        check_size(image, SIDE, f"name the original images, from {RELEASE.homepage}")
        name, character, emotion = pictures[image.name]
        yield name, contract.example(name, image.png, emotion, character)
