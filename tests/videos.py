"""Videos drawn by the tests."""

import av


def write_video(path, images, rate=10):
    with av.open(path, "w") as video:
        stream = video.add_stream("mpeg4", rate=rate)
        stream.width, stream.height = images[0].size
        stream.pix_fmt = "yuv420p"
        for image in images:
            video.mux(stream.encode(av.VideoFrame.from_image(image)))
        video.mux(stream.encode())
    return path
