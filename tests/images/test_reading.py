"""Reading images and videos, and the errors of those that cannot be read."""

import os
import subprocess
import threading
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from skimage import data
from videos import write_video

from keras_deep_emotion.images.inputs import encode_image, load_pixels
from keras_deep_emotion.images.reading import (
    UnreadableImage,
    find_files,
    is_video,
    kind_of,
    open_photo,
    read_frames,
)


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(data.astronaut()).resize((96, 80))


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


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(photo, mode, tmp_path):
    if mode == "I;16":
        image = Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257)
    else:
        image = photo.convert(mode, palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.tif")
    if mode in ("L", "LA", "I;16"):
        expected = photo.convert("L").convert("RGB")
    else:  # of few colors: the image itself
        expected = image.convert("RGB") if mode in ("P", "1") else photo
    got = open_photo(tmp_path / "a.tif")
    assert (got.mode, got.size) == ("RGB", photo.size)
    assert difference(got, expected) < 0.01


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
        "float.tif": "its pixels are floats: save it with 8 or 16 bits a channel",
        ".": "is a directory",
    }.items():
        with pytest.raises(UnreadableImage) as caught:
            open_photo(tmp_path / name)
        assert str(caught.value) == says


def test_too_many_pixels_are_refused_by_the_header(tmp_path, monkeypatch):
    Image.new("1", (300, 300)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    with pytest.raises(UnreadableImage, match="too many pixels: more than 80,000; shrink it"):
        open_photo(tmp_path / "a.png")


def test_folders_patterns_and_names(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("b.JPG", "a.png", "deep/c.webp", ".hidden.png", "notes.txt", "v.mp4"):
        (tmp_path / "in" / name).touch()
    inside = [tmp_path / "in" / name for name in ("a.png", "b.JPG", "deep/c.webp", "v.mp4")]
    notes = tmp_path / "in" / "notes.txt"
    first, *rest = find_files([tmp_path / "in"])
    assert first == (inside[0], None, (notes,))
    assert rest == [(path, None, ()) for path in inside[1:]]
    assert list(find_files([tmp_path / "in/**/*.webp"])) == [(inside[2], None, ())]
    for name, says in {
        "empty": "no images or videos in this folder",
        "*.bmp": "no file matches this pattern",
    }.items():
        assert list(find_files([tmp_path / name])) == [(tmp_path / name, says, ())]
    # A file whose name looks like a pattern is a file.
    (tmp_path / "a[1].png").touch()
    assert list(find_files([tmp_path / "a[1].png"])) == [(tmp_path / "a[1].png", None, ())]
    assert list(find_files(["none.png"]))[0].error is None  # opening it says what is wrong
    long = tmp_path / f"{'a' * 300}.png"
    assert list(find_files([long, "none.png"])) == [
        (long, "file name too long", ()), (Path("none.png"), None, ()),
    ]  # fmt: skip


def test_frames_and_times(tmp_path):
    images = [Image.new("RGB", (96, 80), (level, level, level)) for level in range(0, 250, 10)]
    frames = list(read_frames(write_video(tmp_path / "a.mp4", images), every=10))
    assert [frame.number for frame in frames] == [0, 10, 20]
    assert [frame.seconds for frame in frames] == pytest.approx([0, 1, 2], abs=0.01)
    levels = [np.asarray(frame.image).mean() for frame in frames]
    assert levels == pytest.approx([0, 100, 200], abs=8)


def test_time_counts_from_a_videos_own_start(photo, tmp_path):
    frames = list(read_frames(write_video(tmp_path / "a.mpg", [photo] * 11, rate=25), every=10))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.4], abs=0.001)


def test_a_telephones_video_is_upright(photo, tmp_path):
    write_video(tmp_path / "plain.mp4", [photo.transpose(Image.Transpose.ROTATE_90)] * 3)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "-90", "-i"]
    subprocess.run(
        [*command, tmp_path / "plain.mp4", "-c", "copy", tmp_path / "turned.mp4"], check=True
    )
    frame = next(read_frames(tmp_path / "turned.mp4"))
    assert frame.image.size == photo.size
    assert difference(frame.image, photo) < 10


