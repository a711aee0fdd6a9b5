"""A request that is not answered: the gRPC code and text, and the HTTP status that goes with it."""

import grpc

# TensorFlow's error codes are gRPC's.
NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


# tensorflow_serving/model_servers/http_server.cc, ToHTTPStatusCode; what is not here is 500.
HTTP_STATUS = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}


class ServingError(Exception):
    """Why a request is not answered.

    Attributes:
        code: name of a gRPC status code, such as `NOT_FOUND`.
        message: the server's text.
    """

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message

    @classmethod
    def of(cls, error):
        """The same of an error of TensorFlow."""
        return cls(NAMES.get(error.error_code, "UNKNOWN"), error.message)

    @property
    def http_status(self):
        """The HTTP status, as a number."""
        return HTTP_STATUS.get(self.code, 500)


def invalid(message):
    """The most frequent refusal: INVALID_ARGUMENT."""
    return ServingError("INVALID_ARGUMENT", message)
