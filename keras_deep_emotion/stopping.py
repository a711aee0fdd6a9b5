"""Stop on Ctrl-C, SIGTERM or SIGHUP between two batches, and never lose it. Standard library only.

Python raises KeyboardInterrupt wherever the program is: in a `__del__` or a callback of a library
it is printed and forgotten, and amid a library's bookkeeping it becomes another error. Commands
therefore run in `stopping_on_signals`; elsewhere, as in a notebook, Ctrl-C is Python's.
"""

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Iterator

PATIENCE = 1.0  # ours: seconds that a batch has to end
CLEANING = 5.0  # ours: seconds for cleaning up after it; the next start removes what is left
# ours: seconds in which a second signal is the first: `timeout` and `uv run` pass on what a
# terminal has sent already.
ECHO = 0.3

# Ctrl-C, `kill`, and a terminal that was closed, which Windows does not tell of.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)

_requested: float | None = None  # when a stop was requested, by time.monotonic


def check() -> None:
    """Raise KeyboardInterrupt if a stop was requested; loops call it between two batches."""
    if _requested is not None:
        raise KeyboardInterrupt


@contextlib.contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Within the context, the first of `SIGNALS` requests a stop, and a second kills at once.

    KeyboardInterrupt is raised by the next `check`; by whatever runs after `PATIENCE`, such as an
    import or a compilation, and every `PATIENCE` again, as it may be lost; and in any case at the
    end of the context, whatever it has become on its way. Use it in the main thread.
    """
    global _requested
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in handlers.items():
        if handler is not signal.SIG_IGN:  # as a shell's `&` and `nohup` leave it
            signal.signal(number, _request)
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_interrupt_again, hook)
    try:
        yield
    finally:
        stopped, _requested = _requested is not None, None
        if stopped:
            _interrupt_after(0)
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if stopped:
            raise KeyboardInterrupt


def _request(number, frame):
    """Handle a signal."""
    global _requested
    if _requested is None:
        _requested = time.monotonic()
        with contextlib.suppress(OSError):  # a closed pipe
            os.write(2, b"Stopping; Ctrl-C again ends at once.\n")
        _interrupt_after(PATIENCE)
    elif time.monotonic() - _requested > ECHO:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _interrupt_again(hook, lost):
    """Raise a lost KeyboardInterrupt again in a moment, out of the `__del__` that lost it."""
    if _requested is None or lost.exc_type is not KeyboardInterrupt:
        hook(lost)
    else:
        _interrupt_after(0.01)


def _interrupt_after(seconds):
    """Raise KeyboardInterrupt after some seconds, and every `PATIENCE` again; 0: never."""
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _interrupt)
        signal.setitimer(signal.ITIMER_REAL, seconds, PATIENCE)
    elif seconds:  # Windows
        raise KeyboardInterrupt


def _interrupt(number, frame):
    """Raise KeyboardInterrupt, except in code that cleans up after one, which has `CLEANING`."""
    if _requested is None:
        return
    error = sys.exception()
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    if error is None or time.monotonic() - _requested > CLEANING:
        raise KeyboardInterrupt
