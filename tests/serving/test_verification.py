"""Which exports pass `verify`, and which do not."""

import shutil
import threading
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from keras_deep_emotion.cli import main
from keras_deep_emotion.serving import c_loader
from keras_deep_emotion.serving.c_loader import ChildSession, Session, find_library
from keras_deep_emotion.serving.local_server.versions import LoadedVersion
from keras_deep_emotion.serving.verification import (
    CONTRACT,
    DENIED,
    LoadedExport,
    Verification,
    reachable_operations,
    verify,
)


@pytest.fixture
def copy(export_dir, tmp_path):
    """The export, to be damaged."""
    return shutil.copytree(export_dir, tmp_path / "1")


@pytest.fixture(scope="module")
def session(export_dir):
    """The export, opened once and in this process; `test_a_child_...` opens it in a child."""
    return Session(export_dir)


@pytest.fixture
def loaded(session):
    """The opened export, to be patched."""
    return LoadedExport(session)


def run_checks(export, loaded):
    """Run all checks of an export whose graph is already open."""
    return list(Verification(export, loaded).lines())


@pytest.fixture(scope="module")
def verified(export_dir):
    """The result of the command for a good export."""
    return CliRunner().invoke(main, ["verify", str(export_dir)])


def test_a_good_export_passes_every_check(verified):
    lines = [line.removeprefix("ok  ") for line in verified.output.splitlines()]
    assert lines[0].startswith(f"opened by TensorFlow {tf.__version__}'s C loader in ")
    assert lines[1].startswith("7 labels; toon_faces, ")
    assert lines[2] == "6 signatures, inputs and outputs as in the contract"
    assert lines[3].endswith("all stock; none calls Python, files or XLA")
    assert [line.split()[0] for line in lines[4:10]] == list(CONTRACT)
    assert lines[10:] == [
        "invalid rows are marked, and the valid row beside them is classified",
        "8 warm-up records replayed, at least one for each signature",
    ]


def test_the_command_says_what_passed_and_what_did_not(verified, copy):
    assert (verified.exit_code, verified.output.count("ok  ")) == (0, 12), verified.output
    (copy / "assets" / "model_card.md").unlink()
    done = CliRunner().invoke(main, ["verify", str(copy)])
    assert done.exit_code == 1
    assert done.output.splitlines()[1:] == [
        f"Error: {copy}/assets lacks model_card.md. Export the run again."
    ]


def test_what_is_no_export_or_no_library_is_refused(export_dir, tmp_path):
    run = CliRunner()
    done = run.invoke(main, ["verify", str(tmp_path)])
    assert done.exit_code == 1
    assert done.output == (
        f"Error: {tmp_path} is not an export: it has no saved_model.pb. Name a version's folder, "
        "such as exports/NAME/1.\n"
    )
    no_library = tmp_path / "libtensorflow_cc.so.2"
    for library, sentence in (
        (tmp_path, f"{tmp_path} contains no libtensorflow_cc. Name an unpacked TensorFlow wheel."),
        (no_library, f"{no_library} does not exist. Name libtensorflow_cc or its folder."),
    ):
        done = run.invoke(main, ["verify", str(export_dir), "--library", str(library)])
        assert (done.exit_code, done.output) == (1, f"Error: {sentence}\n")
    no_library.write_text("a text")
    done = run.invoke(main, ["verify", str(export_dir), "--library", str(no_library)])
    assert done.exit_code == 1
    assert f"{no_library} cannot be loaded as a library: " in done.output


def test_the_library_of_another_wheel_is_taken(export_dir, tmp_path):
    wheel = tmp_path / "wheel" / "tensorflow"
    wheel.mkdir(parents=True)
    for file in find_library().parent.glob("libtensorflow_*.so.2"):
        (wheel / file.name).symlink_to(file)
    assert next(verify(export_dir, tmp_path / "wheel")).startswith("opened by TensorFlow 2.")


