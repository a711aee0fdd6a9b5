"""toon_faces: cartoon faces drawn by code, with the true boxes of mouth, eyes and brows."""

import concurrent.futures
import io

import tensorflow_datasets as tfds

from tfds_builders import contract, protocols
from tfds_builders.contract import EMOTIONS
from tfds_builders.toon_faces.canvas import SIZE
from tfds_builders.toon_faces.characters import CHARACTERS
from tfds_builders.toon_faces.drawing import TAKES, draw, picture_name

# Every picture by its name: (character, emotion, take).
PICTURES = {
    picture_name(character, emotion, take): (character, emotion, take)
    for character in CHARACTERS
    for emotion in EMOTIONS
    for take in range(TAKES)
}


def assign(protocol: str) -> dict[str, str]:
    """Split of each of the 2,520 pictures.

    Args:
        protocol: "paper" (train, validation, test: 70, 10 and 20 % of each emotion) or "subjects"
            (fold_0 to fold_5, one character each).

    Returns:
        The name of the split by the name of the picture.

    Raises:
        ValueError: there is no such protocol.
    """
    if protocol == "paper":
        # The paper's shares for a set without official splits, as for CK+.
        labels = {name: emotion for name, (_, emotion, _) in PICTURES.items()}
        return protocols.stratified_split(labels, validation=0.1, test=0.2)
    if protocol == "subjects":
        folds = protocols.subject_folds(CHARACTERS, folds=len(CHARACTERS))
        return {name: f"fold_{folds[character]}" for name, (character, _, _) in PICTURES.items()}
    raise ValueError(f"protocol must be 'paper' or 'subjects'. Received: {protocol!r}")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Six characters in seven emotions, sixty takes each; nothing is downloaded."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Six characters, seven emotions, 2,520 pictures."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="paper",
            description="70 % train, 10 % validation, 20 % test of each emotion; every character "
            "is in all three.",
        ),
        tfds.core.BuilderConfig(
            name="subjects", description="Six folds, fold_0 to fold_5, of one character each."
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        box = tfds.features.BBoxFeature
        return self.dataset_info_from_configs(
            features=contract.features(
                tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
                mouth=box(doc="Lips and tongue."),
                eyes=box(doc="Both eyes, with lids and lashes."),
                brows=box(doc="Both brows."),
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing to download
        splits = {}
        for name, split in assign(self.builder_config.name).items():
            splits.setdefault(split, []).append(name)
        return {split: self._generate_examples(splits[split]) for split in sorted(splits)}

    def _generate_examples(self, names):
        # Threads: Pillow encodes and scales without the GIL. The PNG is made here and not by TFDS,
        # which stores it as it comes.
        with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
            yield from zip(names, pool.map(_example, names), strict=True)


def _example(name):
    character, emotion, take = PICTURES[name]
    picture = draw(character, emotion, take)
    png = io.BytesIO()
    picture.image.save(png, format="PNG")
    boxes = {
        part: tfds.features.BBox(*(edge / SIZE for edge in getattr(picture, part)))
        for part in ("face", "mouth", "eyes", "brows")
    }
    png = png.getvalue()
    return {"image": png, "label": emotion, "subject": character, "name": name, **boxes}
