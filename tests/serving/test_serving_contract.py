"""What any server of an export answers, tensorflow/serving and the local server alike.

Against a running server: SERVING_URL=http://host:8501 (gRPC on port 8500 of the same host, or at
SERVING_GRPC=host:port; SERVING_MODEL names the model, toon_faces by default). Without it the local
server is started on the session's export.
"""

import base64
import io
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import NamedTuple

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from PIL import Image
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_deep_emotion.serving.photos import example_photos
from tfds_builders.contract import EMOTIONS

TIMEOUT = 60
INPUTS = {
    "serving_default": "image",
    "predict_bytes": "image_bytes",
    "saliency": "image",
    "saliency_bytes": "image_bytes",
}
ANSWERS = {"probabilities": (7,), "class_id": (), "class_name": (), "valid": ()}
MAPS = {"saliency": (48, 48), "decisive": (48, 48)}


class Server(NamedTuple):
    model: str  # URL of the model
    name: str
    predictions: prediction_service_pb2_grpc.PredictionServiceStub
    models: model_service_pb2_grpc.ModelServiceStub


@pytest.fixture(scope="module")
def server(request):
    url = os.environ.get("SERVING_URL")
    name = os.environ.get("SERVING_MODEL", "toon_faces")
    started = None
    if url:
        host = urllib.parse.urlsplit(url).hostname
        target = os.environ.get("SERVING_GRPC", f"{host}:8500")
    else:
        from keras_deep_emotion.serving.local_server import LocalServer

        folder = request.getfixturevalue("export_dir").parent
        started = LocalServer(folder, name, port=0, rest_port=0)
        url, target = f"http://127.0.0.1:{started.rest_port}", f"127.0.0.1:{started.port}"
    with grpc.insecure_channel(target, [("grpc.max_receive_message_length", -1)]) as channel:
        yield Server(
            f"{url.rstrip('/')}/v1/models/{name}",
            name,
            prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model_service_pb2_grpc.ModelServiceStub(channel),
        )
    if started:
        started.stop()


