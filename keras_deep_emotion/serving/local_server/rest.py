"""The REST side: TensorFlow Serving's routes as a Starlette application, run by uvicorn.

Routes are those of tensorflow_serving/model_servers/http_rest_api_handler; the limits are ours.
"""

import asyncio
import json
import zlib
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf
import uvicorn
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route
from tensorflow_serving.apis.model_pb2 import ModelSpec
from uvicorn.protocols.http.h11_impl import H11Protocol

from keras_deep_emotion.exports import is_version
from keras_deep_emotion.serving.hosts import HostCheck
from keras_deep_emotion.serving.local_server import calls, json_tensors
from keras_deep_emotion.serving.local_server.errors import DEFAULT_SIGNATURE, ServingError, invalid

LATE = 0.5  # ours, seconds: what a call may be late by


def message_json(message):
    """JSON value of a protocol buffer, with the fields that have their default values."""
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def get_metadata(versions, spec, body, check):
    """Answer to GET of a model's metadata."""
    answer = message_json(calls.metadata(versions, spec))
    del answer["metadata"]["signature_def"]["@type"]
    return answer


def post_predict(versions, spec, body, check):
    """Answer to POST of :predict."""
    document = json_tensors.parse(body)
    with versions.use(spec) as version:
        signature = version.signature(document.get("signature_name") or DEFAULT_SIGNATURE)
        dtypes = {name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()}
        inputs, in_rows = json_tensors.predict_inputs(document, dtypes, check)
        del document  # it takes many times the memory of the arrays
        check()
        outputs = version.run(signature, inputs)
    return json_tensors.predictions(outputs, in_rows, check)


def post_classify(versions, spec, body, check):
    """Answer to POST of :classify."""
    document = json_tensors.parse(body)
    spec.signature_name = document.get("signature_name") or DEFAULT_SIGNATURE
    response = calls.classify(versions, spec, *json_tensors.to_examples(document, check), check)
    rows = response.result.classifications
    return {"results": [[[one.label, one.score] for one in row.classes] for row in rows]}


def post_regress(versions, spec, body, check):
    """Answer to POST of :regress, for which no export has a signature."""
    raise ServingError("UNIMPLEMENTED", "The local server has no :regress.")


ENDPOINTS = (
    ("POST", ":predict", post_predict),
    ("POST", ":classify", post_classify),
    ("POST", ":regress", post_regress),
    ("GET", "/metadata", get_metadata),
    ("GET", "", lambda versions, spec, body, check: message_json(calls.status(versions, spec))),
)


def model_spec(name, version=None, label=None):
    """ModelSpec of the parts of a path."""
    if version is not None and not is_version(version):
        raise HTTPException(404)
    return ModelSpec(name=name, version=version and {"value": int(version)}, version_label=label)


async def read_body(request, max_bytes):
    """Bytes of a request's body; refused if longer than `max_bytes`, also after decompression.

    As in TensorFlow Serving, gzip is decompressed, and any other encoding is ignored.
    """
    message = f"The request is longer than {max_bytes} bytes."
    too_long = ServingError("RESOURCE_EXHAUSTED", message, 413)
    if {"content-length", "transfer-encoding"} <= {*request.headers.keys()}:
        # Where such a request ends is a matter of opinion, by which others are smuggled in.
        raise ServingError("INVALID_ARGUMENT", "Two lengths: name one.", 411)
    if int(request.headers.get("Content-Length", 0)) > max_bytes:
        raise too_long
    is_gzip = "gzip" in request.headers.get("Content-Encoding", "")
    stream = zlib.decompressobj(wbits=31) if is_gzip else None  # 31: gzip
    body, received = bytearray(), 0
    try:
        async for part in request.stream():
            received += len(part)
            body += stream.decompress(part, max_bytes + 1 - len(body)) if stream else part
            if max(received, len(body)) > max_bytes:
                raise too_long
    except ClientDisconnect:
        raise invalid("The client disconnected.") from None
    except zlib.error as error:
        raise invalid(f"The body is not valid gzip: {error}") from None
    if stream and not stream.eof:
        raise invalid("The body is not valid gzip: it ends too early.")
    return bytes(body)


