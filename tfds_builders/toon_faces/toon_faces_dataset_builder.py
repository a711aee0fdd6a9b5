"""toon_faces: cartoon faces drawn by code, with the true boxes of mouth, eyes and brows."""

import itertools

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import contract
from tfds_builders.contract import EMOTIONS
from tfds_builders.protocols import STANDARD_SHARES, protocol_split, stratified_split
from tfds_builders.sources import thread_pool
from tfds_builders.toon_faces.canvas import SIZE
from tfds_builders.toon_faces.characters import CHARACTERS
from tfds_builders.toon_faces.drawing import TAKES, draw, picture_name

# Every picture by its name: (character, emotion, take).
PICTURES = {
    picture_name(*picture): picture
    for picture in itertools.product(CHARACTERS, EMOTIONS, range(TAKES))
}


def assign(protocol: str) -> dict[str, str]:
    """Split of each picture, by the protocol "standard" or "subjects"."""
    subjects = {name: character for name, (character, _, _) in PICTURES.items()}
    labels = {name: emotion for name, (_, emotion, _) in PICTURES.items()}
    return protocol_split(
        protocol, subjects, len(CHARACTERS), lambda: stratified_split(labels, **STANDARD_SHARES)
    )


class Builder(tfds.core.GeneratorBasedBuilder):
    """Six characters in seven emotions, sixty takes each; nothing is downloaded."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Six characters, seven emotions, 2,520 pictures."}
    BUILDER_CONFIGS = contract.configs(
        standard="70 % train, 10 % validation, 20 % test of each emotion; every character is in "
        "all three.",
        subjects="Six folds, fold_0 to fold_5, of one character each.",
    )

    def _info(self) -> tfds.core.DatasetInfo:
        box = tfds.features.BBoxFeature
        return contract.dataset_info(
            self,
            (SIZE, SIZE, 3),
            mouth=box(doc="Lips and tongue."),
            eyes=box(doc="Both eyes, with lids and lashes."),
            brows=box(doc="Both brows."),
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing to download
        splits = {}
        for name, split in assign(self.builder_config.name).items():
            splits.setdefault(split, []).append(name)
        return {split: self._generate_examples(splits[split]) for split in sorted(splits)}

    def _generate_examples(self, names):
        # Threads: Pillow encodes and scales without the GIL.
        with thread_pool(3) as pool:
            yield from zip(names, pool.map(_example, names), strict=True)


def _example(name):
    character, emotion, take = PICTURES[name]
    picture = draw(character, emotion, take)
    boxes = {
        part: tfds.features.BBox(*(edge / SIZE for edge in getattr(picture, part)))
        for part in ("face", "mouth", "eyes", "brows")
    }
    png = contract.encode_png(np.asarray(picture.image))
    return contract.example(name, png, emotion, character, **boxes)
