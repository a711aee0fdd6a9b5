"""CK+: people show an emotion, from a neutral face to its peak."""

import dataclasses
import itertools
import logging
from collections import Counter, defaultdict

import tensorflow_datasets as tfds

from tfds_builders import contract
from tfds_builders.ck_plus.landmarks import face_box, read_landmarks
from tfds_builders.ck_plus.native import RELEASE, File, choose_frames, find_layout
from tfds_builders.contract import EMOTIONS
from tfds_builders.face_tables import SIDE
from tfds_builders.release import warn_if_counts_differ
from tfds_builders.sources import check_size, find_sources, manual_folder, read_images

PEOPLE = 123  # in all frames, labeled or not (Lucey et al., 2010)
EXTENDED_NEUTRAL = 593  # neutral rows of ckextended.csv: a frame of every sequence
FRAMES = {"peak": 1, "last3": 3}
logger = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class Config(tfds.core.BuilderConfig):
    """Which images, with which classes and in which splits."""

    frames: str = "peak"  # "peak", the last frame of a sequence, or "last3", its last three
    neutral: bool = False  # whether its first frame is added, as neutral
    contempt: bool = False  # whether contempt is an eighth class, or its sequences are left out
    protocol: str = "standard"  # "standard" or "subjects"


def _configs():
    """One config for each variant and protocol, the default first."""
    images = {"peak": "last frame", "last3": "last three frames"}
    splits = {
        "standard": "train 70 %, validation 10 %, test 20 % of the sequences",
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


class Builder(tfds.core.GeneratorBasedBuilder):
    """The Extended Cohn-Kanade set (Lucey et al., 2010): frames of 640 x 490 or 640 x 480."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    BUILDER_CONFIGS = _configs()
    MANUAL_DOWNLOAD_INSTRUCTIONS = RELEASE.missing

    def _info(self) -> tfds.core.DatasetInfo:
        labels = EMOTIONS + ("contempt",) * self.builder_config.contempt
        return contract.dataset_info(self, (None, None, 3), "png", labels, RELEASE.homepage)

    def _split_generators(self, dl_manager):
        config = self.builder_config
        sources = find_sources(manual_folder(dl_manager, RELEASE.missing))
        layout = find_layout(sources)
        native = layout.form == "native"
        _check_variant(layout.form, config)
        _check_counts(layout)
        # Whole sequences of a neutral face are rows of ckextended.csv.
        optional = {"contempt": config.contempt, "neutral": config.neutral}
        sequences = [one for one in layout.sequences if optional.get(one.emotion, True)]
        splits = RELEASE.assign(sequences, config.protocol)
        with_first = config.neutral and native
        if with_first:
            _check_first_frames(sequences)
        parts = {split: [] for split in sorted(set(splits.values()))}
        for one in sequences:
            parts[splits[one.name]] += choose_frames(one, FRAMES[config.frames], with_first)
        landmarks = _landmarks(sources, parts) if native else {}
        return {
            split: self._generate_examples(sources, part, layout.form, landmarks)
            for split, part in parts.items()
        }

    def _generate_examples(self, sources, frames, form, landmarks):
        files = defaultdict(dict)
        for frame in frames:
            if isinstance(frame.image, File):
                files[frame.image.place][frame.image.path] = frame
            else:
                yield _example(frame, contract.encode_png(frame.image))
        for place in sorted(files):
            for image in read_images(sources[place], files[place]):
                if form == "CK+48":
                    check_size(image, SIDE, "name the native images with their emotion files")
                frame = files[place][image.name]
                points = landmarks.get((frame.sequence.name, frame.number))
                face = contract.WHOLE
                if points is not None:
                    face = face_box(points, *image.pixels.shape[:2], frame.name)
                yield _example(frame, image.png, face)


def _example(frame, png, face=contract.WHOLE):
    """(key, example) of a frame."""
    name, sequence = frame.name, frame.sequence
    return name, contract.example(name, png, frame.emotion, sequence.subject, face)


def _landmarks(sources, parts):
    """Landmarks of the chosen frames; logs a warning if some have none."""
    frames = {(one.sequence.name, one.number) for part in parts.values() for one in part}
    landmarks = read_landmarks(sources, frames)
    if missing := len(frames) - len(landmarks):
        logger.warning(
            f"{missing} of {len(frames)} frames have no landmark file: their face is the whole "
            "frame; put Landmarks.zip beside the images."
        )
    return landmarks


def _check_variant(form, config):
    """Raise if a layout lacks the images of a variant."""
    if form == "CK+48" and config.neutral:
        missing, other = "neutral faces", config.name.replace("_neutral", "")
    elif form == "ckextended.csv" and (config.frames, config.protocol) != ("peak", "standard"):
        missing = "names of people" if config.frames == "peak" else "frames before the last"
        other = config.name.replace(config.frames, "peak").replace("subjects", "standard")
    else:
        return
    raise ValueError(
        f"{form} lacks the {missing} that ck_plus/{config.name} needs: build ck_plus/{other}, or "
        "name the native images with their emotion files."
    )


def _check_counts(layout):
    """Warn if counts are not the published ones."""
    counts = [Counter(one.emotion for one in layout.sequences)]
    published = [RELEASE.emotions]
    if layout.form == "ckextended.csv":
        published = [RELEASE.emotions | {"neutral": EXTENDED_NEUTRAL}]
    if layout.people is not None:
        counts.append({"people": layout.people})
        published.append({"people": PEOPLE})
    warn_if_counts_differ("labeled sequences of CK+", counts, published)


def _check_first_frames(sequences):
    """Warn if a first frame, which is used as neutral, is not the beginning of its sequence."""
    late = [one.name for one in sequences if min(one.frames) != 1]
    if late:
        logger.warning(
            f"{len(late)} of {len(sequences)} sequences do not begin at frame 1 ({late[0]}, ...): "
            "their first frame may not be neutral, but is used as such."
        )
