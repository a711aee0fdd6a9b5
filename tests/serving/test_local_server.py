"""What is the stand-in's own: versions that come and go, limits, its command."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from keras_deep_emotion.serving.local_server.json_answers import object_text, texts_of
from keras_deep_emotion.serving.local_server.json_text import float_text, parse
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from keras_deep_emotion.cli import main
from keras_deep_emotion.serving.docker import docker_command, engine_available
from keras_deep_emotion.serving.local_server import LocalServer
from keras_deep_emotion.serving.local_server.errors import ServingError

ROOT = Path(__file__).parents[2]


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

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)], autograph=False)
    def regress(self, inputs):
        parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature((), tf.float32)})
        return {"outputs": parsed["x"] * self.factor}


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory):
    """{factor: path of a SavedModel}."""
    paths = {}
    for factor in (1, 2, 3):
        paths[factor] = tmp_path_factory.mktemp("saved") / "model"
        module = Multiply(float(factor))
        signatures = {
            "serving_default": module.multiply,
            "slow": module.slow,
            "classify": module.classify,
            "regress": module.regress,
        }
        tf.saved_model.save(module, str(paths[factor]), signatures)
    return paths


@pytest.fixture
def folder(saved_models, tmp_path):
    """A model's folder with version 1, which multiplies by 1."""
    shutil.copytree(saved_models[1], tmp_path / "face" / "1")
    return tmp_path / "face"


@pytest.fixture
def start():
    """Starts stand-ins; they are stopped after the test."""
    started = []

    def start(folder, **options):
        options = {"port": 0, "rest_port": 0, "interval": 0.05} | options
        started.append(LocalServer(folder, "face", **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def add(folder, version, saved_model):
    """Put a version in place whole, as `export` does."""
    shutil.copytree(saved_model, folder / "partial")
    os.rename(folder / "partial", folder / str(version))


def rest(server, path, body=None, timeout=30):
    """(status, JSON) of a request to the model."""
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/face{path}"
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(url, data, timeout=timeout) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def factor_of(server, path=""):
    """The factor of the version that answers."""
    status, answer = rest(server, f"{path}:predict", {"instances": [1.0]})
    return answer["predictions"][0] if status == 200 else answer["error"]


def states(server):
    """[(version, state)] as the status has them."""
    entries = rest(server, "")[1]["model_version_status"]
    return [(int(entry["version"]), entry["state"]) for entry in entries]


def wait_until(true, seconds=15):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def stub_of(server):
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    return channel, prediction_service_pb2_grpc.PredictionServiceStub(channel)


def slow_request(steps):
    return {"signature_name": "slow", "inputs": [float(steps)]}


FOREVER = 10_000_000


def test_a_newer_version_is_taken_up_and_the_older_dropped(start, folder, saved_models):
    lines = []
    server = start(folder, report=lines.append)
    assert factor_of(server) == 1
    shutil.copytree(saved_models[3], folder / "partial-3")  # half-written: no number, never seen
    add(folder, 2, saved_models[2])
    wait_until(lambda: states(server) == [(2, "AVAILABLE"), (1, "END")])
    assert factor_of(server) == 2
    assert factor_of(server, "/versions/1") == ("Servable not found for request: Specific(face, 1)")
    assert lines == [
        "face: version 1 is served.",
        "face: version 2 is served.",
        "face: version 1 was dropped.",
    ]


def test_no_request_is_lost_while_versions_change(start, folder, saved_models):
    server = start(folder)
    answers, done = [], threading.Event()

    def ask():
        while not done.is_set():
            answers.append(factor_of(server))

    thread = threading.Thread(target=ask)
    thread.start()
    for version in (2, 3):
        add(folder, version, saved_models[version])
        wait_until(lambda: (version, "AVAILABLE") in states(server))  # noqa: B023
    wait_until(lambda: answers[-1] == 3)
    done.set()
    thread.join()
    assert answers == sorted(answers)
    assert set(answers) <= {1, 2, 3}


def test_a_version_is_kept_until_its_calls_are_done(start, folder, saved_models):
    server = start(folder)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(rest(server, ":predict", slow_request(20000)))
    )
    thread.start()
    wait_until(lambda: server.versions._loaded[1].calls == 1)
    add(folder, 2, saved_models[2])
    wait_until(lambda: states(server) == [(2, "AVAILABLE"), (1, "UNLOADING")])
    assert factor_of(server) == 2
    thread.join()
    assert answers == [(200, {"outputs": [1.0]})]
    wait_until(lambda: states(server) == [(2, "AVAILABLE"), (1, "END")])


def test_a_version_that_cannot_be_loaded_leaves_the_older_in_place(start, folder, saved_models):
    server = start(folder)
    (folder / "2").mkdir()
    wait_until(lambda: (2, "END") in states(server))
    entry = rest(server, "/versions/2")[1]["model_version_status"][0]
    assert entry["status"]["error_code"] == "NOT_FOUND"
    assert entry["status"]["error_message"].startswith(
        f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder / '2'}"
    )
    (folder / "damaged").mkdir()
    (folder / "damaged" / "saved_model.pb").write_bytes(b"\xff\xff no protocol buffer")
    os.rename(folder / "damaged", folder / "3")
    wait_until(lambda: (3, "END") in states(server))
    entry = rest(server, "/versions/3")[1]["model_version_status"][0]
    assert entry["status"] == {
        "error_code": "DATA_LOSS",
        "error_message": f"Can't parse {folder / '3'}/saved_model.pb as binary proto",
    }
    assert states(server) == [(3, "END"), (2, "END"), (1, "AVAILABLE")]
    assert factor_of(server) == 1
    # Gone and come again, it is tried again.
    shutil.rmtree(folder / "3")
    shutil.rmtree(folder / "2")
    wait_until(lambda: not server.versions._failed)
    add(folder, 3, saved_models[3])
    wait_until(lambda: states(server)[0] == (3, "AVAILABLE"))
    assert factor_of(server) == 3


