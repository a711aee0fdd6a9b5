"""Which frames of CK+'s native trees are read, and the faces in them."""

import itertools

import numpy as np
import pytest
from ck_plus_trees import IMAGES, emotions_of
from native_files import built, names_of, refused
from PIL import Image

from tfds_builders.ck_plus.landmarks import face_box
from tfds_builders.sources import skipping_damaged


def test_face_is_a_square_about_the_landmarks_and_the_forehead(native_trees, tmp_path):
    splits = built("ck_plus/peak_neutral_standard", native_trees, tmp_path / "data")
    faces = {one["name"].decode(): one["face"] for one in itertools.chain(*splits.values())}
    # Frame 1: x 21..41, y 15..40; margins 2.5, above 7.5: x 18.5..43.5, y 7.5..42.5: 35 high, 25
    # wide, so 5 more at each side: x 13.5..48.5. S005 has 48 lines, S010 has 49.
    np.testing.assert_allclose(
        faces["S005_001_00000001.png"], [7.5 / 48, 13.5 / 64, 42.5 / 48, 48.5 / 64], rtol=1e-6
    )
    np.testing.assert_allclose(
        faces["S010_001_00000001.png"], [7.5 / 49, 13.5 / 64, 42.5 / 49, 48.5 / 64], rtol=1e-6
    )
    # Frame 4, the peak of S005_001: three pixels further to the right.
    np.testing.assert_allclose(
        faces["S005_001_00000004.png"], [7.5 / 48, 16.5 / 64, 42.5 / 48, 51.5 / 64], rtol=1e-6
    )


def test_face_is_cut_where_the_image_ends():
    points = np.array([[0.0, 10.0], [40.0, 30.0]])
    # Margins 4, above 12: x -4..44, y -2..34: 48 wide, 36 high, so 6 more above and below.
    assert face_box(points, height=32, width=50, name="x") == (0.0, 0.0, 1.0, 44 / 50)
    with pytest.raises(ValueError, match="landmarks of x enclose no pixel of its 50 x 32"):
        face_box(points + 100, height=32, width=50, name="x")


def test_frames_without_landmarks_are_counted_once(native_copy, drawn, tmp_path, caplog):
    for name in drawn.landmarks:
        if name.startswith(("Landmarks/S005", "Landmarks/S999")):
            (native_copy / name).unlink()
    splits = built("ck_plus/last3_standard", native_copy, tmp_path / "data")
    for one in itertools.chain(*splits.values()):
        whole = np.array_equal(one["face"], [0, 0, 1, 1])
        assert whole == (one["subject"] in (b"S005", b"S999"))
    messages = [record.message for record in caplog.records if "landmark" in record.message]
    assert messages == [
        "18 of 108 frames have no landmark file: their face is the whole frame; put Landmarks.zip "
        "beside the images."
    ]


def test_only_the_chosen_frames_are_read(native_copy, drawn, tmp_path):
    chosen = drawn.expected(1, neutral=False, contempt=False)
    for name in drawn.images:
        if name.rpartition("/")[2] not in chosen:
            (native_copy / name).write_bytes(b"no picture")
    for name in drawn.landmarks:
        if name.rpartition("/")[2].replace("_landmarks.txt", ".png") not in chosen:
            (native_copy / name).write_bytes(b"no numbers")
    assert emotions_of(built("ck_plus/peak_standard", native_copy, tmp_path / "data")) == chosen


def test_frames_after_the_labeled_one_are_left_out(native_copy, drawn, tmp_path):
    (native_copy / IMAGES.format("S005", "001", "S005", "001", 5)).write_bytes(b"no picture")
    splits = built("ck_plus/last3_standard", native_copy, tmp_path / "data")
    assert emotions_of(splits) == drawn.expected(3, neutral=False, contempt=False)


def test_a_file_that_is_no_png_becomes_one(native_copy, tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    path = native_copy / IMAGES.format("S005", "001", "S005", "001", 4)
    Image.fromarray(pixels).save(path, "TIFF")
    splits = built("ck_plus/peak_standard", native_copy, tmp_path / "data")
    (one,) = (one for one in itertools.chain(*splits.values()) if one["name"] == path.name.encode())
    np.testing.assert_array_equal(one["image"], pixels)


def test_sequences_that_begin_late_give_a_warning(native_copy, tmp_path, caplog):
    (native_copy / IMAGES.format("S005", "001", "S005", "001", 1)).unlink()
    splits = built("ck_plus/peak_neutral_standard", native_copy, tmp_path / "data")
    assert "S005_001_00000002.png" in set.union(*map(names_of, splits.values()))
    assert "1 of 36 sequences do not begin at frame 1 (S005_001, ...)" in caplog.text


def test_damaged_frames_are_named_or_left_out(native_copy, tmp_path):
    path = native_copy / IMAGES.format("S005", "001", "S005", "001", 4)
    path.write_bytes(path.read_bytes()[:300])
    message = refused("ck_plus/peak_standard", native_copy, tmp_path / "data")
    assert "cohn-kanade-images/S005/001/S005_001_00000004.png is damaged" in message
    with skipping_damaged(tmp_path / "damaged.txt"):
        splits = built("ck_plus/peak_standard", native_copy, tmp_path / "data")
    assert sum(map(len, splits.values())) == 35
    assert "S005_001_00000004.png" in (tmp_path / "damaged.txt").read_text()
