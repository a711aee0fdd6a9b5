"""How far a command is, and the time left, on the last line of the terminal."""

import contextlib
import datetime
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from keras_deep_emotion.files import printable_path

BAR = 20  # characters
NAME = 30  # characters
INTERVAL = 0.1  # seconds between two drawings, where no rows are printed between them
# Seconds between two drawings of `working` on a terminal; to the first line of a log, and the next.
ON_TERMINAL, FIRST_LINE, NEXT_LINES = 0.5, 2.0, 10.0
ERASE = "\r\x1b[K"


def progress_line(name: str, done: float, length: float, elapsed: float) -> str:
    """A line for `done` of `length` seconds of a video, after some seconds of work.

    Example:
    >>> from keras_deep_emotion.cli.progress import progress_line
    >>> progress_line("film.mp4", 90, 360, 30)
    'film.mp4  25 %  [#####               ]  0:01:30 of 0:06:00, 0:01:30 left'
    """
    share = min(1.0, done / length)
    bar = f"{'#' * int(BAR * share):{BAR}}"
    left = f", {_clock(elapsed * (1 - share) / share)} left" if share else ""
    name = name if len(name) <= NAME else f"{name[: NAME - 3]}..."
    return f"{name}  {100 * share:.0f} %  [{bar}]  {_clock(done)} of {_clock(length)}{left}"


def _clock(seconds):
    return datetime.timedelta(seconds=round(seconds))


class Work:
    """What a command is doing, on the last line of a terminal, or a line now and then in a log."""

    def __init__(self, title: str):
        self.title, self.start, self.steps = title, time.monotonic(), None
        self.lock, self.ended, self.is_drawn = threading.Lock(), threading.Event(), False

    def count(self, done: int, total: int) -> None:
        """Say how many steps of all are done."""
        self.steps = done, total

    def echo(self, text: str) -> None:
        """Print a line to stdout, above the one that shows the work."""
        with self.lock:
            self._erase()
            click.echo(text)

    def line(self) -> str:
        """What is being done, how far it is, and since when or until when."""
        elapsed = time.monotonic() - self.start
        if not self.steps or not self.steps[0]:
            return f"{self.title} ... {_clock(elapsed)}"
        done, total = self.steps
        left = _clock(elapsed * (total - done) / done)
        return f"{self.title}: {done:,} of {total:,}, {left} left"

    def _erase(self):
        if self.is_drawn:
            click.echo(ERASE, err=True, nl=False)
            self.is_drawn = False

    def _show(self, on_terminal):
        pause = ON_TERMINAL if on_terminal else FIRST_LINE
        while not self.ended.wait(pause):
            with self.lock:
                if on_terminal:
                    line = self.line()[: shutil.get_terminal_size().columns - 1]
                    click.echo(ERASE + line, err=True, nl=False)
                    self.is_drawn = True
                else:
                    click.echo(self.line(), err=True)
                    pause = NEXT_LINES


@contextlib.contextmanager
def working(title: str) -> Iterator[Work]:
    """Show on stderr what is done in this context, for how long, and how far it is.

    On a terminal it is one line that is erased at the end; in a log a line after two seconds, and
    one every ten after it. A stderr that is no file, as under click's CliRunner, stays empty.

    Example:
    >>> from keras_deep_emotion.cli.progress import working
    >>> with working("evaluating") as work:
    ...     for i in range(3):
    ...         work.count(i, 3)
    """
    work = Work(title)
    try:
        sys.stderr.fileno()
    except OSError:
        yield work
        return
    thread = threading.Thread(target=work._show, args=(sys.stderr.isatty(),), daemon=True)
    thread.start()
    try:
        yield work
    finally:
        work.ended.set()
        thread.join()
        work._erase()


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
