"""CK+ as people hold it: trees of frames, emotions and landmarks; CK+48; ckextended.csv."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from keras_deep_emotion.images.finding import passed_over
from tfds_builders.face_tables import COLUMNS, Row, read_headers, read_rows
from tfds_builders.release import Release
from tfds_builders.sources import Source

# The number in an emotion file; 0 (neutral) never occurs in one.
CK_PLUS_CODES = (
    "neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise",
)  # fmt: skip
# Codes 0 to 7 of the column `emotion` of ckextended.csv, and the number of its rows.
CK_EXTENDED_CODES = (
    "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt",
)  # fmt: skip
ROWS = 920
# Names of the folders of CK+48.
CK_PLUS_48_FOLDERS = {
    "anger": "anger", "contempt": "contempt", "disgust": "disgust", "fear": "fear",
    "happy": "happiness", "sadness": "sadness", "surprise": "surprise",
}  # fmt: skip
RELEASE = Release(
    name="ck_plus",
    title="CK+",
    homepage="https://www.jeffcohn.net/Resources/",
    terms="signed agreement",
    # Labeled sequences of each emotion (Lucey et al., 2010).
    emotions={
        "anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28,
        "surprise": 83,
    },
    unit="labeled sequences",
)  # fmt: skip
FRAME = re.compile(r"(S\d{1,9})_(\d{1,9})_(\d{1,9})(?:\.\w+)+", re.IGNORECASE)
LABEL = re.compile(r"(S\d{1,9})_(\d{1,9})_(\d{1,9})_emotion\.txt", re.IGNORECASE)
# The text files of the release, read or not.
TEXT = re.compile(r"_(?:emotion|facs|landmarks)\.txt$", re.IGNORECASE)
logger = logging.getLogger(__name__)


class File(NamedTuple):
    """A file: the index of its source and its name there."""

    place: int
    path: str


class LabeledSequence(NamedTuple):
    """Frames of a person from a neutral face to the peak of an emotion."""

    name: str  # person and running number, S005_001; in ckextended.csv the row, row_00000
    subject: str  # person, S005; "" in ckextended.csv
    emotion: str  # one of `CK_PLUS_CODES`
    # by their numbers, up to the labeled one; in ckextended.csv, which has one frame a row,
    # (48, 48) uint8 grey levels
    frames: dict[int, File | np.ndarray]


class Frame(NamedTuple):
    """A frame that becomes an image."""

    name: str  # its file, or the row of ckextended.csv
    sequence: LabeledSequence
    number: int  # its number in the sequence
    emotion: str  # what it shows; neutral where the sequence begins
    image: File | np.ndarray  # its file, or (48, 48) uint8 grey levels


class Layout(NamedTuple):
    """CK+ in one of its layouts."""

    form: str  # "native", "CK+48" or "ckextended.csv"
    sequences: list[LabeledSequence]  # the labeled sequences, by name; the rows of ckextended.csv
    # number of people in all frames, labeled or not; None in the other forms
    people: int | None = None


def find_layout(sources: Sequence[Source]) -> Layout:
    """Find CK+ in the first of its layouts: native trees, CK+48, ckextended.csv.

    A file that is in several sources counts once, in the first of them. Images are read later,
    except the rows of a CSV file.

    Raises:
        FileNotFoundError: If no layout is found, or one lacks its images or labels.
        ValueError: If labels are malformed or contradict each other.
    """
    native, cropped, emotions = _find_frames(sources)
    if native:
        people = len({_subject(sequence) for sequence in native})
        return Layout("native", _native_sequences(native, read_labels(sources)), people)
    if cropped:
        return Layout("CK+48", _cropped_sequences(cropped, emotions))
    if rows := find_rows(sources):
        sequences = [
            LabeledSequence(f"row_{i:05}", "", row.emotion, {0: row.pixels})
            for i, row in enumerate(rows)
        ]
        return Layout("ckextended.csv", sequences)
    if any(any(find_files(source.names, LABEL)) for source in sources):
        raise FileNotFoundError(
            "There are emotion files of CK+ but no frames named like S005_001_00000011.png; put "
            "extended-cohn-kanade-images.zip, or its content, beside them."
        )
    raise FileNotFoundError(
        "CK+ was not found: neither frames named like S005_001_00000011.png, nor folders such as "
        "CK+48/anger, nor a CSV with the columns emotion, pixels, Usage; request CK+ at "
        f"{RELEASE.homepage} and name with --source what you received."
    )


def _find_frames(sources):
    """Frames of the native trees and of CK+48, by sequence and number, and CK+48's emotions.

    Logs what is passed over, if there are frames.
    """
    native, cropped, emotions = defaultdict(dict), defaultdict(dict), defaultdict(set)
    ignored = []
    for place, source in enumerate(sources):
        pictures, others = source.pictures()
        frames = list(find_files(pictures, FRAME))
        ignored += (path for path in others if not TEXT.search(path))
        ignored += sorted({*pictures} - {path for path, *_ in frames})
        for path, sequence, number in frames:
            folder = PurePosixPath(path).parent.name.lower()
            group = cropped if folder in CK_PLUS_48_FOLDERS else native
            group[sequence].setdefault(number, File(place, path))
            if group is cropped:
                emotions[sequence].add(CK_PLUS_48_FOLDERS[folder])
    if (native or cropped) and (note := passed_over(ignored, "neither frames nor labels of CK+")):
        logger.warning(note)
    return native, cropped, emotions


def find_rows(sources: Sequence[Source]) -> list[Row]:
    """Find ckextended.csv by its content and read it; empty if there is no such file.

    FER-2013's CSV has the same columns and codes, but no contempt and more rows: a CSV is CK+'s if
    it holds contempt, or no more than 920 rows (without contempt if that was removed).
    """
    other = None
    for source in sources:
        for name, header in read_headers(source).items():
            if set(COLUMNS) - {*header}:
                continue
            rows = _read_if_ck_plus(source, name)
            if rows:
                return rows
            other = name
    if other is not None:
        raise FileNotFoundError(
            f"{other} is not CK+: it has more than {ROWS} rows and no contempt (code 7), as "
            "FER-2013; build it with keras-deep-emotion build-data fer2013, or name ckextended.csv."
        )
    return []


def read_labels(sources: Sequence[Source]) -> dict[str, tuple[int, str]]:
    """Read all emotion files: (number of the labeled frame, emotion) of each sequence."""
    labels = {}
    for source in sources:
        files = {path: where for path, *where in find_files(source.names, LABEL)}
        for path, content in source.read(files):
            sequence, number = files[path]
            label = (number, _parse_emotion(content, path))
            if labels.setdefault(sequence, label) != label:
                raise ValueError(
                    f"{path} contradicts another emotion file of {sequence}; keep only those of "
                    "Emotion_labels.zip."
                )
    return labels


def find_files(names: Iterable[str], pattern: re.Pattern) -> Iterator[tuple[str, str, int]]:
    """Find files of a source by a pattern with the groups person, running number and frame.

    Yields (path, name of the sequence, number of the frame).
    """
    for path in names:
        match = pattern.fullmatch(path.rpartition("/")[2])
        if match is not None:
            subject, running, number = match.groups()
            yield path, f"{subject.upper()}_{running}", int(number)


def choose_frames(sequence: LabeledSequence, last: int, neutral: bool) -> list[Frame]:
    """Choose the `last` frames of a sequence and, if `neutral`, its first one."""
    first, peak = min(sequence.frames), max(sequence.frames)
    numbers = range(peak - last + 1, peak + 1)
    for number in numbers:
        if number not in sequence.frames:
            raise ValueError(
                f"The last {last} frames of sequence {sequence.name} are not complete: number "
                f"{number} is missing; name the whole set with --source, or build ck_plus/peak."
            )
    if neutral and first in numbers:
        raise ValueError(
            f"Sequence {sequence.name} has no frame before its last {last}, so no neutral one; "
            "name the whole set with --source, or build a variant without _neutral."
        )
    frames = [(first, "neutral")] * neutral + [(number, sequence.emotion) for number in numbers]
    chosen = []
    for number, emotion in frames:
        image = sequence.frames[number]
        name = PurePosixPath(image.path).name if isinstance(image, File) else sequence.name
        chosen.append(Frame(name, sequence, number, emotion, image))
    return chosen


def _read_if_ck_plus(source, name):
    """Rows of a CSV file, or None as soon as it turns out to be FER-2013's."""
    rows, contempt = [], False
    for row in read_rows(source, name, CK_EXTENDED_CODES):
        rows.append(row)
        contempt = contempt or row.emotion == "contempt"
        if len(rows) > ROWS and not contempt:
            return None
    return rows


