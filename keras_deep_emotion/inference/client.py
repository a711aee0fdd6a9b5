"""The client of an export behind TensorFlow Serving, over gRPC or REST.

An address is `SCHEME://HOST[:PORT][/NAME[/versions/N | /labels/LABEL]]`:

- `grpc`, port 8500, and `grpcs`, which is the same over TLS;
- `http`, port 8501, and `https`.

NAME is the model's, `ferplus` where there is none; `/v1/models/NAME/...`, as in the server's own
URLs, will do too. What connects to a server looks like any other model (`predict.Model`).
"""

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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

from keras_deep_emotion.images.inputs import check_batch, to_encoded
from keras_deep_emotion.inference.predictors import predict_batches
from keras_deep_emotion.saliency.occlusion import SaliencyMaps

PORTS = {"grpc": 8500, "grpcs": 8500, "http": 8501, "https": 8501}


DEFAULT_NAME = "ferplus"


MOST_BYTES = 16 * 2**20  # ours: of files in one request


MOST_FILES = 64  # in one request: max_batch_size of exports/batching.config


MOST_MAPS = 8  # ours: files in one request for maps, some seconds of a server on two cores


TRIES = 5  # ours: a server that is just starting has some 6 s


FIRST_PAUSE = 0.4  # seconds, doubled at each further try


@dataclass(frozen=True)
class ServerAddress:
    """Where a model is served.

    Attributes:
        scheme: grpc, grpcs, http or https.
        target: HOST:PORT.
        name: the model's.
        version: a number, or None.
        label: a version's label, or None.
    """

    scheme: str
    target: str
    name: str
    version: int | None
    label: str | None

    @classmethod
    def parse(cls, text):
        """Read an address.

        Raises:
            ValueError: it is none.
        """
        parts = urlsplit(text)
        steps = [step for step in parts.path.split("/") if step]
        if steps[:2] == ["v1", "models"]:
            steps = steps[2:]
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        kind, value = steps[1:3] if len(steps) == 3 else (None, None)
        good = kind == "labels" or (kind == "versions" and value.isdecimal()) or len(steps) < 2
        if parts.scheme not in PORTS or not host or parts.query or not good:
            raise ValueError(
                "A server is SCHEME://HOST[:PORT][/NAME[/versions/N or /labels/LABEL]], scheme "
                f"grpc, grpcs, http or https. Received: {text}"
            )
        host = f"[{host}]" if ":" in host else host
        return cls(
            scheme=parts.scheme,
            target=f"{host}:{port or PORTS[parts.scheme]}",
            name=steps[0] if steps else DEFAULT_NAME,
            version=int(value) if kind == "versions" else None,
            label=value if kind == "labels" else None,
        )

    @property
    def path(self):
        """NAME, and /versions/N or /labels/LABEL where one is named."""
        if self.label:
            return f"{self.name}/labels/{self.label}"
        return self.name if self.version is None else f"{self.name}/versions/{self.version}"

    def __str__(self):
        """The address as it is written."""
        return f"{self.scheme}://{self.target}/{self.path}"


def connect(
    address: str, timeout: float = 30.0, authority: str | Path | None = None
) -> "ServerPredictor":
    """Connect to a served model.

    While the server is unavailable, each request is tried `TRIES` times, with doubling pauses.

    Args:
        address: See the top of this file.
        timeout: Seconds allowed for a try.
        authority: PEM file of the certificates to trust over grpcs or https; None for those that
            the system (for gRPC: its library) trusts.

    Raises:
        ConnectionError: If there is no server, or it closed the connection.
        TimeoutError: If it did not answer in time.
        ValueError: If the address is invalid, or the served model is not an export of this package.
        FileNotFoundError: If the file of certificates does not exist.
    """
    parsed = ServerAddress.parse(address)
    if authority is not None and not Path(authority).is_file():
        raise FileNotFoundError(f"{authority} is not a file of certificates.")
    client = GrpcClient if parsed.scheme.startswith("grpc") else RestClient
    return ServerPredictor(client(parsed, timeout, authority))


