"""What is the local server's own: forms of requests, limits, clients that misbehave."""

import gzip
import http.client
import json
import math
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from local_servers import (
    FOREVER,
    attempt,
    factor_of,
    rest,
    slow_request,
    stub_of,
    wait_until,
)
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    regression_pb2,
)

from keras_deep_emotion.serving.local_server import LocalServer
from keras_deep_emotion.serving.local_server.errors import ServingError
from keras_deep_emotion.serving.local_server.json_tensors import parse, to_array, to_json

LONG = b'{"instances": [' + b"1.0, " * 50_000 + b"1.0]}"


@pytest.fixture(scope="module")
def server(shared_folder):
    """A server with the default limits."""
    with LocalServer(shared_folder, "face", port=0, rest_port=0) as running:
        yield running


@pytest.fixture(scope="module")
def strict(shared_folder):
    """A server with narrow limits, at every address of this machine."""
    limits = {"max_bytes": 100_000, "timeout": 1, "read_timeout": 1, "parallel": 1}
    with LocalServer(shared_folder, "face", "0.0.0.0", 0, 0, **limits) as running:
        yield running


def predict_request(signature="", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "face", signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.array(array, np.float32)))
    return request


def test_classify_by_rest_and_grpc(server):
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
        with pytest.raises(grpc.RpcError, match="The input has no 'examples'"):
            stub.Classify(request, 30)


@pytest.mark.parametrize(
    ("examples", "says"),
    [
        ([{"x": 1}], "Data types don't match. Data type: int64 but expected type: float"),
        ([{"y": 1.5}], "Feature: x (data type: float) is required but could not be found."),
        ([{"x": [1.5, "a"]}], "Feature x must hold strings, integers or floats, all of one type."),
        ([{"x": None}], "Feature x must hold strings, integers or floats, all of one type."),
        ([{"x": 2**63}], "cannot be converted to int64 without loss of precision"),
        ([{"x": -(2**63) - 1}], "int64"),
        ([{"x": {"b65": ""}}], "Not a string and not base64: {'b65': ''}"),
        ([3], "An example must be a JSON object. Received: 3"),
    ],
)
def test_examples_that_are_refused(server, examples, says):
    body = {"signature_name": "classify", "examples": examples}
    status, answer = rest(server, ":classify", body)
    assert status == 400
    assert says in answer["error"]


