"""The layers and the network run on Keras's JAX backend, on a machine without TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PORTABLE = (
    "layers/test_spatial_transformer.py",
    "layers/test_augmentation.py",
    "models/test_deep_emotion.py",
)


def run_on_jax(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        # Without most optimizations, JAX compiles in a fraction of the time.
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_layers_and_network_pass_their_tests_on_jax():
    pytest.importorskip("jax")
    done = run_on_jax(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", *(TESTS / n for n in PORTABLE)
    )
    assert done.returncode == 0, done.stdout[-4000:]


def test_network_needs_no_tensorflow():
    pytest.importorskip("jax")
    code = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "import keras_deep_emotion.layers\n"
        "from keras_deep_emotion.config import TrainConfig\n"
        "from keras_deep_emotion.models import build_model\n"
        "import keras, numpy as np\n"
        "config = TrainConfig.from_recipe('paper')\n"
        "print(build_model(config).predict(np.zeros((2, 48, 48, 1)), verbose=0).shape)\n"
    )
    done = run_on_jax("-c", code)
    assert done.stdout.strip() == "(2, 7)", done.stderr[-2000:]
