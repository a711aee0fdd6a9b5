"""The package as a library."""

import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from skimage import data

import keras_deep_emotion
from keras_deep_emotion import load
from keras_deep_emotion.images.graph import prepare_face
from keras_deep_emotion.inference.client import ServerPredictor
from keras_deep_emotion.runs import shipped_weights
from tfds_builders.contract import EMOTIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model():
    return load("ferplus", runtime="keras")


@pytest.fixture(scope="module")
def face():
    """(96, 96, 3) uint8: the crop of a smiling face."""
    image = Image.fromarray(data.astronaut()).crop((160, 40, 290, 170))
    return np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC))


def test_importing_the_package_is_instant_and_loads_nothing_heavy():
    code = (
        "import time, sys; start = time.perf_counter(); import keras_deep_emotion\n"
        "assert time.perf_counter() - start < 0.3\n"
        "assert not {'tensorflow', 'keras', 'numpy', 'PIL'} & set(sys.modules)\n"
        "assert 'load' in dir(keras_deep_emotion)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_only_load_is_lazy():
    with pytest.raises(AttributeError, match="No keras_deep_emotion attribute lode"):
        _ = keras_deep_emotion.lode


def test_an_array_of_faces_is_what_the_keras_model_sees(model):
    faces = np.random.default_rng(0).uniform(0, 255, (5, 48, 48, 1)).astype(np.float32)
    got = model.predict(faces)
    assert (got.shape, got.dtype) == ((5, 7), np.float32)
    np.testing.assert_allclose(got, model.network.predict_on_batch(faces), atol=1e-5)
    np.testing.assert_array_equal(model.predict(tf.constant(faces)), got)
    assert model.labels == list(EMOTIONS)


def test_every_way_to_name_a_face_gives_one_answer(model, face, tmp_path):
    image = Image.fromarray(face)
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "a.bmp")
    given = [
        str(tmp_path / "a.png"), tmp_path / "a.bmp", image, face, tf.constant(face),
        face.astype(np.float64), image.convert("RGBA"),
    ]  # fmt: skip
    got = model.predict(given)
    expected = model.predict(prepare_face(face, 48).numpy()[None])
    np.testing.assert_allclose(got, np.repeat(expected, len(given), 0), atol=1e-5)
    assert model.labels[got[0].argmax()] == "happiness"
    grey = np.asarray(image.convert("L"))
    by_grey = model.predict([grey, grey[..., None], image.convert("L")])
    np.testing.assert_allclose(by_grey, by_grey[:1].repeat(3, 0), atol=1e-6)


def test_one_crop_is_a_batch_of_one(model, face, tmp_path):
    Image.fromarray(face).save(tmp_path / "a.png")
    expected = model.predict([face])
    given = (face, Image.fromarray(face), tmp_path / "a.png", (tmp_path / "a.png").read_bytes())
    for one in given:
        np.testing.assert_array_equal(model.predict(one), expected)
    np.testing.assert_array_equal(model.predict(face[..., ::-1], channels="bgr"), expected)
    assert np.abs(model.predict(face[..., ::-1]) - expected).max() > 1e-6
    with pytest.raises(ValueError, match="channels must be one of rgb, bgr. Received: 'hsv'"):
        model.predict(face, channels="hsv")


def test_no_images_give_no_rows(model):
    assert model.predict([]).shape == (0, 7)
    assert model.predict(np.zeros((0, 48, 48, 1))).shape == (0, 7)


def test_explain_is_the_occlusion_map(model, face):
    found = model.explain([face, face[::-1]], window=16, stride=8)
    assert found.saliency.shape == found.decisive.shape == (2, 48, 48)
    assert (found.saliency.dtype, found.decisive.dtype) == (np.float32, bool)
    np.testing.assert_allclose(found.probabilities, model.predict([face, face[::-1]]), atol=1e-5)
    np.testing.assert_array_equal(found.class_id, found.probabilities.argmax(axis=1))
    # One window by hand: the upper left corner belongs to it alone.
    faces = np.stack([prepare_face(face, 48).numpy()] * 2)
    faces[1, :16, :16] = 0
    whole, hidden = model.predict(faces)[:, found.class_id[0]]
    assert found.saliency[0, 0, 0] == pytest.approx(whole - hidden, abs=1e-5)
    # Compiled once, whatever the number of faces.
    model.explain([face], window=16, stride=8)
    assert model.classify.experimental_get_tracing_count() == 1
    with pytest.raises(ValueError, match="stride must be between 1 and window=8. Received: 9"):
        model.explain([face], stride=9)
    with pytest.raises(ValueError, match="images must hold one image or more. Received: none"):
        model.explain([])


