"""Deep-Emotion in Keras: facial expressions by an attentional convolutional network.

Importing this package is instant: TensorFlow and Keras load with the first thing that needs them.

    from keras_deep_emotion import load

    model = load("ferplus")
    probabilities = model.predict(["face.png"])
"""

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name):
    """`load`, from `library`, imported when it is first asked for."""
    if name == "load":
        from keras_deep_emotion.library import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    """The public names, imported or not."""
    return sorted([*globals(), "load"])
