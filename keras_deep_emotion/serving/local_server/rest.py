"""The REST side: the server's routes over HTTP/1.1, with bounds for clients that misbehave.

Routes and answers are those of tensorflow_serving/model_servers/http_rest_api_handler and its
util; the bounds are ours.
"""

import io
import logging
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from google.protobuf import json_format
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    regression_pb2,
)

from keras_deep_emotion.serving.local_server.calls import (
    classify,
    example_input,
    metadata,
    predict,
    regress,
    signature_inputs,
    status,
)
from keras_deep_emotion.serving.local_server.errors import ServingError, invalid
from keras_deep_emotion.serving.local_server.json_answers import (
    classifications_text,
    error_text,
    predictions_text,
    regressions_text,
)
from keras_deep_emotion.serving.local_server.json_requests import (
    examples,
    predict_inputs,
    signature_name,
)
from keras_deep_emotion.serving.local_server.json_text import encoded, parse

MODEL = r"(?i:/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?"


CALL = re.compile(MODEL + r":(classify|regress|predict))")


STATUS = re.compile(
    r"(?i:/v1/models(?:/([^/:]+))?(?:/versions/([0-9]+)|/labels/([^/:]+))?(?:/(metadata))?)"
)


LARGEST_INT64 = 2**63 - 1


LINGER = 2  # ours: seconds to read on after a refusal, so that the client sees it


def model_spec(name, version, label):
    """ModelSpec of the parts of a path."""
    spec = model_pb2.ModelSpec(name=unquote(name or "", errors="replace"))
    if version:
        spec.version.value = int(version)
    if label:
        spec.version_label = unquote(label, errors="replace")
    return spec


def message_text(message, **options):
    """JSON of a protocol buffer, with the fields that are at their defaults."""
    return json_format.MessageToJson(
        message, indent=1, always_print_fields_with_no_presence=True, **options
    )


def status_text(versions, spec):
    """Answer to GET of a model's status."""
    request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
    return message_text(status(versions, request)) + "\n"


