"""Models, exports and jobs that are cut, foreign or of other types: one sentence each."""

import io
import json
import re
import shutil
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from damaged import OTHER_TEXTS, OTHER_VALUES, damaged_bytes
from PIL import Image

from keras_deep_emotion import load
from keras_deep_emotion.cli import main
from keras_deep_emotion.exports import LABELS
from keras_deep_emotion.inference.addresses import ServerAddress
from keras_deep_emotion.inference.array_predictors import LiteRTPredictor, ONNXPredictor
from keras_deep_emotion.inference.loading import load_path
from keras_deep_emotion.runs import Run
from keras_deep_emotion.serving.c_loader import Session
from keras_deep_emotion.serving.container import read_models_config
from keras_deep_emotion.serving.verification import LoadedExport, Verification
from keras_deep_emotion.training.callbacks import restore_backup


def refused(read, path):
    """The sentence with which a file is refused; None if it is accepted."""
    try:
        read()
    except ValueError as error:
        assert str(path) in str(error) and len(str(error)) < 900, error
        return str(error)
    return None


@pytest.fixture
def export(export_dir, tmp_path):
    """A copy of an export of a small run."""
    return shutil.copytree(export_dir, tmp_path / "face" / "1")


def test_litert_models_that_are_cut_or_foreign(tmp_path):
    whole = (Run.shipped("ferplus-paper") / Run.LITERT).read_bytes()
    path = tmp_path / "model.tflite"
    foreign = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(lambda x: x * 2, [tf.TensorSpec((1, 2))]).get_concrete_function()]
    ).convert()
    for content in [
        *OTHER_TEXTS.values(),
        foreign,
        foreign + whole[-2000:],
        whole[: len(whole) // 2],
    ]:
        path.write_bytes(content)
        assert "is damaged, or not a model of this package" in refused(lambda: load(path), path)
    for content in damaged_bytes(whole, 0, 20):
        path.write_bytes(content)
        refused(lambda: LiteRTPredictor(path), path)


def test_onnx_models_that_are_foreign(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "model.onnx"
    for shape, labels in (([1], "a b"), (["batch", 4, 4, 1], "a a"), (["batch", 4, 4, 1], "a b")):
        tensors = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
            for name in ("image", "probabilities")
        ]
        node = onnx.helper.make_node("Identity", ["image"], ["probabilities"])
        graph = onnx.helper.make_graph([node], "foreign", tensors[:1], tensors[1:])
        model = onnx.helper.make_model(
            graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid("", 18)]
        )
        onnx.helper.set_model_props(model, {"labels": labels})
        onnx.save(model, path)
        assert refused(lambda: ONNXPredictor(path), path)
    for content in OTHER_TEXTS.values():
        path.write_bytes(content)
        assert refused(lambda: load(path), path)


def test_an_onnx_model_that_takes_gigabytes(tmp_path):
    """A file of 300 bytes, whose graph sums 750 million zeros."""
    onnx = pytest.importorskip("onnx")
    make, path = onnx.helper, tmp_path / "model.onnx"
    ends = [
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("image", ["batch", 48, 48, 1]), ("probabilities", ["batch", 2]))
    ]
    nodes = [
        make.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        make.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        make.make_node("Add", ["sum", "two"], ["probabilities"]),
    ]
    constants = {"shape": np.array([1000, 1000, 750]), "two": np.zeros((1, 2), np.float32)}
    constants = [onnx.numpy_helper.from_array(one, name) for name, one in constants.items()]
    graph = make.make_graph(nodes, "bomb", ends[:1], ends[1:], constants)
    model = make.make_model(graph, ir_version=9, opset_imports=[make.make_opsetid("", 18)])
    onnx.helper.set_model_props(model, {"labels": "a b"})
    onnx.save(model, path)
    assert "is damaged, or not a model" in refused(lambda: ONNXPredictor(path), path)


@pytest.mark.slow
def test_exports_whose_variables_are_cut_or_labels_of_others(export):
    variables = export / "variables" / "variables.data-00000-of-00001"
    whole = variables.read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        variables.write_bytes(content)
        assert "is damaged, or not an export" in refused(
            lambda: load(export, "saved_model"), export
        )
    variables.unlink()
    assert refused(lambda: load(export, "saved_model"), export)
    variables.write_bytes(whole)
    labels = export / "assets" / "labels.txt"
    for content in (b"", b"a\nb\n", b"\xff\xfe\n" * 7, b"a\n" * 7):
        labels.write_bytes(content)
        assert "labels.txt is damaged" in refused(lambda: load(export, "saved_model"), export)
    labels.unlink()
    assert refused(lambda: load(export, "saved_model"), export)


