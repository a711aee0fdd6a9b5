"""Latency and throughput of an export: the bare SavedModel, the local server by gRPC and by REST.

    python benchmarks/serving.py EXPORT [--rounds 300]

EXPORT is a version's folder. A face is a JPEG of 40 to 200 pixels.
"""

import io
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import click
import numpy as np
from timing import echo_header, echo_row, take_turns

from keras_deep_emotion.inference.client import connect
from keras_deep_emotion.serving.c_loader import Session
from keras_deep_emotion.serving.verification import LoadedExport
from tfds_builders.contract import EMOTIONS
from tfds_builders.toon_faces.drawing import draw

BATCH = 64


def draw_jpeg(emotion, size):
    file = io.BytesIO()
    draw("mira", emotion, size).image.save(file, "JPEG")
    return file.getvalue()


def milliseconds(call, rounds):
    """Duration of each of so many calls, after a few that are not counted."""
    return 1000 * np.array(take_turns({"": call}, 5 + rounds)[""][5:])


def echo_speed(title, predict, faces, rounds):
    """Print a row of the table: the time of one face, the throughput of all `faces`."""
    one = milliseconds(lambda: predict(faces[:1]), rounds)
    many = np.median(milliseconds(lambda: predict(faces), max(5, rounds // 10)))
    p50, p99 = np.percentile(one, (50, 99))
    echo_row(title, f"{p50:.2f}", f"{p99:.2f}", f"{1000 * len(faces) / many:,.0f}")


@click.command()
@click.argument("export", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=300, show_default=True)
def main(export, rounds):
    random = np.random.default_rng(0)
    sizes = random.integers(40, 200, BATCH).tolist()
    files = np.array([draw_jpeg(EMOTIONS[i % 7], size) for i, size in enumerate(sizes)], object)
    session = LoadedExport(Session(export))
    image = session.signatures["serving_default"].inputs["image"]
    size = image.tensor_shape.dim[1].size
    faces = random.uniform(0, 255, (BATCH, size, size, 1)).astype(np.float32)

    def call(signature, key, values):
        return session.call(signature, {key: values})

    echo_header("", "one face, ms: p50", "p99", "faces a second, 64 at once")
    for signature, key, values in (
        ("serving_default", "image", faces),
        ("predict_bytes", "image_bytes", files),
    ):
        predict = partial(call, signature, key)
        echo_speed(f"{signature}, bare SavedModel", predict, values, rounds)
    command = [sys.executable, "cli.py", "serve", str(export), "--local"]
    server = subprocess.Popen(
        [*command, "--port", "0", "--rest-port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        log = ""
        while "gRPC: " not in log:
            line = server.stdout.readline()
            if not line:
                raise click.ClickException(f"The local server ended: {log}")
            log += line
        rest, rpc = (re.search(rf"{kind}: (\S+)", log)[1] for kind in ("REST", "gRPC"))
        name = rest.rsplit("/", 1)[1]
        for title, url in (("gRPC", f"grpc://{rpc}/{name}"), ("REST", rest)):
            predict = connect(url).predict_bytes
            echo_speed(f"predict_bytes, local server, {title}", predict, files.tolist(), rounds)
    finally:
        server.terminate()
        server.wait()
    maps = milliseconds(lambda: call("saliency_bytes", "image_bytes", files[:1]), 5)
    click.echo(f"\nsaliency_bytes, one face, bare SavedModel: {np.median(maps):.0f} ms")


if __name__ == "__main__":
    main()
