"""Pictures of one's own, in each form."""

import contextlib
import json
import shutil
import tarfile
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from native_files import names_of
from PIL import Image

from keras_deep_emotion.cli import main
from keras_deep_emotion.data import building
from keras_deep_emotion.data.building import build_dataset, damaged_files_path, exclusive_build
from tfds_builders.contract import EMOTIONS
from tfds_builders.folder.folder_dataset_builder import _parts_of, find_pictures

SPELLED = ("Angry", "disgusted", "fear", "HAPPY", "neutral", "sad", "Surprise")


def draw(folder, per_emotion, seed=0, ending="png", size=(30, 24)):
    """Noise pictures of every emotion; returns their pixels by name."""
    random = np.random.default_rng(seed)
    pixels = {}
    for spelling in SPELLED:
        for i in range(per_emotion):
            path = folder / spelling / f"{i}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            array = random.integers(0, 256, (*size, 3)).astype(np.uint8)
            Image.fromarray(array).save(path)
            pixels[f"{spelling}/{path.name}"] = array
    return pixels


def read(builder):
    return {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in builder.info.splits
    }


def test_other_pictures_of_the_same_names_and_sizes_are_another_data_set(tmp_path):
    first, second = (draw(tmp_path / str(seed) / "faces", 10, seed, "bmp") for seed in range(2))
    folders = [tmp_path / str(seed) / "faces" for seed in range(2)]
    sizes = [[path.stat().st_size for path in sorted(one.rglob("*.bmp"))] for one in folders]
    assert sizes[0] == sizes[1]
    for folder, pixels in zip(folders, (first, second), strict=True):
        (builder,) = build_dataset("folder", folder, tmp_path / "data")
        for example in (one for part in read(builder).values() for one in part):
            expected = pixels[example["name"].decode()]
            np.testing.assert_array_equal(example["image"], expected)
    (again,) = build_dataset(
        "folder", shutil.copytree(folder, tmp_path / "faces"), tmp_path / "data"
    )
    assert again.builder_config.name == builder.builder_config.name


def test_a_folder_for_each_emotion(tmp_path):
    pixels = draw(tmp_path / "My Faces!", 10)
    (builder,) = build_dataset("folder", tmp_path / "My Faces!", tmp_path / "data")
    assert builder.builder_config.name.startswith("my_faces_")
    splits = read(builder)
    assert {split: len(part) for split, part in splits.items()} == {
        "train": 49,
        "validation": 7,
        "test": 14,
    }
    expected = dict(zip(SPELLED, EMOTIONS, strict=True))
    for example in (one for part in splits.values() for one in part):
        name = example["name"].decode()
        assert EMOTIONS[example["label"]] == expected[name.split("/")[0]]
        np.testing.assert_array_equal(example["image"], pixels.pop(name))
    assert not pixels
    assert Counter(one["label"] for one in splits["test"]) == dict.fromkeys(range(7), 2)


def test_given_parts_and_a_missing_one(tmp_path):
    draw(tmp_path / "faces" / "Training", 10)
    draw(tmp_path / "faces" / "test", 3, seed=1, ending="jpg")
    (builder,) = build_dataset("folder", tmp_path / "faces", tmp_path / "data")
    splits = read(builder)
    assert {split: len(part) for split, part in splits.items()} == {
        "train": 63,
        "validation": 7,
        "test": 21,
    }
    assert all(one["name"].startswith(b"test/") for one in splits["test"])
    assert all(one["name"].startswith(b"Training/") for one in splits["validation"])
    # JPEG files are kept as they are; two decoders may differ by rounding.
    with Image.open(tmp_path / "faces" / splits["test"][0]["name"].decode()) as image:
        assert np.abs(np.asarray(image).astype(int) - splits["test"][0]["image"]).mean() < 2


