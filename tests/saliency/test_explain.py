import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image
from skimage.data import astronaut

from keras_deep_emotion import load
from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.reading import open_dataset, read_examples
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.inference.loading import load_path
from keras_deep_emotion.reports.figures import saliency as figures
from keras_deep_emotion.runs import Run
from keras_deep_emotion.saliency.benchmark import part_boxes, randomize_layers
from keras_deep_emotion.saliency.explain import (
    explain_faces,
    explain_files,
    occluded_faces,
    top_windows,
)
from keras_deep_emotion.saliency.explain_run import (
    explain_mistakes,
    explain_split,
    typical_examples,
)
from keras_deep_emotion.saliency.networks import Network
from keras_deep_emotion.saliency.occlusion import occlusion_saliency
from keras_deep_emotion.saliency.windows import Windows

ROOT = Path(__file__).parents[2]


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def face(toon_faces_dir, tmp_path_factory):
    """A PNG file of one cropped toon face, and its grey levels."""
    builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
    image = next(iter(read_examples(builder, "test", 48)))["image"].numpy().round()
    path = tmp_path_factory.mktemp("faces") / "face.png"
    path.write_bytes(tf.io.encode_png(image.astype(np.uint8)).numpy())
    return path, image


def test_the_most_telling_windows_lie_apart():
    lost = np.zeros((21, 21))
    lost[4, 4], lost[4, 5], lost[20, 0] = 0.9, 0.8, 0.3
    assert top_windows(lost, count=2) == [(4, 4), (20, 0)]  # (4, 5) lies on (4, 4)
    chosen = top_windows(lost)
    assert len(chosen) == 9
    apart = [max(abs(y - v), abs(x - u)) for i, (y, x) in enumerate(chosen) for v, u in chosen[:i]]
    assert min(apart) >= 21 / 6


def test_occluded_faces_are_what_the_model_saw():
    image = np.full((10, 10), 7.0)
    faces = occluded_faces(image, np.zeros((10, 10)), [(0, 2)], 4, 3)
    expected = image.copy()
    expected[0:4, 6:10] = 0
    np.testing.assert_array_equal(faces, [expected])
    assert (image == 7).all()


def test_a_run_and_its_export_explain_alike(run_dir, export_dir, face):
    _, image = face
    of_run = explain_faces(load_path(run_dir), image[None])
    of_export = explain_faces(load_path(export_dir), image[None])
    np.testing.assert_allclose(of_run.saliency, of_export.saliency, atol=1e-4)
    np.testing.assert_array_equal(of_run.decisive, of_export.decisive)
    assert of_run.theta.shape == (1, 6) and of_run.attended.shape == (1, 48, 48)
    assert of_export.theta is None
    model = load_path(run_dir).network
    plain = occlusion_saliency(lambda x: model(x, training=False), tf.constant(image[None]))
    np.testing.assert_allclose(of_run.saliency, plain.saliency, atol=1e-4)


def test_litert_explains_and_attends_as_keras_does(face, tmp_path):
    run(
        "explain", "--weights", "ferplus-paper", face[0], "--faces", "none", "--stride", "4",
        "--output", tmp_path,
    )  # fmt: skip
    with np.load(tmp_path / "saliency.npz") as maps:
        by_keras = explain_faces(
            load("ferplus-paper", runtime="keras"), face[1][None], windows=Windows(stride=4)
        )
        for name in ("saliency", "lost", "theta"):
            np.testing.assert_allclose(maps[name], getattr(by_keras, name), atol=0.02)
        np.testing.assert_allclose(maps["attended"], by_keras.attended, atol=2)
    assert (tmp_path / "attended.png").stat().st_size > 1000


