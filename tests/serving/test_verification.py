"""What `verify` lets pass, and each thing that it must not."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from keras_deep_emotion.cli import main
from keras_deep_emotion.serving import verification
from keras_deep_emotion.serving.c_loader import fields, find_library, read_signatures
from keras_deep_emotion.serving.verification import (
    CONTRACT,
    DENIED,
    Verification,
    example_of,
    reachable_operations,
    read_records,
    verify,
)


@pytest.fixture
def copy(export_dir, tmp_path):
    """The export, to be damaged."""
    return shutil.copytree(export_dir, tmp_path / "1")


@pytest.fixture
def unasked(monkeypatch):
    """`verify` without a process of its own, which costs seconds and is tried elsewhere."""
    return lambda export: list(Verification(export).lines())


def test_a_good_export_passes_every_check(export_dir):
    lines = list(verify(export_dir))
    assert lines[0].startswith(f"opened by TensorFlow {tf.__version__}'s C loader in ")
    assert lines[1].startswith("7 labels; toon_faces, ")
    assert lines[2] == "5 signatures, inputs and outputs as in the contract"
    assert lines[3].endswith("all stock; none calls Python, files or XLA")
    assert [line.split()[0] for line in lines[4:9]] == list(CONTRACT)
    assert lines[9:] == [
        "what cannot be judged is marked, and the face beside it answered",
        "7 warm-up records replayed, one or more for each signature",
    ]


def test_the_command_says_what_passed_and_what_did_not(export_dir, copy):
    done = CliRunner().invoke(main, ["verify", str(export_dir)])
    assert (done.exit_code, done.output.count("ok  ")) == (0, 11), done.output
    (copy / "assets" / "model_card.md").unlink()
    done = CliRunner().invoke(main, ["verify", str(copy)])
    assert done.exit_code == 1
    assert done.output.splitlines()[1:] == [
        f"Error: {copy}/assets lacks model_card.md; export the run again."
    ]


def test_what_is_no_export_or_no_library_is_refused(export_dir, tmp_path):
    run = CliRunner()
    done = run.invoke(main, ["verify", str(tmp_path)])
    assert done.exit_code == 1
    assert done.output == (
        f"Error: {tmp_path} is no export: it holds no saved_model.pb. Name a version's folder, "
        "such as exports/NAME/1.\n"
    )
    no_library = tmp_path / "libtensorflow_cc.so.2"
    for library, sentence in (
        (tmp_path, f"{tmp_path} holds no libtensorflow_cc; name a TensorFlow wheel, unpacked."),
        (no_library, f"{no_library} does not exist; name libtensorflow_cc or its folder."),
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


def test_other_answers_than_the_keras_models_are_noticed(copy, unasked):
    file = copy / "assets" / "expected.npz"
    expected = dict(np.load(file))
    for key, change in (
        ("probabilities", lambda array: array + 2e-4),
        ("saliency", lambda array: array - 2e-4),
        ("decisive", np.logical_not),
    ):
        np.savez(file, **{**expected, key: change(expected[key])})
        where = "serving_default" if key == "probabilities" else "saliency"
        with pytest.raises(ValueError, match=f"{where}('s decisive regions)? differ.* Keras model"):
            unasked(copy)


def test_labels_in_another_order_are_noticed(copy, unasked):
    labels = copy / "assets" / "labels.txt"
    labels.write_text("\n".join(reversed(labels.read_text().split())))
    with pytest.raises(ValueError, match="serving_default names the classes wrongly"):
        unasked(copy)


def test_a_label_too_few_is_noticed(copy, unasked):
    labels = copy / "assets" / "labels.txt"
    labels.write_text("\n".join(labels.read_text().split()[1:]))
    with pytest.raises(ValueError, match="serving_default's outputs are"):
        unasked(copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda got: {**got, "valid": np.ones_like(got["valid"])}, "marks"),
        (lambda got: {**got, "probabilities": got["probabilities"] + 0.01}, "does not keep good"),
        (
            lambda got: {**got, "probabilities": got["probabilities"] * np.nan},
            "does not keep good",
        ),
    ],
)
def test_rows_that_are_not_kept_apart_are_noticed(change, says, export_dir):
    check = Verification(export_dir)
    check.check_assets()
    assert "marked" in check.check_marks()
    call = check.session.call
    check.session.call = lambda *arguments: change(call(*arguments))
    with pytest.raises(ValueError, match=f"predict_bytes {says}"):
        check.check_marks()


def test_warmup_is_needed_for_each_signature_and_must_be_whole(copy, unasked):
    file = copy / "assets.extra" / "tf_serving_warmup_requests"
    records = list(read_records(file))
    content = file.read_bytes()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records[:-1]:
            writer.write(record)
    with pytest.raises(ValueError, match=r"no record of \['classify'\]"):
        unasked(copy)
    file.write_bytes(content[:-30])
    with pytest.raises(ValueError, match="is cut off"):
        unasked(copy)
    file.unlink()
    with pytest.raises(ValueError, match="is missing; export the run again"):
        unasked(copy)


def saved(tmp_path, function):
    """A SavedModel of one signature from an image, opened as far as its operations."""
    archive = keras.export.ExportArchive()
    spec = tf.TensorSpec((None, 48, 48, 1), tf.float32, name="image")
    archive.add_endpoint(
        "serving_default", tf.function(function, input_signature=[spec], autograph=False)
    )
    archive.write_out(str(tmp_path / "graph"), verbose=False)
    return operations(tmp_path / "graph")


def operations(export):
    """Kinds of operations that the signatures of a SavedModel depend on."""
    parts = fields((export / "saved_model.pb").read_bytes())
    (model,) = (value for number, value in parts if number == 2)
    graph = dict(fields(model))[2]
    outputs = [
        place.tensor
        for signature in read_signatures(model).values()
        for place in signature["outputs"].values()
    ]
    return reachable_operations(graph, outputs)


def test_operations_are_found_in_functions_within_functions(tmp_path):
    def nested(image):
        return {
            "y": tf.map_fn(
                lambda one: tf.cond(one[0, 0, 0] > 0, lambda: one, lambda: one + 1), image
            )
        }

    found = saved(tmp_path, nested)
    assert {"AddV2", "Greater", "TensorListSetItem"} <= found
    assert {"If", "StatelessIf"} & found and {"While", "StatelessWhile"} & found
    assert "SaveV2" not in found  # the SavedModel's own saver is no part of a signature


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("EagerPyFunc", lambda image: tf.py_function(lambda one: one, [image], tf.float32)),
        ("ReadFile", lambda image: tf.strings.length(tf.io.read_file("/etc/hostname"))),
        ("TextLineDataset", lambda image: next_line()),
        ("XlaMustCompile", lambda image: tf.function(lambda x: x * 2, jit_compile=True)(image)),
    ],
)
def test_python_files_and_xla_are_denied(kind, function, tmp_path, copy, unasked):
    assert kind in saved(tmp_path, lambda image: {"y": function(image)})
    assert kind in set().union(*DENIED, {"XlaMustCompile"})
    # The same graph where the export's own was: refused for its operations, whatever else it lacks.
    check = Verification(copy)
    shutil.copy(tmp_path / "graph" / "saved_model.pb", copy / "saved_model.pb")
    parts = fields((copy / "saved_model.pb").read_bytes())
    check.session.signatures = read_signatures(
        next(value for number, value in parts if number == 2)
    )
    with pytest.raises(ValueError, match=f"use .*{kind}.*not for a server"):
        check.check_operations()


def next_line():
    lines = tf.data.TextLineDataset("/etc/hostname").take(1)
    return tf.strings.length(lines.get_single_element())


def test_an_operation_that_a_stock_server_lacks_is_named(export_dir):
    check = Verification(export_dir)
    check.session.stock = check.session.stock - {"MaxPool", "IgnoreErrorsDataset"}
    with pytest.raises(ValueError, match="A stock server has no IgnoreErrorsDataset, MaxPool"):
        check.check_operations()


def test_a_loader_that_dies_is_reported(export_dir, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setattr(verification.sys, "executable", "/bin/false")
    with pytest.raises(ValueError, match="The C loader ended with status 1"):
        list(verify(export_dir))


def test_an_example_is_that_of_tensorflow():
    for file in (b"", b"short", bytes(range(256)) * 100):
        example = tf.train.Example.FromString(example_of(file))
        assert example.features.feature["image_bytes"].bytes_list.value[:] == [file]


def test_a_nan_does_not_pass_for_equal(export_dir):
    check = Verification(export_dir)
    check.check_assets()
    check.expected["probabilities"] = check.expected["probabilities"] * np.nan
    with pytest.raises(ValueError, match="differs from the Keras model by nan"):
        check.check_answers("serving_default")
