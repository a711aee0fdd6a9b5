"""Training on several machines or devices gives the weights of training on one."""

import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner

from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.models import at_operating_point
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.starting import copy_start

ROOT = Path(__file__).parents[2]
# Few steps: sooner or later rounding flips one of millions of maxima and ReLUs, and from there two
# trainings differ.
FEW = """
import sys
from keras_deep_emotion import cli
import keras_deep_emotion.cli.fit
commands = sys.modules["keras_deep_emotion.cli.fit"]
def load_tensorflow(original=commands.load_tensorflow):
    original()
    from keras_deep_emotion.data import pipeline, targets
    def few(*arguments, read=pipeline.load_split):
        faces = read(*arguments)
        count = min(len(faces.images) // 2 * 2, 40)
        return targets.FaceArrays(*(column[:count] for column in faces))
    pipeline.load_split = few
commands.load_tensorflow = load_tensorflow
"""


def started(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", FEW + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
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
def test_two_processes_train_the_model_of_one(tiny_faces_dir, tmp_path):
    pytest.importorskip("jax")
    # The optimizer of ten epochs, for one: averaging takes more than ten batches.
    code = """
import dataclasses
def load_averaging(original=commands.load_tensorflow):
    original()
    from keras_deep_emotion.training import compile
    def build(config, steps, build=compile.build_optimizer):
        optimizer = build(dataclasses.replace(config, epochs=10), steps)
        assert optimizer.use_ema
        return optimizer
    compile.build_optimizer = build
commands.load_tensorflow = load_averaging
cli.main()
"""

    def fit(processes, process, port):
        # Adam would turn the rounding of a gradient near 0 into a step of full size.
        settings = {"--optimizer": "sgd", "--learning-rate": 0.01, "--width": 2, "--epochs": 1}
        return started(
            code,
            "fit",
            *(word for pair in settings.items() for word in pair),
            # The last batch has 16 faces of 24.
            *("--batch-size", 24, "--warmup", 0, "--mixup", 0.2, "--data-dir", tiny_faces_dir),
            *("--run-dir", tmp_path / f"of_{processes}"),
            *("--distribute", f"127.0.0.1:{port}"),
            *("--processes", processes, "--process", process),
            XLA_FLAGS=f"--xla_force_host_platform_device_count={processes}",
            JAX_DISABLE_MOST_OPTIMIZATIONS="1",  # compiles faster
        )

    port = free_port()
    output, other = finished(fit(2, 0, port), fit(2, 1, port))
    finished(fit(1, 0, free_port()))
    assert "test accuracy" in output
    assert "test accuracy" not in other
    # With augmentation, cutout, mixup, dropout, batch normalization and averaged weights.
    assert_same_weights(tmp_path / "of_1", tmp_path / "of_2")
    run = Run.open(tmp_path / "of_2")
    assert run.config.width == 2 and run.load_model().output.shape == (None, len(run.labels))
    assert run.versions["precision"] == "float32"
    report = json.loads((tmp_path / "of_2" / "report.json").read_text())
    assert report["faces"] == 14
    assert (tmp_path / "of_2" / "history.csv").read_text().count("\n") == 2


@pytest.mark.slow
def test_devices_share_each_batch(tiny_faces_dir, tmp_path):
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
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    training.devices.strategy_for_devices = lambda: strategy
config = TrainConfig.from_recipe(
    "paper", epochs=2, batch_size=24, optimizer="sgd", learning_rate=0.01, average=1.0,
    flip=False, rotation=0.0, zoom=0.0, shift=0.0, dropout=0.0,
)
trainer = training.build_trainer(config, 7, 1)[1]
assert trainer.distribute_strategy.num_replicas_in_sync == devices
run_dir.mkdir()
run = training.Run(run_dir)
accuracy = training.train(config, run, data_dir)
(run_dir / "model.keras").rename(run_dir / "first.keras")
assert training.train(config, run, data_dir) == accuracy  # from its backup: nothing to do
(run_dir / "first.keras").rename(run_dir / "model.keras")
"""
    for devices in (1, 2):
        finished(started(code, tmp_path / str(devices), tiny_faces_dir, devices))
    assert_same_weights(tmp_path / "1", tmp_path / "2")


@pytest.mark.parametrize(("count", "batch_size"), [(29, 12), (1, 4), (24, 12)])
def test_an_epoch_has_every_face_and_fills_its_last_batch_from_the_first(count, batch_size):
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_steps import epoch_rows

    order, shares = epoch_rows(3, count, batch_size, 0.0, epoch=0)
    assert order.shape == (-(-count // batch_size), batch_size) and shares is None
    rows = np.ravel(order)
    assert sorted(rows[:count].tolist()) == list(range(count))
    np.testing.assert_array_equal(rows[count:], np.resize(rows[:count], len(rows) - count))


def test_order_and_mixing_are_functions_of_seed_and_epoch():
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_steps import epoch_rows

    order, shares = epoch_rows(3, 29, 12, 0.2, epoch=1)
    assert shares.shape == order.shape and 0 <= shares.min() < shares.max() <= 1
    for seed, epoch, same in ((3, 1, True), (3, 2, False), (4, 1, False)):
        other_order, other_shares = epoch_rows(seed, 29, 12, 0.2, epoch)
        assert np.array_equal(order, other_order) == same
        assert np.array_equal(shares, other_shares) == same


def test_two_vectors_are_updated_as_the_variables_would_be():
    pytest.importorskip("jax")
    code = """
import numpy as np
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.training.compile import average_variables, build_optimizer, compiled_trainer
from keras_deep_emotion.training.jax_steps import FlatWeights
for optimizer in ("sgd", "adam"):
    config = TrainConfig(width=2, optimizer=optimizer, weight_decay=0.3, average=3.0, epochs=30)
    network = build_model(config)
    trainer = compiled_trainer(network, config, 5)
    flat = FlatWeights(trainer)
    random, variables = np.random.default_rng(0), trainer.trainable_variables
    for variable in variables:  # none is 0, so that all would decay
        variable.assign(random.normal(1, 0.1, variable.shape))
    vectors, others, state = flat.state()
    vectors = flat.join([np.asarray(one) for one in variables])
    alone = build_optimizer(config, 5)
    alone.build(variables)
    for _ in range(7):
        gradients = [random.normal(0, 1, one.shape).astype("float32") for one in variables]
        vectors, state = trainer.optimizer.stateless_apply(state, flat.join(gradients), vectors)
        alone.apply(gradients)
    assert alone.use_ema and len(vectors) == 2
    for got, expected in zip(flat.split(vectors), variables, strict=True):
        np.testing.assert_allclose(got, np.asarray(expected), atol=1e-5, err_msg=expected.path)
    expected = [np.asarray(one) for one in average_variables(alone)]
    for variable, value in zip(trainer.optimizer.variables, state, strict=True):
        variable.assign(value)
    averages = [one.value for one in average_variables(trainer.optimizer)]
    for got, one in zip(flat.split(averages), expected, strict=True):
        np.testing.assert_allclose(got, one, atol=1e-5)
"""
    finished(started(code, KERAS_BACKEND="jax"))


def test_fused_pooling_is_max_pooling_and_has_its_gradient():
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_steps import pool_by_maximum, with_fused_pooling

    random, pool = np.random.default_rng(0), keras.layers.MaxPooling2D()
    images = tf.constant(random.normal(size=(3, 7, 10, 2)).astype("float32"))
    given = random.normal(size=(3, 3, 5, 2)).astype("float32")

    def result(function):
        with tf.GradientTape() as tape:
            tape.watch(images)
            pooled = function(images)
        return pooled, tape.gradient(pooled, images, given)

    for got, expected in zip(result(pool_by_maximum), result(pool), strict=True):
        np.testing.assert_array_equal(got, expected)

    faces = random.uniform(0, 255, (2, 48, 48, 1)).astype("float32")
    for network in ("paper", "wide", "residual"):
        model = build_model(TrainConfig(network=network, width=2))
        fused = with_fused_pooling(model)
        assert not any(isinstance(one, keras.layers.MaxPooling2D) for one in fused.layers)
        np.testing.assert_allclose(fused(faces), model(faces), atol=1e-6)
        assert [one.path for one in fused.weights] == [one.path for one in model.weights]
    start = TrainConfig.from_recipe("paper", dataset="fer2013", start="ferplus-paper")
    fused = with_fused_pooling(build_model(start))
    copy_start(fused, start, None, Run.named("ferplus-paper").labels)
    kept = at_operating_point(Run.named("ferplus-paper").load_model())
    np.testing.assert_allclose(fused(faces), kept(faces), atol=1e-6)
    image = keras.Input((9, 9, 2))
    other = keras.Model(image, keras.layers.MaxPooling2D(3, padding="same")(image))
    assert with_fused_pooling(other).output.shape == (None, 3, 3, 2)


def test_the_run_is_locked_while_it_trains(tiny_faces_dir, tmp_path, monkeypatch):
    pytest.importorskip("jax")
    from keras_deep_emotion.training import jax_loop

    def train(config, faces, validation, labels, run):
        with pytest.raises(ValueError, match="Another process is training"), run.locked():
            pass
        raise InterruptedError

    monkeypatch.setattr(jax_loop, "train", train)
    with pytest.raises(InterruptedError):
        jax_loop.fit(TrainConfig(width=2, epochs=1), tmp_path / "run", tiny_faces_dir)
    with Run(tmp_path / "run").locked():
        pass


@pytest.mark.parametrize("whole", [True, False])
def test_steps_in_one_call_or_one_by_one(whole, monkeypatch):
    pytest.importorskip("jax")
    from keras_deep_emotion.training import jax_steps

    monkeypatch.setattr(jax_steps, "in_one_call", lambda: whole)

    def step(total, number, added):
        total = total + added[number]
        return total, total * 10

    added = np.array([1.0, 2.0, 4.0], np.float32)
    total, metrics = jax_steps.compile_steps(step, 3, np.float32(1), added)(np.float32(1), added)
    assert float(total) == 8
    np.testing.assert_array_equal(metrics, [20, 40, 80])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"batch_size": 64},
            "batch_size must be a multiple of the 3 devices of all processes. "
            "Received: batch_size=64",
        ),
        ({"teachers": "ferplus"}, "--teachers is for training on one machine"),
        (
            {"precision": "mixed_float16"},
            "precision must be float32 or mixed_bfloat16 on JAX. Received: mixed_float16",
        ),
    ],
)
def test_unsupported_settings_are_refused(settings, message, monkeypatch):
    jax = pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_loop import supported_config

    monkeypatch.setattr(jax, "device_count", lambda: 3)
    with pytest.raises(ValueError, match=message):
        supported_config(TrainConfig(**{"batch_size": 96, **settings}))


@pytest.mark.parametrize(("backend", "precision"), [("gpu", "mixed_bfloat16"), ("cpu", "float32")])
def test_automatic_precision_is_the_devices(backend, precision, monkeypatch):
    jax = pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_loop import supported_config

    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert supported_config(TrainConfig()).precision == precision
    other = TrainConfig(precision="mixed_bfloat16")
    assert supported_config(other) == other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("host", 2, 0), "--distribute must be HOST:PORT of process 0. Received: host"),
        (("host:1", 2, 2), "--process must be between 0 and 1. Received: 2"),
    ],
)
def test_refuses_a_wrong_address_or_number(arguments, message):
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_loop import join

    with pytest.raises(ValueError, match=message):
        join(*arguments)


def test_refuses_another_backend():
    pytest.importorskip("jax")
    from keras_deep_emotion.training.jax_loop import join

    with pytest.raises(RuntimeError, match="KERAS_BACKEND=jax"):
        join("host:1", 2, 0)


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
        "Error: Training on several machines needs JAX: pip install 'jax>=0.6'"
    )