def test_what_is_not_implemented(server):
    channel, stub = stub_of(server)
    with channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        for method, request in (
            (models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
            (stub.MultiInference, inference_pb2.MultiInferenceRequest()),
            (stub.Regress, regression_pb2.RegressionRequest()),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                method(request, 30)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    status, answer = rest(server, ":regress", {"examples": [{"x": 0.25}]})
    assert (status, answer) == (501, {"error": "The local server has no :regress."})


def test_chunks_are_put_together(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.rest_port, timeout=30)
    for _ in range(2):  # the connection is kept
        parts = iter([b'{"insta', b'nces": [2.5', b"]}"])
        connection.request("POST", "/v1/models/face:predict", parts, encode_chunked=True)
        assert json.load(connection.getresponse()) == {"predictions": [2.5]}
    connection.close()


def test_values_that_are_not_finite(server):
    status, answer = rest(server, ":predict", b'{"inputs": [NaN, Infinity, -Infinity]}')
    assert status == 200
    assert math.isnan(answer["outputs"][0]) and answer["outputs"][1:] == [math.inf, -math.inf]


BODY = b'{"instances": [2.5]}'
ZIPPED = gzip.compress(BODY, mtime=0)  # else its bytes, and so the test's name, tell the time


@pytest.mark.parametrize(
    ("encoding", "body", "status", "says"),
    [
        ("gzip", ZIPPED, 200, "[2.5]"),
        ("identity", BODY, 200, "[2.5]"),
        # As in TensorFlow Serving: ignored, so that what was encoded is not JSON.
        ("br", BODY, 200, "[2.5]"),
        ("deflate", b"\x78\x9c\xab", 400, "JSON parse error"),
        ("gzip", BODY, 400, "The body is not valid gzip: "),
        (
            "gzip",
            ZIPPED[:-12],
            400,
            "The body is not valid gzip: it ends too early.",
        ),
        ("gzip", b"", 400, "The body is not valid gzip: it ends too early."),
    ],
)
def test_encodings_of_the_body(server, encoding, body, status, says):
    found, answer = rest(server, ":predict", body, {"Content-Encoding": encoding})
    assert found == status
    assert says in str(answer)


@pytest.mark.parametrize("form", ["length", "expect", "chunked", "gzip"])
def test_a_request_that_is_too_long_is_refused(strict, form):
    connection = http.client.HTTPConnection("127.0.0.1", strict.rest_port, timeout=30)
    path = "/v1/models/face:predict"
    if form == "chunked":
        parts = (LONG[i : i + 10_000] for i in range(0, len(LONG), 10_000))
        connection.request("POST", path, parts, encode_chunked=True)
    elif form == "gzip":
        bomb = gzip.compress(b" " * 50_000_000, mtime=0)
        assert len(bomb) < 100_000
        connection.request("POST", path, bomb, {"Content-Encoding": "gzip"})
    else:
        headers = {"Expect": "100-continue"} if form == "expect" else {}
        connection.request("POST", path, LONG, headers)
    response = connection.getresponse()
    assert response.status == 413
    assert json.load(response) == {"error": "The request is longer than 100000 bytes."}
    connection.close()
    assert factor_of(strict) == 1


def test_grpc_refuses_what_is_too_long_or_only_claims_to_be(strict):
    channel, stub = stub_of(strict)
    with channel:
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(predict_request(x=np.zeros(50_000)), 30)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        # A few bytes that would fill a terabyte.
        request = predict_request(x=[0])
        request.inputs["x"].tensor_shape.dim[0].size = 2**38
        with pytest.raises(grpc.RpcError, match="tensor too large: x") as caught:
            stub.Predict(request, 30)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert tf.make_ndarray(stub.Predict(predict_request(x=[0]), 30).outputs["y"]) == [0]


def test_a_call_that_takes_too_long_is_cancelled(strict):
    status, answer = rest(strict, ":predict", slow_request(FOREVER))
    assert (status, answer["error"]) == (504, "Timed out waiting for notification")
    channel, stub = stub_of(strict)
    with channel, pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict_request("slow", steps=[FOREVER]), 30)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert caught.value.details() == "Timed out waiting for notification"
    assert factor_of(strict) == 1


def test_too_many_calls_at_once(strict):
    answers = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(rest(strict, ":predict", slow_request(FOREVER))[0])
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # One runs until it is cancelled; the next may come in just then, or be refused.
    assert set(answers) == {504, 429}


def test_a_slow_client_is_dropped_and_holds_nobody_up(strict):
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", strict.rest_port), 10) as slow:
        slow.sendall(b"POST /v1/models/face:predict HTTP/1.1\r\nHost: localhost\r\n")
        slow.sendall(b"Content-Length: 1000\r\n\r\n")

        def drip():
            try:
                while True:  # a byte now and then does not win it more time
                    slow.sendall(b" ")
                    time.sleep(0.1)
            except OSError:
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        assert factor_of(strict) == 1
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun < 5
        thread.join()


@pytest.mark.parametrize("sent", [b"", b"GET /v1/models/face HTTP/1.1\r\nHost: "])
def test_a_connection_without_a_request_is_closed(strict, sent):
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", strict.rest_port), 10) as silent:
        silent.sendall(sent)
        assert silent.recv(1000) == b""
    assert time.monotonic() - begun < 5


def test_too_many_connections(strict):
    address = ("127.0.0.1", strict.rest_port)
    wait_until(lambda: not isinstance(attempt(lambda: factor_of(strict)), Exception))
    request = b"GET /v1/models/face HTTP/1.1\r\nHost: localhost\r\n\r\n"
    body = json.dumps(slow_request(FOREVER)).encode()
    call = b"POST /v1/models/face:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    held = [socket.create_connection(address, 10) for _ in range(16)]
    with socket.create_connection(address, 10) as one_more:
        one_more.sendall(request)
        assert one_more.recv(1000).startswith(b"HTTP/1.1 200 ")  # in the place of the first
    for connection in held:
        connection.close()
    held = [socket.create_connection(address, 10) for _ in range(16)]
    for connection in held:
        connection.sendall(call % len(body) + body)
    time.sleep(0.3)
    with socket.create_connection(address, 10) as one_more:
        one_more.sendall(request)
        assert one_more.recv(1000).startswith(b"HTTP/1.1 503 ")  # the others are at work
    for connection in held:
        connection.close()
    wait_until(lambda: not isinstance(attempt(lambda: factor_of(strict)), Exception))
    assert factor_of(strict) == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"POST /v1/models/face:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{",
        b"POST /v1/models/face:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /v1/models/face/versions/" + b"9" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_a_broken_client_does_no_harm(server, sent, capfd, caplog):
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
    assert "Traceback" not in capfd.readouterr().err + caplog.text


def test_a_bug_fails_one_request_only(server, monkeypatch, caplog):
    with monkeypatch.context() as patched:
        patched.setattr(server.versions, "states", lambda: 1 / 0)
        status, answer = rest(server, "")
        assert (status, answer["error"]) == (500, "ZeroDivisionError: division by zero")
    wait_until(lambda: "Traceback" in caplog.text)  # logged after the answer
    assert rest(server, "")[0] == 200


def test_it_listens_on_loopback_only(server, strict):
    for port in (server.port, server.rest_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), 5)
    socket.create_connection(("127.0.0.2", strict.rest_port), 5).close()


