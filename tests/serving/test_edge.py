"""Edge formats: what the files answer, hold and refuse."""

import json
import os
import re
import zipfile

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_deep_emotion import load
from keras_deep_emotion.cli import main
from keras_deep_emotion.exports import QUANTIZATIONS
from keras_deep_emotion.inference.array_predictors import LiteRTPredictor, ONNXPredictor
from keras_deep_emotion.runs import Run, shipped_weights
from keras_deep_emotion.serving.edge import EDGE_FORMATS, export_edge, verify_edge, write_litert

OPEN = {".tflite": LiteRTPredictor, ".onnx": ONNXPredictor}


@pytest.fixture(scope="module")
def model(run_dir):
    return Run(run_dir).load_model()


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).uniform(0, 255, (20, 48, 48, 1)).astype(np.float32)


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
@pytest.mark.parametrize("format", EDGE_FORMATS)
def test_answers_are_those_of_keras(model, faces, format, quantize, tmp_path):
    path = tmp_path / "face"
    EDGE_FORMATS[format].write(model, path, list("abcdefg"), quantize)
    opened = EDGE_FORMATS[format].open(path)
    difference = np.abs(opened.predict(faces) - model.predict_on_batch(faces)).max()
    assert difference < {"none": 1e-5, "float16": 0.02, "dynamic": 0.3}[quantize]
    assert (difference > 1e-5) == (quantize != "none")  # the weights are stored otherwise
    assert opened.labels == list("abcdefg") and opened.size == 48
    assert opened.predict(faces[0]).shape == (1, 7)  # one, and a batch that is no multiple of 8


@pytest.mark.parametrize("name", shipped_weights())
def test_the_shipped_litert_models_are_made_of_the_shipped_keras_models(name, faces, tmp_path):
    shipped, path = Run.shipped(name), tmp_path / "a.tflite"
    quantize = shipped.report["litert"]["quantize"]
    write_litert(shipped.load_model(), path, shipped.labels, quantize, dataset="fer2013")
    assert (shipped / Run.LITERT).stat().st_size == shipped.report["litert"]["bytes"]
    again, ours = LiteRTPredictor(path), LiteRTPredictor(shipped / Run.LITERT)
    np.testing.assert_allclose(again.predict(faces), ours.predict(faces), atol=1e-5)
    assert ours.labels == shipped.labels


LEFT = ("face/partial-abcd1234", "other/partial-0a_b1234", "other/partial-notes")


@pytest.fixture(scope="module")
def exported(run_dir, tmp_path_factory):
    """Exports of a run in every format, and what the command printed."""
    folder = tmp_path_factory.mktemp("edge")
    for name in LEFT:  # by killed exports, long ago, with content; the last is the user's
        (folder / name / "variables").mkdir(parents=True)
        os.utime(folder / name, (1, 1))
    formats = [f"--format={name}" for name in ("saved_model", *EDGE_FORMATS)]
    command = ["export", str(run_dir), "--name", "face", "--exports", str(folder), *formats]
    done = CliRunner().invoke(main, [*command, "--data-dir", str(folder)])
    assert done.exit_code == 0, done.output
    return folder, done.output


def test_export_writes_every_format_and_says_how_they_differ(exported):
    folder, output = exported
    first, *files, described, last, listed = output.splitlines()[: 4 + len(OPEN)]
    assert first == "compared with Keras on 200 drawn faces"
    assert described == f"wrote {folder}/face.json"
    assert listed == f"wrote {folder}/models.config"
    assert last == f"exported and verified: {folder}/face/1"
    for line, suffix in zip(files, OPEN, strict=True):
        assert re.fullmatch(
            rf"exported and verified: {folder}/face{suffix}, \d\.\d\d MB; the same emotion for "
            r"(99\.\d|100\.0) % of 200 faces \(bound: 99 %\), probabilities differ by \d+e-\d\d on "
            r"average \(bound: 0.0001\), by \d+e-\d\d at most",
            line,
        )
    version = folder / "face" / "1"
    assert load(version).runtime == "litert"
    assert load(version, runtime="saved_model").runtime == "saved_model"
    assert not list(folder.glob("partial*"))
    assert [(folder / name).exists() for name in LEFT] == [False, False, True]
    assert [path.name for path in (folder / "face").iterdir()] == ["1"]


def test_all_formats_of_an_export_answer_alike(exported, model, faces):
    folder, _ = exported
    expected = model.predict_on_batch(faces)
    for path in (folder / "face", folder / "face.tflite", folder / "face.onnx"):
        np.testing.assert_allclose(load(path).predict(faces), expected, atol=1e-5)