def test_a_run_an_export_and_the_name_of_weights(run_dir, export_dir, face):
    by_run, by_export = load(run_dir), load(str(export_dir))
    np.testing.assert_allclose(by_run.predict([face]), by_export.predict([face]), atol=1e-5)
    one, other = (model.explain([face], 16, 16) for model in (by_run, by_export))
    np.testing.assert_allclose(one.saliency, other.saliency, atol=1e-4)
    with pytest.raises(FileNotFoundError, match="There is no folder none, and no weights of that"):
        load("none")


def test_a_server_gets_files(model, face):
    client = SimpleNamespace(labels=lambda: model.labels, predict_bytes=model.predict)
    served = ServerPredictor(client)
    given = [face, Image.fromarray(face), face[..., 0].astype(np.float32)]
    np.testing.assert_allclose(served.predict(given), model.predict(given), atol=1e-5)
    assert served.predict([]).shape == (0, 7)
    with pytest.raises(ValueError, match="A server's maps are made with window=8, stride=2, fil"):
        served.explain([face], stride=4)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (
            5,
            r"images must be an image .*or an array of shape \(batch, height, width, channels\). R",
        ),
        (np.zeros(48), r"\(batch, height, width, channels\). Received: an array of shape \(48,\)"),
        (np.zeros((48, 48, 2)), r"images\[0\] must be a path.*Received: ndarray of shape"),
        ("none.png", "none.png: no such file or directory."),
        (b"none", r"images\[0\]: not a picture of a known format."),
        ([np.zeros((48, 48, 2))], r"images\[0\] must be a path.*Received: ndarray of shape"),
        ([np.full((9, 9), 300)], r"images\[0\] has levels from 300 to 300, of a depth that is not"),
        ([Image.fromarray(np.full((9, 9), 300, np.int32))], "levels from 300 to 300, of a depth"),
        ([np.full((9, 9), np.nan)], r"images\[0\] has levels from nan to nan, which"),
        (
            [np.zeros((9, 9)), np.full((9, 9), 0.5)],
            r"images\[1\].*0.5 to 0.5: multiply them by 255",
        ),
        (["none.png"], "none.png: no such file or directory."),
    ],
)
def test_what_is_no_image_is_named(model, images, says):
    with pytest.raises(ValueError, match=says):
        model.predict(images)


def test_photos_are_analyzed(face, tmp_path):
    model, photo = load("ferplus"), data.astronaut()
    Image.fromarray(photo).save(tmp_path / "a.png")
    (found,) = model.analyze(photo)
    assert found.emotion == "happiness" == max(found.probabilities, key=found.probabilities.get)
    assert list(found.probabilities) == model.labels
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert found.box == pytest.approx([178, 63, 90, 113], abs=6)
    assert found.landmarks.shape == (5, 2) and found.turned == 0 and 0.9 < found.score < 1
    for again in (
        tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), Image.fromarray(photo),
        photo.astype(np.float32),
    ):  # fmt: skip
        assert model.analyze(again)[0].probabilities == found.probabilities
    assert model.analyze(photo[..., ::-1], channels="bgr")[0].probabilities == found.probabilities
    (turned,) = model.analyze(np.rot90(photo))
    assert (turned.emotion, turned.turned) == ("happiness", 90)
    assert model.analyze(photo, smallest=200) == []
    with pytest.raises(ValueError, match="none.png: no such file or directory."):
        model.analyze("none.png")


