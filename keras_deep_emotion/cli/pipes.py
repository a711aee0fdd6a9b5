"""Output whose reader goes away, such as `head`: commands go on without it."""

import errno
import io
import os
import sys


class Output(io.FileIO):
    """A file descriptor to write to; once its reader has gone, what is written is dropped."""

    is_read = True

    def write(self, content):
        """See `io.RawIOBase`."""
        try:
            return super().write(content)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):  # EIO: a terminal that was closed
                raise
        self.is_read = False
        # Libraries write to the descriptor too.
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.fileno())
        os.close(nothing)
        return len(content)


def prepare_streams() -> None:
    """Open the standard streams that are closed, and make stdout and stderr an `Output`.

    A file that is opened while a stream is closed would get its number, and what libraries print.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = _output(1, sys.stdout), _output(2, sys.stderr)


def _output(number, stream):
    if os.name == "nt" and stream is not None and stream.isatty():
        return stream  # its console is not a file
    raw = Output(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors=getattr(stream, "errors", "backslashreplace"),
        line_buffering=number == 2 or raw.isatty(),
        write_through=getattr(stream, "write_through", False),
    )


def is_read() -> bool:
    """Whether stdout still has a reader, as far as is known."""
    return getattr(getattr(sys.stdout.buffer, "raw", None), "is_read", True)
