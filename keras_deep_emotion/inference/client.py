"""Client of an export behind TensorFlow Serving, over gRPC or REST."""

import base64
import contextlib
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import requests
import tensorflow as tf
from requests.adapters import HTTPAdapter
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub
from urllib3.exceptions import ProtocolError
from urllib3.util import Retry

from keras_deep_emotion.images.inputs import encode_image
from keras_deep_emotion.inference.addresses import ServerAddress
from keras_deep_emotion.inference.predictor import Predictor
from keras_deep_emotion.saliency.windows import DEFAULT_WINDOWS, SaliencyMaps

MOST_BYTES = 16 * 2**20  # ours: of the files in one request
MOST_FILES = 64  # in one request: max_batch_size of exports/batching.config
MOST_MAPS = 8  # ours: files in one request for maps, some seconds of a server on two cores
TRIES = 5  # ours: gives a starting server about 6 s
FIRST_PAUSE = 0.4  # seconds, doubled after each try


def connect(
    address: str, timeout: float = 30.0, authority: str | Path | None = None
) -> "ServerPredictor":
    """Connect to a served model.

    While the server is unavailable, each request is tried `TRIES` times, with doubling pauses.

    Args:
        address: See `addresses`.
        timeout: Seconds allowed for a try.
        authority: PEM file of the certificates to trust over grpcs or https; None for those that
            the system (for gRPC: its library) trusts.

    Raises:
        ConnectionError: If there is no server, or it closed the connection.
        TimeoutError: If it did not answer in time.
        ValueError: If the address is invalid, the served model is not an export of this package, or
            the file of certificates is not PEM.
        FileNotFoundError: If the file of certificates does not exist.
    """
    parsed = ServerAddress.parse(address)
    if authority is not None:
        check_authority(authority)
    client = GrpcClient if parsed.scheme.startswith("grpc") else RestClient
    return ServerPredictor(client(parsed, timeout, authority), (str(parsed), timeout, authority))