def call(url, body=None, method=None):
    """(status, text) of a request; a body is sent as JSON, bytes as they are."""
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    request = urllib.request.Request(url, body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def answer(url, body=None):
    """The JSON of a request that is answered."""
    status, text = call(url, body)
    assert status == 200, text
    return json.loads(text)


def predict(server, signature, **inputs):
    """{name: array} by gRPC."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = server.name
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        dtype = tf.string if array.dtype == object else None
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array, dtype, array.shape))
    outputs = server.predictions.Predict(request, TIMEOUT).outputs
    return {name: tf.make_ndarray(proto) for name, proto in outputs.items()}


def faces(count):
    return np.random.default_rng(count).integers(0, 256, (count, 48, 48, 1)).astype(np.float32)


def files(count):
    """PNG and JPEG files in turn, of several sizes."""
    contents = []
    for i, face in enumerate(faces(count)):
        file = io.BytesIO()
        picture = Image.fromarray(face[..., 0].astype(np.uint8)).resize((40 + i, 60))
        picture.save(file, ("PNG", "JPEG")[i % 2])
        contents.append(file.getvalue())
    return contents


def in_json(value):
    """Values as JSON has them: files as objects of base64."""
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    return [in_json(item) for item in value] if isinstance(value, list) else value


def values_for(signature, count):
    """(array for gRPC, list for JSON) of a signature's input."""
    if INPUTS[signature] == "image":
        return faces(count), faces(count).tolist()
    return np.array(files(count), object), in_json(files(count))


def expected_shapes(signature):
    return ANSWERS | (MAPS if "saliency" in signature else {})


def assert_same(got, expected):
    """JSON values of a column are those of an array."""
    if expected.dtype == object:
        assert got == [one.decode() for one in expected]
    else:
        found = np.array(got, expected.dtype).reshape(expected.shape)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_status_names_a_version_that_is_available(server):
    states = answer(server.model)["model_version_status"]
    available = [state for state in states if state["state"] == "AVAILABLE"]
    assert available
    for state in available:
        assert state["status"] == {"error_code": "OK", "error_message": ""}
        one = answer(f"{server.model}/versions/{state['version']}")
        assert one == {"model_version_status": [state]}
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = server.name
    response = server.models.GetModelStatus(request, TIMEOUT)
    assert [str(state.version) for state in response.model_version_status] == [
        state["version"] for state in states
    ]
    State = get_model_status_pb2.ModelVersionStatus.State
    assert [State.Name(state.state) for state in response.model_version_status] == [
        state["state"] for state in states
    ]


def version_of(server):
    states = answer(server.model)["model_version_status"]
    return max(int(state["version"]) for state in states if state["state"] == "AVAILABLE")


def dims(info):
    return [int(dim["size"]) for dim in info["tensor_shape"].get("dim", [])]


@pytest.mark.parametrize("signature", INPUTS)
def test_metadata_tell_names_types_and_shapes(server, signature):
    metadata = answer(f"{server.model}/metadata")
    assert metadata["model_spec"]["name"] == server.name
    assert metadata["model_spec"]["version"] == str(version_of(server))
    found = metadata["metadata"]["signature_def"]["signature_def"][signature]
    key = INPUTS[signature]
    assert list(found["inputs"]) == [key]
    info = found["inputs"][key]
    if key == "image":
        assert (info["dtype"], dims(info)) == ("DT_FLOAT", [-1, 48, 48, 1])
    else:
        assert (info["dtype"], dims(info)) == ("DT_STRING", [-1])
    types = {
        "probabilities": "DT_FLOAT",
        "class_id": "DT_INT64",
        "class_name": "DT_STRING",
        "valid": "DT_BOOL",
        "saliency": "DT_FLOAT",
        "decisive": "DT_BOOL",
    }
    for name, shape in expected_shapes(signature).items():
        info = found["outputs"][name]
        assert (name, info["dtype"], dims(info)) == (name, types[name], [-1, *shape])


def test_metadata_by_grpc_are_those_by_rest(server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = server.name
    response = server.predictions.GetModelMetadata(request, TIMEOUT)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    by_rest = answer(f"{server.model}/versions/{response.model_spec.version.value}/metadata")
    assert by_rest["metadata"]["signature_def"] == json_format.MessageToDict(
        signatures,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("signature", INPUTS)
def test_rows_columns_and_grpc_give_the_same(server, signature, count):
    key = INPUTS[signature]
    array, listed = values_for(signature, count)
    by_grpc = predict(server, signature, **{key: array})
    for name, shape in expected_shapes(signature).items():
        assert by_grpc[name].shape == (count, *shape)
    np.testing.assert_allclose(by_grpc["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert by_grpc["class_id"].tolist() == by_grpc["probabilities"].argmax(axis=1).tolist()
    assert {name.decode() for name in by_grpc["class_name"]} <= set(EMOTIONS)

    rows = [{key: value} for value in listed]
    by_row = answer(f"{server.model}:predict", {"signature_name": signature, "instances": rows})
    columns = {key: listed}
    by_column = answer(f"{server.model}:predict", {"signature_name": signature, "inputs": columns})
    assert list(by_row) == ["predictions"] and list(by_column) == ["outputs"]
    assert len(by_row["predictions"]) == count
    assert set(by_column["outputs"]) == set(by_grpc)
    for name, expected in by_grpc.items():
        assert_same(by_column["outputs"][name], expected)
        assert_same([row[name] for row in by_row["predictions"]], expected)


@pytest.mark.parametrize("signature", INPUTS)
def test_an_empty_batch_gives_empty_answers(server, signature):
    array, _ = values_for(signature, 0)
    got = predict(server, signature, **{INPUTS[signature]: array})
    for name, shape in expected_shapes(signature).items():
        assert got[name].shape == (0, *shape)


def test_an_empty_column_of_files_gives_empty_columns(server):
    body = {"signature_name": "predict_bytes", "inputs": {"image_bytes": []}}
    outputs = answer(f"{server.model}:predict", body)["outputs"]
    assert {name: outputs[name] for name in ANSWERS} == dict.fromkeys(ANSWERS, [])


def test_the_only_input_needs_no_name(server):
    url = f"{server.model}:predict"
    named = answer(url, {"instances": [{"image": face} for face in faces(2).tolist()]})
    assert answer(url, {"instances": faces(2).tolist()}) == named
    columns = answer(url, {"inputs": {"image": faces(2).tolist()}})
    assert answer(url, {"inputs": faces(2).tolist()}) == columns
    rows = {"signature_name": "predict_bytes", "instances": in_json(files(2))}
    one_by_one = [row["class_id"] for row in answer(url, rows)["predictions"]]
    columns = {"signature_name": "predict_bytes", "inputs": in_json(files(2))}
    assert answer(url, columns)["outputs"]["class_id"] == one_by_one


def test_bytes_that_are_no_picture_are_marked(server):
    contents = np.array([b"a text", files(1)[0]], object)
    got = predict(server, "predict_bytes", image_bytes=contents)
    assert got["valid"].tolist() == [False, True]
    body = {"signature_name": "predict_bytes", "instances": ["a text", *in_json(files(1))]}
    rows = answer(f"{server.model}:predict", body)["predictions"]
    assert [row["valid"] for row in rows] == [False, True]


def test_a_version_can_be_named(server):
    url = f"{server.model}/versions/{version_of(server)}:predict"
    latest = answer(f"{server.model}:predict", {"instances": faces(1).tolist()})
    assert answer(url, {"instances": faces(1).tolist()}) == latest


def test_grpc_says_what_answered_and_gives_the_outputs_asked_for(server):
    request = predict_pb2.PredictRequest(output_filter=["class_id", "probabilities"])
    request.model_spec.name = server.name
    request.inputs["image"].CopyFrom(tf.make_tensor_proto(faces(1)))
    response = server.predictions.Predict(request, TIMEOUT)
    assert set(response.outputs) == {"class_id", "probabilities"}
    assert response.model_spec.name == server.name
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == version_of(server)


GOOD = [[[[0.0]] * 48] * 48]
MISSHAPEN = [[[[0.0]] * 48] * 47]
UNEVEN = [[[[0.0]] * 48] * 47 + [[[0.0]] * 47]]


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/versions/987654", None, 404, "Could not find version 987654 of model {name}"),
        (
            "/versions/987654:predict",
            {"instances": GOOD},
            404,
            "Servable not found for request: Specific({name}, 987654)",
        ),
        ("_", None, 404, "Could not find any versions of model {name}_"),
        ("_/metadata", None, 404, "Servable not found for request: Latest({name}_)"),
        (
            "_:predict",
            {"instances": GOOD},
            404,
            "Servable not found for request: Latest({name}_)",
        ),
        (
            "/labels/nobody:predict",
            {"instances": GOOD},
            400,
            "Unrecognized servable version label: nobody",
        ),
        (":predict", {"signature_name": "none", "instances": GOOD}, 400, '"none" not found'),
        (":predict", {"signature_name": 7}, 400, "signature_name"),
        (":predict", {"instances": [{"picture": GOOD[0]}]}, 400, ""),
        (":predict", {"inputs": {"picture": GOOD}}, 400, "image"),
        (":predict", {"instances": [{}]}, 400, "image"),
        (":predict", {}, 400, "'instances'"),
        (":predict", {"instances": []}, 400, "'instances'"),
        (":predict", {"instances": 5}, 400, "'instances'"),
        (":predict", {"instances": GOOD, "inputs": GOOD}, 400, "'instances'"),
        (":predict", {"instances": [{"image": GOOD[0]}, GOOD[0]]}, 400, "tem 1 of "),
        (":predict", {"instances": [GOOD[0], {"image": GOOD[0]}]}, 400, "tem "),
        (":predict", {"instances": MISSHAPEN}, 400, "is not compatible with expected shape"),
        (":predict", {"inputs": MISSHAPEN}, 400, "is not compatible with expected shape"),
        (":predict", {"inputs": 3.0}, 400, "is not compatible with expected shape"),
        (":predict", {"instances": UNEVEN}, 400, ""),
        (":predict", {"instances": [GOOD[0], MISSHAPEN[0]]}, 400, ""),
        (":predict", {"instances": ["black"]}, 400, "float"),
        (":predict", {"instances": [None]}, 400, "float"),
        (":predict", {"instances": [True]}, 400, "float"),
        (":predict", {"instances": [2**24]}, 400, "without loss of precision."),
        (":predict", {"instances": [10**400]}, 400, "float"),
        (
            ":predict",
            {"signature_name": "predict_bytes", "instances": [{"b64": "=?"}]},
            400,
            "base64",
        ),
        (":predict", {"signature_name": "predict_bytes", "instances": [5]}, 400, "string"),
        (
            ":predict",
            {"signature_name": "predict_bytes", "inputs": {"image_bytes": [{"b65": ""}]}},
            400,
            "base64",
        ),
        (":predict", b"", 400, ""),
        (":predict", b"[1]", 400, ""),
        (":predict", b"{,}", 400, ""),
        (":predict", b'{"a" 1}', 400, ""),
        (":predict", b'{"a": [1 2]}', 400, ""),
        (":predict", b'{"a": 1', 400, ""),
        (":predict", b'{"a": x}', 400, ""),
        (":predict", b'{"a', 400, ""),
        (":classify", {"signature_name": "none", "examples": [{"x": 1.0}]}, 400, "none"),
        (":classify", {"examples": [{"x": 1.0}]}, 400, "xpected"),
        (":classify", {}, 400, "'examples'"),
        (":classify", {"examples": []}, 400, "'examples'"),
        (":classify", {"examples": [3]}, 400, "must be"),
        (":explain", {}, 400, "Malformed request: POST /v1/models/{name}:explain"),
        ("/versions/one", None, 400, "Malformed request: GET /v1/models/{name}/versions/one"),
    ],
)
def test_what_rest_refuses(server, path, body, status, says):
    code, text = call(server.model + path, body)
    assert code == status
    error = json.loads(text)["error"]
    assert error and says.replace("{name}", server.name) in error


def test_other_methods_and_paths(server):
    code, text = call(f"{server.model}:predict", {}, method="PUT")
    assert code == 400
    assert json.loads(text)["error"].startswith("Malformed request: PUT /v1/models/")
    code, text = call(server.model.rpartition("/")[0])
    assert code == 400 and json.loads(text)["error"]
    root = server.model.partition("/v1/")[0]
    assert call(f"{root}/v2/models")[0] == 404


def refusal(method, request):
    with pytest.raises(grpc.RpcError) as caught:
        method(request, TIMEOUT)
    return caught.value.code().name, caught.value.details()


def request_of(server, signature="", name=None, version=None, label=None, **inputs):
    request = predict_pb2.PredictRequest()
    spec = request.model_spec
    spec.name = server.name if name is None else name
    spec.signature_name = signature
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
    for key, array in inputs.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
    return request


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ({"name": "nobody"}, "NOT_FOUND", "Servable not found for request: Latest(nobody)"),
        ({"name": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            {"version": 987654},
            "NOT_FOUND",
            "Servable not found for request: Specific({name}, 987654)",
        ),
        ({"label": "nobody"}, "INVALID_ARGUMENT", "Unrecognized servable version label: nobody"),
        (
            {"signature": "none"},
            "FAILED_PRECONDITION",
            'Serving signature key "none" not found.',
        ),
        ({}, "INVALID_ARGUMENT", "image"),
        ({"picture": np.zeros(1)}, "INVALID_ARGUMENT", "picture"),
        ({"image": np.zeros((1, 48, 48, 1))}, "INVALID_ARGUMENT", "double"),
        ({"image": [b"a text"]}, "INVALID_ARGUMENT", "string"),
        (
            {"image": np.zeros((1, 47, 48, 1), np.float32)},
            "INVALID_ARGUMENT",
            "is not compatible with expected shape",
        ),
    ],
)
def test_what_grpc_refuses(server, what, code, says):
    found, text = refusal(server.predictions.Predict, request_of(server, **what))
    assert found == code
    assert says.replace("{name}", server.name) in text


def test_what_grpc_refuses_of_requests_themselves(server):
    no_model = ("INVALID_ARGUMENT", "Missing ModelSpec")
    assert refusal(server.predictions.Predict, predict_pb2.PredictRequest()) == no_model
    status = get_model_status_pb2.GetModelStatusRequest()
    assert refusal(server.models.GetModelStatus, status) == no_model
    status.model_spec.name = "nobody"
    assert refusal(server.models.GetModelStatus, status) == (
        "NOT_FOUND",
        "Could not find any versions of model nobody",
    )
    broken = request_of(server, image=np.zeros(1, np.float32))
    broken.inputs["image"].tensor_shape.dim[0].size = -3
    assert refusal(server.predictions.Predict, broken) == (
        "INVALID_ARGUMENT",
        "tensor parsing error: image",
    )
    filtered = request_of(server, image=faces(1))
    filtered.output_filter.append("mood")
    code, text = refusal(server.predictions.Predict, filtered)
    assert code == "INVALID_ARGUMENT" and "mood" in text
    filtered.output_filter[:] = ["class_id", "class_id"]
    code, text = refusal(server.predictions.Predict, filtered)
    assert code == "INVALID_ARGUMENT" and "class_id" in text
    metadata = get_model_metadata_pb2.GetModelMetadataRequest()
    metadata.model_spec.name = server.name
    code, text = refusal(server.predictions.GetModelMetadata, metadata)
    assert code == "INVALID_ARGUMENT" and "metadata_field" in text
    request = classification_pb2.ClassificationRequest()
    assert refusal(server.predictions.Classify, request) == no_model
    request.model_spec.name = server.name
    assert refusal(server.predictions.Classify, request)[0] == "INVALID_ARGUMENT"


def test_examples_are_classified_by_both_ways(server):
    contents = [*files(2), b"no picture"]
    body = {
        "signature_name": "classify",
        "examples": [
            {"image_bytes": {"b64": base64.b64encode(content).decode()}} for content in contents
        ],
    }
    by_rest = answer(f"{server.model}:classify", body)["results"]
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = server.name, "classify"
    for content in contents:
        example = request.input.example_list.examples.add()
        example.features.feature["image_bytes"].bytes_list.value.append(content)
    by_rpc = server.predictions.Classify(request, TIMEOUT).result.classifications
    image_bytes = np.array(contents, object)
    expected = predict(server, "predict_bytes", image_bytes=image_bytes)["probabilities"]
    for rest, rpc, row in zip(by_rest, by_rpc, expected, strict=True):
        assert [label for label, _ in rest] == [one.label for one in rpc.classes] == list(EMOTIONS)
        np.testing.assert_allclose([score for _, score in rest], row, atol=1e-5)
        np.testing.assert_allclose([one.score for one in rpc.classes], row, atol=1e-6)
    assert not expected[2].any()


@pytest.mark.parametrize("signature", ["serving_default", "saliency"])
def test_levels_that_cannot_be_are_marked_and_harm_no_other(server, signature):
    good = faces(1)[0]
    bad = good.copy()
    bad[0, 0] = np.nan
    images = np.stack([good, good + 256, bad, good - 256, good])
    got = predict(server, signature, image=images)
    assert got["valid"].tolist() == [True, False, False, False, True]
    assert got["class_id"].tolist()[1:4] == [-1] * 3
    assert got["class_name"].tolist()[1:4] == [b""] * 3
    np.testing.assert_allclose(got["probabilities"][0], got["probabilities"][4], atol=1e-6)
    rows = answer(
        f"{server.model}:predict",
        {"signature_name": signature, "instances": [{"image": (good + 256).tolist()}]},
    )["predictions"]
    assert rows[0]["valid"] is False and not any(rows[0]["probabilities"])


def test_photos_have_the_same_faces_by_grpc_and_rest(server):
    person, on_her_side, empty = example_photos()
    rows = [person, b"no photo", on_her_side, empty]
    got = predict(server, "photo_bytes", image_bytes=np.array(rows, object))
    assert got["faces"].tolist() == [1, 0, 1, 0]
    assert got["valid"].tolist() == [True, False, True, True]
    assert got["boxes"].shape == (4, 32, 4) and got["landmarks"].shape == (4, 32, 5, 2)
    box, turned = got["boxes"][:3:2, 0]
    np.testing.assert_allclose(box, [183, 120, 170, 212], atol=4)  # Grace Hopper's face
    np.testing.assert_allclose(turned[2:], box[[3, 2]], atol=8)
    assert got["probabilities"].shape == (4, 32, 7)
    np.testing.assert_allclose(got["probabilities"].sum(axis=(1, 2)), [1, 0, 1, 0], atol=1e-5)
    body = {
        "signature_name": "photo_bytes",
        "instances": [{"image_bytes": one} for one in in_json(rows)],
    }
    by_rest = answer(f"{server.model}:predict", body)["predictions"]
    for key in ("faces", "boxes", "landmarks", "probabilities", "valid"):
        np.testing.assert_allclose([row[key] for row in by_rest], got[key], atol=1e-4)