@pytest.mark.parametrize(("which", "option"), [("rest_port", "--rest-port"), ("port", "--port")])
def test_a_port_in_use(server, shared_folder, which, option):
    taken = getattr(server, which)
    ports = {"port": 0, "rest_port": 0, which: taken}
    with pytest.raises(OSError) as caught:
        LocalServer(shared_folder, "face", **ports)
    assert str(caught.value) == (
        f"Port {taken} on 127.0.0.1 is in use; name another with {option}."
    )


def test_outputs_whose_names_end_in_bytes_are_base64():
    words = np.array([b"a\xff", b"\xc3\xa4"], object)
    assert to_json("png_bytes", words) == [{"b64": "Yf8="}, {"b64": "w6Q="}]
    assert to_json("png_bytes", np.array(b"a\xff", object)) == {"b64": "Yf8="}
    assert to_json("png", words) == ["a\ufffd", "\u00e4"]
    assert to_json("valid", np.array([[True], [False]])) == [[True], [False]]


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"\xff", b'{"a": tru}', b'{"a": 1} 2', b"[" * 100_000, b"[1]", b"9" * 5000],
)
def test_bodies_that_are_not_a_json_object(body):
    with pytest.raises(ServingError) as caught:
        parse(body)
    assert caught.value.code == "INVALID_ARGUMENT" and caught.value.message


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([[1.0], [1.0, 2.0]], tf.float32),
        ([1.0, [2.0]], tf.float32),
        ([1.0, None], tf.float32),
        ([1.0, "1"], tf.float32),
        ([{"a": 1}], tf.float32),
        ([True], tf.float32),
        ([1e39], tf.float32),
        ([2**24], tf.float32),
        ([10**400], tf.float64),
        ([1.0], tf.int32),
        ([2**31], tf.int32),
        ([-1], tf.uint8),
        ([1], tf.bool),
        ([1], tf.complex64),
        ([["a"], "b"], tf.string),
        ([1], tf.string),
        ([{"b64": "\u00e4"}], tf.string),
        (eval("[" * 90 + "1.0" + "]" * 90), tf.float32),
    ],
)
def test_values_that_are_refused(value, dtype):
    with pytest.raises(ServingError) as caught:
        to_array(value, dtype)
    assert caught.value.code == "INVALID_ARGUMENT" and caught.value.message


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([0.1, 1], tf.float32, np.array([0.1, 1], np.float32)),
        ([2**24 - 1], tf.float32, np.array([2**24 - 1], np.float32)),
        ([[], []], tf.float32, np.zeros((2, 0), np.float32)),
        (3, tf.uint8, np.array(3, np.uint8)),
        ([True, False], tf.bool, np.array([True, False])),
        ([["a\0"], [{"b64": " YQ "}]], tf.string, np.array([[b"a\0"], [b"a"]], object)),
        ([], tf.string, np.array([], object)),
    ],
)
def test_values_of_tensors(value, dtype, expected):
    found = to_array(value, dtype)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tolist() == expected.tolist()
