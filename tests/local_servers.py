"""A small model in several versions, and calls of a local server that serves it as `face`."""

import json
import os
import shutil
import time
import urllib.error
import urllib.request

import grpc
import tensorflow as tf
from tensorflow_serving.apis import prediction_service_pb2_grpc

FOREVER = 10_000_000


class Multiply(tf.Module):
    """y = x * factor, slow: the same after many steps, classify: of tf.Examples with a number x."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    @tf.function(input_signature=[tf.TensorSpec((None,), name="x")], autograph=False)
    def multiply(self, x):
        return {"y": x * self.factor}

    @tf.function(input_signature=[tf.TensorSpec((None,), name="steps")], autograph=False)
    def slow(self, steps):
        _, last = tf.while_loop(
            lambda i, value: i < steps[0],
            lambda i, value: (i + 1, value @ value / 100),
            (0.0, tf.ones((100, 100))),
        )
        return {"y": steps * 0 + self.factor * last[0, 0]}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def classify(self, inputs):
        parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature((), tf.float32)})
        classes = tf.tile([["low", "high"]], [tf.shape(inputs)[0], 1])
        return {"classes": classes, "scores": tf.stack([1 - parsed["x"], parsed["x"]], axis=1)}

    def save(self, path):
        """Write a SavedModel with a signature for each function."""
        signatures = {"serving_default": self.multiply, "slow": self.slow}
        tf.saved_model.save(self, str(path), {**signatures, "classify": self.classify})


def add(folder, version, saved_model):
    """Put a version in place whole, as `export` does."""
    shutil.copytree(saved_model, folder / "partial")
    os.rename(folder / "partial", folder / str(version))


def rest(server, path, body=None, headers=None):
    """(status, JSON) of a request to the model; bytes are sent as they are."""
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/face{path}"
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data, headers or {})
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def stub_of(server):
    """(channel, stub) of the server's PredictionService."""
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    return channel, prediction_service_pb2_grpc.PredictionServiceStub(channel)


def factor_of(server, path=""):
    """The factor of the version that answers."""
    status, answer = rest(server, f"{path}:predict", {"instances": [1.0]})
    return answer["predictions"][0] if status == 200 else answer["error"]


def states(server):
    """[(version, state)] as the status has them."""
    entries = rest(server, "")[1]["model_version_status"]
    return [(int(entry["version"]), entry["state"]) for entry in entries]


def slow_request(steps):
    """Body of a request that takes long."""
    return {"signature_name": "slow", "inputs": [float(steps)]}


def wait_until(true, seconds=30):
    """Wait until a function returns something true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def attempt(call):
    """The result of a call, or its error."""
    try:
        return call()
    except (OSError, ValueError) as error:
        return error