def check_authority(path: str | Path) -> None:
    """Raise FileNotFoundError or ValueError if a path is not a PEM file of certificates."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not a file of certificates.")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError(f"{path} is not a PEM file of certificates: {error}.") from None


class ServerPredictor(Predictor):
    """A served model; images travel as files, arrays as PNG, rounded to integers."""

    runtime = "server"

    def __init__(self, client: "GrpcClient | RestClient", connection: tuple = ("a server",)):
        self._client, self._connection = client, connection  # arguments of `connect`
        super().__init__(connection[0], client.labels(), size=None)

    def __reduce__(self):
        return connect, self._connection

    def prepare(self, image: Any, name: str = "image", channels: str = "rgb") -> bytes:
        """One image as a JPEG or PNG file, see `images.encode_image`."""
        return encode_image(image, name, channels)

    def _predict(self, faces: Sequence[bytes]) -> np.ndarray:
        """Probabilities of JPEG or PNG files; a row of zeros where one cannot be read."""
        parts = split_requests(faces, MOST_FILES)
        return np.concatenate([self._client.predict_bytes(part) for part in parts])

    def explain_prepared(self, faces, windows) -> SaliencyMaps:
        """See `Predictor`; the export was made with the default settings."""
        if windows != DEFAULT_WINDOWS:
            raise ValueError(
                "A server's maps are made with window=8, stride=2, filling='zero'. Received: "
                f"{windows.window}, {windows.stride}, {windows.filling!r}; load the run or the "
                "export itself."
            )
        maps = [self._client.explain_bytes(part) for part in split_requests(faces, MOST_MAPS)]
        return SaliencyMaps(*map(np.concatenate, zip(*maps, strict=True)))


def split_requests(files: list[bytes], most: int) -> list[list[bytes]]:
    """Split files into requests of at most `most` files and, if possible, `MOST_BYTES` bytes."""
    parts, size = [[]], 0
    for file in files:
        if parts[-1] and (size + len(file) > MOST_BYTES or len(parts[-1]) == most):
            parts.append([])
            size = 0
        parts[-1].append(file)
        size += len(file)
    return parts


class GrpcClient:
    """Calls a served model over gRPC; arguments as in `connect`."""

    def __init__(self, address: ServerAddress, timeout: float, authority: str | Path | None):
        self.address = address
        self.timeout = timeout
        # Connect at each try, not only after gRPC's own pause of a second and more.
        pause = int(1000 * FIRST_PAUSE)
        options = [("grpc.max_receive_message_length", -1)]
        options += [
            (f"grpc.{kind}_reconnect_backoff_ms", pause) for kind in ("min", "initial", "max")
        ]
        if address.is_loopback:  # never through a proxy
            options.append(("grpc.enable_http_proxy", 0))
        if address.scheme == "grpcs":
            roots = Path(authority).read_bytes() if authority else None
            credentials = grpc.ssl_channel_credentials(roots)
            channel = grpc.secure_channel(address.target, credentials, options)
        else:
            channel = grpc.insecure_channel(address.target, options)
        self._service = PredictionServiceStub(channel)

    def labels(self) -> list[str]:
        """Class names: `classify` returns them even for a file that cannot be read."""
        request = ClassificationRequest()
        features = request.input.example_list.examples.add().features
        features.feature["image_bytes"].bytes_list.value.append(b"")
        result = self._call(self._service.Classify, request, "classify").result
        return [one.label for one in result.classifications[0].classes]

    def predict_bytes(self, files: list[bytes]) -> np.ndarray:
        """Probabilities of files: (files, classes) float32."""
        return tf.make_ndarray(self._outputs("predict_bytes", files)["probabilities"])

    def explain_bytes(self, files: list[bytes]) -> SaliencyMaps:
        """Saliency maps of files."""
        outputs = self._outputs("saliency_bytes", files)
        return SaliencyMaps(*(tf.make_ndarray(outputs[name]) for name in SaliencyMaps._fields))

    def _outputs(self, signature, files):
        # All outputs, although few are needed: the server batches requests of whole signatures.
        request = PredictRequest()
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files, tf.string))
        return self._call(self._service.Predict, request, signature).outputs

    def _call(self, method, request, signature):
        spec = request.model_spec
        spec.name, spec.signature_name = self.address.name, signature
        if self.address.version is not None:
            spec.version.value = self.address.version
        if self.address.label:
            spec.version_label = self.address.label
        for number in range(TRIES):
            try:
                return method(request, timeout=self.timeout)
            except grpc.RpcError as error:
                code, details = error.code(), error.details()
            if code != grpc.StatusCode.UNAVAILABLE:
                break
            if number < TRIES - 1:
                time.sleep(FIRST_PAUSE * 2**number)
        if code == grpc.StatusCode.UNAVAILABLE:
            raise unreachable_error(self.address, details)
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            raise timeout_error(self.address, self.timeout)
        raise rejected_error(self.address, code == grpc.StatusCode.NOT_FOUND, details)


class RestClient:
    """Calls a served model over REST; arguments as in `connect`."""

    def __init__(self, address: ServerAddress, timeout: float, authority: str | Path | None):
        self.address = address
        self.timeout = timeout
        self._session = requests.Session()
        # Passed with each request: REQUESTS_CA_BUNDLE overrides the session's own setting.
        self._verify = str(authority) if authority else None
        # This machine is never reached through a proxy.
        self._proxies = {"no_proxy": "*"} if address.is_loopback else None
        retry = Retry(
            total=TRIES - 1,
            backoff_factor=FIRST_PAUSE,
            status_forcelist=[503],  # unavailable
            allowed_methods=None,  # all: requests change nothing
            read=0,  # do not repeat what was slow
            raise_on_status=False,
        )
        base = f"{address.scheme}://{address.target}{address.prefix}"
        self._url = f"{base}/v1/models/{address.path}"
        self._session.mount(f"{address.scheme}://", HTTPAdapter(max_retries=retry))

    def labels(self) -> list[str]:
        """As `GrpcClient.labels`."""
        body = {"signature_name": "classify", "examples": [{"image_bytes": {"b64": ""}}]}
        return [label for label, _ in self._post("classify", body, "results")[0]]

    def predict_bytes(self, files: list[bytes]) -> np.ndarray:
        """As `GrpcClient.predict_bytes`."""
        return np.array(self._outputs("predict_bytes", files)["probabilities"], np.float32)

    def explain_bytes(self, files: list[bytes]) -> SaliencyMaps:
        """As `GrpcClient.explain_bytes`."""
        outputs = self._outputs("saliency_bytes", files)
        types = zip(SaliencyMaps._fields, (np.float32, np.int64, np.float32, bool), strict=True)
        return SaliencyMaps(*(np.array(outputs[name], dtype) for name, dtype in types))

    def _outputs(self, signature, files):
        encoded = [{"b64": base64.b64encode(file).decode()} for file in files]
        body = {"signature_name": signature, "inputs": {"image_bytes": encoded}}
        return self._post("predict", body, "outputs")

    def _post(self, verb, body, key):
        try:
            response = self._session.post(
                f"{self._url}:{verb}",
                json=body,
                timeout=self.timeout,
                verify=self._verify,
                proxies=self._proxies,
            )
        except requests.exceptions.RequestException as error:
            raise self._connection_error(error) from None
        if response.status_code == 503:
            raise unreachable_error(self.address, response.text.strip())
        content = None
        with contextlib.suppress(ValueError):  # another server may answer with anything
            content = response.json()
        is_object = isinstance(content, dict)
        if response.status_code == 200 and is_object and key in content:
            return content[key]
        details = content.get("error") if is_object else None
        raise rejected_error(self.address, response.status_code == 404, details or response.reason)

    def _connection_error(self, error):
        """The error to raise for one of `requests`."""
        if isinstance(error, requests.exceptions.ReadTimeout) or "Read timed out" in str(error):
            return timeout_error(self.address, self.timeout)
        # The second: the server died while it sent its answer.
        closed = requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError
        if not isinstance(error, closed):
            return error
        reason = getattr(error.args[0], "reason", error.args[0])
        if isinstance(error, requests.exceptions.SSLError):
            return ConnectionError(
                f"{self.address}{self.address.route} is not trusted: {reason}. --authority names "
                "the file of the certificate that vouches for it."
            )
        tries = 1 if isinstance(reason, ProtocolError) else TRIES  # see `read` above
        return unreachable_error(self.address, type(error).__name__, tries)


def unreachable_error(address: ServerAddress, details: str, tries: int = TRIES) -> ConnectionError:
    """Error for a server that does not answer."""
    attempts = f"tried {tries} times" if tries > 1 else "or closed the connection"
    route = address.route or ","
    return ConnectionError(
        f"{address} does not answer{route} {attempts}: {details}. `keras-deep-emotion serve "
        "EXPORT` starts a server."
    )


def timeout_error(address: ServerAddress, timeout: float) -> TimeoutError:
    """Error for a server that takes too long."""
    return TimeoutError(
        f"{address}{address.route} did not answer within {timeout:g} s; --timeout allows more."
    )


def rejected_error(address: ServerAddress, missing: bool, details: str) -> ValueError:
    """Error for a request that the server refused; `missing`: it has no such model."""
    # For a label that does not exist, the server does not answer NOT_FOUND.
    remedy = (
        "Name a model that is served there."
        if missing or "version label" in str(details)
        else "Is it an export of this package, as `keras-deep-emotion verify` checks?"
    )
    return ValueError(f"{address}{address.route} refuses: {str(details).rstrip('.')}. {remedy}")
