"""Detecting and cropping the faces in photos. The photo is NASA's, in the public domain."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from keras_deep_emotion.images.faces import BELOW_EYES, SIDE, Face, crop, smallest_face

EYES = np.array([[204, 100], [245, 102]])  # read off the photo by eye


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(data.astronaut())


def near(face, eyes, pixels=4):
    return np.abs(face.eyes - eyes).max() < pixels


def test_box_and_eyes_are_found(detector, photo):
    (face,) = detector.find(photo)
    assert near(face, EYES)
    x, y, width, height = face.box
    assert x < 204 and x + width > 245 and y < 100 and y + height > face.mouth[:, 1].max()
    assert 70 < width < 110 and 90 < height < 130
    assert 0.9 < face.score <= 1


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
    assert smallest_face(large.size) == 40
    (face,) = detector.find(large)
    assert near(face, EYES * 5, 20)
    assert detector.find(large, smallest=1000) == []


def test_smallest_face_is_that_of_the_pyramid_in_small_photos():
    assert smallest_face((640, 480)) == 20
    assert smallest_face((1280, 1280)) == 20


@pytest.mark.parametrize("size", [(1, 1), (5, 900), (12, 12), (48, 48), (4000, 30)])
def test_odd_sizes_have_no_faces(detector, size):
    assert detector.find(Image.new("RGB", size, (90, 90, 90))) == []


def by_hand(eyes, box):
    return Face(np.array(box, float), 1.0, np.array(eyes, float), np.zeros((2, 2)))


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


@pytest.mark.parametrize("degrees", [-20, 20, 35])
def test_a_turned_face_is_upright_in_its_crop(detector, photo, degrees):
    turned = photo.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    upright, face = detector.find(photo)[0], detector.find(turned)[0]
    assert abs(np.degrees(np.arctan2(*(face.eyes[1] - face.eyes[0])[::-1])) + degrees) < 6
    # Enlarged, so that the detector is sure of the eyes.
    size = (240, 240)
    again = detector.find(crop(turned, face).resize(size))[0]
    across = again.eyes[1] - again.eyes[0]
    assert abs(np.degrees(np.arctan2(across[1], across[0]))) < 5
    plain = detector.find(crop(photo, upright).resize(size))[0]
    assert near(again, plain.eyes, 15)  # of 240


def test_the_crop_lies_about_the_face_as_fer2013s_do(detector, photo):
    face = detector.find(photo)[0]
    got = crop(photo, face)
    side = SIDE * np.sqrt(face.box[2] * face.box[3])
    assert got.size == (round(side), round(side))
    eyes = detector.find(got.resize((240, 240)))[0].eyes.mean(axis=0) / 240
    # benchmarks/crop_margin.py: across the middle, a ninth of the side above it.
    assert eyes == pytest.approx([0.5, 0.5 - BELOW_EYES], abs=0.03)


def test_a_huge_face_gives_a_small_crop_without_moire():
    stripes = np.zeros((2000, 2000), np.uint8)
    stripes[:, ::2] = 255
    eye_line = 1000 - BELOW_EYES * 1600
    face = by_hand([(900, eye_line), (1100, eye_line)], [0, 0, 1600, 1600])
    got = np.asarray(crop(Image.fromarray(stripes), face, 1))
    assert got.shape == (240, 240)
    assert np.abs(got.astype(int) - 127).max() <= 20


def test_without_mtcnn_one_sentence_says_what_to_install(run_without):
    done = run_without("mtcnn", "predict", "x.jpg")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: Faces are detected by the package mtcnn, which is not installed: pip install "
        "'keras-deep-emotion[faces]'; or, if the images are crops of faces already: "
        "--faces none."
    )