def test_versions_that_are_kept_and_labels(start, folder, saved_models):
    for version in (2, 3):
        add(folder, version, saved_models[version])
    server = start(folder, keep=2, labels={"stable": 1})
    assert states(server) == [(3, "AVAILABLE"), (2, "AVAILABLE"), (1, "AVAILABLE")]
    assert factor_of(server) == 3
    assert factor_of(server, "/versions/2") == 2
    assert factor_of(server, "/labels/stable") == 1
    assert rest(server, "/labels/stable/metadata")[1]["model_spec"]["version"] == "1"
    add(folder, 10, saved_models[2])  # the newest by number, not by name
    wait_until(lambda: states(server)[0] == (10, "AVAILABLE"))
    wait_until(lambda: (2, "END") in states(server))
    assert dict(states(server)) == {10: "AVAILABLE", 3: "AVAILABLE", 2: "END", 1: "AVAILABLE"}


def test_one_version_alone(start, folder, saved_models):
    add(folder, 2, saved_models[2])
    server = start(folder, only=1)
    assert states(server) == [(1, "AVAILABLE")]
    assert factor_of(server) == 1


def test_one_version_and_those_of_labels(start, folder, saved_models):
    for version in (2, 3):
        add(folder, version, saved_models[version])
    server = start(folder, only=1, labels={"next": 2})
    assert states(server) == [(2, "AVAILABLE"), (1, "AVAILABLE")]
    assert factor_of(server, "/labels/next") == 2
    assert factor_of(server, "/versions/1") == 1


def test_a_folder_that_goes_away_changes_nothing(start, folder):
    server = start(folder)
    os.rename(folder, folder.parent / "away")
    time.sleep(0.3)  # several looks
    assert factor_of(server) == 1
    (folder).mkdir()  # empty: the server drops what it had
    wait_until(lambda: states(server) == [(1, "END")])


def test_what_does_not_start(start, folder):
    with pytest.raises(ValueError, match=r"label stable names version 7, and .* has only \[1\]"):
        start(folder, labels={"stable": 7})
    (folder / "2").mkdir()
    with pytest.raises(ValueError, match="Version 2 of face cannot be loaded: Could not find"):
        start(folder)


