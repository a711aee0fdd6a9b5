"""CK+ as people hold it: trees of frames, emotions and landmarks; CK+48."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from tfds_builders.ck_plus.extended import find_rows
from tfds_builders.sources import Source

# CK+: the number in an emotion file; 0 (neutral) never occurs in one.
CK_PLUS_CODES = (
    "neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise",
)  # fmt: skip

# CK+ as CK+48: names of its folders. `contempt` is outside the seven.
CK_PLUS_48_FOLDERS = {
    "anger": "anger",
    "contempt": "contempt",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sadness": "sadness",
    "surprise": "surprise",
}

HOMEPAGE = "https://www.jeffcohn.net/Resources/"
FRAME = re.compile(r"(S\d+)_(\d+)_(\d+)\.png", re.IGNORECASE)
LABEL = re.compile(r"(S\d+)_(\d+)_(\d+)_emotion\.txt", re.IGNORECASE)


class File(NamedTuple):
    """Where a file lies.

    Attributes:
        place: index of its source.
        path: its name in the source.
    """

    place: int
    path: str


class Take(NamedTuple):
    """One labelled sequence, from a neutral face to the peak of an emotion.

    Attributes:
        name: person and running number, S005_001; of ckextended.csv the row, row_00000.
        subject: person, S005; "" in ckextended.csv.
        emotion: one of `CK_PLUS_CODES`.
        frames: by their numbers, up to the labelled one; (48, 48) uint8 grey levels in
            ckextended.csv, which has one frame a row.
    """

    name: str
    subject: str
    emotion: str
    frames: dict[int, File | np.ndarray]


class Release(NamedTuple):
    """What was found.

    Attributes:
        form: "native", "CK+48" or "ckextended.csv".
        takes: the labelled sequences, by name; the rows of ckextended.csv.
        people: how many stand in all frames, unlabelled sequences too; None in the other forms.
    """

    form: str
    takes: list[Take]
    people: int | None


def find_release(sources: Sequence[Source]) -> Release:
    """Find CK+ in whichever form is there: native trees before CK+48 before ckextended.csv.

    A file that stands in several sources counts once, in the first of them.

    Args:
        sources: as from `sources.find_sources`.

    Returns:
        `Release`. No image is read, but for the rows of a CSV.

    Raises:
        FileNotFoundError: none of the forms is there, or not all of it.
        ValueError: a file is not what it must be.
    """
    native, cropped = defaultdict(dict), defaultdict(dict)
    emotions = defaultdict(set)
    for file, take, number in find_files(sources, FRAME):
        folder = PurePosixPath(file.path).parent.name.lower()
        emotion = CK_PLUS_48_FOLDERS.get(folder)
        if emotion is not None:
            emotions[take].add(emotion)
        (native if emotion is None else cropped)[take].setdefault(number, file)
    if native:
        people = len({_subject(take) for take in native})
        return Release("native", _labelled(native, read_labels(sources)), people)
    if cropped:
        return Release("CK+48", _sorted_by_hand(cropped, emotions), None)
    rows = find_rows(sources)
    if rows:
        takes = [Take(f"row_{i:05}", "", label, {0: image}) for i, (label, image) in rows.items()]
        return Release("ckextended.csv", takes, None)
    if any(True for _ in find_files(sources, LABEL)):
        raise FileNotFoundError(
            "There are emotion files of CK+ but no frames named like S005_001_00000011.png; put "
            "extended-cohn-kanade-images.zip, or what it holds, beside them."
        )
    raise FileNotFoundError(
        "CK+ was not found: neither frames named like S005_001_00000011.png, nor folders such as "
        "CK+48/anger, nor a CSV with the columns emotion, pixels, Usage; request CK+ at "
        f"{HOMEPAGE} and name with --source what you got."
    )


def read_labels(sources: Sequence[Source]) -> dict[str, tuple[int, str]]:
    """Read every emotion file.

    Args:
        sources: as from `sources.find_sources`.

    Returns:
        (number of the labelled frame, emotion) by the name of the sequence.

    Raises:
        ValueError: a file does not hold one number 0 to 7, or two files disagree.
    """
    files = {file: (take, number) for file, take, number in find_files(sources, LABEL)}
    labels = {}
    for file, content in read_files(sources, files):
        take, number = files[file]
        label = (number, _emotion(content, file.path))
        if labels.setdefault(take, label) != label:
            raise ValueError(
                f"{file.path} contradicts another emotion file of {take}; keep those of "
                "Emotion_labels.zip alone."
            )
    return labels


def find_files(sources: Iterable[Source], pattern: re.Pattern) -> Iterator[tuple[File, str, int]]:
    """Find files named by person, running number and frame.

    Args:
        sources: as from `sources.find_sources`.
        pattern: of a file's name; its groups are the three.

    Yields:
        (file, name of the sequence, number of the frame), in the order of the sources.
    """
    for place, source in enumerate(sources):
        for path in source.names:
            match = pattern.fullmatch(path.rpartition("/")[2])
            if match is not None:
                subject, take, number = match.groups()
                yield File(place, path), f"{subject.upper()}_{take}", int(number)


def read_files(sources: Sequence[Source], files: Iterable[File]) -> Iterator[tuple[File, bytes]]:
    """Read files, each source once.

    Yields:
        (file, content), source by source.
    """
    paths = defaultdict(list)
    for file in files:
        paths[file.place].append(file.path)
    for place in sorted(paths):
        for path, content in sources[place].read(paths[place]):
            yield File(place, path), content


def choose(take: Take, last: int, neutral: bool) -> list[tuple[int, str]]:
    """The frames of a sequence that become images.

    Args:
        take: the sequence.
        last: how many of its last frames, 1 or more.
        neutral: whether its first frame is taken too, as neutral.

    Returns:
        (number, emotion) of each.

    Raises:
        ValueError: one of them is missing.
    """
    first, peak = min(take.frames), max(take.frames)
    chosen = range(peak - last + 1, peak + 1)
    for number in chosen:
        if number not in take.frames:
            raise ValueError(
                f"The last {last} frames of sequence {take.name} are not all there: number "
                f"{number} is missing; name the whole set with --source, or build ck_plus/peak."
            )
    if neutral and first in chosen:
        raise ValueError(
            f"Sequence {take.name} has no frame before its last {last}, so none that is neutral; "
            "name the whole set with --source, or build a variant without _neutral."
        )
    frames = [(number, take.emotion) for number in chosen]
    return [(first, "neutral"), *frames] if neutral else frames


def _labelled(frames, labels):
    """The native sequences that have a label."""
    if not labels:
        raise FileNotFoundError(
            "There are frames of CK+ but no emotion file named like S005_001_00000011_emotion.txt; "
            "put Emotion_labels.zip, or what it holds, beside them."
        )
    takes = []
    for take, (peak, emotion) in sorted(labels.items()):
        if peak not in frames.get(take, {}):
            there = f"{len(frames[take])} others" if take in frames else "none"
            raise FileNotFoundError(
                f"Frame {peak} of sequence {take}, which its emotion file names, is missing (there "
                f"are {there}); put all of extended-cohn-kanade-images.zip beside the emotion "
                "files."
            )
        # The label is that of the frame it names, the peak: a later one would not be.
        upto = {number: file for number, file in frames[take].items() if number <= peak}
        takes.append(Take(take, _subject(take), emotion, upto))
    return takes


def _sorted_by_hand(frames, emotions):
    """The sequences of CK+48, labelled by their folders."""
    takes = []
    for take in sorted(frames):
        if len(emotions[take]) > 1:
            raise ValueError(
                f"Sequence {take} lies in the folders of {' and '.join(sorted(emotions[take]))}; a "
                "sequence has one emotion: obtain CK+48 again."
            )
        (emotion,) = emotions[take]
        takes.append(Take(take, _subject(take), emotion, frames[take]))
    return takes


def _emotion(content, path):
    """The emotion that an emotion file's number stands for."""
    text = content.decode("utf-8-sig", errors="replace").strip()
    try:
        code = float(text)
    except ValueError:
        code = None
    if code not in range(len(CK_PLUS_CODES)):
        raise ValueError(
            f"{path} must hold one number, 0 to 7, such as 3.0000000e+00. Found: {text[:20]!r}; "
            "obtain Emotion_labels.zip again."
        )
    return CK_PLUS_CODES[int(code)]


def _subject(take):
    return take.partition("_")[0]