def test_shipped_weights_open_without_tensorflow(face, tmp_path):
    Image.fromarray(face).save(tmp_path / "face.png")
    code = (
        "import sys, keras_deep_emotion; model = keras_deep_emotion.load(sys.argv[1])\n"
        "model.predict('face.png'), model.explain('face.png', 24, 24), model.analyze('face.png')\n"
        "assert not {'tensorflow', 'keras', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "print(model)"
    )
    for name in shipped_weights():
        done = subprocess.run(
            [sys.executable, "-c", code, name], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.stderr == ""
        assert re.fullmatch(
            rf"<LiteRTPredictor of .*/{name}/model.tflite: 7 emotions, 48 x 48 pixels>\n",
            done.stdout,
        )


@pytest.mark.parametrize(
    ("name", "difference"), [("ferplus", 0.04), ("ferplus-camera", 0.04), ("ferplus-paper", 0.005)]
)
def test_litert_answers_as_keras(name, difference, face):
    keras_model, light = load(name, runtime="keras"), load(name, runtime="litert")
    assert (keras_model.runtime, light.runtime) == ("keras", "litert")
    assert load(name).runtime == "litert"
    faces = [face, face[::-1], face[:, ::-1], face[20:], face // 3, np.full((48, 48), 90)]
    expected, got = keras_model.predict(faces), light.predict(faces)
    assert (got.shape, got.dtype) == ((6, 7), np.float32)
    np.testing.assert_allclose(got, expected, atol=difference)
    np.testing.assert_array_equal(got.argmax(axis=1), expected.argmax(axis=1))
    # Whatever stands beside it in the batch.
    np.testing.assert_array_equal(light.predict(faces[3]), got[3:4])
    for settings in ((16, 8, "zero"), (8, 8, "mean"), (12, 6, "blur")):
        theirs, ours = (model.explain(face, *settings) for model in (keras_model, light))
        np.testing.assert_allclose(ours.saliency, theirs.saliency, atol=2 * difference)
        assert ours.class_id == theirs.class_id


def test_a_model_without_its_runtime_is_refused_by_name(run_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    for arguments in ((run_dir,), ("ferplus", "keras")):
        with pytest.raises(ModuleNotFoundError, match="^tensorflow is not installed: pip install"):
            load(*arguments)
    with pytest.raises(ValueError, match="is a server, which has one runtime: leave it out"):
        load("http://localhost:1/emotions", runtime="litert")


def test_what_has_no_light_model_is_opened_by_keras(run_dir):
    assert load(run_dir).runtime == "keras"
    with pytest.raises(ValueError, match="has no model for the runtime 'litert'; it has: keras."):
        load(run_dir, runtime="litert")
    with pytest.raises(
        ValueError, match="has no model for the runtime 'tf'; it has: litert, keras."
    ):
        load("ferplus", runtime="tf")


def test_models_travel_between_processes(run_dir, export_dir, face):
    for model in (load("ferplus"), load(run_dir), load(export_dir)):
        again = pickle.loads(pickle.dumps(model))
        assert type(again) is type(model)
        np.testing.assert_array_equal(again.predict(face), model.predict(face))


def test_a_fork_is_refused_in_one_sentence():
    code = (
        "import os, numpy as np, keras_deep_emotion\n"
        "model = keras_deep_emotion.load('ferplus')\n"
        "if os.fork(): os.wait(); model.predict(np.zeros((48, 48)))\n"
        "else: model.predict(np.zeros((48, 48)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    assert (
        "was opened before this process was forked. Open the model in each process"
        in (done.stderr.splitlines()[-1])
    )


@pytest.mark.parametrize("page", ["README.md", "docs/guides/photos-and-video.md"])
def test_the_example_of_the_library_runs(page, face, tmp_path):
    text = (ROOT / page).read_text()
    (code,) = re.findall(r"```python\n(from keras_deep_emotion import load\n.*?)```", text, re.S)
    assert len(code.splitlines()) <= 15
    Image.fromarray(face).save(tmp_path / "face.png")
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    analyzed, *predicted = done.stdout.splitlines()
    assert analyzed.startswith("happiness {'anger': ")
    shown = predicted[:1] == ["happiness 100%"]  # by the guide, which goes on with crops
    assert shown if "guides" in page else not predicted
