import contextlib
import io
import json
import os
import re
import shutil
import struct
import threading
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from keras_deep_emotion import __version__, files
from keras_deep_emotion.exports import Export
from keras_deep_emotion.images.graph import decode_image, prepare_face
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.occlusion import occlusion_saliency
from keras_deep_emotion.serving import export as exporting
from keras_deep_emotion.serving.c_loader import Session
from keras_deep_emotion.serving.container import read_models_config, write_models_config
from keras_deep_emotion.serving.export import (
    export_run,
    remove_older,
    write_assets,
    write_saved_model,
)
from keras_deep_emotion.serving.photos import load_detector
from keras_deep_emotion.serving.verification import LoadedExport
from keras_deep_emotion.serving.warmup import REQUESTS, read_warmup


@pytest.fixture(scope="module")
def session(export_dir):
    """The export, opened by the C loader in this process."""
    return LoadedExport(Session(export_dir))


@pytest.fixture(scope="module")
def model(run_dir):
    return Run.open(run_dir).load_model()


@pytest.fixture(scope="module")
def labels(run_dir):
    return Run(run_dir).labels


@pytest.fixture
def picture():
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (90, 70, 3)).astype(np.uint8))


def encoded(picture, kind, **kwargs):
    file = io.BytesIO()
    picture.save(file, kind, **kwargs)
    return file.getvalue()


def test_signatures_are_the_contract(session):
    keys = {
        name: (set(signature.inputs), set(signature.outputs))
        for name, signature in session.signatures.items()
    }
    answers = {"probabilities", "class_id", "class_name", "valid"}
    assert keys == {
        "serving_default": ({"image"}, answers),
        "predict_bytes": ({"image_bytes"}, answers),
        "saliency": ({"image"}, answers | {"saliency", "decisive"}),
        "saliency_bytes": ({"image_bytes"}, answers | {"saliency", "decisive"}),
        "classify": ({"inputs"}, {"classes", "scores"}),
        "photo_bytes": (
            {"image_bytes"},
            {"faces", "boxes", "landmarks", "probabilities", "valid"},
        ),
    }


@pytest.mark.parametrize("count", [0, 1, 3])
def test_maps_are_those_of_the_model_at_every_batch(session, model, count):
    faces = np.random.default_rng(count).integers(0, 256, (count, 48, 48, 1)).astype(np.uint8)
    got = session.call("saliency", {"image": faces.astype(np.float32)})
    assert got["saliency"].shape == got["decisive"].shape == (count, 48, 48)
    assert got["decisive"].dtype == bool
    if count:
        maps = occlusion_saliency(
            lambda images: model(images, training=False), tf.constant(faces, tf.float32)
        )
        np.testing.assert_allclose(got["saliency"], maps.saliency, atol=1e-5)
        files = np.array([encoded(Image.fromarray(face[..., 0]), "PNG") for face in faces], object)
        of_files = session.call("saliency_bytes", {"image_bytes": files})
        np.testing.assert_allclose(of_files["saliency"], maps.saliency, atol=1e-5)
        assert of_files["valid"].all()