class ServerPredictor:
    """A served model. Methods are those of `predictors.RunPredictor`; images travel as files.

    Args:
        client: `GrpcClient` or `RestClient`.

    Attributes:
        labels: Class names, in the order of the probabilities.
        size: None: the server resizes the images.
        network: None: a server's layers cannot be read.
    """

    size = None
    network = None

    def __init__(self, client):
        self._client = client
        self.labels = client.labels()

    def predict_bytes(self, contents: list[bytes]) -> np.ndarray:
        """Probabilities of JPEG or PNG files; a row of zeros where one cannot be read."""
        parts = split_requests(contents, MOST_FILES)
        return np.concatenate([self._client.predict_bytes(part) for part in parts])

    def predict(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """As `RunPredictor.predict`; levels are rounded to integers."""
        files = [to_encoded(image, place) for place, image in enumerate(check_batch(images))]
        return predict_batches(self.predict_bytes, files, batch_size, len(self.labels))

    def explain(
        self, images: Any, window: int = 8, stride: int = 2, filling: str = "zero"
    ) -> SaliencyMaps:
        """As `RunPredictor.explain`, with the default settings, which the export was made with."""
        if not len(check_batch(images)):
            raise ValueError("images must hold one image or more. Received: none")
        if (window, stride, filling) != (8, 2, "zero"):
            raise ValueError(
                "A server's maps are made with window=8, stride=2, filling='zero'. Received: "
                f"{window}, {stride}, {filling!r}; load the run or the export itself."
            )
        files = [to_encoded(image, place) for place, image in enumerate(images)]
        maps = [self._client.explain_bytes(part) for part in split_requests(files, MOST_MAPS)]
        return SaliencyMaps(*map(np.concatenate, zip(*maps, strict=True)))


def split_requests(files, most):
    """Files for requests of a bounded size.

    Args:
        files: list of bytes, one or more.
        most: files in one request.

    Returns:
        List of lists of files, in order.
    """
    parts, size = [[]], 0
    for file in files:
        if parts[-1] and (size + len(file) > MOST_BYTES or len(parts[-1]) == most):
            parts.append([])
            size = 0
        parts[-1].append(file)
        size += len(file)
    return parts


class GrpcClient:
    """A served model over gRPC.

    Args:
        address: `Address`.
        timeout: seconds that a try may take.
        authority: file of the certificates to trust, or None.
    """

    def __init__(self, address, timeout, authority):
        self.address = address
        self.timeout = timeout
        options = [
            ("grpc.max_receive_message_length", -1),
            # Each try looks for the server anew, also within gRPC's own pause of a second and more.
            ("grpc.min_reconnect_backoff_ms", int(1000 * FIRST_PAUSE)),
            ("grpc.initial_reconnect_backoff_ms", int(1000 * FIRST_PAUSE)),
            ("grpc.max_reconnect_backoff_ms", int(1000 * FIRST_PAUSE)),
        ]
        if address.scheme == "grpcs":
            roots = Path(authority).read_bytes() if authority else None
            credentials = grpc.ssl_channel_credentials(roots)
            channel = grpc.secure_channel(address.target, credentials, options)
        else:
            channel = grpc.insecure_channel(address.target, options)
        self.service = PredictionServiceStub(channel)

    def labels(self):
        """Names of the classes: what `classify` calls those of a file that is none."""
        request = ClassificationRequest()
        example = request.input.example_list.examples.add()
        example.features.feature["image_bytes"].bytes_list.value.append(b"")
        result = self.call(self.service.Classify, request, "classify").result
        return [one.label for one in result.classifications[0].classes]

    def predict_bytes(self, files):
        """Probabilities of files: (files, classes) float32."""
        return tf.make_ndarray(self.outputs("predict_bytes", files)["probabilities"])

    def explain_bytes(self, files):
        """Maps of files, as `predict.Model.explain` gives them."""
        outputs = self.outputs("saliency_bytes", files)
        return SaliencyMaps(*(tf.make_ndarray(outputs[name]) for name in SaliencyMaps._fields))

    def outputs(self, signature, files):
        """All outputs, few as they are wanted: the server batches requests of whole signatures."""
        request = PredictRequest()
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(files, tf.string))
        return self.call(self.service.Predict, request, signature).outputs

    def call(self, method, request, signature):
        """Send a request; its failure as an error of Python's."""
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
    """A served model over REST.

    Args:
        address: `Address`.
        timeout: seconds that a try may take.
        authority: file of the certificates to trust, or None.
    """

    def __init__(self, address, timeout, authority):
        self.address = address
        self.timeout = timeout
        self.session = requests.Session()
        # Given with each request: of the session's own, requests lets REQUESTS_CA_BUNDLE win.
        self.verify = str(authority) if authority else None
        retry = Retry(
            total=TRIES - 1,
            backoff_factor=FIRST_PAUSE,
            status_forcelist=[503],  # unavailable
            allowed_methods=None,  # asking twice changes nothing
            read=0,  # what was slow once is not asked again
            raise_on_status=False,
        )
        self.url = f"{address.scheme}://{address.target}/v1/models/{address.path}"
        self.session.mount(f"{address.scheme}://", HTTPAdapter(max_retries=retry))

    def labels(self):
        """Names of the classes: what `classify` calls those of a file that is none."""
        body = {"signature_name": "classify", "examples": [{"image_bytes": {"b64": ""}}]}
        return [label for label, _ in self.post("classify", body)["results"][0]]

    def predict_bytes(self, files):
        """Probabilities of files: (files, classes) float32."""
        return np.array(self.outputs("predict_bytes", files)["probabilities"], np.float32)

    def explain_bytes(self, files):
        """Maps of files, as `predict.Model.explain` gives them."""
        outputs = self.outputs("saliency_bytes", files)
        kinds = SaliencyMaps(np.float32, np.int64, np.float32, bool)
        return SaliencyMaps(
            *(np.array(outputs[name], kind) for name, kind in kinds._asdict().items())
        )

    def outputs(self, signature, files):
        """All outputs of a signature for files, as lists of numbers."""
        encoded = [{"b64": base64.b64encode(file).decode()} for file in files]
        body = {"signature_name": signature, "inputs": {"image_bytes": encoded}}
        return self.post("predict", body)["outputs"]

    def post(self, verb, body):
        """Send a request; its failure as an error of Python's."""
        try:
            answer = self.session.post(
                f"{self.url}:{verb}", json=body, timeout=self.timeout, verify=self.verify
            )
        except requests.exceptions.SSLError as error:
            reason = getattr(error.args[0], "reason", error)
            raise ConnectionError(
                f"{self.address} is not trusted: {reason}. --authority names the file of the "
                "certificate that vouches for it."
            ) from None
        except requests.exceptions.ConnectionError as error:
            # urllib3 counts a time-out of reading among its tries.
            if "Read timed out" in str(error):
                raise timeout_error(self.address, self.timeout) from None
            reason = getattr(error.args[0], "reason", error.args[0])
            broken_off = isinstance(reason, ProtocolError)  # what `read` above is of
            raise unreachable_error(
                self.address, type(error).__name__, 1 if broken_off else TRIES
            ) from None
        except requests.exceptions.Timeout:
            raise timeout_error(self.address, self.timeout) from None
        if answer.status_code == 503:
            raise unreachable_error(self.address, answer.text.strip())
        try:
            content = answer.json()
        except ValueError:
            content = {}
        if answer.status_code != 200 or not isinstance(content, dict):
            details = content.get("error") if isinstance(content, dict) else None
            raise rejected_error(self.address, answer.status_code == 404, details or answer.reason)
        return content


def unreachable_error(address, details, tries=TRIES):
    """The error of a server that is not there."""
    often = f"tried {tries} times" if tries > 1 else "or broke off"
    return ConnectionError(
        f"{address} does not answer, {often}: {details}. `python cli.py serve EXPORT` starts a "
        "server."
    )


def timeout_error(address, timeout):
    """The error of a server that takes too long."""
    return TimeoutError(f"{address} did not answer within {timeout:g} s; --timeout allows more.")


def rejected_error(address, missing, details):
    """The error of a request that the server turned down."""
    # A label that is not there is no NOT_FOUND to the server.
    remedy = (
        "Name a model that is served there."
        if missing or "version label" in str(details)
        else "Is it an export of ours, as `python cli.py verify` passes?"
    )
    return ValueError(f"{address} refuses: {str(details).rstrip('.')}. {remedy}")
