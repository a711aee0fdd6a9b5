"""FER-2013, with its own labels or those of FER+."""

import hashlib
import logging
import socket
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import contract
from tfds_builders.contract import EMOTIONS
from tfds_builders.face_tables import SIDE
from tfds_builders.fer2013 import ferplus
from tfds_builders.fer2013.native import read_faces
from tfds_builders.release import warn_if_counts_differ
from tfds_builders.sources import Source, find_sources, manual_folder

KAGGLE = (
    "https://www.kaggle.com/c/"
    "challenges-in-representation-learning-facial-expression-recognition-challenge"
)
MISSING = (
    f"FER-2013 is missing: get fer2013.csv or fer2013.tar.gz at {KAGGLE}, then run "
    "keras-deep-emotion build-data fer2013 --source DIR_OR_ARCHIVE"
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
logger = logging.getLogger(__name__)


class Builder(tfds.core.GeneratorBasedBuilder):
    """FER-2013 (Goodfellow et al., 2013); labels of FER+ (Barsoum et al., 2016) by default."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = contract.configs(
        ferplus="Labels by FER+'s ten taggers, as in the paper's figure 8.",
        original="The labels of fer2013.csv itself.",
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = MISSING

    def _info(self) -> tfds.core.DatasetInfo:
        votes = {"votes": tfds.features.Tensor(shape=(10,), dtype=np.uint8)}
        more = votes if self.builder_config.name == "ferplus" else {}
        return contract.dataset_info(self, (SIDE, SIDE, 1), homepage=KAGGLE, **more)

    def _split_generators(self, dl_manager):
        config = self.builder_config.name
        folder = manual_folder(dl_manager, MISSING)
        sources = find_sources(folder)
        faces = read_faces(sources)
        if config == "original":
            if faces.form == "ferplus":
                raise ValueError(
                    "The files that the script of FER+ writes have no labels of FER-2013's own: "
                    "build fer2013/ferplus, or get fer2013.csv."
                )
            rows = enumerate(zip(faces.splits, faces.labels, strict=True))
            labeled = [ferplus.LabeledRow(i, *row) for i, row in rows]
        elif faces.form == "ferplus":
            contents = _ferplus_files(dl_manager, sources, folder, ferplus.VOTES.values())
            labeled = ferplus.read_votes(contents, faces.splits, faces.names)
        elif faces.form == "csv":
            contents = _ferplus_files(dl_manager, sources, folder, ferplus.PATHS)
            labeled = ferplus.read_votes(contents, faces.splits)
            ferplus.check_order(labeled, faces.labels)
        else:
            raise ValueError(
                "The names of these JPEG files do not contain row numbers, so FER+'s votes cannot "
                "be joined to them: build fer2013/original, or get fer2013.csv."
            )
        splits = {split: [one for one in labeled if one.split == split] for split in ferplus.VOTES}
        _check_counts(config, splits)
        contents = [image.tobytes() for image in faces.images]
        trained = {contents[one.row] for one in splits["train"]}
        for split in ("validation", "test"):
            others = [one for one in splits[split] if contents[one.row] not in trained]
            if others:
                splits[f"{split}_deduplicated"] = others
            else:
                logger.warning(f"All faces in {split} stand in train, too: it has no deduplicated.")
        return {split: self._generate_examples(faces, part) for split, part in splits.items()}

    def _generate_examples(self, faces, labeled):
        for place, one in enumerate(labeled):
            name, png = faces.names[one.row], contract.encode_png(faces.images[one.row])
            votes = {} if one.votes is None else {"votes": one.votes}
            # FER+ may list a row twice: the place makes the key unique.
            yield f"{name}_{place}", contract.example(name, png, one.label, **votes)


def _ferplus_files(dl_manager, sources, folder, paths):
    """Content of files of FER+: those beside the images; others are downloaded."""
    contents = ferplus.find_files([*sources, *_beside_links(folder)])
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    others = [path for path in digests if digests[path] != ferplus.SHA256[path]]
    if others:
        logger.warning(
            "FER+ beside the images differs from the published one (%s): counts may differ too.",
            ", ".join(others),
        )
    missing = [path for path in paths if path not in contents]
    return contents | (_download(dl_manager, missing) if missing else {})


def _beside_links(folder):
    """Files of FER+ beside the target of a link: a file named as --source is linked."""
    links = {path.resolve().parent for path in folder.iterdir() if path.is_symlink()}
    depths = ("", "*/", "*/*/")  # as deep as in a copy of the repository
    patterns = [depth + path for path in ferplus.PATHS for depth in depths]
    for link in sorted(links):
        files = [path for pattern in patterns for path in sorted(link.glob(pattern))]
        yield Source(link, tuple(path.relative_to(link).as_posix() for path in files))


def _download(dl_manager, paths):
    """Content of files of FER+, checked by TFDS against checksums.tsv."""
    names = ", ".join(paths)
    logger.warning(f"Downloading {names} from github.com/microsoft/FERPlus: not beside the images.")
    try:
        if not urllib.request.getproxies():
            # Without a network TFDS would try for minutes; this fails at once.
            socket.getaddrinfo(urllib.parse.urlsplit(ferplus.REPOSITORY).hostname, 443)
        urls = {path: f"{ferplus.REPOSITORY}/{ferplus.PATHS[path]}" for path in paths}
        files = dl_manager.download(urls)
    except Exception as error:  # of requests, TFDS and the file system: the remedy is the same
        raise FileNotFoundError(
            f"FER+ is not beside the images and cannot be downloaded ({type(error).__name__}): "
            f"get {names} from github.com/microsoft/FERPlus and put them beside the images, or "
            "build fer2013/original."
        ) from error
    return {path: Path(file).read_bytes() for path, file in files.items()}


def _check_counts(config, splits):
    """Raise if a split is empty; warn if counts are not the published ones."""
    if empty := [split for split, part in splits.items() if not part]:
        raise ValueError(
            f"No face belongs to {' and '.join(empty)}: name with --source all of FER-2013, with "
            "the rows or files of Training, PublicTest and PrivateTest."
        )
    for split, published in PUBLISHED[config].items():
        counts = Counter(one.label for one in splits[split])
        published = dict(zip(EMOTIONS, published, strict=True))
        warn_if_counts_differ(f"faces in {split} of fer2013/{config}", [counts], [published])