def test_classify_by_rest_and_grpc(start, folder):
    server = start(folder)
    body = {"signature_name": "classify", "examples": [{"x": 0.25}, {"x": [0.5]}]}
    assert rest(server, ":classify", body) == (
        200,
        {"results": [[["low", 0.75], ["high", 0.25]], [["low", 0.5], ["high", 0.5]]]},
    )
    body = {"signature_name": "classify", "context": {"x": 0.125}, "examples": [{}]}
    assert rest(server, ":classify", body)[1]["results"] == [[["low", 0.875], ["high", 0.125]]]
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "face", "classify"
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.append(0.25)
    channel, stub = stub_of(server)
    with channel:
        response = stub.Classify(request, 30)
        found = response.result.classifications[0].classes
        assert [(one.label, one.score) for one in found] == [("low", 0.75), ("high", 0.25)]
        assert response.model_spec.version.value == 1
        request.input.Clear()
        with pytest.raises(grpc.RpcError, match="Input is empty"):
            stub.Classify(request, 30)


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        ([{"x": 1}], "Data types don't match. Data type: int64 but expected type: float"),
        ([{"y": 1.5}], "Feature: x (data type: float) is required but could not be found."),
        ([{"x": [1.5, "a"]}], "Unexpected element type in feature: x expecting type: float"),
        ([{"x": None}], "Feature: x has element with unexpected JSON type: Null"),
        ([{"x": 2**63}], "Feature: x has uint64 element. Only int64 is supported."),
        ([{"x": -(2**63) - 1}], "Feature: x has uint64 element. Only int64 is supported."),
    ],
)
def test_examples_that_are_refused(start, folder, examples, says):
    body = {"signature_name": "classify", "examples": examples}
    status, answer = rest(start(folder), ":classify", body)
    assert status == 400
    assert says in answer["error"]


def test_regress_of_a_signature_that_is_one(start, folder):
    server = start(folder)
    body = {"signature_name": "regress", "examples": [{"x": 0.25}, {"x": 4.0}]}
    assert rest(server, ":regress", body) == (200, {"results": [0.25, 4.0]})
    request = regression_pb2.RegressionRequest()
    request.model_spec.name, request.model_spec.signature_name = "face", "classify"
    channel, stub = stub_of(server)
    with channel, pytest.raises(grpc.RpcError, match="Expected one output Tensor"):
        stub.Regress(request, 30)


def test_what_is_not_implemented(start, folder):
    channel, stub = stub_of(start(folder))
    with channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        for method, request in (
            (models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
            (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                method(request, 30)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("form", ["length", "expect", "chunked"])
def test_a_request_that_is_too_long_is_refused(start, folder, form):
    server = start(folder, max_bytes=100_000)
    body = b'{"instances": [' + b"1.0, " * 50_000 + b"1.0]}"
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    path = "/v1/models/face:predict"
    if form == "chunked":
        parts = (body[i : i + 10_000] for i in range(0, len(body), 10_000))
        connection.request("POST", path, parts, encode_chunked=True)
    else:
        headers = {"Expect": "100-continue"} if form == "expect" else {}
        connection.request("POST", path, body, headers)
    response = connection.getresponse()
    assert response.status == 413
    assert json.load(response) == {"error": "The request is longer than 100000 bytes."}
    connection.close()
    assert factor_of(server) == 1


def test_chunks_are_put_together(start, folder):
    server = start(folder)
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    for _ in range(2):  # the connection is kept
        parts = iter([b'{"insta', b'nces": [2.5', b"]}"])
        connection.request("POST", "/v1/models/face:predict", parts, encode_chunked=True)
        assert json.load(connection.getresponse()) == {"predictions": [2.5]}
    connection.close()


def test_grpc_refuses_what_is_too_long_or_only_claims_to_be(start, folder):
    channel, stub = stub_of(start(folder, max_bytes=100_000))
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "face"
    with channel:
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros(50_000, np.float32)))
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, 30)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        # A few bytes that would fill a terabyte.
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros(1, np.float32)))
        request.inputs["x"].tensor_shape.dim[0].size = 2**38
        with pytest.raises(grpc.RpcError, match="tensor too large: x") as caught:
            stub.Predict(request, 30)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros(1, np.float32)))
        assert tf.make_ndarray(stub.Predict(request, 30).outputs["y"]) == [0]


def test_a_call_that_takes_too_long_is_given_up(start, folder):
    server = start(folder, timeout=0.3)
    status, answer = rest(server, ":predict", slow_request(FOREVER))
    assert (status, answer["error"]) == (504, "Timed out waiting for notification")
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "face", "slow"
    request.inputs["steps"].CopyFrom(tf.make_tensor_proto([float(FOREVER)]))
    channel, stub = stub_of(server)
    with channel, pytest.raises(grpc.RpcError) as caught:
        stub.Predict(request, 30)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() == "Timed out waiting for notification"
    assert factor_of(server) == 1


