"""Finding images and videos by names, folders and patterns, and by what the files hold."""

from pathlib import Path

import av
import pytest

from keras_deep_emotion.images.finding import find_files, is_video, kind_of
from keras_deep_emotion.images.videos import read_frames


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


FORMATS = {  # Pillow's, and what they are
    "JPEG": "image", "PNG": "image", "GIF": "image", "BMP": "image", "TIFF": "image",
    "WEBP": "image", "JPEG2000": "image", "PPM": "image", "AVIF": "image", "EPS": None,
}  # fmt: skip


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
