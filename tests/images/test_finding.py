"""Finding images and videos by names, folders and patterns, and by what the files hold."""

import tempfile
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keras_deep_emotion.images.finding import find_files, is_video, kind_of, match_files
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


ODD = [
    "run [2024]",
    "a*b",
    "what?",
    "{x,y}",
    "!",
    "[",
    "]",
    "~",
    "a,b",
    "%20",
    "#",
    " x ",
    "-x",
    "**x",
]


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_looks_like_a_pattern_is_a_name(name, tmp_path, photo, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    photo.save(folder / "1.png")
    photo.save(folder / "[1].png")
    expected = [folder / "1.png", folder / "[1].png"]
    assert [one.path for one in find_files([folder])] == expected
    assert [one.path for one in find_files([folder / "[1].png"])] == expected[1:]
    assert [one.path for one in find_files([folder / "*.png"])] == expected
    assert match_files(f"{folder}/**/*.png") == [str(path) for path in expected]
    monkeypatch.chdir(tmp_path)
    assert match_files(f"{name}/*.png") == [f"{name}/1.png", f"{name}/[1].png"]
    assert match_files("*/[[]1].png")[-1] == f"{name}/[1].png"


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parts=st.lists(st.text("ab[]*?! -", min_size=1, max_size=4), min_size=1, max_size=3))
def test_every_path_that_exists_is_itself(parts, tmp_path):
    with tempfile.TemporaryDirectory(dir=tmp_path) as root:
        path = Path(root, *parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert match_files(path) == [str(path)]
        if "**" not in parts:
            assert match_files(Path(root, "**", path.name)) == [str(path)]


def test_links_to_folders_are_followed_and_circles_not(photo, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "far").mkdir()
    photo.save(tmp_path / "far" / "a.png")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "up").symlink_to(tmp_path / "in")
    (found,) = find_files([tmp_path / "in"])
    assert found == (tmp_path / "in" / "link" / "a.png", None, ())


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    format=st.sampled_from(
        ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "AVIF"]
    ),
    ending=st.sampled_from(["", ".jfif", ".jpe", ".txt", ".mp4", ".csv", ".exe", ".JPG", ".zip"]),
)
def test_the_bytes_decide_and_not_the_ending(format, ending, photo, tmp_path):
    with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        path = Path(folder, f"a{ending}")
        photo.save(path, format)
        Path(folder, f"b{ending}").write_bytes(b"neither")
        first, *rest = find_files([folder])
        assert first.path == path and not is_video(path)
        # What is called a picture or video is not passed over: opening it says what is wrong.
        if ending in (".txt", ".csv", ".exe", ".zip", ""):
            assert not rest and first.passed_over == (Path(folder, f"b{ending}"),)
        else:
            assert [one.path.name for one in rest] == [f"b{ending}"]
