"""Several machines, several devices: their weights are those of one."""

import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from keras_deep_emotion.cli import main
from keras_deep_emotion.runs import Run

ROOT = Path(__file__).parents[2]
# Few faces, whose last batch of 64 is smaller, and even. Few steps: sooner or later rounding lets
# one of the millions of maxima and ReLUs fall the other way, and there two trainings part.
FEW = """
import sys
from keras_deep_emotion import cli
import sys
import keras_deep_emotion.cli.fit
commands = sys.modules["keras_deep_emotion.cli.fit"]
def load_tensorflow(original=commands.load_tensorflow):
    original()
    from keras_deep_emotion.data import pipeline
    def few(*arguments, read=pipeline.load_split):
        return pipeline.FaceArrays(*(column[:160] for column in read(*arguments)))
    pipeline.load_split = few
commands.load_tensorflow = load_tensorflow
"""


def started(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", FEW + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(*processes):
    outputs = [process.communicate()[0] for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs[0][-3000:]
    return outputs


def weights(run_dir):
    """Arrays of a run's model, by their place in the file."""
    with zipfile.ZipFile(run_dir / "model.keras") as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
    found = {}
    file.visititems(
        lambda name, item: (
            found.__setitem__(name, item[()]) if isinstance(item, h5py.Dataset) else None
        )
    )
    return found


def assert_same_weights(run_dir, other_dir):
    ours, theirs = weights(run_dir), weights(other_dir)
    assert ours.keys() == theirs.keys() and ours
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4, rtol=0, err_msg=name)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(toon_faces_dir, tmp_path):
    pytest.importorskip("jax")

    def fit(processes, process, port):
        # Adam would make a step of full size out of the rounding of a gradient that is nearly 0.
        settings = {"--optimizer": "sgd", "--learning-rate": 0.01, "--width": 2, "--epochs": 1}
        return started(
            "cli.main()",
            "fit",
            *(word for pair in settings.items() for word in pair),
            *("--batch-size", 64, "--data-dir", toon_faces_dir),
            *("--run-dir", tmp_path / f"of_{processes}"),
            *("--distribute", f"127.0.0.1:{port}"),
            *("--processes", processes, "--process", process),
        )

    port = free_port()
    output, other = finished(fit(2, 0, port), fit(2, 1, port))
    finished(fit(1, 0, free_port()))
    assert "test accuracy" in output
    assert "test accuracy" not in other
    # With augmentation, cutout, dropout, batch normalisation and averaged weights.
    assert_same_weights(tmp_path / "of_1", tmp_path / "of_2")
    run = Run.open(tmp_path / "of_2")
    assert run.config.width == 2 and run.load_model().output.shape == (None, len(run.labels))
    report = json.loads((tmp_path / "of_2" / "report.json").read_text())
    assert report["faces"] == 504
    assert (tmp_path / "of_2" / "history.csv").read_text().count("\n") == 2


@pytest.mark.slow
def test_devices_share_each_batch(toon_faces_dir, tmp_path):
    # Each device draws by itself: without augmentation and dropout, two do what one does.
    code = """
commands.load_tensorflow()
import tensorflow as tf
from keras_deep_emotion.training import single_machine as training
from keras_deep_emotion.config import TrainConfig
run_dir, data_dir, devices = training.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
if devices == 2:
    training.strategy_for_devices = lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
config = TrainConfig.from_recipe(
    "paper", epochs=2, batch_size=64, optimizer="sgd", learning_rate=0.01, average=1.0,
    flip=False, rotation=0.0, zoom=0.0, shift=0.0, dropout=0.0,
)
run_dir.mkdir()
accuracy = training.train(config, run_dir, data_dir)
(run_dir / "model.keras").rename(run_dir / "first.keras")
assert training.train(config, run_dir, data_dir) == accuracy  # from its backup: nothing to do
(run_dir / "first.keras").rename(run_dir / "model.keras")
"""
    for devices in (1, 2):
        finished(started(code, tmp_path / str(devices), toon_faces_dir, devices))
    assert_same_weights(tmp_path / "1", tmp_path / "2")


@pytest.mark.parametrize(("devices", "processes"), [(2, 2), (4, 2), (3, 3)])
def test_shares_are_the_batches_of_one_machine(devices, processes):
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_loop import local_share

    faces = tf.data.Dataset.range(29).batch(12)
    batches = [batch.numpy() for batch in faces]
    shares = [
        list(local_share(faces.map(lambda n: (n, -n)), devices, processes, i).as_numpy_iterator())
        for i in range(processes)
    ]
    for batch, parts in zip(batches, zip(*shares, strict=True), strict=True):
        rows = np.concatenate([part[0] for part in parts])
        added = -len(batch) % devices
        np.testing.assert_array_equal(rows, [*batch, *batch[:added]])
        np.testing.assert_array_equal(rows, -np.concatenate([part[1] for part in parts]))
        assert len({len(part[0]) for part in parts}) == 1


def test_a_last_batch_smaller_than_the_devices_is_shared_too():
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_loop import local_share

    faces = tf.data.Dataset.from_tensors(([7],))
    for process in range(2):
        ((share,),) = local_share(faces, 4, 2, process).as_numpy_iterator()
        assert share.tolist() == [7, 7]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("host", 2, 0, 0), "--distribute must be HOST:PORT of process 0. Received: host"),
        (("host:1", 2, 2, 0), "--process must be between 0 and 1 with --processes 2. Received: 2"),
    ],
)
def test_refuses_a_place_that_is_none(arguments, message):
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_loop import join

    with pytest.raises(ValueError, match=message):
        join(*arguments)


def test_refuses_another_backend():
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_loop import join

    with pytest.raises(RuntimeError, match="KERAS_BACKEND=jax"):
        join("host:1", 2, 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--distribute", "host:1"), "--distribute, --processes and --process go together."),
        (("--processes", "2", "--process", "0"), "go together."),
        (
            ("--distribute", "host:1", "--processes", "2", "--process", "0", "--fold", "all"),
            "--distribute goes with neither --resume, --fold all, --profile nor --source.",
        ),
    ],
)
def test_the_command_line_refuses(arguments, message):
    result = CliRunner().invoke(main, ["fit", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_names_the_extra_where_jax_is_missing():
    code = "sys.modules['jax'] = None; cli.main()"
    arguments = ("--distribute", "host:1", "--processes", "2", "--process", "0")
    process = started(code, "fit", *arguments)
    output = process.communicate()[0]
    assert process.returncode == 1
    assert output.splitlines()[-1] == (
        "Error: Training on several machines needs JAX: pip install 'keras-deep-emotion[jax]'"
    )
