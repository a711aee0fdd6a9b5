"""Reading images, and the errors of those that cannot be read."""

import os

import numpy as np
import pytest
from PIL import Image

from keras_deep_emotion.images.inputs import encode_image, load_pixels
from keras_deep_emotion.images.reading import UnreadableImage, open_photo


def difference(one, other):
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(photo, orientation, tmp_path):
    stored = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    image = photo if stored is None else photo.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(open_photo(tmp_path / "a.png"), photo)


def test_damaged_exif_data_count_as_none(photo, tmp_path):
    path = tmp_path / "a.jpg"
    photo.save(path, exif=b"Exif\0\0no data", dpi=(72, 72))
    with pytest.raises(SyntaxError), Image.open(path) as image:
        image.getexif()
    assert difference(open_photo(path), photo) < 10
    assert encode_image(path) == path.read_bytes()
    with Image.open(path) as image:
        np.testing.assert_array_equal(load_pixels(image), open_photo(path))


def test_a_jpeg_of_many_scans_is_refused(photo, tmp_path):
    photo.save(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"\xff\xda" * 64)
    for read in (encode_image, load_pixels):
        with pytest.raises(UnreadableImage, match="a JPEG of more than 64 scans: save it again"):
            read(tmp_path / "a.jpg")


def test_a_png_whose_pixels_fail_their_checksum_is_damaged(photo, tmp_path):
    photo.save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[-17] ^= 1  # of the checksum of the last pixels
    with pytest.raises(UnreadableImage, match="the image is damaged"):
        load_pixels(bytes(content))


def test_heic(photo, tmp_path, monkeypatch):
    import pillow_heif

    pillow_heif.from_pillow(photo).save(tmp_path / "a.heic", quality=90)
    assert difference(open_photo(tmp_path / "a.heic"), photo) < 6
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        UnreadableImage, match="HEIC requires the package pillow-heif: pip install pillow-heif"
    ):
        open_photo(tmp_path / "a.heic")


def test_what_is_no_picture(photo, tmp_path):
    (tmp_path / "zero.jpg").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    photo.save(tmp_path / "whole.jpg")
    photo.save(tmp_path / "whole.png")
    for kind in ("jpg", "png"):
        whole = (tmp_path / f"whole.{kind}").read_bytes()
        (tmp_path / f"cut.{kind}").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / "float.tif")
    for name, says in {
        "zero.jpg": "the file is empty",
        "text.jpg": "not a picture of a known format",
        "cut.jpg": "the image is damaged",
        "cut.png": "the image is damaged",
        "none.png": "no such file or directory",
        "float.tif": "levels from 1 to 1: multiply them by 255",
        "https://a.b/c.png": "addresses are not fetched: download the file, and name it",
        "0": "no such file; for a webcam, start the demo",
        ".": "is a directory",
    }.items():
        with pytest.raises(UnreadableImage) as caught:
            open_photo(name if name[0] in "0h" else tmp_path / name)
        assert str(caught.value) == says


def test_too_many_pixels_are_refused_by_the_header(tmp_path):
    Image.new("1", (9000, 6000)).save(tmp_path / "a.png")
    says = "9000 x 6000 pixels are too many, at most 50,331,648: shrink it"
    with pytest.raises(UnreadableImage, match=says):
        open_photo(tmp_path / "a.png")
    with pytest.raises(
        UnreadableImage, match="9000 x 6000 pixels are too many, at most 16,777,216"
    ):
        load_pixels(tmp_path / "a.png")


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(UnreadableImage, match="a pipe or device, not a file: save what"):
            open_photo(path)


def test_no_other_program_is_started(photo, tmp_path):
    """Pillow gives PostScript to Ghostscript; other formats of its are of no camera or browser."""
    for ending in ("eps", "pdf", "ico", "tga", "sgi", "pcx"):
        photo.save(tmp_path / f"a.{ending}")
        (tmp_path / f"a.{ending}").rename(tmp_path / "a.png")
        with pytest.raises(UnreadableImage, match="not a picture of a known format"):
            open_photo(tmp_path / "a.png")