def test_maps_of_an_onnx_model_are_those_of_the_savedmodel(exported, faces):
    folder, _ = exported
    ours = load(folder / "face.onnx").explain(faces[:2], window=16, stride=16)
    theirs = load(folder / "face", "saved_model").explain(faces[:2], window=16, stride=16)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_predict_takes_the_files(exported, tmp_path):
    Image.new("L", (60, 60), 90).save(tmp_path / "face.png")
    rows = []
    for suffix in OPEN:
        command = ["predict", "--model", f"{exported[0]}/face{suffix}", "--faces", "none", "--json"]
        done = CliRunner().invoke(main, [*command, str(tmp_path / "face.png")])
        assert done.exit_code == 0, done.output
        rows.append(json.loads(done.stdout)["probabilities"])
    assert rows[0] == pytest.approx(rows[1], abs=1e-5)


def test_the_files_say_what_they_take_and_give(exported, run_dir):
    folder, _ = exported
    labels = Run(run_dir).labels
    with zipfile.ZipFile(folder / "face.tflite") as appended:  # as TensorFlow Lite's metadata
        texts = {name: appended.read(name).decode() for name in appended.namelist()}
    assert texts["labels.txt"].split() == labels
    content = onnx.load(folder / "face.onnx")
    properties = {one.key: one.value for one in content.metadata_props}
    assert properties["labels"].split() == labels
    about = json.loads(properties["about"])
    assert (
        about == json.loads(texts["about.json"]) == json.loads((folder / "face.json").read_text())
    )
    assert about["labels"] == labels
    assert about["input"]["shape"] == ["batch", 48, 48, 1] and about["input"]["range"] == [0, 255]
    assert (about["dataset"], about["quantize"]) == (Run(run_dir).task.dataset, "none")
    dims = [
        [dim.dim_param or dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        for tensor in (*content.graph.input, *content.graph.output)
    ]
    assert dims == [["batch", 48, 48, 1], ["batch", 7]]


def test_a_file_that_differs_does_not_replace_the_one_before(model, faces, tmp_path, monkeypatch):
    path = tmp_path / "face.tflite"
    path.write_bytes(b"before")
    monkeypatch.setattr(model, "predict", lambda *given, **named: model(faces).numpy()[:, ::-1])
    with pytest.raises(ValueError, match="Predictions differ from Keras's: .* Nothing was exp"):
        export_edge(model, list("abcdefg"), path, "litert", faces)
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]  # no .json


@pytest.mark.parametrize(
    ("change", "quantize", "is_refused"),
    [(0.0009, "float16", False), (0.004, "float16", True), (0.004, "dynamic", False),
     (np.nan, "dynamic", True)],
)  # fmt: skip
def test_bounds(change, quantize, is_refused):
    expected = np.tile([[0.6, 0.4]], (100, 1))
    got = expected + change * np.array([1, -1])
    if is_refused:
        with pytest.raises(ValueError, match="Predictions differ"):
            verify_edge(got, expected, quantize)
    else:
        assert "100.0 % of 100 faces" in verify_edge(got, expected, quantize)


def test_too_many_other_emotions_are_refused():
    expected = np.tile([[0.501, 0.499]], (100, 1))
    got = expected.copy()
    got[:6] = got[:6, ::-1]
    with pytest.raises(ValueError, match=r"emotion for 94.0 % of 100 faces \(bound: 95 %\)"):
        verify_edge(got, expected, "dynamic")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["--quantize", "integer", "--format", "litert"], 1, "sampling positions 8 bits"),
        (["--quantize", "dynamic"], 2, "--quantize is for --format litert and --format onnx."),
        (["--name", "a/b", "--format", "onnx"], 1, "A model's name has letters, digits, _ and -"),
    ],
)
def test_what_cannot_be_exported_is_said(run_dir, arguments, status, says, tmp_path):
    done = CliRunner().invoke(
        main, ["export", str(run_dir), "--exports", str(tmp_path), *arguments]
    )
    assert done.exit_code == status and says in done.output
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named(monkeypatch, run_dir):
    monkeypatch.setitem(__import__("sys").modules, "tf2onnx", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if "onnx" in name else 1)
    done = CliRunner().invoke(main, ["export", str(run_dir), "--format", "onnx"])
    assert done.exit_code == 1
    assert "onnx, onnxruntime, tf2onnx not installed" in done.output
    assert "pip install onnx onnxruntime tf2onnx" in done.output


@pytest.mark.parametrize("suffix", OPEN)
@pytest.mark.parametrize("content", [b"", b"a text", "another"])
def test_other_files_are_refused(suffix, content, exported, tmp_path):
    path = tmp_path / f"a{suffix}"
    if content == "another":  # a model of another program: without labels
        whole = (exported[0] / f"face{suffix}").read_bytes()
        content = whole[: whole.rindex(b"PK\3\4")] if suffix == ".tflite" else whole[:5000]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged, or not a model of this package: `keras"):
        load(path)


def test_a_runtime_that_a_model_lacks_is_named(exported, run_dir):
    folder, _ = exported
    for path, known in ((folder / "face.onnx", "onnx"), (folder / "face", "litert, saved_model")):
        with pytest.raises(
            ValueError, match=rf"has no model for the runtime 'keras'; it has: {known}"
        ):
            load(path, runtime="keras")
