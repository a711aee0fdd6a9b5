"""One rule for levels: the same picture in every mode, depth and form is the same face."""

import io
import warnings

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from keras_deep_emotion.images.graph import decode_untrusted
from keras_deep_emotion.images.inputs import encode_image, load_pixels
from keras_deep_emotion.images.levels import UnknownLevels, eight_bits
from keras_deep_emotion.images.reading import UnreadableImage, decode_image


@pytest.fixture(scope="module")
def grey(photo):
    return np.asarray(photo.convert("L"))


def in_mode(photo, mode):
    """The photo in a mode of Pillow; grey where the mode has no colors."""
    sixteen = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    if mode.startswith("I;16"):
        order = ">u2" if mode == "I;16B" else "<u2"
        return Image.frombytes(mode, photo.size, sixteen.astype(order).tobytes())
    if mode == "I":
        return Image.fromarray(sixteen.astype(np.int32))
    if mode == "LAB":
        profiles = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
        return ImageCms.profileToProfile(photo, *profiles, outputMode="LAB")
    between = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, mode)
    image = photo.convert(between, palette=Image.Palette.ADAPTIVE)
    return image.convert(mode)


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_mode_of_pillow_is_the_same_face(mode, photo):
    image = in_mode(photo, mode)
    assert image.mode == mode
    is_grey = mode in ("1", "L", "LA", "La", "F") or mode.startswith("I")
    expected = photo.convert("1" if mode == "1" else "L" if is_grey else "RGB").convert("RGB")
    pixels = load_pixels(image)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == (1 if is_grey else 3)
    least = {"P": 9, "PA": 9, "LAB": 3, "YCbCr": 2}.get(mode, 1)  # of few colors, of another gamut
    assert np.abs(pixels.astype(int) - np.asarray(expected)).mean() < least


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "LAB", "I", "F", "I;16"])
def test_a_path_and_the_open_picture_of_the_file_are_the_same(mode, photo, tmp_path):
    image = in_mode(photo, mode)
    image = Image.fromarray(np.asarray(image) / np.float32(2)) if mode == "F" else image
    path = tmp_path / "a.tif"
    image.save(path)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(load_pixels(opened), load_pixels(path))
    np.testing.assert_array_equal(load_pixels(path), load_pixels(path.read_bytes()))


@pytest.mark.parametrize("bits", range(9, 17))
@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("is_colored", [False, True])
def test_bits_kept_in_16(bits, ending, is_colored, photo, grey):
    """Of 15 and 16 bits the upper eight count; whether fewer are dark, nobody can know."""
    source = np.asarray(photo)[..., ::-1] if is_colored else grey
    levels = source.astype(np.uint16) << (bits - 8)
    content = cv2.imencode(f".{ending}", levels)[1].tobytes()
    if bits < 15:
        with pytest.raises(UnreadableImage, match="of a depth that is not known: convert them so"):
            decode_image(content)
        with pytest.raises(ValueError, match="of a depth that is not known: convert them so"):
            load_pixels(levels)
        return
    expected = source.astype(int) >> (16 - bits)
    np.testing.assert_array_equal(
        decode_image(content), expected[..., ::-1] if is_colored else expected
    )
    np.testing.assert_array_equal(load_pixels(levels).squeeze(), expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "int64", "float32"])
def test_levels_to_255_are_the_same_in_every_type(dtype, grey):
    np.testing.assert_array_equal(load_pixels(grey.astype(dtype))[..., 0], grey)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_levels_to_255_kept_in_16_bits(ending, grey):
    content = cv2.imencode(f".{ending}", grey.astype(np.uint16))[1].tobytes()
    np.testing.assert_array_equal(load_pixels(content)[..., 0], grey)
    # A server is sent what it decodes in the same way.
    np.testing.assert_array_equal(load_pixels(encode_image(content))[..., 0], grey)


@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "float16", "float32", "float64"]),
    low=st.integers(-2, 2),
    high=st.one_of(st.integers(0, 300), st.integers(0, 2**17), st.floats(0, 2)),
)
def test_what_is_read_spans_the_levels_or_is_refused(dtype, low, high):
    with warnings.catch_warnings(action="ignore"):  # of float16
        levels = np.array([low, high]).astype(dtype)
    is_float = levels.dtype.kind == "f"
    white = levels.max()
    known = levels.min() >= 0 and (
        white == 0 or 1 < white <= 255 or (not is_float and (white == 1 or 2**14 <= white <= 65535))
    )
    if not known:
        with pytest.raises(UnknownLevels, match="levels from"):
            eight_bits(levels)
        return
    scale = 256 if white > 255 else 1
    np.testing.assert_array_equal(eight_bits(levels), levels if is_float else levels // scale)


@settings(deadline=None, max_examples=60)
@given(
    white=st.one_of(st.integers(0, 65535), st.sampled_from([255, 256, 16383, 16384])),
    color=st.sampled_from([cv2.COLOR_GRAY2BGR, None, cv2.COLOR_GRAY2BGRA]),
)
def test_a_server_reads_16_bits_as_this_process(white, color):
    levels = np.linspace(0, white, 64).astype(np.uint16).reshape(8, 8)
    levels = levels if color is None else cv2.cvtColor(levels, color)
    content = cv2.imencode(".png", levels)[1].tobytes()
    try:
        expected = np.asarray(decode_image(content).convert("RGB"))
    except UnreadableImage:
        with pytest.raises(tf.errors.InvalidArgumentError, match="unknown levels"):
            decode_untrusted(content)
        return
    np.testing.assert_array_equal(decode_untrusted(content), expected)


def test_fractions_and_what_is_no_level_are_refused(grey):
    for levels, says in (
        (grey / 255, "x has levels from .* to .*: multiply them by 255"),
        (grey.astype(float) - 300, "x has levels from -300 to .*, which should be from 0 to 255"),
        (grey * 300.0, "which should be from 0 to 255"),
        (np.full((9, 9), np.nan), "levels from nan to nan"),
    ):
        with pytest.raises(ValueError, match=says):
            load_pixels(levels, "x")
    file = io.BytesIO()
    Image.fromarray((grey / 255).astype(np.float32)).save(file, "TIFF")
    with pytest.raises(UnreadableImage, match="levels from .*: multiply them by 255"):
        decode_image(file.getvalue())