def test_too_many_calls_at_once(start, folder):
    server = start(folder, timeout=1, parallel=1)
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(rest(server, ":predict", slow_request(FOREVER))[0])
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One runs until it is given up; the next may come in just then, or be refused.
    assert set(answers) == {504, 429}


def test_a_slow_client_is_dropped_and_holds_nobody_up(start, folder):
    server = start(folder, read_timeout=0.6)
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as slow:
        slow.sendall(b"POST /v1/models/face:predict HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")

        def drip():
            try:
                while True:  # a byte now and then does not win it more time
                    slow.sendall(b" ")
                    time.sleep(0.1)
            except OSError:
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        assert factor_of(server) == 1
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun < 5
        thread.join()
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as silent:
        assert silent.recv(1000) == b""


def test_too_many_connections(start, folder):
    server = start(folder, parallel=1, read_timeout=1)
    address = ("127.0.0.1", server.rest_port)
    held = [socket.create_connection(address, 10) for _ in range(4)]
    with socket.create_connection(address, 10) as one_more:
        assert one_more.recv(1000).startswith(b"HTTP/1.1 503 ")
    for connection in held:
        connection.close()
    wait_until(lambda: not isinstance(attempt(lambda: factor_of(server)), Exception))
    assert factor_of(server) == 1


def attempt(call):
    try:
        return call()
    except (OSError, ValueError) as error:
        return error


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"POST /v1/models/face:predict HTTP/1.1\r\nContent-Length: 50\r\n\r\n{",
        b"POST /v1/models/face:predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/models/face:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/models/face:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_a_broken_client_does_no_harm(start, folder, sent, capfd):
    server = start(folder)
    with socket.create_connection(("127.0.0.1", server.rest_port), 10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(sent)
    assert factor_of(server) == 1
    assert "Traceback" not in capfd.readouterr().err


def test_a_bug_fails_one_request_only(start, folder, monkeypatch, caplog):
    server = start(folder)
    with monkeypatch.context() as patched:
        patched.setattr(server.versions, "states", lambda: 1 / 0)
        status, answer = rest(server, "")
        assert (status, answer["error"]) == (500, "ZeroDivisionError: division by zero")
    assert "Traceback" in caplog.text
    assert rest(server, "")[0] == 200


def test_it_listens_on_loopback_alone(start, folder):
    server = start(folder)
    for port in (server.port, server.rest_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), 5)
    everywhere = start(folder, host="0.0.0.0")
    socket.create_connection(("127.0.0.2", everywhere.rest_port), 5).close()


@pytest.mark.parametrize(("which", "option"), [("rest_port", "--rest-port"), ("port", "--port")])
def test_a_port_in_use(start, folder, which, option):
    taken = getattr(start(folder), which)
    with pytest.raises(OSError) as caught:
        start(folder, **{which: taken})
    assert str(caught.value) == (
        f"Port {taken} on 127.0.0.1 is in use; name another with {option}."
    )


def test_stopping_cancels_what_runs(folder):
    server = LocalServer(folder, "face", port=0, rest_port=0)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(attempt(lambda: rest(server, ":predict", slow_request(1e7))))
    )
    thread.start()
    wait_until(lambda: server.versions._loaded[1].calls == 1)
    begun = time.monotonic()
    server.stop()
    thread.join()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"),
        (1, "1.0"),
        (np.float32(0.1), "0.1"),
        (np.float32(1 / 3), "0.333333343"),
        (9e6, "9e+06"),
        (np.float32(3e-5), "3e-05"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_floats_are_written_as_the_server_writes_them(value, text):
    assert float_text(float(value), 9) == text


def test_outputs_whose_names_end_in_bytes_are_base64():
    words = np.array([b"a\xff", b"\xc3\xa4"], object)
    assert texts_of("png_bytes", words) == ['{"b64": "Yf8="}', '{"b64": "w6Q="}']
    assert texts_of("png", words[1:]) == ['"\u00e4"']
    assert json.loads(object_text({"a": "1", "b": "[2]"}, 4)) == {"a": 1, "b": [2]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b" \n", "The document is empty. at offset: 2"),
        (b'{"\xc3\xa4": tru}', "Invalid value. at offset: 10"),
        (b'{"a": 1} 2', "The document root must not be followed by other values. at offset: 9"),
        (b'{"a": "\\x"}', "Invalid escape character in string."),
        (b"[" * 100_000, ""),
        (b'{"a": ' + b"9" * 5000 + b"}", ""),
    ],
)
def test_json_that_is_none(body, says):
    with pytest.raises(ServingError) as caught:
        parse(body)
    assert caught.value.code == "INVALID_ARGUMENT"
    assert caught.value.message.startswith(f"JSON Parse error: {says}"[:60])