def json_response(content, status_code=200, close=False):
    """Response of a JSON value; NaN and infinity are written as TensorFlow Serving writes them."""
    headers = {"Connection": "close"} if close else None
    return Response(json.dumps(content) + "\n", status_code, headers, "application/json")


def on_error(request, error):
    """Response to an error; uvicorn logs the traceback of a bug."""
    if isinstance(error, ServingError):
        close = error.http_status in (408, 411)  # the rest of the request is not awaited
        return json_response({"error": error.message}, error.http_status, close)
    message, status_code = f"{type(error).__name__}: {error}", 500
    if isinstance(error, HTTPException):  # no route for the path or method
        message = f"Malformed request: {request.method} {request.url.path}"
        status_code = 400 if request.url.path.startswith("/v1/") else 404
    return json_response({"error": message}, status_code)


def build_app(versions, max_bytes, read_timeout, threads, hosts):
    """The Starlette application; requests are answered in threads, not in the event loop.

    `hosts` are arguments of `HostCheck`.
    """
    executor = ThreadPoolExecutor(threads, "rest")

    def endpoint(function):
        async def answer(request):
            try:
                body = await asyncio.wait_for(read_body(request, max_bytes), read_timeout)
            except TimeoutError:
                message = f"The request took longer than {read_timeout:g} s to arrive."
                raise ServingError("DEADLINE_EXCEEDED", message, 408) from None

            deadline = json_tensors.Deadline(versions.timeout)

            def work():
                spec = model_spec(**request.path_params)
                content = function(versions, spec, body, deadline.check)
                deadline.check()
                return json_response(content)

            working = asyncio.get_running_loop().run_in_executor(executor, work)
            try:
                # `work` ends by itself soon after; meanwhile a library may hold it up.
                return await asyncio.wait_for(asyncio.shield(working), versions.timeout + LATE)
            except TimeoutError:
                working.add_done_callback(lambda done: done.exception())
                message = "The time for the call is over."
                raise ServingError("DEADLINE_EXCEEDED", message) from None

        return answer

    routes = [
        Route("/v1/models/{name}" + version + suffix, endpoint(function), methods=[method])
        for version in ("", "/versions/{version}", "/labels/{label}")
        for method, suffix, function in ENDPOINTS
    ]
    handlers = dict.fromkeys((ServingError, HTTPException, Exception), on_error)
    middleware = [Middleware(HostCheck, *hosts)]
    app = Starlette(routes=routes, exception_handlers=handlers, middleware=middleware)
    app.router.redirect_slashes = False
    return app


class TimedConnection(H11Protocol):
    """uvicorn's connection, closed if its first request does not begin in time.

    uvicorn 0.54 limits the time between two requests only. At the limit of connections, a new one
    takes the place of the one that has waited for its client the longest.
    """

    def connection_made(self, transport):
        """Start the clock."""
        super().connection_made(transport)
        self.waiting_since = self.loop.time()
        self.loop.call_later(self.timeout_keep_alive, lambda: self.scope or transport.close())
        idle = [one for one in self.connections - {self} if one.waits_for_client()]
        if idle and len(self.connections) >= self.limit_concurrency:
            oldest = min(idle, key=lambda one: one.waiting_since)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def waits_for_client(self):
        """Whether the client has yet to send the rest of a request, or to take an answer."""
        cycle = self.cycle
        has_request = cycle is not None and not cycle.response_complete and not cycle.more_body
        return not has_request or self.flow.write_paused


def build_server(versions, max_bytes, read_timeout, parallel, hosts):
    """The uvicorn server; it holds sixteen times as many connections as calls run at once."""
    connections = 16 * parallel
    config = uvicorn.Config(
        build_app(versions, max_bytes, read_timeout, connections, hosts),
        http=TimedConnection,
        log_config=None,
        access_log=False,
        limit_concurrency=connections + 1,  # the connection that gets status 503 is counted
        timeout_keep_alive=read_timeout,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