def test_bytes_that_are_no_image_harm_no_others_map(session, picture):
    good = encoded(picture, "PNG")
    alone = session.call("saliency_bytes", {"image_bytes": np.array([good], object)})
    got = session.call("saliency_bytes", {"image_bytes": np.array([b"a text", good], object)})
    assert got["valid"].tolist() == [False, True]
    np.testing.assert_allclose(got["saliency"][1], alone["saliency"][0], atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_serving_default_equals_the_model_at_every_batch(session, model, labels, count):
    faces = np.random.default_rng(count).uniform(0, 255, (count, 48, 48, 1)).astype(np.float32)
    got = session.call("serving_default", {"image": faces})
    assert got["probabilities"].shape == (count, 7)
    assert got["class_id"].dtype == np.int64
    if count:
        expected = model.predict_on_batch(faces)
        np.testing.assert_allclose(got["probabilities"], expected, atol=5e-6)
        names = [labels[i].encode() for i in expected.argmax(axis=1)]
        assert list(got["class_name"]) == names


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_bytes_give_the_pixels_of_training(session, model, picture, kind):
    content = encoded(picture, kind)
    got = session.call("predict_bytes", {"image_bytes": np.array([content], object)})
    pixels = prepare_face(decode_image(content), 48)[None]
    np.testing.assert_allclose(got["probabilities"], model.predict_on_batch(pixels), atol=1e-6)
    assert got["valid"].tolist() == [True]


def png_header(width, height):
    """A PNG file of this size that ends before its pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    checked = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + checked


def many_scans(picture, count):
    """A progressive JPEG whose last scan comes `count` times: small to send, dear to decode."""
    content = encoded(picture, "JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


@pytest.fixture
def damaged(picture):
    """Files that are no whole image, or would cost too much, by what is wrong with them."""
    png, jpeg = encoded(picture, "PNG"), encoded(picture, "JPEG")
    one_wrong = bytearray(png)
    one_wrong[len(png) // 2] ^= 1
    animation = [picture, picture.rotate(90, expand=False)]
    return {
        "nothing": b"",
        "text": "überrascht".encode(),
        "text as a number": b"255",
        "JPEG's first bytes": b"\xff\xd8\xff\xe0",
        "JPEG, half": jpeg[: len(jpeg) // 2],
        "JPEG without its last bytes": jpeg[:-2],
        "PNG's first bytes": png[:8],
        "PNG, half": png[: len(png) // 2],
        "PNG without its last bytes": png[:-12] if png.endswith(b"IEND\xaeB`\x82") else None,
        "PNG with a wrong bit": bytes(one_wrong),
        "animated GIF": encoded(picture, "GIF", save_all=True, append_images=animation),
        "BMP": encoded(picture, "BMP"),
        "PNG that says it is huge": png_header(2**31 - 1, 2**31 - 1),
        "PNG bomb, 64 million pixels": encoded(Image.new("L", (8000, 8000)), "PNG"),
        "JPEG bomb, 64 million pixels": encoded(Image.new("L", (8000, 8000)), "JPEG"),
        "JPEG bomb, 500 scans": many_scans(picture, 500),
    }


@pytest.mark.parametrize("signature", ["predict_bytes", "saliency_bytes", "classify"])
def test_what_is_no_image_is_marked_and_harms_no_other(signature, session, model, picture, damaged):
    good = encoded(picture, "PNG")
    expected = model.predict_on_batch(prepare_face(decode_image(good), 48)[None])[0]
    rows = [good, *damaged.values(), good]
    if signature == "classify":
        rows = list(map(example, rows))
        got = session.call(signature, {"inputs": np.array(rows, object)})
        found = got["scores"]
    else:
        got = session.call(signature, {"image_bytes": np.array(rows, object)})
        found = got["probabilities"]
        assert got["valid"].tolist() == [True] + [False] * len(damaged) + [True]
        assert got["class_id"].tolist()[1:-1] == [-1] * len(damaged)
        assert got["class_name"].tolist()[1:-1] == [b""] * len(damaged)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    np.testing.assert_allclose(found[-1], expected, atol=1e-6)
    assert dict(zip(damaged, found[1:-1].any(axis=1).tolist(), strict=True)) == dict.fromkeys(
        damaged, False
    )
    if signature == "saliency_bytes":
        assert not got["saliency"][1:-1].any() and not got["decisive"][1:-1].any()
        assert got["saliency"][0].any()


def test_a_bomb_costs_no_time(session, damaged):
    for name in ("PNG bomb, 64 million pixels", "JPEG bomb, 64 million pixels"):
        session.call("predict_bytes", {"image_bytes": np.array([damaged["nothing"]], object)})
        taken = []
        for _ in range(3):
            start = time.perf_counter()
            session.call("predict_bytes", {"image_bytes": np.array([damaged[name]], object)})
            taken.append(time.perf_counter() - start)
        assert min(taken) < 0.1, name  # decoding it takes seconds


def test_scans_of_an_honest_picture_are_no_bomb(session, picture):
    files = np.array([
        encoded(picture, "JPEG", progressive=True), encoded(picture.resize((1, 1)), "PNG"),
        encoded(picture.resize((1, 1)), "JPEG"), many_scans(picture, 2)], object)  # fmt: skip
    assert session.call("predict_bytes", {"image_bytes": files})["valid"].all()


def test_random_damage_is_marked_or_answered_and_harms_no_other(session, model, picture):
    """Of PNG no damage goes unseen: each chunk has a checksum. JPEG has none."""
    random = np.random.default_rng(0)
    sixteen = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    whole = {
        "PNG": encoded(picture, "PNG"),
        "PNG, 16 bits": encoded(sixteen, "PNG"),
        "JPEG": encoded(picture, "JPEG"),
        "JPEG, progressive": encoded(picture, "JPEG", progressive=True),
        "JPEG, CMYK": encoded(picture.convert("CMYK"), "JPEG"),
    }
    expected = model.predict_on_batch(prepare_face(decode_image(whole["PNG"]), 48)[None])[0]
    seen = {kind: [] for kind in whole}
    for kind, content in whole.items():
        for _ in range(4):
            rows = [corrupted(content, random) for _ in range(25)]
            files = np.array([*rows, whole["PNG"]], object)
            got = session.call("predict_bytes", {"image_bytes": files})
            assert got["valid"][-1]
            np.testing.assert_allclose(got["probabilities"][-1], expected, atol=1e-6)
            sums = got["probabilities"].sum(axis=1)
            np.testing.assert_allclose(sums, got["valid"], atol=1e-5)
            seen[kind] += got["valid"][:-1].tolist()
    for kind, valid in seen.items():
        assert sum(valid) == 0 if kind.startswith("PNG") else 0 < sum(valid) < 100


def corrupted(content, random):
    """A file with random bytes changed, anywhere or in its header; cut off, or with a gap."""
    content, kind = bytearray(content), random.integers(4)
    if kind == 0:
        return bytes(content[: random.integers(len(content))])
    if kind == 1:
        start, end = sorted(random.integers(len(content), size=2))
        return bytes(content[:start] + content[end + 1 :])
    if kind == 2:
        content[random.integers(100)] ^= random.integers(1, 256)
        return bytes(content)
    for place in random.integers(len(content), size=random.integers(1, 20)):
        content[place] ^= random.integers(1, 256)
    return bytes(content)


def example(file):
    """A serialized tf.Example as `classify` takes it."""
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file]))
    features = tf.train.Features(feature={"image_bytes": value})
    return tf.train.Example(features=features).SerializeToString()


def test_examples_are_classified(session, model, labels, picture):
    file = encoded(picture, "JPEG")
    got = session.call(
        "classify", {"inputs": np.array([example(file), b"none", example(file)], object)}
    )
    expected = model.predict_on_batch(prepare_face(decode_image(file), 48)[None])[0]
    assert got["classes"].tolist() == [[label.encode() for label in labels]] * 3
    np.testing.assert_allclose(got["scores"], [expected, np.zeros(7), expected], atol=1e-6)


def test_colour_spaces_and_depths_are_decoded(session, picture):
    sixteen = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    contents = np.array(
        [
            encoded(picture.convert("L"), "PNG"),
            encoded(sixteen, "PNG"),
            encoded(picture.convert("RGBA"), "PNG"),
            encoded(picture.convert("CMYK"), "JPEG"),
            encoded(picture, "PNG"),
        ],
        object,
    )
    got = session.call("predict_bytes", {"image_bytes": contents})
    assert got["valid"].all()
    eight, sixteen, rgba, cmyk, rgb = got["probabilities"]
    np.testing.assert_allclose(eight, sixteen, atol=1e-6)
    np.testing.assert_allclose(rgba, rgb, atol=1e-6)
    np.testing.assert_allclose(cmyk, rgb, atol=0.05)  # JPEG


@pytest.mark.parametrize("signature", ["serving_default", "saliency"])
def test_levels_out_of_range_are_marked_and_harm_no_other(signature, session, model):
    good = np.random.default_rng(0).uniform(0, 255, (48, 48, 1)).astype(np.float32)
    one_nan = good.copy()
    one_nan[3, 4] = np.nan
    bad = [good + 255.5, good - 255.5, one_nan, good * np.inf]
    got = session.call(signature, {"image": np.stack([*bad, good])})
    assert got["valid"].tolist() == [False] * 4 + [True]
    assert got["class_id"].tolist()[:4] == [-1] * 4
    assert not got["probabilities"][:4].any()
    np.testing.assert_allclose(
        got["probabilities"][4], model.predict_on_batch(good[None])[0], atol=5e-6
    )


def test_wrong_shape_is_refused(session):
    for signature in ("serving_default", "saliency"):
        for shape in ((1, 47, 48, 1), (1, 48, 48), (1, 48, 48, 3)):
            with pytest.raises(ValueError, match="not compatible with expected shape"):
                session.call(signature, {"image": np.zeros(shape, np.float32)})
    with pytest.raises(ValueError, match="not compatible with expected shape"):
        session.call("predict_bytes", {"image_bytes": np.array([b"a"], object).reshape(1, 1)})


def test_wrong_names_are_refused(session):
    with pytest.raises(ValueError, match="no signature 'predict'"):
        session.call("predict", {})
    with pytest.raises(ValueError, match=r"takes \['image'\], not \['x'\]"):
        session.call("serving_default", {"x": np.zeros(1)})


def test_each_variable_is_stored_once(export_dir, model):
    stored = [
        shape
        for name, shape in tf.train.list_variables(str(export_dir / "variables" / "variables"))
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    ]
    detector = load_detector().count_params()
    assert model.count_params() == 66_857
    assert sum(int(np.prod(shape)) for shape in stored) == 66_857 + detector


def test_what_it_is_travels_with_it(export_dir, labels, run_dir):
    assets = export_dir / "assets"
    assert (assets / "labels.txt").read_text().split() == labels
    about = json.loads((assets / "config.json").read_text())
    report = json.loads((run_dir / "report.json").read_text())
    assert about["settings"] == json.loads((run_dir / "config.json").read_text())
    assert about["project"] == f"keras-deep-emotion {__version__}"
    assert (about["dataset"], about["protocol"]) == ("toon_faces", "standard")
    assert about["accuracy"] == report["accuracy"]
    assert about["judged_on"] == "504 faces of test"
    card = (assets / "model_card.md").read_text()
    assert f"| {100 * report['accuracy']:.2f} % |" in card and "## Misuse" in card


@pytest.mark.parametrize("balance", [0.5, 0.6])
def test_accuracy_that_travels_with_an_export_is_of_its_balance(run_dir, tmp_path, balance):
    run = Run(run_dir)
    write_assets(tmp_path, run, {}, balance)
    about = json.loads((tmp_path / "assets" / "config.json").read_text())
    points = {one["balance"]: one for one in run.report["operating_points"]}
    assert about["operating_point"]["balance"] == balance
    assert about["accuracy"] == (points[0.5]["accuracy"] if balance == 0.5 else None)
    card = (tmp_path / "assets" / "model_card.md").read_text()
    assert f"by `--balance {balance}`. All figures below are at balance\n0, unless" in card


def test_warmup_has_the_requests_of_the_servers_own_protos(export_dir):
    file = export_dir / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    seen = []
    for record, (signature, inputs) in zip(records, read_warmup(file), strict=True):
        log = PredictionLog.FromString(record)
        ((key, array),) = inputs.items()
        if signature == "classify":
            request = log.classify_log.request
            examples = request.input.example_list.examples
            assert [one.SerializeToString() for one in examples] == array.tolist()
        else:
            request = log.predict_log.request
            np.testing.assert_array_equal(tf.make_ndarray(request.inputs[key]), array)
        assert request.model_spec.name == "toon_faces"
        assert request.model_spec.signature_name == signature
        seen.append((signature, len(array)))
    assert seen == list(REQUESTS)
    assert seen == [
        ("serving_default", 1),
        ("serving_default", 16),
        ("predict_bytes", 1),
        ("predict_bytes", 16),
        ("saliency", 1),
        ("saliency_bytes", 1),
        ("classify", 1),
        ("photo_bytes", 1),
    ]


def test_two_exports_at_once_take_two_numbers(run_dir, tmp_path, monkeypatch):
    # Only the race for the number matters here: the check is the same for each, and slow.
    monkeypatch.setattr(exporting, "verify", lambda *arguments: [barrier.wait()])
    barrier = threading.Barrier(2)
    results = []

    def work():
        results.append(export_run(run_dir, name="face", parent=tmp_path))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [tmp_path / "face" / "1", tmp_path / "face" / "2"]
    assert sorted(entry.name for entry in (tmp_path / "face").iterdir()) == ["1", "2"]
    assert (tmp_path / "models.config").exists()


def test_a_model_that_is_exported_while_the_list_is_written_is_on_it(tmp_path, monkeypatch):
    (tmp_path / "ours" / "1").mkdir(parents=True)
    atomic_write = files.atomic_write

    @contextlib.contextmanager
    def write_while_another_exports(path):
        with atomic_write(path) as temporary:
            yield temporary
            (tmp_path / "another" / "1").mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(files, "atomic_write", write_while_another_exports)
    write_models_config(tmp_path)
    text = (tmp_path / "models.config").read_text()
    assert sorted(re.findall('name: "(.*)"', text)) == ["another", "ours"]


def test_what_a_user_wrote_into_the_list_stays(tmp_path):
    for folder in ("face/1", "face/2"):
        (tmp_path / folder).mkdir(parents=True)
    write_models_config(tmp_path)
    path = tmp_path / "models.config"
    labelled = path.read_text().replace(
        'model_platform: "tensorflow"',
        'model_platform: "tensorflow"  # ours\n'
        "model_version_policy { specific { versions: 1 versions: 2 } }\n"
        'version_labels { key: "stable" value: 1 }',
    )
    path.write_text(labelled)
    (tmp_path / "face" / "3").mkdir()
    write_models_config(tmp_path)
    assert path.read_text() == labelled  # no model came: comments too
    labelled = labelled.replace("/models/face", "/models/face/")  # the same folder
    path.write_text(labelled)
    write_models_config(tmp_path)
    assert path.read_text() == labelled
    elsewhere = (
        'config { name: "theirs" base_path: "/elsewhere/theirs" } '
        'config { name: "twice" base_path: "/models/face" }'
    )
    path.write_text(f"{labelled.rstrip().removesuffix('}')}{elsewhere} }}")
    (tmp_path / "other" / "1").mkdir(parents=True)
    write_models_config(tmp_path)
    models = read_models_config(path).model_config_list.config
    assert [model.name for model in models] == ["face", "theirs", "twice", "other"]
    assert dict(models[0].version_labels) == {"stable": 1}
    assert list(models[0].model_version_policy.specific.versions) == [1, 2]
    shutil.rmtree(tmp_path / "other")
    write_models_config(tmp_path)
    models = read_models_config(path).model_config_list.config
    assert [model.name for model in models] == ["face", "theirs", "twice"]


def test_a_list_that_cannot_be_read_stops_an_export_before_it_begins(run_dir, tmp_path):
    (tmp_path / "models.config").write_text("model_config_list { labels: 1 }")
    with pytest.raises(ValueError, match='models.config is not a list of models .*"labels"'):
        export_run(run_dir, name="face", parent=tmp_path)
    assert list((tmp_path / "face").iterdir()) == []
    assert (tmp_path / "models.config").read_text() == "model_config_list { labels: 1 }"


def test_a_version_that_another_export_removed_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "2").mkdir()
    export = Export(tmp_path)
    listed = {1: tmp_path / "1", 2: tmp_path / "2"}  # 1 was removed a moment ago
    monkeypatch.setattr(export, "versions", lambda: listed)
    remove_older(export, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["2"]


def test_older_versions_are_removed_and_what_a_killed_export_left(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "verify", lambda path: [])  # `export_dir` was verified
    folder = tmp_path / "face"
    for name in ("2", "9", "10", "notes", "partial-killed_1", "partial-mine"):
        (folder / name).mkdir(parents=True)
    minute_ago = time.time() - 60
    os.utime(folder / "partial-killed_1", (minute_ago, minute_ago))
    assert export_run(run_dir, name="face", parent=tmp_path, keep=2) == folder / "11"
    assert sorted(entry.name for entry in folder.iterdir()) == ["10", "11", "notes", "partial-mine"]
    with pytest.raises(ValueError, match="keep must be 1 or more. Received: 0"):
        export_run(run_dir, name="face", parent=tmp_path, keep=0)


def test_an_export_that_differs_is_not_put_in_place(run_dir, tmp_path, monkeypatch):
    def write_another(model, *others):
        weights = model.get_weights()
        model.set_weights([weight * 1.5 for weight in weights])
        write(model, *others)
        model.set_weights(weights)

    write = write_saved_model
    monkeypatch.setattr(exporting, "write_saved_model", write_another)
    with pytest.raises(ValueError, match="differs from the Keras model.*Nothing was exported"):
        export_run(run_dir, name="face", parent=tmp_path)
    assert list((tmp_path / "face").iterdir()) == []


@pytest.mark.parametrize("name", ["../face", "a face", "."])
def test_a_name_that_is_no_folder_is_refused(name, run_dir, tmp_path):
    with pytest.raises(ValueError, match="letters, digits, _ and - only"):
        export_run(run_dir, name=name, parent=tmp_path)
    assert list(tmp_path.iterdir()) == []
