"""FER-2013, with its own labels or those of FER+."""

import io
import logging
import socket
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders import contract
from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013 import ferplus
from tfds_builders.fer2013.native import SIDE, read_faces
from tfds_builders.sources import Source, find_sources, manual_folder

KAGGLE = (
    "https://www.kaggle.com/c/"
    "challenges-in-representation-learning-facial-expression-recognition-challenge"
)
MISSING = (
    f"FER-2013 is missing: get fer2013.csv or fer2013.tar.gz at {KAGGLE}, then run "
    "python cli.py build-data fer2013 --source DIR_OR_ARCHIVE"
)
# Faces of each emotion, in the order of EMOTIONS: `original` by the release (Goodfellow et al.,
# 2013), `ferplus` by label.csv and the paper's rule.
PUBLISHED = {
    "original": {
        "train": (3995, 436, 4097, 7215, 4965, 4830, 3171),
        "validation": (467, 56, 496, 895, 607, 653, 415),
        "test": (491, 55, 528, 879, 626, 594, 416),
    },
    "ferplus": {
        "train": (2494, 210, 660, 7546, 10482, 3576, 3590),
        "validation": (328, 38, 72, 900, 1354, 423, 464),
        "test": (327, 25, 99, 930, 1290, 452, 450),
    },
}


class Builder(tfds.core.GeneratorBasedBuilder):
    """FER-2013 (Goodfellow et al., 2013); labels of FER+ (Barsoum et al., 2016) by default."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="ferplus", description="Labels by FER+'s ten taggers, as in the paper's figure 8."
        ),
        tfds.core.BuilderConfig(name="original", description="The labels of fer2013.csv itself."),
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = MISSING

    def _info(self):
        more = {}
        if self.builder_config.name == "ferplus":
            more["votes"] = tfds.features.Tensor(shape=(10,), dtype=np.uint8)
        return self.dataset_info_from_configs(
            features=contract.features(
                tfds.features.Image(shape=(SIDE, SIDE, 1), encoding_format="png"), **more
            ),
            supervised_keys=("image", "label"),
            homepage=KAGGLE,
        )

    def _split_generators(self, dl_manager):
        folder = manual_folder(dl_manager, MISSING)
        sources = find_sources(folder)
        faces = read_faces(sources)
        if self.builder_config.name == "ferplus":
            if not faces.from_csv:
                raise ValueError(
                    "The names of these JPEG files give no row, so FER+'s votes cannot be joined "
                    "to them: build fer2013/original, or get fer2013.csv."
                )
            contents = _ferplus_files(dl_manager, sources, folder)
            tagged = ferplus.read_votes(contents, faces.splits)
            ferplus.check_order(tagged, faces.labels)
        else:
            tagged = [
                ferplus.Tagged(row, split, label, None)
                for row, (split, label) in enumerate(zip(faces.splits, faces.labels, strict=True))
            ]
        splits = {split: [one for one in tagged if one.split == split] for split in ferplus.VOTES}
        empty = [split for split, part in splits.items() if not part]
        if empty:
            raise ValueError(
                f"No face belongs to {' and '.join(empty)}: name with --source all of FER-2013, "
                "with the rows or files of Training, PublicTest and PrivateTest."
            )
        _say_other_counts(self.builder_config.name, splits)
        trained = {faces.images[one.row].tobytes() for one in splits["train"]}
        for split in ("validation", "test"):
            splits[f"{split}_deduplicated"] = [
                one for one in splits[split] if faces.images[one.row].tobytes() not in trained
            ]
        return {split: self._generate_examples(faces, part) for split, part in splits.items()}

    def _generate_examples(self, faces, tagged):
        for place, one in enumerate(tagged):
            png = io.BytesIO()
            Image.fromarray(faces.images[one.row]).save(png, "PNG")
            png.seek(0)
            example = {
                "image": png,
                "label": one.label,
                "subject": "",  # FER-2013 names no people
                "name": faces.names[one.row],
                "face": contract.WHOLE,
            }
            if one.votes is not None:
                example["votes"] = one.votes
            # FER+ may list a row twice: the place makes the key unique.
            yield f"{faces.names[one.row]}_{place}", example


def _ferplus_files(dl_manager, sources, folder):
    """The four files of FER+: beside the images, else downloaded and checked."""
    # A file that was named alone stands in its folder as a link: look beside its target too.
    links = {path.resolve().parent for path in folder.iterdir() if path.is_symlink()}
    beside = [
        Source(
            link,
            tuple(
                path.relative_to(link).as_posix()
                for known in ferplus.PATHS
                for depth in ("", "*/", "*/*/")  # as far down as in a copy of the repository
                for path in sorted(link.glob(depth + known))
            ),
        )
        for link in sorted(links)
    ]
    contents = ferplus.find_files([*sources, *beside])
    others = ferplus.unknown_files(contents)
    if others:
        logging.getLogger(__name__).warning(
            "FER+ beside the images differs from the published one (%s): counts may too.",
            ", ".join(others),
        )
    missing = [path for path in ferplus.PATHS if path not in contents]
    if missing:
        names = ", ".join(missing)
        logging.getLogger(__name__).warning(
            "%s not beside the images: downloading from github.com/microsoft/FERPlus.", names
        )
        try:
            if not urllib.request.getproxies():
                # Without a network TFDS would try for minutes; this knows at once.
                socket.getaddrinfo(urllib.parse.urlsplit(ferplus.REPOSITORY).hostname, 443)
            files = dl_manager.download(
                {path: f"{ferplus.REPOSITORY}/{ferplus.PATHS[path]}" for path in missing}
            )
        except Exception as error:  # requests', TFDS's and the file system's, all to one end
            raise FileNotFoundError(
                f"FER+ is not beside the images and cannot be downloaded ({type(error).__name__}): "
                f"get {names} from github.com/microsoft/FERPlus and put them beside the images, or "
                "build fer2013/original."
            ) from error
        contents.update({path: Path(file).read_bytes() for path, file in files.items()})
    return contents


def _say_other_counts(config, splits):
    """Warn where the faces are not those that were published."""
    for split, published in PUBLISHED[config].items():
        counts = Counter(one.label for one in splits[split])
        found = tuple(counts[emotion] for emotion in EMOTIONS)
        if found != published:
            logging.getLogger(__name__).warning(
                "%s of fer2013/%s has %s faces (%s: %s); published are %s (%s).",
                split,
                config,
                f"{sum(found):,}",
                ", ".join(EMOTIONS),
                ", ".join(map(str, found)),
                f"{sum(published):,}",
                ", ".join(map(str, published)),
            )