def test_the_same_from_an_archive_and_other_pictures_are_another_set(tmp_path, caplog):
    draw(tmp_path / "faces", 10)
    with tarfile.open(tmp_path / "faces.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "faces", "top")
    (from_folder,) = build_dataset("folder", tmp_path / "faces", tmp_path / "data")
    (from_archive,) = build_dataset("folder", tmp_path / "faces.tar.gz", tmp_path / "data")
    names = [
        sorted(name.removeprefix("top/") for part in read(one).values() for name in names_of(part))
        for one in (from_folder, from_archive)
    ]
    assert names[0] == names[1] and len(set(names[0])) == 70
    assert find_pictures(tmp_path)[0].path == tmp_path
    assert "; ignored: faces.tar.gz." in caplog.text
    (again,) = build_dataset("folder", tmp_path / "faces.tar.gz", tmp_path / "data")
    assert again.builder_config.name == from_archive.builder_config.name
    draw(tmp_path / "faces", 11)
    (another,) = build_dataset("folder", tmp_path / "faces", tmp_path / "data")
    assert another.builder_config.name != from_folder.builder_config.name


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("confused/1.png", "'confused' .of confused/1.png. is not the name of an emotion. Known"),
        ("1.png", "'The top folder' .of 1.png."),
        ("test/happy/1.png", "lies outside train, validation and test"),
    ],
)
def test_files_outside_emotions_and_parts_are_named(wrong, message, tmp_path):
    draw(tmp_path / "faces", 10)
    path = tmp_path / "faces" / wrong
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (9, 9)).save(path)
    with pytest.raises(ValueError, match=message):
        list(build_dataset("folder", tmp_path / "faces", tmp_path / "data"))


def test_too_few_pictures_and_none(tmp_path):
    draw(tmp_path / "few", 1)
    with pytest.raises(ValueError, match="7 pictures are too few: none would be in test, valid"):
        list(build_dataset("folder", tmp_path / "few", tmp_path / "data"))
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match="The source holds no images, only notes.txt; "):
        list(build_dataset("folder", tmp_path / "none", tmp_path / "data"))
    draw(tmp_path / "parts" / "test", 2)
    with pytest.raises(ValueError, match="no folder train beside the others"):
        list(build_dataset("folder", tmp_path / "parts", tmp_path / "data"))


