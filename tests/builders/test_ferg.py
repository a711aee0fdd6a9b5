"""FERG's builder, on drawn files in the layout of FERG_DB_256."""

import shutil
from collections import Counter

import numpy as np
import pytest
import tensorflow_datasets as tfds
from native_files import built, encrypt, files_below, names_of, refused, write_archive
from PIL import Image

from keras_deep_emotion.data.building import build_dataset
from tfds_builders import protocols
from tfds_builders.contract import EMOTIONS
from tfds_builders.ferg.ferg_dataset_builder import FERG_FOLDERS, RELEASE, parse_path
from tfds_builders.release import Picture
from tfds_builders.sources import skipping_damaged

CHARACTERS = ("aia", "bonnie", "jules", "malcolm", "mery", "ray")
NUMBERS = (1, 27, 388, 1389)
NAMES = [
    f"{character}_{expression}_{number}"
    for character in CHARACTERS
    for expression in FERG_FOLDERS
    for number in NUMBERS
]
PER_EMOTION = (9169, 8571, 7419, 7330, 6939, 7627, 8712)
DAMAGED = "bonnie_surprise_1389"


def pixels_of(name):
    """(256, 256, 4) uint8: flat, with pixels that tell the image from all others, alpha varied."""
    i = NAMES.index(name)
    pixels = np.full((256, 256, 4), (i, 255 - i, 77, 255), np.uint8)
    pixels[0, i] = pixels[i, 0] = (255, 1, 2, 0)
    pixels[100:, 100:, 3] = 128
    return pixels


def path_of(folder, name):
    character, expression, _ = name.split("_")
    return folder / "FERG_DB_256" / character / f"{character}_{expression}" / f"{name}.png"


