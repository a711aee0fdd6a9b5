"""CK+ in each of its layouts: the native trees in every container, CK+48, ckextended.csv."""

import itertools
import random
from collections import Counter

import numpy as np
import pytest
from ck_plus_trees import SIX, emotions_of, extended
from native_files import built, names_of, png, refused, sizes_of, write, write_archive
from PIL import Image

from tfds_builders.ck_plus.native import CK_EXTENDED_CODES, CK_PLUS_48_FOLDERS, find_layout
from tfds_builders.contract import EMOTIONS
from tfds_builders.sources import find_sources


def moved(files, old, new):
    return {name.replace(old, new): content for name, content in files.items()}


@pytest.mark.parametrize("form", ["folders", "zips", "tars", "mixed", "one zip"])
def test_each_container_of_the_native_trees(form, source, drawn, tmp_path, caplog):
    if form == "folders":
        write(
            source / "CK+", {**drawn.images, **drawn.landmarks, "cohn-kanade-images/.DS_Store": b""}
        )
        write(source, moved(drawn.labels, "Emotion/", "Emotion_labels/Emotion/"))
        (source / "Emotion_labels" / "Emotion" / "S005" / "005").mkdir()
        (source / "FACS" / "S005").mkdir(parents=True)
        (source / "FACS" / "S005" / "S005_001_00000004_facs.txt").write_text("9.0 4.0\n")
    elif form == "zips":
        write_archive(source / "extended-cohn-kanade-images.zip", drawn.images)
        write_archive(source / "Emotion_labels.zip", {"Emotion/.DS_Store": b"", **drawn.labels})
        write_archive(source / "Landmarks.zip", {"__MACOSX/Landmarks/._x": b"", **drawn.landmarks})
    elif form == "tars":
        write_archive(source / "images.tar.gz", drawn.images)
        write_archive(source / "labels" / "emotion.tgz", moved(drawn.labels, "Emotion", "emotion"))
        write_archive(source / "landmarks.tar.gz", drawn.landmarks)
    elif form == "mixed":  # an archive beside what was unpacked from it counts once
        write_archive(source / "extended-cohn-kanade-images.zip", drawn.images)
        write_archive(source / "Emotion_labels.zip", drawn.labels)
        write(source, {**moved(drawn.labels, "Emotion", "emotion"), **drawn.landmarks})
    else:
        files = [*drawn.images.items(), *drawn.labels.items(), *drawn.landmarks.items()]
        random.Random(1).shuffle(files)
        write_archive(source / "all of it.zip", dict(files))
    splits = built("ck_plus/peak_standard", source, tmp_path / "data")
    # Of 6 sequences an emotion, round(0.6) validate and round(1.2) test.
    assert sizes_of(splits) == {"train": 24, "validation": 6, "test": 6}
    assert emotions_of(splits) == drawn.expected(1, neutral=False, contempt=False)
    assert Counter(EMOTIONS[one["label"]] for one in splits["test"]) == dict.fromkeys(SIX, 1)
    for one in itertools.chain(*splits.values()):
        pixels = drawn.pixels[one["name"].decode()]
        assert one["image"].shape == (*pixels.shape[:2], 3)
        np.testing.assert_array_equal(
            one["image"], pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
        )
        assert one["subject"].decode() == one["name"].decode()[:4]
    # A person, a sequence and a seed make the split, on every machine and from every container.
    assert names_of(splits["test"]) == {
        "S014_001_00000004.png",
        "S022_003_00000004.png",
        "S026_002_00000004.png",
        "S130_001_00000004.png",
        "S130_002_00000005.png",
        "S138_003_00000004.png",
    }
    assert "landmark" not in caplog.text


@pytest.fixture(scope="module")
def cropped(drawn):
    """CK+48 of the drawn sequences: {path: pixels}."""
    levels = np.random.default_rng(3)
    folders = {emotion: folder for folder, emotion in CK_PLUS_48_FOLDERS.items()}
    return {
        f"CK+48/{folders[emotion]}/{subject}_{take}_{number:08}.png": levels.integers(
            0, 256, (48, 48)
        ).astype(np.uint8)
        for (subject, take), (emotion, last) in drawn.takes.items()
        if emotion
        for number in range(last - 2, last + 1)
    }


@pytest.mark.parametrize(
    ("form", "frames", "last"), [("folder", "peak", 1), ("zip", "last3", 3), ("zip", "peak", 1)]
)
def test_ck48(form, frames, last, cropped, drawn, source, tmp_path, caplog):
    files = {name: png(pixels) for name, pixels in cropped.items()}
    if form == "folder":
        write(source, files)
    else:
        write_archive(source / "archive.zip", dict(reversed(files.items())))
    splits = built(f"ck_plus/{frames}_contempt_standard", source, tmp_path / "data")
    found = emotions_of(splits, [*EMOTIONS, "contempt"])
    assert found == drawn.expected(last, neutral=False, contempt=True)
    pixels = {name.rpartition("/")[2]: one for name, one in cropped.items()}
    for one in itertools.chain(*splits.values()):
        np.testing.assert_array_equal(one["image"][..., 0], pixels[one["name"].decode()])
        np.testing.assert_array_equal(one["face"], [0, 0, 1, 1])
        assert one["subject"].decode() == one["name"].decode()[:4]
    assert "landmark" not in caplog.text
    assert "surprise 6); published are 327" in caplog.text.replace("\n", "")