def test_a_graph_that_is_cut_off_is_refused(copy):
    graph = copy / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be loaded"):
        list(verify(copy))


def test_variables_that_are_missing_are_noticed(copy):
    shutil.rmtree(copy / "variables")
    with pytest.raises(ValueError, match="cannot be loaded|Could not find"):
        list(verify(copy))


def test_other_answers_than_the_keras_models_are_noticed(copy, loaded):
    file = copy / "assets" / "expected.npz"
    expected = dict(np.load(file))
    for key, change in (
        ("probabilities", lambda array: array + 2e-4),
        ("saliency", lambda array: array - 2e-4),
        ("decisive", np.logical_not),
    ):
        np.savez(file, **{**expected, key: change(expected[key])})
        where = "serving_default" if key == "probabilities" else "saliency"
        with pytest.raises(ValueError, match=f"{where}: {key} differs from the Keras model"):
            run_checks(copy, loaded)


def test_labels_in_another_order_are_noticed(copy, loaded):
    labels = copy / "assets" / "labels.txt"
    labels.write_text("\n".join(np.roll(labels.read_text().split(), 1)))
    with pytest.raises(
        ValueError, match="serving_default: class_name differs from the Keras model"
    ):
        run_checks(copy, loaded)


def test_a_label_too_few_is_noticed(copy, loaded):
    labels = copy / "assets" / "labels.txt"
    labels.write_text("\n".join(labels.read_text().split()[1:]))
    with pytest.raises(ValueError, match="has 6 class names, and the model has 7"):
        run_checks(copy, loaded)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda outputs: {**outputs, "valid": np.ones_like(outputs["valid"])}, "valid"),
        (
            lambda outputs: {**outputs, "probabilities": outputs["probabilities"] + 0.01},
            "probabilities",
        ),
        (
            lambda outputs: {**outputs, "probabilities": outputs["probabilities"] * np.nan},
            "probabilities",
        ),
    ],
)
def test_rows_that_are_not_kept_apart_are_noticed(change, differs, export_dir, loaded):
    check = Verification(export_dir, loaded)
    call = loaded.call

    def call_changed(signature, inputs):
        outputs = call(signature, inputs)
        return change(outputs) if signature == "predict_bytes" else outputs

    loaded.call = call_changed
    with pytest.raises(ValueError, match=f"with invalid rows, predict_bytes: {differs} differs"):
        check.check_invalid_rows()


def test_warmup_is_needed_for_each_signature_and_must_be_whole(copy, loaded):
    file = copy / "assets.extra" / "tf_serving_warmup_requests"
    records = list(tf.data.TFRecordDataset(str(file)).as_numpy_iterator())
    content = file.read_bytes()
    check = Verification(copy, loaded)
    assert check.check_warmup().startswith("8 warm-up records replayed")
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records[:-1]:
            writer.write(record)
    with pytest.raises(ValueError, match=r"no record of \['photo_bytes'\]"):
        check.check_warmup()
    file.write_bytes(content[:-30])
    with pytest.raises(ValueError, match="tf_serving_warmup_requests is damaged"):
        check.check_warmup()
    with tf.io.TFRecordWriter(str(file)) as writer:
        log = PredictionLog()
        log.regress_log.request.model_spec.signature_name = "classify"
        writer.write(log.SerializeToString())
    with pytest.raises(ValueError, match="type regress_log, not Predict or Classify"):
        check.check_warmup()
    file.unlink()
    with pytest.raises(ValueError, match="is missing. Export the run again"):
        check.check_warmup()


def saved(tmp_path, function):
    """A SavedModel with one signature of an image, read but not opened by the C loader."""
    archive = keras.export.ExportArchive()
    spec = tf.TensorSpec((None, 48, 48, 1), tf.float32, name="image")
    archive.add_endpoint(
        "serving_default", tf.function(function, input_signature=[spec], autograph=False)
    )
    archive.write_out(str(tmp_path / "graph"), verbose=False)
    saved_model = SavedModel.FromString((tmp_path / "graph" / "saved_model.pb").read_bytes())
    (meta_graph,) = saved_model.meta_graphs
    return LoadedExport(SimpleNamespace(meta_graph=meta_graph.SerializeToString(), operations=b""))