def write(folder, name, channels=3):
    path = path_of(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(pixels_of(name)[..., :channels])).save(path)
    return path


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Folder with FERG_DB_256, every fifth file RGBA, and what does not belong."""
    folder = tmp_path_factory.mktemp("release")
    for i, name in enumerate(NAMES):
        write(folder, name, channels=3 if i % 5 else 4)
    place = path_of(folder, "aia_joy_1").parent
    (place / ".DS_Store").write_bytes(b"junk")
    (place / "._aia_joy_1.png").write_bytes(b"\0\5\x16\7 AppleDouble")
    (place / "Thumbs.db").write_bytes(b"junk")
    (folder / "__MACOSX" / "aia_joy").mkdir(parents=True)
    (folder / "__MACOSX" / "aia_joy" / "aia_joy_1.png").write_bytes(b"junk")
    # Folders whose names only contain or begin like one.
    for other in ("aia_joy_old/aia_joy_5.png", "my_aia_joy/aia_joy_6.png", "joy/aia_joy_7.png"):
        (folder / other).parent.mkdir()
        (folder / other).write_bytes(b"junk")
    (folder / "readme.txt").write_text("read me")
    return folder


def check_examples(examples, names=NAMES):
    """All of the names, each with its own pixels, label and character."""
    assert len(examples) == len(names) and names_of(examples) == set(names)
    for example in examples:
        name = example["name"].decode()
        character, expression, _ = name.split("_")
        np.testing.assert_array_equal(example["image"], pixels_of(name)[..., :3])
        assert EMOTIONS[example["label"]] == FERG_FOLDERS[expression]
        assert example["subject"].decode() == character
        np.testing.assert_array_equal(example["face"], [0, 0, 1, 1])


@pytest.fixture(scope="module")
def standard(release, tmp_path_factory):
    return built("ferg/standard", release, tmp_path_factory.mktemp("data"))


def test_paper_has_every_image_in_the_papers_shares(standard):
    check_examples([one for part in standard.values() for one in part])
    # 24 images of each emotion: 12.6 % and 25.1 % of them.
    for split, count in (("test", 3), ("validation", 6), ("train", 15)):
        labels = Counter(int(one["label"]) for one in standard[split])
        assert labels == dict.fromkeys(range(7), count)


def test_subjects_has_one_character_a_fold(release, tmp_path):
    folds = built("ferg/subjects", release, tmp_path)
    assert set(folds) == {f"fold_{i}" for i in range(6)}
    check_examples([one for part in folds.values() for one in part])
    for character, fold in protocols.subject_folds(CHARACTERS, 6).items():
        part = folds[f"fold_{fold}"]
        assert {one["subject"].decode() for one in part} == {character}
        assert len(part) == 28


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_archives_give_the_same_in_any_order(form, release, standard, source, tmp_path):
    files = files_below(release)
    order = sorted(files, key=lambda name: protocols.shuffle_rank(name, seed=5))
    write_archive(source / f"any name.{form}", {name: files[name] for name in order})
    splits = built("ferg/standard", source, tmp_path / "data")
    check_examples([one for part in splits.values() for one in part])
    for split, part in standard.items():
        assert names_of(splits[split]) == names_of(part)


def test_stored_files_are_the_native_ones(release, tmp_path):
    builder = tfds.builder("ferg", config="subjects", data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=release))
    decoders = {"image": tfds.decode.SkipDecoding()}
    for example in builder.as_dataset(split="fold_0", decoders=decoders).as_numpy_iterator():
        path = path_of(release, example["name"].decode())
        assert example["image"] == path.read_bytes()


def test_an_encrypted_zip_asks_for_its_password_unless_it_is_unpacked_beside(tmp_path):
    source = tmp_path / "source"
    for name in NAMES:
        write(source, name)
    write_archive(source / "FERG_DB_256.zip", files_below(source))
    encrypt(source / "FERG_DB_256.zip")
    splits = built("ferg/standard", source, tmp_path / "unpacked")
    check_examples([one for part in splits.values() for one in part])
    shutil.rmtree(source / "FERG_DB_256")
    assert refused("ferg/standard", source, tmp_path / "encrypted") == (
        "FERG_DB_256.zip is encrypted; unpack it with its password and name the folder."
    )


def test_the_damaged_file_stops_the_build_or_is_left_out_and_listed(release, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(release / "FERG_DB_256", source / "FERG_DB_256")
    path = path_of(source, DAMAGED)
    path.write_bytes(path.read_bytes()[:200])
    file = path.relative_to(source).as_posix()
    with pytest.raises(ValueError, match=f"{file} is damaged .*--skip-damaged"):
        built("ferg/standard", source, tmp_path / "stopped")
    with skipping_damaged(tmp_path / "damaged.txt"):
        splits = built("ferg/standard", source, tmp_path / "skipped")
    (line,) = (tmp_path / "damaged.txt").read_text().splitlines()
    assert line.startswith(f"{file}: ")
    written = [one for part in splits.values() for one in part]
    assert len(written) + 1 == len(NAMES)
    check_examples(written, [name for name in NAMES if name != DAMAGED])


def whole_set():
    """Pictures with the published counts of each emotion, dealt to the characters in turn."""
    pictures = {}
    for (expression, emotion), count in zip(FERG_FOLDERS.items(), PER_EMOTION, strict=True):
        for i in range(count):
            character = CHARACTERS[i % 6]
            name = f"{character}_{expression}_{i // 6 + 1}"
            pictures[name] = Picture(name, character, emotion)
    assert DAMAGED in pictures and len(pictures) == 55_767
    return pictures


def test_the_whole_set_has_the_papers_sizes_with_and_without_its_damaged_file():
    pictures = whole_set()
    splits = RELEASE.assign(list(pictures.values()), "standard")
    assert Counter(splits.values()) == {"train": 34_767, "validation": 14_000, "test": 7_000}
    tests = Counter(pictures[name].emotion for name in splits if splits[name] == "test")
    assert tests == dict.fromkeys(EMOTIONS, 1000)
    backwards = dict(reversed(pictures.items()))
    assert RELEASE.assign(list(backwards.values()), "standard") == splits
    del backwards[DAMAGED]
    without = RELEASE.assign(list(backwards.values()), "standard")
    assert without == {name: split for name, split in splits.items() if name != DAMAGED}


def test_other_counts_are_warned_of_once(release, tmp_path, caplog):
    built("ferg/standard", release, tmp_path)
    (warning,) = [record.message for record in caplog.records if "of FERG (" in record.message]
    each = ", ".join(f"{emotion} 24" for emotion in EMOTIONS)
    characters = ", ".join(f"{character} 28" for character in CHARACTERS)
    assert warning == (
        f"Found 168 images of FERG ({each}, {characters}); published are 55,767 (anger 9,169, "
        "disgust 8,571, fear 7,419, happiness 7,330, neutral 6,939, sadness 7,627, surprise 8,712, "
        "aia 10,003, bonnie 11,271, jules 10,755, malcolm 7,579, mery 7,558, ray 8,601)."
    )
    note = "5 files passed over, not pictures of FERG by content and name: Thumbs.db, readme.txt, "
    assert f"{note}aia_joy_5.png, aia_joy_7.png, aia_joy_6.png" in caplog.text


PATHS = {
    "FERG_DB_256/aia/aia_joy/aia_joy_12.png": "aia_joy_12",
    "aia_joy/aia_joy_12.png": "aia_joy_12",
    "Aia/AIA_Joy/AIA_Joy_12.PNG": "aia_joy_12",
    # A part of the path or of a name is not enough.
    "aia_joy/faces/aia_joy_12.png": None,
    "aia_joy_12.png": None,
    "joy/aia_joy_12.png": None,
    "aia_joyful/aia_joy_12.png": None,
    "malaia_joy/aia_joy_12.png": None,
    "aia_happiness/aia_happiness_12.png": None,
    "aia_joy/aia_joy.png": None,
    "aia_joy/aia_joy_12.png.jpeg": "aia_joy_12",
    "aia_joy/._aia_joy_12.png": None,
}


@pytest.mark.parametrize("path", PATHS)
def test_a_folder_counts_by_its_whole_name(path):
    picture = parse_path(path)
    assert (picture and picture.name) == PATHS[path]
    if picture:
        assert picture == Picture("aia_joy_12", "aia", "happiness")


def test_a_name_that_contradicts_its_folder_is_named(tmp_path):
    path = path_of(tmp_path / "source", "aia_joy_1").with_name("aia_fear_1.png")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert refused("ferg/standard", tmp_path / "source", tmp_path / "data") == (
        "FERG_DB_256/aia/aia_joy/aia_fear_1.png lies in a folder for aia_joy but its name says "
        "aia_fear; unpack FERG_DB_256.zip again."
    )


def test_another_size_is_named(tmp_path):
    for name in NAMES:
        path = path_of(tmp_path / "source", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (128, 64)).save(path)
    message = refused("ferg/standard", tmp_path / "source", tmp_path / "data")
    file, _, rest = message.partition(" ")
    assert file.startswith("FERG_DB_256/") and rest == (
        "must have 256 x 256 pixels. Found: 128 x 64; name the original images, from "
        "https://grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html."
    )


def test_beam_builds_the_same(release, standard, tmp_path):
    pytest.importorskip("apache_beam")
    (builder,) = build_dataset("ferg/standard", release, tmp_path, beam=[])
    for split, alone in standard.items():
        examples = list(builder.as_dataset(split=split).as_numpy_iterator())
        assert names_of(examples) == names_of(alone)
        check_examples(examples, names_of(alone))


def test_what_beam_does_not_support(release, tmp_path):
    pytest.importorskip("apache_beam")
    with pytest.raises(ValueError, match="without --beam, or repair"):
        list(build_dataset("ferg/standard", release, tmp_path, skip_damaged=True, beam=[]))
    with pytest.raises(ValueError, match="jaffe fits on one machine"):
        list(build_dataset("jaffe/standard", release, tmp_path, beam=[]))
    with pytest.raises(ValueError, match="Beam's runner for Dask cannot build data sets: build"):
        list(build_dataset("ferg/standard", release, tmp_path, beam=["--runner=dask"]))
    write_archive(tmp_path / "ferg.zip", files_below(release))
    with pytest.raises(ValueError, match="unpack ferg.zip and name the folder"):
        list(build_dataset("ferg/standard", tmp_path / "ferg.zip", tmp_path / "data", beam=[]))