def test_damaged_files_stop_a_build_or_are_listed(tmp_path):
    draw(tmp_path / "faces", 10)
    (tmp_path / "faces" / "sad" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    cut = tmp_path / "faces" / "HAPPY" / "4.png"
    cut.write_bytes(cut.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"(sad/3|HAPPY/4).png is damaged .*--skip-damaged"):
        list(build_dataset("folder", tmp_path / "faces", tmp_path / "data"))
    assert not list((tmp_path / "data").rglob("dataset_info.json"))
    (builder,) = build_dataset("folder", tmp_path / "faces", tmp_path / "data", skip_damaged=True)
    listed = damaged_files_path(builder).read_text().splitlines()
    assert sorted(line.partition(":")[0] for line in listed) == ["HAPPY/4.png", "sad/3.png"]
    # Nothing is lost without a word: images read = images written + images listed.
    assert sum(split.num_examples for split in builder.info.splits.values()) + len(listed) == 70


def test_images_that_tensorflow_would_not_decode_upright_are_converted(tmp_path):
    pixels = draw(tmp_path / "faces", 10)
    sad = tmp_path / "faces" / "sad"
    with Image.open(sad / "0.png") as image:
        image.save(sad / "0.png", "WEBP", lossless=True)  # as browsers save it, under this name
    with Image.open(sad / "1.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 8  # to be turned by 90 degrees, against the clock
        image.transpose(Image.Transpose.ROTATE_270).save(sad / "1.png", exif=exif)
    (sad / "2.png").rename(sad / "2.jpeg")  # PNG under another's name is read by its content
    converted = ["sad/0.png", "sad/1.png"]
    for i, ending in enumerate(("webp", "bmp", "gif", "tif"), start=3):
        with Image.open(sad / f"{i}.png") as image:
            image.save(sad / f"{i}.{ending}")
        (sad / f"{i}.png").unlink()
        converted.append(f"sad/{i}.{ending}")
        with Image.open(sad / f"{i}.{ending}") as image:
            pixels[converted[-1]] = np.asarray(image.convert("RGB"))
    with Image.open(sad / "7.png") as image:  # EXIF data that cannot be read count as none
        image.save(sad / "7.png", "JPEG", exif=b"Exif\0\0no data", dpi=(72, 72))
        with pytest.raises(SyntaxError), Image.open(sad / "7.png") as damaged:
            damaged.getexif()
    (builder,) = build_dataset("folder", tmp_path / "faces", tmp_path / "data")
    stored = {one["name"].decode(): one["image"] for part in read(builder).values() for one in part}
    assert len(stored) == 70
    for name in converted:
        np.testing.assert_array_equal(stored[name], pixels[name])
    np.testing.assert_array_equal(stored["sad/2.jpeg"], pixels["sad/2.png"])


def test_a_build_that_waited_for_another_leaves_its_list(tmp_path, monkeypatch):
    draw(tmp_path / "faces", 10)
    (tmp_path / "faces" / "sad" / "3.png").write_bytes(b"no picture")
    arguments = "folder", tmp_path / "faces", tmp_path / "data"
    alone, others = exclusive_build, []

    @contextlib.contextmanager
    def after_another(builder):
        if not others:
            others.append(None)
            others[:] = build_dataset(*arguments, skip_damaged=True)
        with alone(builder):
            yield

    monkeypatch.setattr(building, "exclusive_build", after_another)
    (builder,) = build_dataset(*arguments, skip_damaged=True)
    assert builder.data_path == others[0].data_path
    assert damaged_files_path(builder).read_text().startswith("sad/3.png: ")


@pytest.mark.slow
def test_fit_builds_it_and_later_commands_find_it(tmp_path):
    draw(tmp_path / "faces", 10)
    data = ["--data-dir", str(tmp_path / "data")]
    run_dir = str(tmp_path / "run")
    settings = ["--dataset", "folder", "--recipe", "paper", "--epochs", "1", "--no-transformer"]
    fit = ["fit", *settings, "--run-dir", run_dir, *data]
    result = CliRunner().invoke(main, fit)
    assert result.exit_code == 1
    assert "Error: Which folder? Name it with --source DIR" in result.output
    result = CliRunner().invoke(main, [*fit, "--source", str(tmp_path / "faces")])
    assert result.exit_code == 0, result.output
    assert "test accuracy" in result.output and "on 14 faces" in result.output
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["dataset"].startswith("folder/faces_")
    for command in (
        ["evaluate", run_dir],
        ["data", config["dataset"], "--sheet", f"{tmp_path}/s.png"],
    ):
        result = CliRunner().invoke(main, [*command, *data])
        assert result.exit_code == 0, result.output


SPLIT_NAMES = {  # folders of three splits, and of which pictures are train, validation, test
    "usual": ("train", "validation", "test"),
    "fer2013": ("Training", "PublicTest", "PrivateTest"),
    "sets": ("Train_set", "dev-set", "TEST SET"),
    "data": ("train_data", "ValData", "holdout"),
    "eval": ("1_train", "2_eval", "3_test"),
    "both": ("images_train", "val", "Eval"),
}


@pytest.mark.parametrize("case", SPLIT_NAMES)
@pytest.mark.parametrize("above", ["", "faces/v2"])
def test_splits_by_their_usual_names(case, above, tmp_path):
    train, validation, test = (tmp_path / above / name for name in SPLIT_NAMES[case])
    for folder in (train, validation, test):
        draw(folder, 1)
    _, _, parts = find_pictures(tmp_path)
    for folder, split in ((train, "train"), (validation, "validation"), (test, "test")):
        prefix = folder.relative_to(tmp_path).as_posix()
        assert {parts[name] for name in parts if name.startswith(f"{prefix}/")} == {split}
    assert len(parts) == 21


@settings(deadline=None, max_examples=30)
@given(
    words=st.lists(st.sampled_from(["set", "data", "images"]), max_size=2),
    name=st.sampled_from(["train", "training", "val", "valid", "dev", "test", "testing"]),
    joint=st.sampled_from(["_", "-", " ", "", "."]),
    change=st.sampled_from([str.lower, str.upper, str.title]),
    is_first=st.booleans(),
)
def test_case_separators_and_words_beside_do_not_matter(words, name, joint, change, is_first):
    folder = change(joint.join([name, *words] if is_first else [*words, name]))
    expected = {"t": "train" if name.startswith("tr") else "test"}.get(name[0], "validation")
    if folder.startswith("."):
        return
    assert _parts_of([f"{folder}/happy/0.png"]) == {f"{folder}/happy/0.png": expected}


@pytest.mark.parametrize("names", [("A", "B"), ("train1of2", "train2of2"), ("S001", "S002")])
def test_other_folders_above_the_emotions_are_refused_by_name(names, tmp_path):
    for name in names:
        draw(tmp_path / name, 1)
    says = f"folders of emotions in {names[0]} and in {names[1]}, and these are not the names of sp"
    with pytest.raises(ValueError, match=says):
        find_pictures(tmp_path)


def test_what_is_left_out_is_named(tmp_path, caplog):
    draw(tmp_path, 3)
    for i in range(7):
        (tmp_path / "sad" / f"notes{i}.txt").write_text("no picture")
    (tmp_path / "sad" / ".hidden.png").write_text("no picture")
    _, labels, _ = find_pictures(tmp_path)
    assert len(labels) == 21
    assert (
        "7 files passed over, not images: notes0.txt, notes1.txt, notes2.txt, notes3.txt, "
        "notes4.txt, ..." in caplog.text
    )


def test_an_emotion_without_pictures_stops_a_build_if_it_has_files(tmp_path):
    draw(tmp_path, 3)
    for path in (tmp_path / "fear").iterdir():
        path.write_bytes(b"no picture")
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(ValueError, match="folder fear holds files such as fear/0.txt, none of wh"):
        find_pictures(tmp_path)


def test_absent_emotions_are_said_at_build_and_at_fit(small_settings, tmp_path, caplog):
    from keras_deep_emotion.config import TrainConfig
    from keras_deep_emotion.training import fit

    draw(tmp_path / "train", 10)
    draw(tmp_path / "test", 2)
    shutil.rmtree(tmp_path / "train" / "fear")
    shutil.rmtree(tmp_path / "test" / "fear")
    shutil.rmtree(tmp_path / "test" / "sad")
    (builder,) = build_dataset("folder", tmp_path, tmp_path / "data")
    assert "No picture shows fear: no model can learn them from these." in caplog.text
    assert "No picture in test shows sadness." in caplog.text
    caplog.clear()
    name = f"folder/{builder.builder_config.name}"
    config = TrainConfig.from_recipe("paper", dataset=name, **small_settings)
    fit(config, tmp_path / "run", tmp_path / "data")
    assert (
        "The training split has no faces for fear: the model cannot learn these classes."
        in caplog.text
    )


@pytest.mark.parametrize(
    "format", ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000", "AVIF"]
)
@pytest.mark.parametrize("ending", ["jfif", "jpe", "dat", "txt", ""])
def test_pictures_of_every_format_under_any_name(format, ending, tmp_path):
    path = tmp_path / "happy" / f"0.{ending}".rstrip(".")
    path.parent.mkdir()
    Image.new("RGB", (48, 48), (90, 120, 200)).save(path, format)
    _, labels, _ = find_pictures(tmp_path)
    assert labels == {f"happy/{path.name}": "happiness"}
