"""Deep-Emotion in Keras: facial expressions by an attentional convolutional network.

Importing this package is instant: TensorFlow and Keras load with the first thing that needs them.
"""

__version__ = "0.1.0"
