"""A published data set: how to request it, what it holds, and how its images are split."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow_datasets as tfds

from keras_deep_emotion.images.finding import passed_over
from tfds_builders.protocols import STANDARD_SHARES, protocol_split, sized_split, stratified_split
from tfds_builders.sources import Source, find_sources, manual_folder

logger = logging.getLogger(__name__)


class Picture(NamedTuple):
    """What the name of an image file says."""

    name: str  # name of the image in the release, such as KA.AN1.39
    subject: str  # person or character
    emotion: str  # one of `contract.EMOTIONS`


Files = list[tuple[Source, dict[str, Picture]]]  # pictures by their files, for each source


@dataclasses.dataclass(frozen=True)
class Release:
    """A data set that is given on request."""

    name: str  # name of its builder
    title: str  # name in print
    homepage: str  # where to request it
    terms: str  # on what terms it is given
    emotions: Mapping[str, int]  # published number of images of each emotion
    subjects: Mapping[str, int] = dataclasses.field(default_factory=dict)  # of each subject
    folds: int = 10  # number of folds of protocol "subjects"
    people: str = "people"  # what its subjects are called
    example: str = ""  # path of an image, for errors
    unit: str = "images"  # what is counted and split
    # of protocol "standard": images in validation, of each emotion in test; None: STANDARD_SHARES
    sizes: tuple[int, int] | None = None
    # images damaged in the release, which many copies lack; the splits of the others do not change
    undecodable: tuple[Picture, ...] = ()

    @property
    def missing(self) -> str:
        """How to obtain the data set and build it."""
        return (
            f"{self.title} is missing: request it at {self.homepage} ({self.terms}), then run "
            f"keras-deep-emotion build-data {self.name} --source DIR_OR_ARCHIVE"
        )

    def find_splits(
        self,
        dl_manager: tfds.download.DownloadManager,
        protocol: str,
        parse: Callable[[str], Picture | None],
        rank: Callable[[str], int] = lambda file: 0,
    ) -> dict[str, Files]:
        """Find the files of each split, each image once; warn if counts are not as published.

        `parse` reads the path of a file. Of several files of an image, the one with the smallest
        `rank` counts, of equals the first in the order of the sources: a folder comes before its
        archives, so an encrypted archive beside its unpacked files does no harm.
        """
        sources = find_sources(manual_folder(dl_manager, self.missing))
        best, ignored = {}, []
        for place, source in enumerate(sources):
            pictures, others = source.pictures()
            ignored += others
            for file in pictures:
                picture = parse(file)
                if picture is not None:
                    candidate = rank(file), place, file, picture
                    best[picture.name] = min(best.get(picture.name, candidate), candidate)
                else:
                    ignored.append(file)
        if not best:
            raise FileNotFoundError(
                f"{self.title} was not found: no file is named like {self.example}, neither in the "
                f"folder nor in an archive in it; request {self.title} at {self.homepage} and name "
                "with --source what you received."
            )
        pictures = [picture for *_, picture in best.values()]
        warn_if_counts_differ(
            f"{self.unit} of {self.title}",
            [Counter(one.emotion for one in pictures), Counter(one.subject for one in pictures)],
            [self.emotions, self.subjects],
        )
        if note := passed_over(ignored, f"not pictures of {self.title} by content and name"):
            logger.warning(note)
        splits = self.assign(pictures, protocol)
        parts = {part: [(one, {}) for one in sources] for part in sorted(set(splits.values()))}
        for _, place, file, picture in best.values():
            parts[splits[picture.name]][place][1][file] = picture
        return parts

    def assign(self, pictures: Sequence[Picture], protocol: str) -> dict[str, str]:
        """Split of each picture's name, or of whatever has a name, a subject and an emotion.

        For a part of the release, "standard" keeps the shares.
        """
        subjects = {one.name: one.subject for one in pictures}
        people = set(subjects.values())
        if protocol == "subjects" and len(people) < self.folds:
            absent = ", ".join(sorted(self.subjects.keys() - people))
            detail = f" (no images of {absent})" if absent else ""
            raise ValueError(
                f"The protocol subjects needs images of at least {self.folds} {self.people}. "
                f"Found: {len(people)}{detail}. Request the whole set at {self.homepage}, or build "
                "the protocol standard."
            )
        labels = {one.name: one.emotion for one in pictures}
        return protocol_split(protocol, subjects, self.folds, lambda: self._standard_split(labels))

    def _standard_split(self, labels):
        total, shares = sum(self.emotions.values()), STANDARD_SHARES
        if self.sizes:
            validation, test = self.sizes
            whole = {one.name: one.emotion for one in self.undecodable} | labels
            if len(whole) >= total:
                splits = sized_split(whole, validation, test)
                return {name: splits[name] for name in labels}
            test *= len(self.emotions)
            shares = {"validation": validation / total, "test": test / total}
        splits = stratified_split(labels, **shares)
        if len(set(splits.values())) < 3:
            raise ValueError(
                f"{len(labels):,} of the {total:,} {self.unit} of {self.title} are too few for "
                f"train, validation and test. Request the whole set at {self.homepage}."
            )
        return splits


def warn_if_counts_differ(
    title: str,
    counts: Sequence[Mapping[str, int]],
    published: Sequence[Mapping[str, int]],
) -> None:
    """Log a warning if counts by emotion, and by person and the like, are not those published."""

    def listed(groups):
        return ", ".join(
            f"{name} {Counter(group)[name]:,}"
            for group, other, third in zip(groups, counts, published, strict=True)
            for name in sorted({*other, *third})
        )

    if [dict(group) for group in counts] != [dict(group) for group in published]:
        logger.warning(
            f"Found {sum(counts[0].values()):,} {title} ({listed(counts)}); published are "
            f"{sum(published[0].values()):,} ({listed(published)})."
        )
