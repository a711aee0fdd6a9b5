"""`python -m keras_deep_emotion COMMAND`."""

from keras_deep_emotion.cli import run

if __name__ == "__main__":
    run()