def test_of_several_members_with_one_name_the_first_counts():
    assert parse(b'\xef\xbb\xbf{"a": 1, "a": 2}') == {"a": 1}


def serve(*arguments, **kwargs):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "cli.py", "serve", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(folder, number):
    with serve(folder, "--stand-in", "--port", 0, "--rest-port", 0) as process:
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines[:2] == [
            "A stand-in for tensorflow/serving, for development only: in production serve "
            f"{folder} with the container.\n",
            "face: version 1 is served.\n",
        ]
        url = re.fullmatch(r"REST: (http://127\.0\.0\.1:\d+/v1/models/face)\n", lines[2])[1]
        assert re.fullmatch(r"gRPC: 127\.0\.0\.1:\d+\n", lines[3])
        with urllib.request.urlopen(url, timeout=30) as response:
            assert json.load(response)["model_version_status"][0]["state"] == "AVAILABLE"
        begun = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - begun < 2
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["{folder}/none"], 1, "none is no export: it has no versions"),
        (["{folder}/.."], 1, "`python cli.py export RUN` makes one; name exports/NAME"),
        (["{folder}", "--label", "stable"], 2, "'stable' is not like stable=2"),
        (["{folder}", "--name", "a/b"], 2, "letters, digits, _, . and - only."),
        (["{folder}", "--port", "8501"], 2, "--port and --rest-port are both 8501."),
        (["{folder}", "--docker", "--keep", "2"], 2, "are the stand-in's: add --stand-in."),
        (
            ["{folder}", "--stand-in", "--rest-port", "0", "--host", "192.0.2.1"],
            1,
            "192.0.2.1 is no address of this machine; name another with --host.",
        ),
    ],
)
def test_mistakes_at_the_terminal(folder, arguments, status, says):
    arguments = [argument.replace("{folder}", str(folder)) for argument in arguments]
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        result = CliRunner().invoke(main, ["serve", *arguments])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert result.exit_code == status, result.output
    assert says in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_the_containers_command():
    assert docker_command("/models of mine/face", "face") == [
        *("docker", "run", "--rm", "--init"),
        *("--publish", "127.0.0.1:8500:8500", "--publish", "127.0.0.1:8501:8501"),
        *("--volume", "/models of mine/face:/models/face:ro", "--env", "MODEL_NAME=face"),
        "tensorflow/serving",
    ]
    command = docker_command("/m/face", "face", 3, "::1", 9000, 9001)
    assert command[5:8:2] == ["[::1]:9000:8500", "[::1]:9001:8501"]
    assert command[9] == "/m/face/3:/models/face/3:ro"


def fake_docker(folder, version_status):
    """A `docker` of ours: it answers `version`, and as a container it waits to be ended."""
    folder.mkdir()
    script = folder / "docker"
    script.write_text(
        f"#!/bin/sh\nif [ $1 = version ]; then exit {version_status}; fi\n"
        f'echo "$@" > {folder}/arguments\nexec sleep 60\n'
    )
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_an_engine_that_answers_gets_the_container(folder, tmp_path):
    environment = fake_docker(tmp_path / "bin", 0)
    with serve(folder, "--port", 8600, env=environment) as process:
        line = process.stdout.readline()
        assert line.startswith("docker run --rm --init --publish 127.0.0.1:8600:8500 ")
        written = tmp_path / "bin" / "arguments"
        wait_until(lambda: written.exists() and written.read_text().endswith("\n"))
        assert f"docker {written.read_text()}" == line
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_an_engine_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", fake_docker(tmp_path / "bin", 1)["PATH"])
    assert not engine_available()
    monkeypatch.setenv("PATH", "/nowhere")
    assert not engine_available()
