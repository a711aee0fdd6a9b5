"""The client, against real servers on loopback."""

import json
import socket
import ssl
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import keras
import numpy as np
import pytest
import requests
import tensorflow as tf
import trustme
from click.testing import CliRunner
from PIL import Image
from tensorflow_serving.apis.prediction_service_pb2_grpc import (
    add_PredictionServiceServicer_to_server,
)

from keras_deep_emotion.cli import main
from keras_deep_emotion.inference import client
from keras_deep_emotion.inference.addresses import ServerAddress
from keras_deep_emotion.inference.client import (
    MOST_MAPS,
    GrpcClient,
    RestClient,
    connect,
    split_requests,
)
from keras_deep_emotion.inference.loading import load_path
from keras_deep_emotion.inference.media import predict_crops
from keras_deep_emotion.serving.local_server import LocalServer
from keras_deep_emotion.serving.local_server.rpc import PredictionService


@pytest.fixture(scope="module")
def server(export_dir):
    """The session's export behind the local server, on free ports."""
    with LocalServer(
        export_dir.parent, "toon_faces", port=0, rest_port=0, labels={"old": 1}
    ) as running:
        yield running


@pytest.fixture(params=["grpc", "http"])
def address(request, server):
    """Address of the model, over gRPC and over REST."""
    port = server.port if request.param == "grpc" else server.rest_port
    return f"{request.param}://127.0.0.1:{port}/toon_faces"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Five images, JPEG and PNG, grey and RGB."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    paths = [folder / name for name in ("a.png", "b.jpg", "c.png", "d.jpg", "e.png")]
    for i, path in enumerate(paths):
        pixels = random.integers(0, 256, (60, 50) if i % 2 else (48, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    return paths


@pytest.mark.parametrize(
    ("text", "target", "name", "version", "label"),
    [
        ("grpc://host/face", "host:8500", "face", None, None),
        ("grpcs://host:443/face", "host:443", "face", None, None),
        ("http://host", "host:8501", "ferplus", None, None),
        ("http://host:80/v1/models/face", "host:80", "face", None, None),
        ("https://host/face/versions/12", "host:8501", "face", 12, None),
        ("grpc://[::1]:9/v1/models/face/labels/old", "[::1]:9", "face", None, "old"),
    ],
)
def test_addresses(text, target, name, version, label):
    found = ServerAddress.parse(text)
    assert (found.target, found.name, found.version, found.label) == (target, name, version, label)
    assert ServerAddress.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "host:8500",
        "ftp://host/face",
        "grpc:///face",
        "http://host:port/face",
        "http://host/face/versions/new",
        "http://host/face/versions",
        "http://host/face/heads/1",
        "http://host/v1/models/face/versions/1/more",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r"A server is SCHEME://HOST\[:PORT\].*Received: "):
        connect(text)


def test_a_server_answers_as_the_export_does(address, export_dir, files):
    local, served = load_path(export_dir), connect(address)
    assert served.labels == local.labels
    expected = [one.probabilities for one in predict_crops(local, files)]
    got = list(predict_crops(served, files, batch_size=2))
    assert [one.file for one in got] == files
    np.testing.assert_allclose([one.probabilities for one in got], expected, atol=1e-6)


def test_the_command_prints_what_it_prints_locally(address, export_dir, files, tmp_path):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(files[0].read_bytes()[:90])
    pictures = [*map(str, files), str(damaged)]
    crops = ["predict", "--faces", "none"]
    for options in ([], ["--json"]):
        local = CliRunner().invoke(main, [*crops, "--model", str(export_dir), *options, *pictures])
        served = CliRunner().invoke(main, [*crops, "--server", address, *options, *pictures])
        warning, error = local.stderr.splitlines(keepends=True)
        assert "was trained on drawings" in warning  # which a server does not tell
        assert (served.exit_code, served.stderr) == (local.exit_code, error)
        assert (local.exit_code, error) == (1, f"{damaged}: the image is damaged.\n")
        if not options:
            assert served.stdout == local.stdout
            continue
        for pair in zip(served.stdout.splitlines(), local.stdout.splitlines(), strict=True):
            theirs, ours = map(json.loads, pair)
            for one in (theirs, ours):
                one.update(one.pop("probabilities"))
            assert theirs == pytest.approx(ours, abs=1e-6)


def test_a_version_or_its_label_can_be_named(address, files):
    plain = next(predict_crops(connect(address), files)).probabilities
    for which in ("versions/1", "labels/old"):
        named = next(predict_crops(connect(f"{address}/{which}"), files)).probabilities
        np.testing.assert_allclose(named, plain, atol=1e-6)
    for which in ("versions/9", "labels/new"):
        with pytest.raises(ValueError, match=r"refuses: .*Name a model that is served there\."):
            connect(f"{address}/{which}")


def test_a_model_that_is_not_there_is_one_sentence(address):
    other = address.replace("toon_faces", "none")
    done = CliRunner().invoke(main, ["predict", "--server", other, __file__])
    assert (done.exit_code, done.output) == (
        1,
        f"Error: {other} refuses: Servable not found for request: Latest(none). Name a model that "
        "is served there.\n",
    )


def test_unreadable_files_come_back_as_zeros_among_the_good(address, files):
    good = files[0].read_bytes()
    found = connect(address).predict_prepared([b"", good, good[:99], b"a text"])
    assert found.any(axis=1).tolist() == [False, True, False, False]


def test_requests_are_bounded_in_size(address, files, monkeypatch):
    model = connect(address)
    contents = [file.read_bytes() for file in files]
    whole = model.predict_prepared(contents)
    asked = []
    for kind in (GrpcClient, RestClient):
        send = kind.predict_bytes
        monkeypatch.setattr(
            kind,
            "predict_bytes",
            lambda self, part, send=send: asked.append(len(part)) or send(self, part),
        )
    monkeypatch.setattr(client, "MOST_BYTES", sum(map(len, contents[:2])))
    np.testing.assert_allclose(model.predict_prepared(contents), whole, atol=1e-6)
    assert sum(asked) == 5 and asked[0] == 2 and len(asked) >= 3
    monkeypatch.setattr(client, "MOST_BYTES", 1)
    asked.clear()
    model.predict_prepared(contents)
    assert asked == [1] * 5  # one file goes, however large


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_starts_late_is_waited_for(scheme, export_dir, no_port, files):
    ports = (
        {"port": no_port, "rest_port": 0} if scheme == "grpc" else {"port": 0, "rest_port": no_port}
    )
    started = []
    begin = threading.Timer(
        0.5, lambda: started.append(LocalServer(export_dir.parent, "toon_faces", **ports))
    )
    begin.start()
    try:
        model = connect(f"{scheme}://127.0.0.1:{no_port}/toon_faces")
        assert next(predict_crops(model, files)).probabilities.sum() == pytest.approx(1, abs=1e-4)
    finally:
        begin.join()
        started[0].stop()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_no_server_is_one_sentence_after_five_tries(scheme, no_port, monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    url = f"{scheme}://127.0.0.1:{no_port}/face"
    done = CliRunner().invoke(main, ["predict", "--server", url, __file__])
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: {url} does not answer, tried 5 times: ")
    assert done.output.endswith("`keras-deep-emotion serve EXPORT` starts a server.\n")
    assert done.output.count("\n") == 1


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_silent_is_given_up(scheme):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/face"
        start = time.monotonic()
        # To gRPC, who never greets is no server; over REST it is a slow one.
        kinds = (TimeoutError, ConnectionError) if scheme == "grpc" else TimeoutError
        with pytest.raises(kinds, match="did not answer within 0.5 s|does not answer, tried"):
            connect(url, timeout=0.5)
        assert time.monotonic() - start < 12  # five tries, and their pauses


class Busy(PredictionService):
    """Unavailable for the first calls."""

    def __init__(self, versions, refusals):
        super().__init__(versions)
        self.refusals = refusals
        self.asked = []

    def Classify(self, request, context):
        self.asked.append(time.monotonic())
        if len(self.asked) <= self.refusals:
            context.abort(grpc.StatusCode.UNAVAILABLE, "busy")
        return super().Classify(request, context)


@pytest.mark.parametrize("refusals", [3, 9])
def test_unavailable_is_asked_again_with_pauses_that_double(refusals, server, monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.05)
    service = Busy(server.versions, refusals)
    busy = grpc.server(futures.ThreadPoolExecutor(2))
    add_PredictionServiceServicer_to_server(service, busy)
    port = busy.add_insecure_port("127.0.0.1:0")
    busy.start()
    try:
        if refusals == 3:
            assert len(connect(f"grpc://127.0.0.1:{port}/toon_faces").labels) == 7
        else:
            with pytest.raises(ConnectionError, match="tried 5 times: busy"):
                connect(f"grpc://127.0.0.1:{port}/toon_faces")
    finally:
        busy.stop(0)
    pauses = np.diff(service.asked)
    assert len(pauses) == (3 if refusals == 3 else 4)
    # Never shorter than asked for; a loaded machine may make them longer.
    assert (pauses >= 0.05 * 2.0 ** np.arange(len(pauses))).all()


@pytest.mark.parametrize(("refusals", "answered"), [(3, True), (9, False)])
def test_status_503_is_asked_again(refusals, answered, monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.02)
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            body = b'{"results": [[["anger", 0.0]]]}'
            self.send_response(503 if len(asked) <= refusals else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{http.server_port}/face/labels/old"
        try:
            if answered:
                assert connect(url).labels == ["anger"]
            else:
                with pytest.raises(ConnectionError, match="tried 5 times"):
                    connect(url)
        finally:
            http.shutdown()
            thread.join()
    assert asked == ["/v1/models/face/labels/old:classify"] * (4 if answered else 5)


def test_a_model_of_another_kind_is_refused(tmp_path):
    archive = keras.export.ExportArchive()
    spec = tf.TensorSpec((None, 2), tf.float32, name="x")
    archive.add_endpoint(
        "serving_default", tf.function(lambda x: {"y": x}, input_signature=[spec], autograph=False)
    )
    archive.write_out(str(tmp_path / "other" / "1"), verbose=False)
    with LocalServer(tmp_path / "other", "other", port=0, rest_port=0) as running:
        for url in (
            f"grpc://127.0.0.1:{running.port}/other",
            f"http://127.0.0.1:{running.rest_port}/other",
        ):
            with pytest.raises(ValueError, match="refuses: .*Is it an export of this package"):
                connect(url)


def test_grpc_over_tls(server, files, tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    credentials = grpc.ssl_server_credentials(
        [(certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes())]
    )
    secure = grpc.server(futures.ThreadPoolExecutor(2))
    add_PredictionServiceServicer_to_server(PredictionService(server.versions), secure)
    port = secure.add_secure_port("localhost:0", credentials)
    secure.start()
    try:
        url = f"grpcs://localhost:{port}/toon_faces"
        model = connect(url, authority=tmp_path / "authority.pem")
        assert next(predict_crops(model, files)).probabilities.sum() == pytest.approx(1, abs=1e-4)
        trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")
        with pytest.raises((ConnectionError, TimeoutError), match="does not answer|did not answer"):
            connect(url, timeout=3, authority=tmp_path / "another.pem")
        with pytest.raises(FileNotFoundError, match=r"none\.pem is not a file of certificates"):
            connect(url, authority=tmp_path / "none.pem")
    finally:
        secure.stop(0)


def test_rest_over_tls(server, files, tmp_path, monkeypatch):
    """TLS ends before the server, as by a proxy."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "another.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            inside = f"http://127.0.0.1:{server.rest_port}{self.path}"
            answer = requests.post(inside, data=body, timeout=30)
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("localhost", 0), Proxy) as secure:
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        threading.Thread(target=secure.serve_forever, daemon=True).start()
        url = f"https://localhost:{secure.server_port}/toon_faces"
        # What a company sets for all programs does not outdo what is named here.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "another.pem"))
        model = connect(url, authority=tmp_path / "authority.pem")
        assert next(predict_crops(model, files)).probabilities.sum() == pytest.approx(1, abs=1e-4)
        with pytest.raises(ConnectionError, match="is not trusted: .*--authority names the file"):
            connect(url)
        secure.shutdown()


def test_one_source_of_a_model_is_named(files):
    options = ["--weights", "ferplus", "--server", "http://localhost"]
    done = CliRunner().invoke(main, ["predict", *options, str(files[0])])
    assert done.exit_code == 2
    assert "Name one of --model, a run or an export, --weights NAME and --server URL." in (
        done.output
    )


def test_requests_are_bounded_in_bytes_and_in_files(monkeypatch):
    monkeypatch.setattr(client, "MOST_BYTES", 10)
    files = [b"1" * size for size in (4, 4, 4, 12, 1, 1, 1, 1)]
    sizes = [[len(file) for file in part] for part in split_requests(files, most=100)]
    assert sizes == [[4, 4], [4], [12], [1, 1, 1, 1]]
    sizes = [[len(file) for file in part] for part in split_requests(files, most=3)]
    assert sizes == [[4, 4], [4], [12], [1, 1, 1], [1]]


def test_no_request_is_larger_than_a_servers_batch(address, files, monkeypatch):
    sizes = []

    def counted(ask):
        def call(self, part):
            sizes.append(len(part))
            return ask(self, part)

        return call

    for kind in (GrpcClient, RestClient):
        monkeypatch.setattr(kind, "predict_bytes", counted(kind.predict_bytes))
    monkeypatch.setattr(client, "MOST_FILES", 2)
    whole = connect(address).predict(files)
    assert sizes == [2, 2, 1] and whole.shape == (5, 7)


def test_maps_come_from_a_server_as_from_the_export(address, export_dir, files):
    """More images than one request takes, in several forms."""
    given = [*files, *files[:4], Image.new("L", (60, 60), 90)]
    assert len(given) > MOST_MAPS
    served, local = connect(address).explain(given), load_path(export_dir).explain(given)
    for name in ("probabilities", "saliency"):
        np.testing.assert_allclose(getattr(served, name), getattr(local, name), atol=1e-5)
    np.testing.assert_array_equal(served.class_id, local.class_id)
    # A window that ties may fall either way.
    assert served.decisive.dtype == bool and (served.decisive == local.decisive).mean() > 0.99


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_is_never_asked_through_a_proxy(address, host, no_port, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{no_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert len(connect(address.replace("127.0.0.1", host)).labels) == 7


@pytest.fixture
def no_proxies(monkeypatch):
    """An environment without proxies."""
    for name in ("http", "https", "grpc", "all", "no"):
        for one in (f"{name}_proxy", f"{name}_proxy".upper()):
            monkeypatch.delenv(one, raising=False)


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("http_proxy", "http://192.0.2.1/face"),
        ("all_proxy", "http://192.0.2.1/face"),
        ("HTTPS_PROXY", "https://192.0.2.1/face"),
        ("http_proxy", "grpc://192.0.2.1/face"),
        ("https_proxy", "grpc://192.0.2.1/face"),
        ("grpc_proxy", "grpc://192.0.2.1/face"),
    ],
)
def test_elsewhere_the_proxy_is_named(variable, address, no_proxies, no_port, monkeypatch):
    monkeypatch.setenv(variable, f"http://me:secret@127.0.0.1:{no_port}")
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    proxy = f"http://127.0.0.1:{no_port}"
    with pytest.raises(
        ConnectionError, match=f"does not answer, asked through the proxy {proxy}, "
    ) as error:
        connect(address)
    assert "secret" not in str(error.value)


@pytest.fixture
def refusing_port():
    """Port of a server, or proxy, that refuses everything."""

    class Refusal(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(403, "No entry")

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_what_a_proxy_refuses_names_it(refusing_port, no_proxies, monkeypatch):
    url = f"http://127.0.0.1:{refusing_port}"
    monkeypatch.setenv("http_proxy", url)
    says = f"^http://192.0.2.1:8501/face, asked through the proxy {url}, refuses: No entry"
    with pytest.raises(ValueError, match=says):
        connect("http://192.0.2.1/face")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h:1/v1/models/m:predict", "http://h:1/m"),
        ("http://h:1/v1/models/m/versions/3:classify", "http://h:1/m/versions/3"),
        ("http://h:1/v1/models/m/versions/3/metadata", "http://h:1/m/versions/3"),
        ("http://h:1/v1/models/m/labels/stable:predict/", "http://h:1/m/labels/stable"),
        ("https://h/tf/serving/v1/models/m", "https://h:8501/tf/serving/v1/models/m"),
        ("http://h:1/m:predict", "http://h:1/m"),
    ],
)
def test_urls_of_a_server_may_be_pasted(text, expected):
    address = ServerAddress.parse(text)
    assert str(address) == expected
    assert ServerAddress.parse(expected) == address


@pytest.mark.parametrize(
    "text", ["grpc://h/a/v1/models/m", "http://h/m/versions/x", "http://h/a/b/m"]
)
def test_what_is_no_address_of_a_model(text):
    with pytest.raises(ValueError, match="A server is SCHEME://HOST"):
        ServerAddress.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST", "0.0.0.0"])
def test_this_machine_answers_itself(host, refusing_port, no_proxies, no_port, monkeypatch):
    monkeypatch.setenv("all_proxy", f"http://127.0.0.1:{no_port}")
    with pytest.raises(ValueError, match=f"^http://{host}:{refusing_port}/face refuses: No entry"):
        connect(f"http://{host}:{refusing_port}/face")


@pytest.mark.parametrize("host", ["127.0.0.1", "LOCALHOST", "a.localhost", "[::1]", "0.0.0.0"])
def test_this_machine_under_any_name_has_no_proxy(host, no_proxies, monkeypatch):
    monkeypatch.setenv("all_proxy", "http://192.0.2.1")
    assert ServerAddress.parse(f"http://{host}/face").proxy() is None
