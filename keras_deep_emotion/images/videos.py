"""Read the frames of videos, by PyAV, as upright RGB images."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from keras_deep_emotion.images.reading import UnreadableImage, open_regular
from keras_deep_emotion.program import install_command


class VideoFrame(NamedTuple):
    """A frame of a video."""

    number: int  # from 0
    seconds: float  # since the start of the video
    image: Image.Image  # RGB, upright


def read_frames(path: str | Path, every: int = 10) -> Iterator[VideoFrame]:
    """Read every N-th frame of a video from the first, rotated as it says (phones film sideways).

    Raises:
        ModuleNotFoundError: If PyAV is not installed.
        UnreadableImage: If it is not a video or has no frames; after the intact frames, if it is
            damaged.
    """
    if importlib.util.find_spec("av") is None:
        raise ModuleNotFoundError(
            f"Videos need PyAV, which is not installed: {install_command('faces')}"
        )
    import av

    # Opened here: FFmpeg would take some names for a URL or a pattern.
    with open_regular(path) as file:
        try:
            video = av.open(file)
        except (av.error.FFmpegError, ValueError):
            raise UnreadableImage("not a video that can be read") from None
        with video:
            if not video.streams.video:
                raise UnreadableImage("the video has no images, only sound")
            video.streams.video[0].thread_type = "AUTO"
            yield from _decode_frames(video, every)


def video_length(path: str | Path) -> float | None:
    """Length of a video in seconds, as it says; None if it does not."""
    import av

    try:
        with open_regular(path) as file, av.open(file) as video:
            return video.duration / av.time_base if video.duration else None
    except (UnreadableImage, av.error.FFmpegError, ValueError):
        return None


def _decode_frames(video, every):
    import av

    rate = video.streams.video[0].average_rate or 25  # of frames without times; ours: as FFmpeg
    number, start = -1, None
    try:
        for number, frame in enumerate(video.decode(video=0)):
            time = float(number / rate if frame.time is None else frame.time)
            start = time if start is None else start
            if number % every == 0:
                image = frame.to_image().convert("RGB")
                if frame.rotation:
                    image = image.rotate(frame.rotation, expand=True)
                yield VideoFrame(number, time - start, image)
    except av.error.FFmpegError:
        raise UnreadableImage(f"damaged after {number + 1} frames") from None
    if number < 0:
        raise UnreadableImage("the video has no frames")
