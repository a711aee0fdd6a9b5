"""Latency and throughput of an export: the bare SavedModel, the local server by gRPC and by REST.

    python benchmarks/serving.py EXPORT [--rounds 300]

EXPORT is a version's folder. With PyPI's `fer` installed (its classifier alone, told where the face
is), `predict_bytes` and it take turns on the same files. A face is a JPEG of 40 to 200 pixels.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
from corruptions import drawing, encode

from keras_deep_emotion.inference.client import connect
from keras_deep_emotion.serving.c_loader import Session
from keras_deep_emotion.serving.verification import LoadedExport

BATCH = 64


def milliseconds(call, rounds):
    """Duration of each of so many calls, after a few that are not counted."""
    for _ in range(5):
        call()
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    return np.array(taken)


def line(title, one, many, rounds):
    """A row of the table: `one` answers a face, `many` answers BATCH of them."""
    alone = milliseconds(one, rounds)
    together = np.median(milliseconds(many, max(5, rounds // 10)))
    click.echo(
        f"| {title} | {np.median(alone):.2f} | {np.percentile(alone, 99):.2f} | "
        f"{1000 * BATCH / together:,.0f} |"
    )


@click.command()
@click.argument("export", type=click.Path(exists=True, path_type=Path))
@click.option("--rounds", default=300, show_default=True)
def main(export, rounds):
    random = np.random.default_rng(0)
    files = [encode(drawing(random), "JPEG") for _ in range(BATCH)]
    session = LoadedExport(Session(export))
    bare = {count: {"image_bytes": np.array(files[:count], object)} for count in (1, BATCH)}
    image = session.signatures["serving_default"].inputs["image"]
    size = image.tensor_shape.dim[1].size
    faces = random.uniform(0, 255, (BATCH, size, size, 1)).astype(np.float32)
    click.echo("| | one face, ms: p50 | p99 | faces a second, 64 at once |\n|---|---|---|---|")
    line(
        "serving_default, bare SavedModel",
        lambda: session.call("serving_default", {"image": faces[:1]}),
        lambda: session.call("serving_default", {"image": faces}),
        rounds,
    )
    line(
        "predict_bytes, bare SavedModel",
        lambda: session.call("predict_bytes", bare[1]),
        lambda: session.call("predict_bytes", bare[BATCH]),
        rounds,
    )
    command = [sys.executable, "cli.py", "serve", str(export), "--local"]
    server = subprocess.Popen(
        [*command, "--port", "0", "--rest-port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        told = ""
        while "gRPC: " not in told:
            more = server.stdout.readline()
            if not more:
                raise click.ClickException(f"The local server ended: {told}")
            told += more
        rest = re.search(r"REST: (\S+)", told).group(1)
        rpc = re.search(r"gRPC: (\S+)", told).group(1)
        name = rest.rsplit("/", 1)[1]
        for title, url in (("gRPC", f"grpc://{rpc}/{name}"), ("REST", rest)):
            model = connect(url)
            line(
                f"predict_bytes, local server, {title}",
                lambda model=model: model.predict_bytes(files[:1]),
                lambda model=model: model.predict_bytes(files),
                rounds,
            )
    finally:
        server.terminate()
        server.wait()
    maps = milliseconds(lambda: session.call("saliency_bytes", bare[1]), 5)
    click.echo(f"\nsaliency_bytes, one face, bare SavedModel: {np.median(maps):.0f} ms")
    beside_fer(session, files)


def beside_fer(session, files):
    """One file after another, by `predict_bytes` and by fer in turn."""
    try:
        from fer.fer import FER
    except ImportError as error:
        click.echo(f"fer was not measured: {error}.")
        return
    import cv2

    def by_fer(detector):
        def call(file):
            picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
            height, width = picture.shape[:2]
            return detector.detect_emotions(picture, face_rectangles=[(0, 0, width, height)])

        return call

    calls = {
        "predict_bytes": lambda file: session.call(
            "predict_bytes", {"image_bytes": np.array([file], object)}
        ),
        "fer, its TFLite model (the default)": by_fer(FER()),
        "fer, its Keras model": by_fer(FER(use_tflite=False)),
    }
    taken = {title: [] for title in calls}
    for counted in (False, True, True, True):
        for title, call in calls.items():
            for file in files:
                start = time.perf_counter()
                call(file)
                if counted:
                    taken[title].append(1000 * (time.perf_counter() - start))
    for title, times in taken.items():
        click.echo(f"one file after another, {title}: {np.median(times):.2f} ms a face")


if __name__ == "__main__":
    main()