def test_ck48_splits_as_the_native_trees(cropped, native_trees, tmp_path):
    (tmp_path / "48").mkdir()
    write(tmp_path / "48", {name: png(pixels) for name, pixels in cropped.items()})
    parts = built("ck_plus/peak_standard", tmp_path / "48", tmp_path / "data 48")
    same = built("ck_plus/peak_standard", native_trees, tmp_path / "data")
    assert {split: names_of(part) for split, part in parts.items()} == {
        split: names_of(part) for split, part in same.items()
    }


def test_what_ck48_lacks_is_refused(cropped, source, tmp_path):
    write(source, {name: png(pixels) for name, pixels in cropped.items()})
    assert refused("ck_plus/last3_neutral_contempt_standard", source, tmp_path / "data") == (
        "CK+48 lacks the neutral faces that ck_plus/last3_neutral_contempt_standard needs: build "
        "ck_plus/last3_contempt_standard, or name the native images with their emotion files."
    )
    path = source / "CK+48" / "anger" / "S005_001_00000004.png"
    Image.new("L", (64, 49)).save(path)
    message = refused("ck_plus/peak_standard", source, tmp_path / "data")
    assert "must have 48 x 48 pixels. Found: 64 x 49; name the native" in message
    path.rename(source / "CK+48" / "fear" / path.name)
    message = refused("ck_plus/peak_standard", source, tmp_path / "data")
    assert "Sequence S005_001 lies in the folders of anger and fear" in message


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ("peak_standard", (0, 1, 2, 3, 4, 5)),
        ("peak_contempt_standard", (0, 1, 2, 3, 4, 5, 7)),
        ("peak_neutral_standard", (0, 1, 2, 3, 4, 5, 6)),
        ("peak_neutral_contempt_standard", range(8)),
    ],
)
def test_ckextended(config, kept, source, tmp_path, caplog):
    text, images = extended()
    (source / "any name.csv").write_text(text + "\n")  # a blank line at its end
    (source / "other.csv").write_text("a,b\n1,2\n")
    splits = built(f"ck_plus/{config}", source, tmp_path / "data")
    classes = [*EMOTIONS, "contempt"]
    assert emotions_of(splits, classes) == {
        f"row_{i:05}": CK_EXTENDED_CODES[i % 8] for i in range(64) if i % 8 in kept
    }
    # Of 8 rows a class, round(0.8) validate and round(1.6) test.
    assert sizes_of(splits) == {
        "train": 5 * len(kept),
        "validation": len(kept),
        "test": 2 * len(kept),
    }
    for one in itertools.chain(*splits.values()):
        np.testing.assert_array_equal(one["image"][..., 0], images[int(one["name"][4:])])
        assert one["image"].shape == (48, 48, 3)
        assert one["subject"] == b""
        np.testing.assert_array_equal(one["face"], [0, 0, 1, 1])
    assert "neutral 8, sadness 8, surprise 8); published are 920 (" in caplog.text.replace("\n", "")


def test_what_ckextended_lacks_is_refused(source, tmp_path):
    write_archive(source / "archive.zip", {"ckextended.csv": extended()[0].encode()})
    assert refused("ck_plus/last3_contempt_subjects", source, tmp_path / "data") == (
        "ckextended.csv lacks the frames before the last that ck_plus/last3_contempt_subjects "
        "needs: build ck_plus/peak_contempt_standard, or name the native images with their emotion "
        "files."
    )
    assert refused("ck_plus/peak_subjects", source, tmp_path / "data") == (
        "ckextended.csv lacks the names of people that ck_plus/peak_subjects needs: build "
        "ck_plus/peak_standard, or name the native images with their emotion files."
    )


def test_fer2013_is_not_mistaken_for_ck_plus(source, tmp_path):
    row = f"3,{' '.join(['7'] * 2304)},Training\n"
    (source / "fer2013.csv").write_text("emotion,pixels,Usage\n" + row * 921)
    message = refused("ck_plus/peak_standard", source, tmp_path / "data")
    assert message.startswith("fer2013.csv is not CK+: it has more than 920 rows and no contempt")
    assert "build it with keras-deep-emotion build-data fer2013, or name ckextended.csv" in message
    # Beside it, CK+ is found; without contempt too, since it has so few rows.
    (source / "later.csv").write_text(extended(codes=range(7))[0])
    assert len(emotions_of(built("ck_plus/peak_standard", source, tmp_path / "data"))) == 48


def test_native_trees_come_before_ck48_before_ckextended(native_copy, cropped, drawn, tmp_path):
    (native_copy / "ckextended.csv").write_text(extended()[0])
    write(native_copy, {name: png(pixels) for name, pixels in cropped.items()})
    splits = built("ck_plus/peak_standard", native_copy, tmp_path / "data")
    assert all(one["image"].shape[1] == 64 for one in itertools.chain(*splits.values()))
    for name in drawn.images:
        (native_copy / name).unlink()
    splits = built("ck_plus/peak_contempt_standard", native_copy, tmp_path / "data")
    assert all(one["image"].shape[1] == 48 for one in itertools.chain(*splits.values()))
    assert len(emotions_of(splits, [*EMOTIONS, "contempt"])) == 42


def test_what_is_no_frame_is_counted_and_named(tmp_path, caplog):
    """Pictures under other names and other files are named, the release's text files are not."""
    face = png(np.zeros((48, 48), np.uint8))
    files = {
        "CK+48/anger/S010_004_00000017.png": face,
        "CK+48/cover.png": face,
        "readme.md": b"about",
        "S010_004_00000017_facs.txt": b"4 1",
    }
    write(tmp_path, files)
    find_layout(find_sources(tmp_path))
    note = "2 files passed over, neither frames nor labels of CK+: readme.md, cover.png"
    assert note in caplog.text