def metadata_text(versions, spec):
    """Answer to GET of a model's metadata."""
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec=spec, metadata_field=["signature_def"]
    )
    response = metadata(versions, request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    spec_text, signatures_text = (
        message_text(message, preserving_proto_field_name=True)
        for message in (response.model_spec, signatures)
    )
    return (
        f'{{\n"model_spec":{spec_text},\n"metadata": {{"signature_def": {signatures_text}}}\n}}\n'
    )


def predict_text(versions, spec, body):
    """Answer to POST of :predict."""
    document = parse(body)
    spec.signature_name = signature_name(document)
    infos = signature_inputs(versions, spec)
    inputs, in_rows = predict_inputs(document, infos)
    return predictions_text(predict(versions, spec, inputs), in_rows)


def examples_text(versions, spec, body, method):
    """Answer to POST of :classify or :regress."""
    document = parse(body)
    spec.signature_name = signature_name(document)
    made = example_input(*examples(document))
    if method == "classify":
        request = classification_pb2.ClassificationRequest(model_spec=spec, input=made)
        return classifications_text(classify(versions, request).result)
    request = regression_pb2.RegressionRequest(model_spec=spec, input=made)
    return regressions_text(regress(versions, request).result)


def respond(versions, verb, path, body):
    """Answer a request of the REST interface.

    Args:
        versions: `Versions`.
        verb: GET, POST, ...
        path: the URL's path.
        body: bytes.

    Returns:
        Text of the JSON.

    Raises:
        Refusal: as the server refuses.
    """
    malformed = invalid(f"Malformed request: {verb} {path}")
    route = {"GET": STATUS, "POST": CALL}.get(verb)
    match = route and route.fullmatch(path)
    if not match:
        raise malformed
    name, version, label, last = match.groups()
    if version and int(version.lstrip("0")[:20] or "0") > LARGEST_INT64:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    spec = model_spec(name, version, label)
    if verb == "POST":
        if last == "predict":
            return predict_text(versions, spec, body)
        if last in ("classify", "regress"):
            return examples_text(versions, spec, body, last)
        raise malformed  # :PREDICT
    if not name:
        raise invalid("Missing model name in request.")
    return metadata_text(versions, spec) if last == "metadata" else status_text(versions, spec)


class TooLarge(Exception):
    """A request's body is longer than allowed."""


class Stream(io.RawIOBase):
    """Bytes of a socket, until a moment that does not move with each byte that comes.

    Args:
        connection: socket.

    Attributes:
        deadline: `time.monotonic()` after which nothing is read.
    """

    def __init__(self, connection):
        self.connection = connection
        self.deadline = None

    def readable(self):
        """Yes."""
        return True

    def readinto(self, buffer):
        """Read what has come, or wait for it until the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        self.connection.settimeout(left)
        return self.connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "keras-deep-emotion-stand-in"
    sys_version = ""
    disable_nagle_algorithm = True

    def setup(self):
        """Read by way of `Stream`."""
        super().setup()
        self.rfile.close()
        self.stream = Stream(self.connection)
        self.rfile = io.BufferedReader(self.stream)

    def handle_one_request(self):
        """One request of the connection, which must have come within the time for it."""
        self.stream.deadline = time.monotonic() + self.server.read_timeout
        try:
            super().handle_one_request()
        except OSError:  # the client is gone
            self.close_connection = True

    def log_message(self, *arguments):
        """Nothing: the server logs no requests."""

    def handle_expect_100(self):
        """Refuse what is too long before it is sent."""
        if self.length() > self.server.max_bytes:
            self.refuse_length()
            return False
        return super().handle_expect_100()

    def length(self):
        """Length of the body, 0 if none is given; raises ValueError if it is no number."""
        text = self.headers.get("Content-Length", "0")
        if not text.isdecimal():
            raise ValueError("Content-Length is no number.")
        return int(text[:20])

    def body(self):
        """The request's body.

        Raises:
            TooLarge: it is longer than allowed.
            ValueError: its length or its chunks are not as HTTP has them.
        """
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = self.length()
            if length > self.server.max_bytes:
                raise TooLarge
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionError("the client went away")
            return body
        parts, total = [], 0
        while size := int(self.rfile.readline(100).split(b";")[0], 16):
            total += size
            if size < 0 or total > self.server.max_bytes:
                raise TooLarge
            parts.append(self.rfile.read(size))
            self.rfile.readline(100)
        while self.rfile.readline(1000).strip():  # trailers
            pass
        return b"".join(parts)

    def send(self, status, text, kind="application/json"):
        """Send an answer."""
        content = encoded(text)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.connection.settimeout(self.server.read_timeout)  # a client that does not read
            self.wfile.write(content)

    def refuse_length(self):
        """Answer 413 and read on for a moment: else the client may see a broken pipe only."""
        self.close_connection = True
        limit = self.server.max_bytes
        self.send(413, error_text(f"The request is longer than {limit} bytes."))
        self.connection.shutdown(socket.SHUT_WR)
        self.stream.deadline = time.monotonic() + LINGER
        try:
            while self.rfile.read1(65536):
                pass
        except TimeoutError:
            pass

    def answer(self):
        """Answer a request of whatever method."""
        path = self.path.partition("?")[0].partition("#")[0]
        try:
            body = self.body()
        except TooLarge:
            self.refuse_length()
            return
        except TimeoutError:
            self.close_connection = True
            self.send(408, error_text("The request took too long to come."))
            return
        except ValueError as error:
            self.close_connection = True
            self.send(400, error_text(str(error)))
            return
        if not re.fullmatch(r"(?i:/v1/.*)", path):
            self.send(404, "<html><body><h1>Not Found</h1></body></html>\n", "text/html")
            return
        try:
            status, text = 200, respond(self.server.versions, self.command, path, body)
        except ServingError as refusal:
            status, text = refusal.http_status, error_text(refusal.message)
        except Exception as error:  # a bug of ours fails one request, not the server
            logging.exception("a REST request failed")
            status, text = 500, error_text(f"{type(error).__name__}: {error}")
        self.send(status, text)

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer


class RestServer(ThreadingHTTPServer):
    """The HTTP server.

    Args:
        versions: `Versions`.
        host: address to listen at.
        port: port, 0 for a free one.
        max_bytes: longest body of a request.
        read_timeout: seconds within which a request must have come, and the next one begun.
        connections: how many are held at once; more are closed with status 503.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, versions, host, port, max_bytes, read_timeout, connections):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.versions = versions
        self.max_bytes = max_bytes
        self.read_timeout = read_timeout
        self._connections = threading.BoundedSemaphore(connections)
        super().__init__((host, port), Handler)

    def server_bind(self):
        """Bind; the base class also asks for the host's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request, client_address):
        """Give a connection its thread, or close it where there are too many."""
        if self._connections.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        try:
            request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass
        self.shutdown_request(request)

    def process_request_thread(self, request, client_address):
        """One connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request, client_address):
        """Nothing: what clients break is theirs; bugs of ours are logged where they happen."""
