"""Find the image files and videos that names, folders and patterns mean, by what the files hold."""

import glob
import mimetypes
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from keras_deep_emotion.images.formats import HEAD, file_kind
from keras_deep_emotion.images.reading import UnreadableImage, why_missing

NAMED = 5  # files that are passed over


def kind_of(path: str | Path) -> str | None:
    """What a file is by its first bytes, see `formats.file_kind`; None if it cannot be read.

    None for a pipe, too, which gives its bytes only once.
    """
    if not os.path.isfile(path):
        return None
    try:
        with open(path, "rb") as file:
            return file_kind(file.read(HEAD))
    except OSError:
        return None


def called(name: str | Path) -> str:
    """What a file is by its name: "image", "video" or something else."""
    return (mimetypes.guess_type(name)[0] or "").partition("/")[0]


def is_video(path: str | Path) -> bool:
    """Whether a file is a video by its first bytes, or is called one and is no image."""
    return (kind_of(path) or called(path)) == "video"


class FoundFile(NamedTuple):
    """A file that is meant by a name.

    Attributes:
        path: The file; the name itself if there are no such files.
        error: Reason why no files were found, one clause, or None.
        passed_over: Files of a folder that are neither images nor videos; with the first of its
            files.
    """

    path: Path
    error: str | None = None
    passed_over: tuple[Path, ...] = ()


def find_files(names: Iterable[str | Path]) -> Iterator[FoundFile]:
    """Find the files meant by names of files, folders and patterns.

    A folder means all images and videos in it, at any depth, by their first bytes or their name;
    links to folders are followed, hidden files are not looked at. A pattern such as `DIR/**/*.jpg`
    means all files that match, see `match_files`. In the order of `names`, sorted within each.
    """
    for name in map(Path, names):
        try:
            paths, others = _expand_name(name)
        except UnreadableImage as error:
            yield FoundFile(name, str(error))
        except OSError as error:  # such as a folder without permission, or a name too long
            yield FoundFile(name, error.strerror.lower())
        else:
            for path in paths:
                yield FoundFile(path, None, others)
                others = ()


def _expand_name(name):
    """(files, files passed over) of a name; UnreadableImage is raised if it stands for no file."""
    others = ()
    if name.is_dir():
        paths = sorted(visible_files(name))
        # Files with the name of an image and other content are kept: opening them reports it.
        files = [one for one in paths if kind_of(one) or called(one) in ("image", "video")]
        others = tuple(sorted({*paths} - {*files}))
        reason = "no images or videos in this folder"
    elif name.exists() or not glob.has_magic(str(name)):
        return [name], others
    else:
        files = list(map(Path, match_files(name)))
        reason = why_missing(name)
        reason = reason if "address" in reason else "no file matches this pattern"
    if not files:
        raise UnreadableImage(reason)
    return files, others


def passed_over(paths: Iterable[str | Path], reason: str) -> str | None:
    """Describe how many files are passed over, with the first names; return None for no files.

    Example:
    >>> passed_over(["a/notes.txt"], "neither images nor videos")
    '1 file passed over, neither images nor videos: notes.txt'
    """
    names = [Path(path).name for path in paths]
    if not names:
        return None
    count = f"{len(names):,} files" if len(names) > 1 else "1 file"
    ending = ", ..." if len(names) > NAMED else ""
    return f"{count} passed over, {reason}: {', '.join(names[:NAMED])}{ending}"


def match_files(pattern: str | Path) -> list[str]:
    """Sorted paths of the files that a pattern matches, relative if the pattern is.

    A part of it has `*`, `?` or `[...]`, or is `**`, for folders at any depth, including none. A
    part that is the name of a file or folder means this one, though it may look like a pattern:
    `run [2024]/*.png`. Broken links are among the files: reading them says what is wrong.
    """
    path = Path(pattern)
    found = _match(Path(path.anchor), path.relative_to(path.anchor).parts)
    return sorted({str(one) for one in found if not one.is_dir()})


def _match(folder, parts):
    """Paths below a folder whose parts match."""
    if not parts:
        yield folder
        return
    first, *rest = parts
    names = [first]
    if not os.path.lexists(folder / first):
        names = glob.glob(first, root_dir=folder, recursive=True) if glob.has_magic(first) else []
        names += [""] * (first == "**")  # the folder itself, which glob leaves out
    for name in names:
        if not rest or (folder / name).is_dir():
            yield from _match(folder / name, rest)


def visible_files(folder: str | Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Files at any depth that are not hidden; links to folders are followed, but in no circle.

    All that are no folders: pipes, devices and broken links too.
    """
    above = above | {os.path.realpath(folder)}
    for path in sorted(Path(folder).iterdir()):
        if path.name.startswith("."):
            continue
        if not path.is_dir():
            yield path
        elif os.path.realpath(path) not in above:
            yield from visible_files(path, above)
