"""The command line of a checkout: `python cli.py COMMAND`."""

import os
import shlex
import sys


def run():
    """Run the command line, or say which Python has what it needs."""
    try:
        from keras_deep_emotion.cli import run as run_command
    except ImportError as error:
        if (error.name or "").startswith(("keras_deep_emotion", "tfds_builders")):
            raise
        here = os.path.dirname(os.path.abspath(__file__))
        python = os.path.join(os.path.relpath(here), ".venv", "bin", "python")
        command = shlex.join([os.path.normpath(python), *sys.argv])
        if not os.path.exists(python):
            command = f"make -C {shlex.quote(here)} install && {command}"
        sys.exit(f"Error: {sys.executable} lacks {error.name}. Run: {command}")
    run_command()


if __name__ == "__main__":
    run()
