"""Frames of videos: their times, orientation and errors."""

import subprocess

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from videos import write_video

from keras_deep_emotion.images.reading import UnreadableImage
from keras_deep_emotion.images.videos import read_frames


def difference(one, other):
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()


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


def test_frames_without_times_have_those_of_their_rate(photo, tmp_path):
    with av.open(tmp_path / "a.h264", "w", format="h264") as video:
        stream = video.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *photo.size, "yuv420p"
        for _ in range(11):
            video.mux(stream.encode(av.VideoFrame.from_image(photo)))
        video.mux(stream.encode())
    frames = list(read_frames(tmp_path / "a.h264", every=5))
    assert [frame.seconds for frame in frames] == pytest.approx([0, 0.2, 0.4])
