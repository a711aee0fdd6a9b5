"""benchmarks/train_gpu.py: training without TensorFlow, and the same accuracy with it."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_deep_emotion.data.task import Task
from keras_deep_emotion.layers.batch_normalization import recompute_statistics

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


def run(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{BENCHMARKS}",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiles faster
        },
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def parts(benchmark_program, tiny_faces_dir, tmp_path_factory):
    """Two files that hold a few faces of toon_faces, and those faces."""
    pytest.importorskip("jax")
    packing = benchmark_program("pack_faces")
    arrays = packing.pack(Task.parse("toon_faces"), 48, tiny_faces_dir)
    return packing.write(arrays, tmp_path_factory.mktemp("packed") / "faces.npz", 2), arrays


def test_a_pack_in_two_parts_is_the_pack(parts, tmp_path):
    paths, arrays = parts
    assert [path.name for path in paths] == ["faces-1.npz", "faces-2.npz"]
    code = "import sys, numpy, train_gpu; numpy.savez(sys.argv[1], **train_gpu.read_parts("
    done = run(code + "sys.argv[:1:-1]))", tmp_path / "read.npz", *paths)
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(tmp_path / "read.npz") as read:
        for name, value in arrays.items():
            np.testing.assert_array_equal(read[name], value, err_msg=name)
    assert "Name every part once" in run(code + "sys.argv[2:]))", "unused", paths[1]).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whole", "variant"),
    [
        (True, "paper epochs=4 batch_size=48 mixup=0.2 alignment=0.5"),
        (False, "best epochs=4 width=2 batch_size=16 learning_rate=0.05"),
    ],
    ids=["an epoch in one call, as on a GPU", "step by step, as on a CPU"],
)
def test_trains_without_tensorflow(parts, tmp_path, whole, variant):
    (paths, arrays), folder = parts, variant.replace(" ", "-")
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'tensorflow_datasets', 'pandas'): sys.modules[name] = None\n"
        "import train_gpu\n"
        f"train_gpu.jax_steps.in_one_call = lambda: {whole}\n"
        "train_gpu.main()"
    )
    done = run(code, *paths, "--out", tmp_path, "--variant", variant)
    assert done.returncode == 0, done.stderr[-2000:]
    with open(tmp_path / folder / "history.csv") as file:
        history = list(csv.DictReader(file))
    result = json.loads((tmp_path / folder / "result.json").read_text())
    assert len(history) == result["epochs"]
    assert float(history[-1]["loss"]) < float(history[0]["loss"])
    assert result["validation_accuracy"] == max(float(row["val_accuracy"]) for row in history)

    model = keras.saving.load_model(tmp_path / folder / "model.keras")
    before = [weight.copy() for weight in model.get_weights()]
    recompute_statistics(model, arrays["train_images"])  # it was validated with these statistics
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(weight, kept, rtol=1e-3, atol=1e-4)
    for role in ("validation", "test"):
        images = arrays[f"{role}_images"].astype(np.float32)
        answers = model.predict(images, verbose=0)
        found = {f"{role}_accuracy": answers}
        if role == "test":
            found["flip_averaged_test_accuracy"] = answers + model.predict(
                images[:, :, ::-1], verbose=0
            )
        for key, scores in found.items():
            accuracy = np.mean(scores.argmax(1) == arrays[f"{role}_labels"])
            # A face on the very border of two emotions may fall either way.
            assert abs(accuracy - result[key]) < 1.5 / len(images), key
            assert f"{role.split('_')[0]} {100 * result[key]:.2f} %" in done.stdout
    assert (tmp_path / folder / "labels.txt").read_text().split() == arrays["classes"].tolist()


def test_refuses_a_wrong_variant():
    pytest.importorskip("jax")
    messages = {
        "paperr": "a variant begins with one of best, paper, finetune. Received: 'paperr'",
        "best epoch=2": "'epoch' is not a setting of a variant. Received: 'best epoch=2'",
        "best dataset=ferg": "'dataset' is not a setting of a variant. "
        "Received: 'best dataset=ferg'",
        "best flip=no": "flip must be true or false. Received: 'best flip=no'",
        "best epochs=0": "epochs must be 1 or more. Received: 0",
        "best precision=mixed_float16": "precision must be float32 or mixed_bfloat16 on JAX. "
        "Received: mixed_float16",
    }
    code = (
        "import sys, train_gpu\n"
        "for variant in sys.argv[1:]:\n"
        "    try: train_gpu.parse_variant(variant)\n"
        "    except ValueError as error: print(error)\n"
    )
    assert run(code, *messages).stdout.splitlines() == list(messages.values())
