"""The command line: `python cli.py COMMAND`."""

from keras_deep_emotion.cli import run

if __name__ == "__main__":
    run()
