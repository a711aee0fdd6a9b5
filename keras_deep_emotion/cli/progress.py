"""How far a command is, and the time left, on the last line of the terminal."""

import contextlib
import datetime
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from keras_deep_emotion.files import printable_path

BAR = 20  # characters
NAME = 30  # characters
INTERVAL = 0.1  # seconds between two drawings, where no rows are printed between them
ERASE = "\r\x1b[K"


def progress_line(name: str, done: float, length: float, elapsed: float) -> str:
    """A line for `done` of `length` seconds of a video, after some seconds of work.

    Example:
    >>> from keras_deep_emotion.cli.progress import progress_line
    >>> progress_line("film.mp4", 90, 360, 30)
    'film.mp4  25%  [#####               ]  0:01:30 of 0:06:00, 0:01:30 left'
    """
    share = min(1.0, done / length)
    bar = f"{'#' * int(BAR * share):{BAR}}"
    left = f", {_clock(elapsed * (1 - share) / share)} left" if share else ""
    name = name if len(name) <= NAME else f"{name[: NAME - 3]}..."
    return f"{name}  {share:.0%}  [{bar}]  {_clock(done)} of {_clock(length)}{left}"


def _clock(seconds):
    return datetime.timedelta(seconds=round(seconds))


def show_steps(title: str) -> Callable[[int, int], None]:
    """Say what is done; return a function that shows how many steps of all are done.

    On a terminal it draws a bar, which is erased at the end; else there is only the title's line.
    """
    click.echo(f"{title} ...", err=True)
    start = time.monotonic()

    def show(done, total):
        if not sys.stderr.isatty():
            return
        share, elapsed = done / total, time.monotonic() - start
        left = f"{_clock(elapsed * (1 - share) / share)} left" if done else ""
        line = f"  {share:4.0%}  [{'#' * int(BAR * share):{BAR}}]  {done} of {total}  {left}"
        click.echo(ERASE + (line if done < total else ""), err=True, nl=False)

    return show


@contextlib.contextmanager
def progress_bar(file: Path) -> Iterator[tuple[Callable[[], None], Callable[[float], None]]]:
    """Yield functions that clear a video's bar from stderr, and that draw it at a time in seconds.

    If stdout is a terminal too, rows are printed after `clear`, above the bar that is drawn next:
    always, unlike click's, which is not drawn again before its text changes. Draws nothing if
    stderr is not a terminal, or if the length of the video is unknown.
    """
    from keras_deep_emotion.images.videos import video_length

    length = video_length(file) if sys.stderr.isatty() else None
    if not length:
        yield (lambda: None), (lambda seconds: None)
        return
    start, drawn, has_rows = time.monotonic(), 0.0, sys.stdout.isatty()

    def clear():
        if has_rows:
            click.echo(ERASE, err=True, nl=False)

    def draw(seconds):
        nonlocal drawn
        now = time.monotonic()
        if has_rows or now - drawn >= INTERVAL:
            drawn = now
            line = progress_line(printable_path(file.name), max(0.0, seconds), length, now - start)
            # What fills the terminal's width would leave a line that is not cleared.
            line = line[: shutil.get_terminal_size().columns - 1]
            click.echo(ERASE + line, err=True, nl=False)

    try:
        yield clear, draw
    finally:
        click.echo(ERASE, err=True, nl=False)