def _native_sequences(frames, labels):
    """The sequences of the native trees that have a label."""
    if not labels:
        raise FileNotFoundError(
            "There are frames of CK+ but no emotion file named like S005_001_00000011_emotion.txt; "
            "put Emotion_labels.zip, or its content, beside them."
        )
    sequences = []
    for name, (peak, emotion) in sorted(labels.items()):
        if peak not in frames.get(name, {}):
            there = f"{len(frames[name])} others" if name in frames else "none"
            raise FileNotFoundError(
                f"Frame {peak} of sequence {name}, which its emotion file names, is missing (there "
                f"are {there}); put all of extended-cohn-kanade-images.zip beside the labels."
            )
        # The label is that of the frame it names, the peak; later frames have no label.
        labeled = {number: file for number, file in frames[name].items() if number <= peak}
        sequences.append(LabeledSequence(name, _subject(name), emotion, labeled))
    return sequences


def _cropped_sequences(frames, emotions):
    """The sequences of CK+48, labeled by their folders."""
    for name, several in sorted(emotions.items()):
        if len(several) > 1:
            raise ValueError(
                f"Sequence {name} lies in the folders of {' and '.join(sorted(several))}; a "
                "sequence has one emotion: obtain CK+48 again."
            )
    names = sorted(frames)
    return [LabeledSequence(name, _subject(name), *emotions[name], frames[name]) for name in names]


def _parse_emotion(content, path):
    """The emotion of the number in an emotion file."""
    text = content.decode("utf-8-sig", errors="replace").strip()
    try:
        return dict(enumerate(CK_PLUS_CODES))[float(text)]
    except (KeyError, ValueError):
        raise ValueError(
            f"{path} must hold one number, 0 to 7, such as 3.0000000e+00. Found: {text[:20]!r}; "
            "obtain Emotion_labels.zip again."
        ) from None


def _subject(sequence):
    return sequence.partition("_")[0]
