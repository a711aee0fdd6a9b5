"""The command line: `python cli.py COMMAND`."""

from keras_deep_emotion.cli import main

if __name__ == "__main__":
    main()
