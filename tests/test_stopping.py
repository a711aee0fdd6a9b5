"""A stop is never lost: whatever code the signal meets, the command ends."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keras_deep_emotion import stopping

ROOT = Path(__file__).parents[1]
START = """
import contextlib, sys, time
from keras_deep_emotion import stopping
stopping.PATIENCE = 0.3
def say(text): print(text, flush=True)
def busy(seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end: sum(range(1000))
"""


def started(code, signals=signal.SIG_DFL):
    """Start Python with a program, and wait for its first line."""

    def prepare():
        # A shell that starts the tests with `&` or `nohup` has them, and what they start, ignore
        # Ctrl-C or SIGHUP.
        for number in stopping.SIGNALS:
            signal.signal(number, signals if number == signal.SIGINT else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )
    assert process.stdout.readline() == "begun\n"
    return process


def ended(process):
    """(exit status, output, errors, seconds until the end) of a process."""
    start = time.monotonic()
    try:
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, output, errors, time.monotonic() - start


@pytest.mark.parametrize("number", stopping.SIGNALS)
@pytest.mark.parametrize(
    "code",
    [
        # Until the next check only the flag is set.
        "while True: busy(0.01); stopping.check()",
        # Python prints and forgets what is raised in `__del__`.
        "class Lost:\n   def __del__(self): busy(0.5)\n  while True: Lost(); busy(0.2)",
        # Once in a library's clause, the second time not.
        "with contextlib.suppress(BaseException): busy()\n  busy()",
        # What looks like cleaning up goes on.
        "stopping.CLEANING = 1\n  try: busy()\n  except BaseException: busy()",
        # Another error takes its place.
        "try: busy()\n  finally: raise AssertionError",
        # The work was done before it was looked at.
        "busy(0.2)",
    ],
    ids=["check", "del", "suppressed", "handled", "other", "done"],
)
def test_a_stop_is_never_lost(code, number):
    process = started(
        "try:\n with stopping.stopping_on_signals():\n  say('begun')\n"
        f"  {code}\n"
        "except KeyboardInterrupt: say('stopped')\n"
    )
    process.send_signal(number)
    status, output, errors, seconds = ended(process)
    assert (status, output) == (0, "stopped\n"), errors
    assert errors == "Stopping; Ctrl-C again ends at once.\n"
    assert seconds < 3


def test_what_cleans_up_is_not_interrupted_again():
    process = started(
        "with contextlib.suppress(KeyboardInterrupt), stopping.stopping_on_signals():\n"
        " say('begun')\n"
        " try: busy()\n"
        " finally:\n"
        "  with contextlib.suppress(KeyError): {}['no']\n"
        "  busy(1); say('clean')\n"
    )
    process.send_signal(signal.SIGINT)
    assert ended(process)[:2] == (0, "clean\n")


SLOW_END = (
    "with stopping.stopping_on_signals():\n"
    " say('begun')\n"
    " try: busy()\n"
    " finally: say('cleaning'); busy({})\n"
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_at_once(number):
    process = started(SLOW_END.format(60))
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    time.sleep(0.2)
    process.send_signal(number)
    status, _, _, seconds = ended(process)
    assert status == -number and seconds < 1


def test_a_signal_that_is_passed_on_twice_is_one():
    process = started("stopping.PATIENCE = 0.01\n" + SLOW_END.format(0.5))
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] not in (0, -signal.SIGTERM)


@pytest.mark.parametrize("command", ["nohup", "setsid"])
def test_what_outlives_its_terminal_is_not_stopped_by_its_end(command):
    """`nohup` ignores SIGHUP; a process in a session of its own gets none."""
    code = START + "with stopping.stopping_on_signals(): say('begun'); busy(0.5); say('whole')"
    process = subprocess.Popen(
        [command, sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    if command == "nohup":
        process.send_signal(signal.SIGHUP)
    assert ended(process)[:2] == (0, "whole\n")


def test_a_process_in_the_background_ignores_the_keyboard():
    process = started(
        "with stopping.stopping_on_signals(): say('begun'); busy(0.5); say('whole')",
        signals=signal.SIG_IGN,
    )
    process.send_signal(signal.SIGINT)
    assert ended(process)[:3] == (0, "whole\n", "")


def test_elsewhere_the_handlers_are_pythons():
    before = [signal.getsignal(number) for number in stopping.SIGNALS]
    with stopping.stopping_on_signals():
        assert signal.getsignal(signal.SIGINT) not in before
        stopping.check()
    assert [signal.getsignal(number) for number in stopping.SIGNALS] == before
    with pytest.raises(KeyboardInterrupt), stopping.stopping_on_signals():
        signal.raise_signal(signal.SIGTERM)
        stopping.check()
    stopping.check()  # the request ended with its context


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fit", "tune", "build-data"])
def test_commands_stop_at_random_moments(command, tiny_faces_dir, tmp_path):
    data = ("--data-dir", tiny_faces_dir)
    arguments = {
        "fit": ("--run-dir", tmp_path / "out", "--width", 4, "--epochs", 400, *data),
        "tune": ("--output", tmp_path / "out", "--epochs", 400, *data),
        "build-data": ("toon_faces", "--data-dir", tmp_path / "out"),
    }[command]
    moments = random.Random(command)
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "cli.py", command, *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            time.sleep(moments.uniform(1, 20 if command != "build-data" else 8))
            process.send_signal(moments.choice(stopping.SIGNALS))
            status, _, errors, seconds = ended(process)
        assert status == 130 and errors.splitlines()[-1].startswith("Error: Stopped"), errors
        assert seconds < 30  # one call of TensorFlow may take so long on a busy machine
        assert not list(tmp_path.rglob("incomplete.*")) and not list(tmp_path.rglob("partial.*"))
        if command == "fit" and (tmp_path / "out" / "config.json").exists():
            assert f"To go on: {sys.executable} cli.py fit --resume {tmp_path / 'out'}" in errors
            arguments = ("--resume", tmp_path / "out", *data)


def test_a_signal_ends_a_wait_wherever_it_comes():
    code = """
import os, signal, sys, threading
from keras_deep_emotion.cli.options import signal_waiter
kill = os.getpid(), signal.SIGTERM
for step in range(20):  # in Python's own code, if the wait has any
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    wait, steps = signal_waiter(), iter(range(step + 1))
    def trace(frame, event, argument):
        if next(steps, None) == step:
            os.kill(*kill)
        return trace
    timer = threading.Timer(0.1, os.kill, kill)  # else from outside
    timer.start()
    sys.settrace(trace)
    wait()
    sys.settrace(None)
    timer.join()
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True)