def test_pictures_are_explained_without_tensorflow(face, tmp_path):
    code = (
        "import sys; from keras_deep_emotion.cli import main\n"
        "arguments = ['--weights', 'ferplus', sys.argv[1], '--faces', 'none', '--stride', '8']\n"
        "try: main(['explain', *arguments])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, face[0]], check=True, cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (tmp_path / "runs" / "explanation" / "attended.png").exists()


def test_explain_draws_faces_of_the_split_and_keeps_the_numbers(run_dir, toon_faces_dir, tmp_path):
    output = run(
        "explain", run_dir, "--split", "validation", "--per-class", "2", "--window", "12",
        "--stride", "6", "--data-dir", toon_faces_dir, "--output", tmp_path / "maps",
    )  # fmt: skip
    for name in ("saliency.npz", "saliency.png", "occlusions.png", "attended.png"):
        assert (tmp_path / "maps" / name).stat().st_size > 1000
        assert f"wrote {tmp_path / 'maps' / name}" in output
    with np.load(tmp_path / "maps" / "saliency.npz") as maps:
        np.testing.assert_array_equal(maps["label"], np.repeat(range(7), 2))
        np.testing.assert_array_equal(maps["class_id"], maps["label"])  # the truth is watched
        assert maps["lost"].shape == (14, 7, 7)
        assert maps["saliency"].shape == maps["decisive"].shape == (14, 48, 48)
        builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
        names = {one["name"].numpy().decode() for one in read_examples(builder, "validation", 48)}
        assert set(maps["name"]) <= names and len(set(maps["name"])) == 14


def test_explain_takes_pictures_and_the_bad_one_does_not_stop_the_rest(export_dir, face, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"text")
    output = run(
        "explain", export_dir, face[0], bad, "--faces", "none", "--filling", "blur",
        "--stride", "4", "--output", tmp_path / "maps", code=1,
    )  # fmt: skip
    assert f"{bad}: not a picture of a known format." in output
    with np.load(tmp_path / "maps" / "saliency.npz") as maps:
        assert list(maps["name"]) == [str(face[0])]
        assert maps["class_id"] == maps["probabilities"].argmax(axis=1)
        np.testing.assert_allclose(maps["image"][0], face[1][..., 0], atol=0.6)
    assert not (tmp_path / "maps" / "attended.png").exists()  # an export has no layers


def test_a_picture_that_is_turned_by_exif_is_explained_upright(export_dir, face, tmp_path):
    with Image.open(face[0]) as image:
        lying = image.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    lying.save(tmp_path / "lying.png", exif=exif)
    explain_files(
        load_path(export_dir), [tmp_path / "lying.png"], tmp_path, Windows(window=8, stride=8)
    )
    with np.load(tmp_path / "saliency.npz") as maps:
        np.testing.assert_allclose(maps["image"][0], face[1][..., 0], atol=0.6)


def test_files_of_other_splits_and_images_are_kept_apart(run_dir, toon_faces_dir, face, tmp_path):
    copy = Path(shutil.copytree(run_dir, tmp_path / "run"))
    before = (copy / "saliency.npz").read_bytes()
    windows = ("--window", "16", "--stride", "16")
    data = ("--data-dir", toon_faces_dir)
    output = run("explain", copy, "--split", "validation", *windows, *data)
    assert f"wrote {copy / 'explanation-validation' / 'saliency.npz'}" in output
    with np.load(copy / "explanation-validation" / "saliency.npz") as maps:
        line = next(line for line in output.splitlines() if line.endswith(f"  {maps['name'][3]}"))
        answer = maps["classes"][maps["probabilities"][3].argmax()]
    assert line.startswith(f"happiness -> {answer} ")
    assert (copy / "saliency.npz").read_bytes() == before
    for arguments in ((face[0],), ("--split", "train")):
        refused = run("explain", copy, *arguments, "--output", copy, *data, code=2)
        assert "is a run, and has such files of its own: name another --output" in refused
    Run(copy).delete_derived()
    assert not list(copy.rglob("saliency.*"))


def test_images_are_explained_into_a_new_folder(export_dir, face, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    windows = ("--window", "16", "--stride", "16")
    for folder in ("runs/explanation", "runs/explanation-2", "runs/explanation-3"):
        output = run("explain", export_dir, face[0], "--faces", "none", *windows)
        written = re.findall("wrote (.*)", output)
        names = ("saliency.npz", "saliency.png", "occlusions.png")
        assert written == [f"{folder}/{name}" for name in names]
        assert all(Path(name).exists() for name in written)
        assert output.splitlines()[0].endswith(str(face[0]))


def test_typical_faces_are_right_and_of_middling_confidence():
    class Model:
        @staticmethod
        def predict_prepared(faces):
            return np.stack([1 - faces[:, 0], faces[:, 0]], axis=1)

    def examples(*probabilities):
        return [{"label": np.int64(1), "image": tf.constant([one])} for one in probabilities]

    def chosen(count, *probabilities):
        typical = typical_examples(Model, examples(*probabilities), count)
        return [round(float(one["image"][0]), 2) for one in typical]

    assert chosen(1, 0.1, 0.99, 0.6, 0.9, 0.2) == [0.9]
    assert chosen(2, 0.1, 0.99, 0.6, 0.9, 0.8) == [0.9, 0.8]
    assert chosen(2, 0.1, 0.7, 0.2) == [0.7, 0.2]  # one is right
    assert chosen(5, 0.1, 0.7) == [0.7, 0.1]


def test_maps_of_a_figure_have_one_scale():
    face, weak = np.full((2, 8, 8, 1), 128.0), np.full((8, 8), 0.0007)
    saliency = np.stack([weak, np.full((8, 8), 0.9)])
    decisive = np.zeros((2, 8, 8), bool)
    decisive[1, 2:5, 2:5] = True

    def opacities(*maps):
        figure = figures.saliency_figure(*maps, ["fear"] * 2, ["fear 100%"] * 2)
        heats = [axes for axes in figure.axes if len(axes.images) == 2]
        texts = [axes.get_xlabel().splitlines() for axes in heats]
        outlined = [bool(axes.collections) for axes in heats]
        return [axes.images[1].get_alpha().max() for axes in heats], texts, outlined, figure.texts

    shown, texts, outlined, notes = opacities(face, saliency, decisive)
    assert shown == pytest.approx([0.85 * 0.0007**0.5, 0.85 * 0.9**0.5])
    assert texts[0] == ["less than 0.1 points", "no single region decides"]
    assert texts[1] == ["at most 90 points", "14 % of the face decides"]
    assert outlined == [False, True] and len(notes) == 1
    # The figure says when the squares decide; a map of small changes alone does not glow either.
    shown, texts, _, notes = opacities(face, np.stack([weak, weak]), np.ones((2, 8, 8), bool))
    assert max(shown) < 0.1 and texts[0][1] == "any square changes the answer"
    assert "the maps may show the square" in notes[1].get_text()


def test_occlusions_that_change_nothing_are_left_out():
    maps = {
        "image": np.full((1, 8, 8), 100.0),
        "classes": np.array(["fear", "anger"]),
        "probabilities": np.array([[0.9, 0.1]]),
        "lost": np.array([[[0.004, 0.5], [0.02, 0.003]]]),
        "answer": np.array([[[0, 1], [0, 0]]]),
        "window": np.array([[[0, 1], [1, 0], [0, 0], [-1, -1]]]),
        "occluded": np.zeros((1, 4, 8, 8)),
    }
    (row,) = figures.occluded_faces(maps)
    assert (row.answers, row.lost) == (["anger", "fear"], [0.5, 0.02])
    assert row.changing == 0.25 and row.are_more
    figure = figures.occlusions_figure([row])
    assert any("take less" in text.get_text() for axes in figure.axes for text in axes.texts)


def test_explain_says_what_is_wrong(run_dir, export_dir, face, toon_faces_dir):
    def message(*arguments, code=2):
        return run("explain", *arguments, "--data-dir", toon_faces_dir, code=code)

    assert "Name MODEL, a run or an export, or --weights NAME." in message()
    assert "An export has no data set: name IMAGEs" in message(export_dir)
    assert "no IMAGEs" in message(run_dir, face[0], "--score")
    assert "stride must be between 1 and window=4. Received: 9" in message(
        run_dir, "--window", "4", "--stride", "9", code=1
    )
    assert "--per-class must be 1 or more. Received: 0" in message(
        run_dir, "--per-class", "0", code=1
    )
    assert "Scores need 2 faces or more. Received: 1" in message(
        run_dir, "--score", "--count", "1", code=1
    )


def test_scores_are_measured_beside_chance_and_kept(run_dir, toon_faces_dir, tmp_path):
    output = run(
        "explain", run_dir, "--score", "--count", "12", "--window", "12", "--stride", "6",
        "--data-dir", toon_faces_dir, "--output", tmp_path,
    )  # fmt: skip
    result = json.loads((tmp_path / "faithfulness.json").read_text())
    assert result["faces"] == 12 and result["split"] == "test"
    assert set(result["scores"]) == {"deletion", "insertion", "pointing"}
    for maps in result["scores"].values():
        assert list(maps) == ["saliency", "random", "random, smooth", "gaussian"]
    assert set(result["randomisation"]) == {"last layer", "upper half", "all layers"}
    assert result["randomisation"]["all layers"]["mean"] < 0.9
    assert sum(one["faces"] for one in result["regions"].values()) == 12
    assert (tmp_path / "mean_saliency.png").stat().st_size > 1000
    shown = result["scores"]["insertion"]["saliency"]["mean"]
    assert (
        "insertion area (higher is better)" in output and f"saliency        {shown:.3f}" in output
    )


def test_a_model_that_sees_nothing_is_scored_too(run_dir, toon_faces_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "blind")
    model = keras.models.load_model(run_dir / "model.keras")
    logits = model.get_layer("logits")
    logits.set_weights([np.zeros_like(logits.kernel), np.arange(7.0)])  # always the last class
    model.save(tmp_path / "blind" / "model.keras")
    (tmp_path / "mean_saliency.png").touch()  # an earlier score's
    output = run(
        "explain", tmp_path / "blind", "--score", "--count", "4", "--window", "12", "--stride", "6",
        "--data-dir", toon_faces_dir, "--output", tmp_path,
    )  # fmt: skip
    result = json.loads((tmp_path / "faithfulness.json").read_text())
    assert result["regions"] == {}
    # Nothing that is hidden changes the answer.
    assert result["scores"]["deletion"]["random"]["ahead"]["mean"] == 0
    assert "mean_saliency.png" not in output and not (tmp_path / "mean_saliency.png").exists()


def test_scrambling_leaves_the_model_as_it_is(run_dir):
    model = Network.from_run(Run(run_dir))
    before = [weight.copy() for weight in model.model.get_weights()]
    last = randomize_layers(model, 0.0, seed=0).model.get_weights()
    every = randomize_layers(model, 1.0, seed=0).model.get_weights()
    changed = [bool((a != b).any()) for a, b in zip(before, last, strict=True)]
    assert changed == [False] * (len(before) - 2) + [True, True]
    assert sum(bool((a != b).any()) for a, b in zip(before, every, strict=True)) > 10
    for a, b in zip(before, model.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_parts_are_boxes_of_the_cropped_face():
    def box(*numbers):
        return tf.constant(numbers, tf.float32)

    example = {
        "face": box(0.2, 0.4, 0.6, 0.8),
        "mouth": box(0.4, 0.5, 0.5, 0.7),
        "eyes": box(0.2, 0.4, 0.6, 0.8),
        "brows": box(0.2, 0.4, 0.3, 0.5),
    }
    expected = [[0.5, 0.25, 0.75, 0.75], [0, 0, 1, 1], [0, 0, 0.25, 0.25]]
    np.testing.assert_allclose(part_boxes(example), expected, atol=1e-6)


def test_fit_leaves_pictures_and_a_page(run_dir):
    for name in ("saliency.png", "occlusions.png", "attended.png", "report.html"):
        assert (run_dir / name).stat().st_size > 1000
    mistakes = json.loads((run_dir / "report.json").read_text())["surest_mistakes"]
    assert (run_dir / "mistakes.png").exists() == bool(mistakes)


def test_explain_writes_the_page_of_the_run_anew(run_dir, toon_faces_dir, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    (copy / "report.html").unlink()
    output = run("explain", copy, "--window", "16", "--stride", "16", "--data-dir", toon_faces_dir)
    assert f"wrote {copy / 'report.html'}" in output
    assert TrainConfig.from_json(copy / "config.json").dataset in (copy / "report.html").read_text()


def test_the_pictures_show_what_the_model_answered(run_dir, toon_faces_dir, tmp_path, monkeypatch):
    drawn = {}

    def keep(name):
        original = getattr(figures, name)

        def figure(*arguments):
            drawn[name] = arguments
            return original(*arguments)

        monkeypatch.setattr(figures, name, figure)

    keep("occlusions_figure")
    keep("saliency_figure")
    copy = Run(shutil.copytree(run_dir, tmp_path / "run"))
    model = Network.from_run(copy)
    explain_split(copy, toon_faces_dir, windows=Windows(12, 6))
    figures.draw_saliency(copy)
    (rows,) = drawn["occlusions_figure"]
    assert [row.truth for row in rows] == model.labels
    for row in rows:
        faces = tf.constant(np.stack([row.face, *row.occluded])[..., None], tf.float32)
        scores = model.classify(faces).numpy()
        assert [model.labels[i] for i in scores.argmax(axis=1)] == [row.answer, *row.answers]
        of_truth = scores[:, model.labels.index(row.truth)]
        np.testing.assert_allclose(row.lost, of_truth[0] - of_truth[1:], atol=1e-5)
        assert row.lost == sorted(row.lost, reverse=True)

    mistakes = copy.report["surest_mistakes"]
    explain_mistakes(copy, toon_faces_dir)
    figures.draw_mistakes(copy)
    faces, _, _, truths, answers = drawn["saliency_figure"]
    builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
    by_name = {one["name"].numpy().decode(): one for one in read_examples(builder, "test", 48)}
    for face, truth, answer, mistake in zip(faces, truths, answers, mistakes, strict=False):
        np.testing.assert_array_equal(face, by_name[mistake["name"]]["image"])
        assert truth == mistake["label"] and answer.startswith(mistake["answer"])
    assert len(faces) == min(len(mistakes), 6)


def test_maps_that_show_nothing_say_what_may_show_more(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut()).crop((150, 30, 290, 170)).save("face.png")
    of_crop = ("explain", "--weights", "ferplus", "face.png", "--faces", "none")
    said = run(*of_crop)
    assert "at most 0.4 points, no single region decides" in said
    assert "8 x 8 pixels changes little here; more may: --window 16 --filling blur\n" in said
    said = run(*of_crop, "--window", "16", "--filling", "blur")
    assert "of the face decides" in said and "may: --window" not in said


def test_the_faces_of_a_photo_are_explained_as_they_are_predicted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = Image.fromarray(astronaut())
    photo.save("one.png")
    pair = Image.new("RGB", (1024, 512))
    pair.paste(photo, (0, 0))
    pair.paste(photo.resize((320, 320)), (600, 100))
    pair.save("two.png")
    Image.new("RGB", (640, 480)).save("empty.png")
    command = ("explain", "--weights", "ferplus", "one.png", "two.png", "empty.png")
    said = run(*command, "--window", "16", "--stride", "16", code=1)
    assert (
        "empty.png: no face is found in its 640 x 480 pixels; if it is the crop of a face already: "
        "--faces none.\n" in said
    )
    rows = [
        json.loads(line) for line in run("predict", "--json", "one.png", "two.png").splitlines()
    ]
    with np.load("runs/explanation/saliency.npz") as maps:
        assert list(maps["name"]) == ["one.png", "two.png, face 1", "two.png, face 2"]
        answers = [list(row["probabilities"].values()) for row in rows]
        np.testing.assert_allclose(maps["probabilities"], answers, atol=1e-4)
