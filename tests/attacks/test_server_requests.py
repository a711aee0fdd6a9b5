"""Requests to the local server that are malformed, slow, long or of other sites' pages."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time

import grpc
import pytest
from damaged import damaged_values
from local_servers import Multiply, rest, slow_request, stub_of
from tensorflow_serving.apis import predict_pb2

from keras_deep_emotion.serving.hosts import HostCheck
from keras_deep_emotion.serving.local_server import LocalServer

GET = b"GET /v1/models/face HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model's folder with version 1."""
    folder = tmp_path_factory.mktemp("served") / "face"
    Multiply(1.0).save(folder / "1")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """A server with a short timeout and few connections."""
    limits = {"timeout": 2, "parallel": 4, "read_timeout": 20, "allow_hosts": ["proxy.example"]}
    with LocalServer(folder, "face", port=0, rest_port=0, **limits) as running:
        yield running


def send(server, content, wait=1.0):
    """What a connection answers to bytes within some time, until it is closed."""
    with socket.create_connection(("127.0.0.1", server.rest_port)) as connection:
        connection.sendall(content)
        connection.settimeout(wait)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while part := connection.recv(65536):
                answer += part
        return answer


def statuses(answer):
    """The statuses of the answers in bytes."""
    return [int(line.split()[1]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (":predict", b'{"signature_name": "\\ud800", "instances": [1.0]}'),
        (":predict", b'{"\\uDFFF": 0, "instances": [1.0]}'),
        (":classify", b'{"signature_name": "\\ud800", "examples": [{"x": 0.5}]}'),
        (":classify", b'{"signature_name": "classify", "examples": [{"\\ud800": 0.5}]}'),
        (":classify", b'{"signature_name": "classify", "examples": [{"x": "\\ud800"}]}'),
        (":predict", b'{"signature_name": "classify", "inputs": ["\\ud800"]}'),
        (":predict", b'{"signature_name": "classify", "inputs": [{"b64": "7aCA"}]}'),
        (":predict", b"[" * 100_000),
        (":predict", b'{"instances": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}"),
        (":predict", b'{"instances": [' + b"9" * 5000 + b"]}"),
        (":predict", b'{"instances": [1e999, NaN, Infinity]}' + b" " * 10),
        ("/versions/" + "9" * 5000, None),
        ("/versions/" + "9" * 5000 + ":predict", b'{"instances": [1.0]}'),
        ("/versions/%C2%B2:predict", b'{"instances": [1.0]}'),
        ("/labels/%ed%a0%80:predict", b'{"instances": [1.0]}'),
        ("/labels/" + "x" * 5000 + ":predict", b'{"instances": [1.0]}'),
    ],
)
def test_no_request_is_an_internal_error(server, path, body):
    status, answer = rest(server, path, body)
    assert 400 <= status < 500 or (status == 200 and b"1e999" in body), answer


@pytest.mark.parametrize("dtype", [*range(36), 101, 120, 2**31 - 1])
def test_tensors_of_any_type_are_no_internal_error(server, dtype):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "face"
    tensor = request.inputs["x"]
    tensor.dtype = dtype
    tensor.tensor_shape.dim.add(size=1)
    channel, stub = stub_of(server)
    with channel:
        for content in (b"", b"\0" * 4, b"\0" * 8, b"\xff"):
            tensor.tensor_content = content
            try:
                stub.Predict(request, 30)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error.details()
            else:
                assert dtype in (1, 101)  # float32, also by reference


POST = b"POST /v1/models/face:predict HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, gzip\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\nContent-Length: 4\r\n",
        b"Content-Length: -3\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length : 3\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Host: localhost\r\n",
        b"Host: evil.example\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_no_request_hides_in_another(server, headers):
    answer = send(server, POST + headers + b"\r\n" + b"0\r\n\r\n" + GET)
    assert statuses(answer) in ([400], [411], [413], [501]), answer
    assert b"model_version_status" not in answer


HOSTS = {
    "localhost": True,
    "LOCALHOST:80": True,
    "localhost.": True,
    "127.0.0.1": True,
    "[::1]:8501": True,
    "proxy.example:443": True,
    socket.gethostname(): True,
    "evil.example": False,
    "localhost.evil.example": False,
    "127.0.0.1.evil.example": False,
    "evil.example:8501": False,
    "localhost@evil.example": False,
    "evil.example#localhost": False,
    "192.0.2.1": False,
    "0.0.0.0": False,
    "2130706433": False,
    "[::ffff:127.0.0.1]": False,
    "": False,
    "localhost localhost": False,
    "[localhost]": False,
}


@pytest.mark.parametrize("host", HOSTS)
def test_only_names_of_this_server_are_answered(server, host):
    answer = send(server, f"GET /v1/models/face HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), 0.3)
    assert statuses(answer) == [200] if HOSTS[host] else statuses(answer)[0] in (400, 403)
    assert (b"model_version_status" in answer) is HOSTS[host]


def test_a_request_without_a_host_is_not_answered(server):
    assert b"AVAILABLE" not in send(server, b"GET /v1/models/face HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000", "x"])
@pytest.mark.parametrize("method", [b"POST", b"OPTIONS", b"GET"])
def test_pages_of_other_sites_are_not_answered(server, origin, method):
    lines = f"Host: localhost\r\nOrigin: {origin}\r\nContent-Length: 20\r\n\r\n".encode()
    path = b" /v1/models/face:predict HTTP/1.1\r\n"
    answer = send(server, method + path + lines + b'{"instances": [1.0]}')
    assert statuses(answer) == [403]
    assert b"access-control" not in answer.lower()


def test_own_pages_are_answered():
    def scope(**headers):
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        return {"type": "http", "headers": pairs, "server": ("192.0.2.7", 80)}

    check = HostCheck(None, "0.0.0.0", ["Demo.example"])
    assert check.problem(scope(host="192.0.2.7")) is None  # the address it arrived at
    assert check.problem(scope(host="demo.example", origin="https://demo.example")) is None
    assert check.problem(scope(host="[::1]:80", origin="http://[::1]:80")) is None
    assert "--allow-host" in check.problem(scope(host="192.0.2.8"))
    assert "other sites" in check.problem(scope(host="localhost:80", origin="http://localhost:81"))


LONG = {
    "numbers": (":predict", b'{"instances": [' + b"1.5," * 4_000_000 + b"1.5]}"),
    "lists": (":predict", b'{"instances": [' + b"[1]," * 4_000_000 + b"[1]]}"),
    "examples": (
        ":classify",
        b'{"signature_name": "classify", "examples": ['
        + b'{"x":1.5},' * 1_600_000
        + b'{"x":1.5}]}',
    ),
    "texts": (
        ":predict",
        b'{"signature_name": "classify", "inputs": [' + b'"",' * 5_000_000 + b'""]}',
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", LONG)
def test_the_timeout_covers_the_parsing_of_long_requests(server, kind):
    start = time.monotonic()
    status, answer = rest(server, *LONG[kind])
    if kind != "texts" or status != 400:  # no Examples: an error, if there is time for it
        assert (status, answer) == (504, {"error": "The time for the call is over."})
    assert time.monotonic() - start < 2 + 10  # one step of a library at most
    assert rest(server, ":predict", {"instances": [1.0]}) == (200, {"predictions": [1.0]})


def test_slow_connections_shut_nobody_out(server):
    heads = (b"", b"POST /v1/models/fa", POST + b"Content-Length: 100\r\n\r\n{")
    with contextlib.ExitStack() as stack:
        for number in range(3 * 64):  # 64 are held
            connection = socket.create_connection(("127.0.0.1", server.rest_port))
            stack.enter_context(connection)
            connection.sendall(heads[number % 3])
        time.sleep(0.2)
        for _ in range(20):
            start = time.monotonic()
            assert rest(server, ":predict", {"instances": [2.0]}) == (200, {"predictions": [2.0]})
            assert time.monotonic() - start < 2


SERVE = """
import sys
from keras_deep_emotion.cli import run
sys.argv = ["cli.py", "serve", sys.argv[1], "--local", "--port", "0", "--rest-port", "0"]
run()
"""


@pytest.mark.slow
def test_sigterm_answers_running_calls(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        line = next(line for line in process.stdout if line.startswith("REST: "))
        port = int(line.split(":")[3].partition("/")[0])
        body = json.dumps(slow_request(30_000)).encode()
        head = POST + f"Content-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head + body)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            connection.settimeout(30)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


DOCUMENTS = (
    (":predict", {"signature_name": "serving_default", "instances": [1.0, 2.5]}),
    (":predict", {"signature_name": "serving_default", "instances": [{"x": 1.0}, {"x": 2.0}]}),
    (":predict", {"signature_name": "classify", "inputs": {"inputs": ["a", {"b64": "AA=="}]}}),
    (
        ":classify",
        {"signature_name": "classify", "context": {"x": 1.0}, "examples": [{"x": [0.5]}, {}]},
    ),
)


@pytest.mark.parametrize("seed", range(4))
def test_documents_of_other_types_are_no_internal_errors(server, seed):
    path, document = DOCUMENTS[seed]
    for place, changed in damaged_values(document, seed, 60):
        status, answer = rest(server, path, changed)
        assert status in (200, 400, 404), (place, answer)