def test_a_foreign_saved_model(tmp_path):
    class Foreign(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def double(self, image_bytes):
            return {"valid": tf.strings.length(image_bytes) > 0}

    module = Foreign()
    for name in ("serving_default", "predict_bytes"):
        folder = tmp_path / name / "1"
        tf.saved_model.save(module, str(folder), {name: module.double})
        assert refused(lambda folder=folder: load(folder), folder)
        command = ["score", str(folder.parent), "--input", str(tmp_path / "*.jpg")]
        (tmp_path / "a.jpg").write_bytes(b"x")
        result = CliRunner().invoke(main, [*command, "--output", str(tmp_path / f"out_{name}")])
        assert result.exit_code == 1 and "not an export of this package" in result.output
        assert "Traceback" not in result.output and result.output.count("\n") == 1


@pytest.mark.slow
def test_verification_of_an_export_with_damaged_assets(export):
    loaded = LoadedExport(Session(export))  # opened once
    assert len(list(Verification(export, loaded).lines())) > 5
    for name in ("config.json", "labels.txt", "expected.npz"):
        path = export / "assets" / name
        whole = path.read_bytes()
        for content in (b"", b"[]", b"{}", b"\xff" * 40):
            path.write_bytes(content)
            refusal = refused(lambda: list(Verification(export, loaded).lines()), path)
            assert refusal, (name, content)
        path.write_bytes(whole)


def test_backups_of_other_types(tmp_path):
    import keras

    trainer = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    trainer.compile("sgd")
    path = tmp_path / "backup.npz"
    good = {"history": [{"epoch": 0, "loss": float("nan")}], "best": [0.5, -1.0]}
    trainer.optimizer.build(trainer.trainable_variables)
    arrays = [np.asarray(one) for one in [*trainer.variables, *trainer.optimizer.variables]]
    arrays = {str(i): array for i, array in enumerate(arrays)}
    np.savez(path, state=json.dumps(good), **arrays)
    assert restore_backup(path, trainer)["best"] == [0.5, -1.0]
    whole = path.read_bytes()
    states = [json.dumps(good | {field: value}) for field in good for value in OTHER_VALUES]
    states += ["", "[" * 100_000, "{}", "[]", json.dumps(good | {"history": [{"epoch": 4}]})]
    for state in states:
        np.savez(path, state=state, **arrays)
        accepted = json.loads(state)["history"] == [] if '"history": []' in state else False
        assert accepted or refused(lambda: restore_backup(path, trainer), path), state
    for name in arrays:
        for other in (np.array("x"), np.array([None]), np.zeros((9, 9, 9))):
            np.savez(path, state=json.dumps(good), **(arrays | {name: other}))
            assert refused(lambda: restore_backup(path, trainer), path)
    np.savez(path, state=json.dumps(good), **{f"x{name}": one for name, one in arrays.items()})
    assert refused(lambda: restore_backup(path, trainer), path)
    for content in [*OTHER_TEXTS.values(), *damaged_bytes(whole, 0, 40)]:
        path.write_bytes(content)
        refused(lambda: restore_backup(path, trainer), path)


@pytest.mark.parametrize("kind", OTHER_TEXTS)
def test_manifests_of_other_types(tmp_path, kind):
    from keras_deep_emotion.scoring.job import open_job, part_counts

    path = tmp_path / "manifest.json"
    path.write_bytes(OTHER_TEXTS[kind])
    assert refused(lambda: open_job(str(tmp_path), {"column": "file"}), path)
    manifest = {"parts": 1, "format": "jsonl"}
    (tmp_path / "part-00000-of-00001.jsonl").touch()
    (tmp_path / "job" / "counts").mkdir(parents=True)
    (tmp_path / "job" / "counts" / "00000.json").write_bytes(OTHER_TEXTS[kind])
    assert part_counts(str(tmp_path), manifest) == [None]  # scored again


@pytest.mark.parametrize("kind", sorted({*OTHER_TEXTS} - {"empty"}))
def test_lists_of_models_of_other_content(tmp_path, kind):
    path = tmp_path / "models.config"
    path.write_bytes(OTHER_TEXTS[kind])
    assert refused(lambda: read_models_config(path), path)


@pytest.mark.parametrize(
    "address", ["http://h:" + "9" * 5000, "http://h/n/versions/" + "9" * 5000, "http://h:²", ""]
)
def test_addresses_with_numbers_that_are_none(address):
    with pytest.raises(ValueError, match="^A server is SCHEME"):
        ServerAddress.parse(address)


@pytest.mark.parametrize("kind", OTHER_TEXTS)
def test_certificates_of_other_content(tmp_path, kind):
    from keras_deep_emotion.inference.client import connect

    path = tmp_path / "authority.pem"
    path.write_bytes(OTHER_TEXTS[kind])
    for scheme in ("grpcs", "https"):
        assert refused(lambda scheme=scheme: connect(f"{scheme}://localhost:1/x", 1, path), path)


class Thief(tf.Module):
    """Answers as an export does, and copies a file when it is called."""

    def __init__(self, secret, copy):
        super().__init__()
        self.secret, self.copy = str(secret), str(copy)

    @tf.function(input_signature=[tf.TensorSpec((None, 48, 48, 1), tf.float32, name="image")])
    def __call__(self, image):
        with tf.control_dependencies([tf.io.write_file(self.copy, tf.io.read_file(self.secret))]):
            return {"probabilities": tf.ones((tf.shape(image)[0], 7)) / 7}


class Resource(tf.Module):
    """Reads a file while it is loaded."""

    def __init__(self, words):
        super().__init__()
        names = tf.lookup.TextFileInitializer(
            str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
        )  # fmt: skip
        self.table = tf.lookup.StaticHashTable(names, -1)

    @tf.function(input_signature=[tf.TensorSpec((None, 48, 48, 1), tf.float32, name="image")])
    def __call__(self, image):
        count = tf.cast(self.table.lookup(tf.constant("a")), tf.float32)
        return {"probabilities": tf.ones((tf.shape(image)[0], 7)) * count}


@pytest.mark.parametrize("kind", [Thief, Resource])
def test_a_model_that_touches_files_is_not_opened_unless_it_is_trusted(kind, tmp_path):
    secret, copy = tmp_path / "secret", tmp_path / "copy"
    secret.write_text("a\nb\n")
    module = kind(secret, copy) if kind is Thief else kind(secret)
    path = tmp_path / "model" / "1"
    tf.saved_model.save(module, str(path), {"serving_default": module.__call__})
    (path / "assets.extra").mkdir()
    labels = path / LABELS
    labels.parent.mkdir(parents=True, exist_ok=True)
    labels.write_text("\n".join("abcdefg"))
    says = "is not opened: it could read or write files, or run other code .*repeat with --trust"
    with pytest.raises(ValueError, match=says):
        load_path(path)
    assert not copy.exists()
    model = load_path(path, trust=True)
    assert model.labels == list("abcdefg")
    assert copy.exists() is (kind is Thief)
    face = tmp_path / "face.png"
    Image.new("L", (48, 48)).save(face)
    for command in (
        ["predict", "--faces", "none", "--model", str(path), str(face)],
        ["explain", str(path), str(face), "--output", str(tmp_path / "maps")],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1 and "is not opened" in result.output, result.output
    arguments = ["score", str(path), "--input", str(face), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "is not opened" in result.output, result.output
    assert not (tmp_path / "out" / "manifest.json").exists()


def rewritten_model(path, settings=lambda value: None, weights=None, **members):
    """Write the smaller shipped model as `path`, with other settings, weights or members."""
    with zipfile.ZipFile(Run.shipped("ferplus-paper") / Run.MODEL) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(files["config.json"])
    settings(config["config"]["layers"])
    files["config.json"] = json.dumps(config).encode()
    files["model.weights.h5"] = weights or files["model.weights.h5"]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (files | members).items():
            archive.writestr(name, content)


def first(layers, kind):
    """The settings of the first layer of a class."""
    return next(layer["config"] for layer in layers if layer["class_name"] == kind)


def many_units(layers):
    first(layers, "Dense")["units"] = 3_000_000


def many_filters(layers):
    first(layers, "Conv2D")["filters"] = 10_000_000


def many_settings(layers):
    first(layers, "Dense")["name"] = "x" * 2**20


def declared_weights(shape, **options):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", shape, "f4", compression="gzip", **options)
    return content.getvalue()


@pytest.mark.parametrize(
    ("says", "changes"),
    [
        ("parameters or more, over", {"settings": many_units}),
        ("parameters or more, over", {"settings": many_filters}),
        ("its config.json has .* bytes, over", {"settings": many_settings}),
        ("parameters or more, over", {"weights": declared_weights((750_000_000,))}),
        ("parameters or more, over", {"weights": declared_weights((2**28,), chunks=(2**28,))}),
        ("it must hold config.json, .*Received: .*assets/a", {"assets/a": b"x"}),
        ("parameters or more, over", {"weights": bytes(400_000_000)}),
    ],
)  # fmt: skip
def test_a_keras_model_far_larger_than_ours_is_not_built(tmp_path, says, changes):
    """It would take gigabytes; the file has less than two megabytes."""
    for name in (Run.CONFIG, Run.LABELS):
        shutil.copy(Run.shipped("ferplus-paper") / name, tmp_path / name)
    path = tmp_path / Run.MODEL
    rewritten_model(path, **changes)
    assert path.stat().st_size < 2**21
    assert re.search(says, refused(Run(tmp_path).load_model, path))
    rewritten_model(path)
    assert Run(tmp_path).load_model().count_params() == 66_857


def test_a_keras_model_of_large_outputs_is_not_run(tmp_path):
    import keras

    image = keras.Input((48, 48, 1))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.UpSampling2D(200)(image))
    path = tmp_path / Run.MODEL
    keras.Model(image, keras.layers.Dense(7)(features)).save(path)
    for name in (Run.CONFIG, Run.LABELS):
        shutil.copy(Run.shipped("ferplus-paper") / name, tmp_path / name)
    says = r"its layer up_sampling2d.* outputs \(None, 9600, 9600, 1\), over 60,000,000 numbers"
    assert re.search(says, refused(Run(tmp_path).load_model, path))


@pytest.mark.slow
def test_the_largest_network_is_within_the_bounds(tmp_path):
    from keras_deep_emotion.config import TrainConfig
    from keras_deep_emotion.models import build_model
    from keras_deep_emotion.models.loading import load_network

    model = build_model(TrainConfig(network="resnet50", image_size=512))
    model.save(tmp_path / "model.keras")
    assert load_network(tmp_path / "model.keras").count_params() == model.count_params()