def test_operations_are_found_in_functions_within_functions(tmp_path):
    def nested(image):
        return {
            "y": tf.map_fn(
                lambda one: tf.cond(one[0, 0, 0] > 0, lambda: one, lambda: one + 1), image
            )
        }

    graph = saved(tmp_path, nested)
    found = reachable_operations(graph.graph, graph.signatures.values())
    assert {"AddV2", "Greater", "TensorListSetItem"} <= found
    assert {"If", "StatelessIf"} & found and {"While", "StatelessWhile"} & found
    assert "SaveV2" not in found  # the SavedModel's own saver is no part of a signature


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("EagerPyFunc", lambda image: tf.py_function(lambda one: one, [image], tf.float32)),
        ("ReadFile", lambda image: tf.strings.length(tf.io.read_file("/etc/hostname"))),
        ("TextLineDataset", lambda image: next_line()),
        ("_XlaMustCompile", lambda image: tf.function(lambda x: x * 2, jit_compile=True)(image)),
    ],
)
def test_python_files_and_xla_are_denied(kind, function, tmp_path, export_dir):
    assert kind in DENIED
    check = Verification(export_dir, saved(tmp_path, lambda image: {"y": function(image)}))
    with pytest.raises(ValueError, match=f"use .*{kind}.*not for a server"):
        check.check_operations()


def next_line():
    lines = tf.data.TextLineDataset("/etc/hostname").take(1)
    return tf.strings.length(lines.get_single_element())


def test_an_operation_that_a_stock_server_lacks_is_named(export_dir, loaded):
    loaded.stock_operations -= {"MaxPool", "IgnoreErrorsDataset"}
    with pytest.raises(ValueError, match="A stock server has no IgnoreErrorsDataset, MaxPool"):
        Verification(export_dir, loaded).check_operations()


def test_a_loader_that_dies_is_reported(export_dir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(c_loader.sys, "executable", "/bin/false")
    with pytest.raises(ValueError, match="The C loader ended with status 1"):
        list(verify(export_dir))


def test_a_child_returns_what_the_session_returns_until_it_dies(export_dir, loaded):
    files = np.array([b"", b"a text"], object)
    with ChildSession(export_dir) as child:
        in_child = LoadedExport(child)
        assert child.version == tf.__version__ and in_child.signatures == loaded.signatures
        outputs = in_child.call("predict_bytes", {"image_bytes": files})
        for key, expected in loaded.call("predict_bytes", {"image_bytes": files}).items():
            assert outputs[key].dtype == expected.dtype
            np.testing.assert_array_equal(outputs[key], expected)
        child.process.kill()
        with pytest.raises(ValueError, match="predict_bytes failed: The C loader ended .* -9"):
            in_child.call("predict_bytes", {"image_bytes": files})


def test_a_nan_does_not_pass_for_equal(export_dir, loaded):
    check = Verification(export_dir, loaded)
    check.expected["probabilities"] = check.expected["probabilities"] * np.nan
    with pytest.raises(ValueError, match="differs from the Keras model by nan"):
        check.check_outputs("serving_default")


@pytest.mark.parametrize("name", ["run [2024]", "?", "a\\b", "*"])
def test_every_loader_opens_a_folder_whose_name_looks_like_a_pattern(name, saved_models, tmp_path):
    folder = tmp_path / name / "face"
    shutil.copytree(saved_models[2], folder / "1")
    with ChildSession(folder / "1") as session:
        assert b"serving_default" in session.meta_graph
    loaded = LoadedVersion(folder / "1", 1, 60, threading.Semaphore())
    x = np.array([3.0], np.float32)
    assert loaded.run(loaded.signature("serving_default"), {"x": x})["y"] == [6.0]
