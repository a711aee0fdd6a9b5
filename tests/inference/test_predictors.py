import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_deep_emotion.data.reading import open_dataset, read_examples
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.inference.loading import load_path
from keras_deep_emotion.inference.media import predict_crops
from keras_deep_emotion.runs import Run


@pytest.fixture(scope="module")
def faces(toon_faces_dir):
    """Seven test faces as the network sees them, rounded to whole grey levels."""
    builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
    images = [example["image"].numpy() for example in read_examples(builder, "test[:7]", 48)]
    return np.round(images).astype(np.uint8)


@pytest.fixture(scope="module")
def files(faces, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    paths = [folder / f"{i}.png" for i in range(len(faces))]
    for path, face in zip(paths, faces, strict=True):
        Image.fromarray(face[..., 0]).save(path)
    return paths


@pytest.mark.parametrize("origin", ["run_dir", "export_dir", "exports"])
def test_files_give_what_the_keras_model_gives(origin, files, faces, run_dir, export_dir):
    path = {"run_dir": run_dir, "export_dir": export_dir, "exports": export_dir.parent}[origin]
    model = load_path(path)
    keras_model, labels = Run(run_dir).load_model(), Run(run_dir).labels
    expected = keras_model.predict_on_batch(faces.astype(np.float32))
    got = list(predict_crops(model, files, batch_size=3))
    assert model.labels == labels
    assert [prediction.file for prediction in got] == files
    np.testing.assert_allclose([one.probabilities[0] for one in got], expected, atol=1e-5)


def test_a_run_opens_in_a_process_that_never_trained(run_dir):
    code = (
        "import sys; from keras_deep_emotion.inference import load_path; "
        "print(load_path(sys.argv[1]).labels)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run_dir)], capture_output=True, text=True
    )
    assert done.stdout.startswith("['anger', 'disgust'"), done.stderr[-2000:]


def test_bad_files_are_named_and_the_rest_goes_on(run_dir, files, tmp_path):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    whole = tf.io.encode_jpeg(np.full((60, 60, 3), 90, np.uint8), quality=95).numpy()
    (tmp_path / "cut.jpg").write_bytes(whole[:200])
    (tmp_path / "cut.png").write_bytes(files[0].read_bytes()[:200])
    Image.new("L", (5000, 4000)).save(tmp_path / "large.png")
    bad = {
        tmp_path / "large.png": "5000 x 4000 pixels are too many, at most 16,777,216: shrink it",
        tmp_path / "empty.png": "the file is empty",
        tmp_path / "text.jpg": "not a picture of a known format",
        tmp_path / "cut.jpg": "the image is damaged",
        tmp_path / "cut.png": "the image is damaged",
        tmp_path / "none.png": "no such file or directory",
        tmp_path: "is a directory",
    }
    got = list(predict_crops(load_path(run_dir), [*bad, files[0]]))
    assert {one.file: one.error for one in got[:-1]} == bad
    assert got[-1].error is None
    assert got[-1].probabilities.sum() == pytest.approx(1)


def test_highest_version_is_taken_by_number(export_dir, tmp_path):
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "saved_model.pb").touch()  # cannot be opened
    (tmp_path / "10").symlink_to(export_dir, target_is_directory=True)
    (tmp_path / "11").mkdir()  # no export in it
    assert load_path(tmp_path).labels == load_path(export_dir).labels


def test_what_is_neither_run_nor_export_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a run"):
        load_path(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        load_path(tmp_path / "none")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="not a finished run: it has no labels.txt"):
        load_path(tmp_path)
