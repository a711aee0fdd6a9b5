"""Deep-Emotion in Keras: facial expression recognition by an attentional convolutional network.

Importing the package is instant; TensorFlow and Keras are imported by what needs them.

    from keras_deep_emotion import load

    model = load("ferplus")
    probabilities = model.predict(["face.png"])

After `import keras_deep_emotion`, `keras.saving.load_model` opens the models of run folders.
"""

import importlib.util
import sys

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"inference": ["load"]})
__all__ += ["__version__"]


class _RegisterLayers:
    """Import hook that registers the package's layers right after Keras is imported."""

    def find_spec(self, name, path=None, target=None):
        """Wrap the loader of `keras`; leave every other module to the other finders."""
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            exec_module = spec.loader.exec_module

            def exec_and_register(module):
                exec_module(module)
                importlib.import_module("keras_deep_emotion.layers")

            spec.loader.exec_module = exec_and_register
        return spec


if "keras" in sys.modules:
    importlib.import_module("keras_deep_emotion.layers")
else:
    sys.meta_path.insert(0, _RegisterLayers())
