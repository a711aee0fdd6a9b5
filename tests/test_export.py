import io
import threading

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_deep_emotion import export as exports
from keras_deep_emotion.data import decode, prepare
from keras_deep_emotion.export import export_run
from keras_deep_emotion.runs import open_run
from keras_deep_emotion.saliency import occlusion_saliency
from keras_deep_emotion.verify_export import Session, call_apart


@pytest.fixture(scope="module")
def session(export_dir):
    """The export behind the C loader, in this process."""
    return Session(export_dir)


@pytest.fixture(scope="module")
def model(run_dir):
    return open_run(run_dir)[1]


@pytest.fixture(scope="module")
def labels(run_dir):
    return open_run(run_dir)[2]


@pytest.fixture
def picture():
    random = np.random.default_rng(0)
    return Image.fromarray(random.integers(0, 256, (90, 70, 3)).astype(np.uint8))


def encoded(picture, kind, **kwargs):
    file = io.BytesIO()
    picture.save(file, kind, **kwargs)
    return file.getvalue()


def as_objects(*contents):
    array = np.empty(len(contents), object)
    array[:] = contents
    return array


def test_signatures_are_the_contract(session):
    keys = {
        name: (set(tensors["inputs"]), set(tensors["outputs"]))
        for name, tensors in session.signatures.items()
        if name != "__saved_model_init_op"
    }
    answers = {"probabilities", "class_id", "class_name"}
    assert keys == {
        "serving_default": ({"image"}, answers),
        "predict_bytes": ({"image_bytes"}, answers | {"valid"}),
        "saliency": ({"image"}, answers | {"saliency", "decisive"}),
        "saliency_bytes": ({"image_bytes"}, answers | {"saliency", "decisive", "valid"}),
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
        files = as_objects(*(encoded(Image.fromarray(face[..., 0]), "PNG") for face in faces))
        of_files = session.call("saliency_bytes", {"image_bytes": files})
        np.testing.assert_allclose(of_files["saliency"], maps.saliency, atol=1e-5)
        assert of_files["valid"].all()


def test_bytes_that_are_no_image_harm_no_others_map(session, picture):
    good = encoded(picture, "PNG")
    alone = session.call("saliency_bytes", {"image_bytes": as_objects(good)})
    got = session.call("saliency_bytes", {"image_bytes": as_objects(b"a text", good)})
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
        np.testing.assert_allclose(got["probabilities"], expected, atol=1e-6)
        names = [labels[i].encode() for i in expected.argmax(axis=1)]
        assert list(got["class_name"]) == names


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_bytes_give_the_pixels_of_training(session, model, picture, kind):
    content = encoded(picture, kind)
    got = session.call("predict_bytes", {"image_bytes": as_objects(content)})
    pixels = prepare(decode(content), 48)[None]
    np.testing.assert_allclose(got["probabilities"], model.predict_on_batch(pixels), atol=1e-6)
    assert got["valid"].tolist() == [True]


def test_bytes_that_are_no_image_are_marked_and_harm_no_other(session, picture):
    good = encoded(picture, "PNG")
    alone = session.call("predict_bytes", {"image_bytes": as_objects(good)})
    got = session.call(
        "predict_bytes", {"image_bytes": as_objects(b"", good, b"a text", b"GIF89a", b"\xff\xd8")}
    )
    assert got["valid"].tolist() == [False, True, False, False, False]
    np.testing.assert_allclose(got["probabilities"][1], alone["probabilities"][0], atol=1e-6)


def test_colour_spaces_and_depths_are_decoded(session, picture):
    sixteen = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    contents = as_objects(
        encoded(picture.convert("L"), "PNG"),
        encoded(sixteen, "PNG"),
        encoded(picture.convert("RGBA"), "PNG"),
        encoded(picture.convert("CMYK"), "JPEG"),
    )
    got = session.call("predict_bytes", {"image_bytes": contents})
    assert got["valid"].all()
    np.testing.assert_allclose(got["probabilities"][0], got["probabilities"][1], atol=1e-6)


@pytest.mark.parametrize(
    "image",
    [
        np.full((1, 48, 48, 1), 256, np.float32),
        np.full((1, 48, 48, 1), -1, np.float32),
        np.full((1, 48, 48, 1), np.nan, np.float32),
    ],
)
def test_levels_out_of_range_are_refused(session, image):
    with pytest.raises(ValueError, match="grey levels from 0 to 255"):
        session.call("serving_default", {"image": image})


def test_wrong_shape_is_refused(session):
    with pytest.raises(ValueError, match="not compatible with expected shape"):
        session.call("serving_default", {"image": np.zeros((1, 47, 48, 1), np.float32)})


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
    assert sum(int(np.prod(shape)) for shape in stored) == model.count_params() == 66_857


def test_labels_and_settings_travel_with_it(export_dir, labels, run_dir):
    assert (export_dir / "assets" / "labels.txt").read_text().split() == labels
    assert (export_dir / "assets" / "config.json").read_text() == (
        run_dir / "config.json"
    ).read_text()


def test_no_operation_that_a_stock_server_lacks(export_dir):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((export_dir / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = list(graph.node)
    for function in graph.library.function:
        nodes += function.node_def
        assert "_XlaMustCompile" not in function.attr or not function.attr["_XlaMustCompile"].b
    assert not {node.op for node in nodes} & {"PyFunc", "EagerPyFunc", "ReadFile", "XlaLaunch"}


def test_clean_process_loads_it_and_says_what_is_wrong(export_dir, tmp_path):
    got = call_apart(export_dir, "serving_default", {"image": np.zeros((2, 48, 48, 1), np.float32)})
    assert got["probabilities"].shape == (2, 7)
    with pytest.raises(ValueError, match="cannot be loaded"):
        call_apart(tmp_path, "serving_default", {})


def test_versions_count_up_and_nothing_half_done_is_left(run_dir, tmp_path):
    first = export_run(run_dir, name="face", parent=tmp_path)
    second = export_run(run_dir, name="face", parent=tmp_path)
    assert [first, second] == [tmp_path / "face" / "1", tmp_path / "face" / "2"]
    assert sorted(entry.name for entry in (tmp_path / "face").iterdir()) == ["1", "2"]


def test_two_exports_at_once_take_two_numbers(run_dir, tmp_path, monkeypatch):
    # Only the race for the number matters here: the check is the same for each, and slow.
    monkeypatch.setattr(exports, "check_export", lambda *arguments: barrier.wait())
    barrier = threading.Barrier(2)
    results = []

    def work():
        results.append(export_run(run_dir, name="face", parent=tmp_path))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.name for path in results) == ["1", "2"]
    assert sorted(entry.name for entry in (tmp_path / "face").iterdir()) == ["1", "2"]


def test_an_export_that_differs_is_not_put_in_place(run_dir, tmp_path, monkeypatch):
    def write_another(model, labels, path):
        weights = model.get_weights()
        model.set_weights([weight * 1.5 for weight in weights])
        write(model, labels, path)
        model.set_weights(weights)

    write = exports.write_saved_model
    monkeypatch.setattr(exports, "write_saved_model", write_another)
    with pytest.raises(ValueError, match="differs from the model"):
        export_run(run_dir, name="face", parent=tmp_path)
    assert list((tmp_path / "face").iterdir()) == []


@pytest.mark.parametrize("name", ["../face", "a face", "."])
def test_a_name_that_is_no_folder_is_refused(name, run_dir, tmp_path):
    with pytest.raises(ValueError, match="letters, digits, _ and - only"):
        export_run(run_dir, name=name, parent=tmp_path)
    assert list(tmp_path.iterdir()) == []
