"""Errors of requests: a gRPC status code, and the HTTP status that goes with it."""

import grpc

DEFAULT_SIGNATURE = "serving_default"
# TensorFlow's error codes are gRPC's.
CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
# tensorflow_serving/model_servers/http_server.cc, ToHTTPStatusCode, as far as our codes go.
HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
}


class ServingError(Exception):
    """An error to report to the client, by the name of a gRPC status code."""

    def __init__(self, code: str, message: str, http_status: int | None = None):
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status or HTTP_STATUS.get(code, 500)

    @classmethod
    def from_tensorflow(cls, error) -> "ServingError":
        """The same error as a `tf.errors.OpError`."""
        return cls(CODE_NAMES.get(error.error_code, "UNKNOWN"), error.message)


def invalid(message: str) -> ServingError:
    """An INVALID_ARGUMENT error."""
    return ServingError("INVALID_ARGUMENT", message)