def test_what_is_no_video(tmp_path):
    (tmp_path / "zero.mp4").touch()
    (tmp_path / "text.mp4").write_text("no video" * 99)
    with av.open(tmp_path / "sound.mp4", "w") as video:
        stream = video.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        silence.sample_rate = 44100
        video.mux(stream.encode(silence))
        video.mux(stream.encode())
    with av.open(tmp_path / "still.avi", "w") as video:
        stream = video.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        video.start_encoding()
    for name, says in {
        "zero.mp4": "the file is empty",
        "text.mp4": "not a video that can be read",
        "sound.mp4": "the video has no images, only sound",
        "still.avi": "the video has no frames",
        "none.mp4": "no such file or directory",
    }.items():
        with pytest.raises(UnreadableImage) as caught:
            next(read_frames(tmp_path / name))
        assert str(caught.value) == says


def test_a_cut_off_video_gives_the_frames_that_are_whole(photo, tmp_path):
    images = [photo.rotate(9 * turn) for turn in range(40)]  # alike in bytes
    whole = write_video(tmp_path / "whole.avi", images).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) * 7 // 10])
    assert 5 < sum(1 for _ in read_frames(tmp_path / "cut.avi", every=1)) < 40


FORMATS = {  # Pillow's, and what they are
    "JPEG": "image", "PNG": "image", "GIF": "image", "BMP": "image", "TIFF": "image",
    "WEBP": "image", "JPEG2000": "image", "PPM": "image", "AVIF": "image", "EPS": None,
}  # fmt: skip


def test_a_pipe_keeps_its_bytes(photo, tmp_path):
    photo.save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(
        target=lambda: (tmp_path / "pipe").write_bytes((tmp_path / "a.png").read_bytes())
    )
    writer.start()
    assert kind_of(tmp_path / "pipe") is None
    np.testing.assert_array_equal(open_photo(tmp_path / "pipe"), photo)
    writer.join()


def test_postscript_is_not_run(photo, tmp_path):
    photo.save(tmp_path / "a.eps")
    with pytest.raises(UnreadableImage, match="PostScript is a program: save it as an image"):
        open_photo(tmp_path / "a.eps")


def test_frames_without_times_have_those_of_their_rate(photo, tmp_path):
    with av.open(tmp_path / "a.h264", "w", format="h264") as video:
        stream = video.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *photo.size, "yuv420p"
        for _ in range(11):
            video.mux(stream.encode(av.VideoFrame.from_image(photo)))
        video.mux(stream.encode())
    frames = list(read_frames(tmp_path / "a.h264", every=5))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.2, 0.4])


@pytest.mark.parametrize("name", FORMATS)
def test_pictures_are_known_by_their_bytes(name, photo, tmp_path):
    photo.save(tmp_path / "a", name)
    assert kind_of(tmp_path / "a") == FORMATS[name]
    assert not is_video(tmp_path / "a")


@pytest.mark.parametrize(
    "suffix", ["mp4", "mov", "avi", "mkv", "webm", "mpg", "ts", "mts", "flv", "wmv", "3gp"]
)
def test_videos_are_known_by_their_bytes(suffix, photo, tmp_path):
    codec = {"webm": "libvpx", "flv": "flv1", "wmv": "wmv2", "3gp": "h263"}
    options = {"mpegts_m2ts_mode": "1"} if suffix == "mts" else {}
    path = tmp_path / f"a.{suffix}"
    with av.open(path, "w", options=options) as video:
        stream = video.add_stream(codec.get(suffix, "mpeg4"), rate=25)
        stream.width, stream.height, stream.pix_fmt = 176, 144, "yuv420p"
        for _ in range(12):
            frame = av.VideoFrame.from_image(photo.resize((176, 144)))
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    path.rename(tmp_path / "a")
    assert kind_of(tmp_path / "a") == "video" and is_video(tmp_path / "a")
    assert len(list(read_frames(tmp_path / "a", every=1))) > 5


@pytest.mark.parametrize(
    "content",
    [
        b"", b"a text", b"BMW is a make of cars", b"P1 is a name", b"%!PS-Adobe", b"G" * 99,
        b"The free encyclopedia", b"Sum mdat",  # names of atoms
        b"\0\0\0\x20ftypM4A \0\0\0\0", b"OggS" + bytes(24) + b"\x01vorbis",  # sound
    ],
)  # fmt: skip
def test_other_files_are_neither(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    assert kind_of(tmp_path / "a") is None
