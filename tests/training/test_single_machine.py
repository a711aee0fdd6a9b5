import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from click.testing import CliRunner

from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.pipeline import load_split
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.targets import class_weights
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.evaluation.evaluate import evaluate_run
from keras_deep_emotion.evaluation.metrics import classification_report
from keras_deep_emotion.evaluation.predictions import read_predictions
from keras_deep_emotion.experiments.folds import finished_report, fit_folds
from keras_deep_emotion.layers.batch_normalization import recompute_statistics
from keras_deep_emotion.models import at_operating_point
from keras_deep_emotion.runs import Run, new_run
from keras_deep_emotion.training import devices
from keras_deep_emotion.training.devices import resolve_precision, steps_per_execution
from keras_deep_emotion.training.single_machine import fit, resume, train


def test_run_folder_holds_what_later_commands_take(run_dir, run_config):
    present = {entry.name for entry in run_dir.iterdir()}
    assert present == {
        "config.json",
        "labels.txt",
        "model.keras",
        "history.csv",
        "backup.npz",
        "logs",
        "predictions.csv",
        "report.json",
        "confusion_matrix.png",
        "reliability.png",
        "saliency.npz",
        "saliency.png",
        "occlusions.png",
        "calibration.json",
        "attended.png",
        "mistakes.npz",
        "mistakes.png",
        "versions.json",
        "report.html",
    }
    assert Run(run_dir).config == run_config
    used = resolve_precision("auto")  # of this machine
    assert (run_config.precision, Run(run_dir).versions["precision"]) == ("auto", used)
    assert f"Seed 1, precision {used}, Python 3." in (run_dir / "report.html").read_text()
    history = pd.read_csv(run_dir / "history.csv")
    assert set(history.columns) == {
        "epoch",
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
        "images_per_second",
        "learning_rate",
    }
    assert len(history) == 2
    assert (history["images_per_second"] > 10).all()


def test_tensorboard_reads_the_logs(run_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = pd.read_csv(run_dir / "history.csv")
    events = EventAccumulator(str(run_dir / "logs"), size_guidance={"tensors": 0})
    events.Reload()
    for part, column in (("training", "accuracy"), ("validation", "val_accuracy")):
        logged = events.Tensors(f"accuracy/{part}")
        values = [float(tf.make_ndarray(event.tensor_proto)) for event in logged]
        np.testing.assert_allclose(values, history[column], atol=1e-6)


def test_report_is_of_the_predictions_and_these_of_the_model(run_dir, toon_faces_dir):
    report = json.loads((run_dir / "report.json").read_text())
    table = read_predictions(run_dir / "predictions.csv")
    model = Run(run_dir).load_model()
    expected = classification_report(table)
    assert {key: report[key] for key in expected} == expected
    theta = keras.Model(model.input, model.get_layer("theta").output).predict(
        load_split(open_dataset(Task.parse("toon_faces"), toon_faces_dir), "test", 48).images,
        verbose=0,
    )
    np.testing.assert_allclose(report["attention"]["mean"], theta.mean(0), atol=1e-5)
    np.testing.assert_allclose(report["attention"]["spread"], theta.std(0), atol=1e-5)
    assert report["faces"] == 504
    assert table["subject"].nunique() == 6
    before = (run_dir / "predictions.csv").read_bytes()
    assert evaluate_run(run_dir, toon_faces_dir) == report
    assert (run_dir / "predictions.csv").read_bytes() == before


def test_evaluation_in_another_folder_and_with_mirror_images(run_dir, toon_faces_dir, tmp_path):
    before = (run_dir / "report.json").read_bytes()
    report = evaluate_run(run_dir, toon_faces_dir, flip=True, output=tmp_path / "other")
    assert (run_dir / "report.json").read_bytes() == before
    model = Run(run_dir).load_model()
    builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
    faces = load_split(builder, "test", 48)
    answers = [
        model.predict(images, verbose=0) for images in (faces.images, faces.images[:, :, ::-1])
    ]
    right = (np.mean(answers, axis=0).argmax(axis=1) == faces.labels).sum()
    assert report["flip_averaged"]["correct"] == right
    assert report["correct"] == (answers[0].argmax(axis=1) == faces.labels).sum()
    assert read_predictions(tmp_path / "other" / "predictions.csv").shape == (504, 10)


def test_faces_are_mixed_in_training_if_asked_for(run_dir, run_config, toon_faces_dir, tmp_path):
    """The first epoch of the same run is another; unmixed, it would be the same to the bit."""
    config = dataclasses.replace(run_config, mixup=1.0)

    class StopAfterFirst(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            assert (tmp_path / "history.csv").exists()  # the run's own callbacks come first
            self.model.stop_training = True

    train(config, Run(tmp_path), toon_faces_dir, callbacks=[StopAfterFirst()])
    assert len(pd.read_csv(tmp_path / "history.csv")) == 1
    mixed, plain = (
        pd.read_csv(folder / "history.csv")["loss"][0] for folder in (tmp_path, run_dir)
    )
    assert abs(mixed - plain) > 1e-4


def test_a_folder_in_use_is_not_written_over(run_dir, toon_faces_dir):
    before = (run_dir / "model.keras").read_bytes()
    with pytest.raises(FileExistsError, match="already holds something; name a new folder"):
        fit(TrainConfig.from_recipe("paper", epochs=1), run_dir, toon_faces_dir)
    assert (run_dir / "model.keras").read_bytes() == before


def test_a_run_that_another_process_trains_is_left_alone(
    run_dir, run_config, tmp_path, toon_faces_dir
):
    run = Run(shutil.copytree(run_dir, tmp_path / "run"))
    run.write_config(dataclasses.replace(run_config, epochs=run_config.epochs + 1))
    before = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    code = f"""
import keras_deep_emotion.runs as runs
with runs.Run({str(run.path)!r}).locked():
    print("locked", flush=True)
    input()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as other:
        assert other.stdout.readline() == "locked\n"
        link = tmp_path / "link"
        link.symlink_to(run.path)
        for path in (run.path, link):
            with pytest.raises(ValueError, match=f"Another process is training {path}. Wait until"):
                resume(path, toon_faces_dir)
        other.kill()
    after = {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    assert after == before
    with run.locked():  # the system has released the lock
        pass


@pytest.mark.slow
def test_every_fold_in_turn_never_tests_on_a_character_it_saw(reproduced, tiny_faces_dir):
    folds = reproduced[0] / "toon_faces-subjects-paper"
    result = json.loads((folds / "folds.json").read_text())
    config = TrainConfig.from_json(folds / "config.json")
    assert config.fold is None
    assert fit_folds(config, folds, tiny_faces_dir, resumed=True) == result  # nothing to do
    without = dataclasses.replace(config, start="a run that is gone", start_share=0.5)
    assert fit_folds(without, folds, tiny_faces_dir, resumed=True) == result  # nor to start from
    Run(folds).write_config(config)
    tables = [read_predictions(folds / f"fold_{fold}" / "predictions.csv") for fold in range(6)]
    assert [table["subject"].nunique() for table in tables] == [1] * 6
    assert len({table["subject"].iloc[0] for table in tables}) == 6
    accuracies = [classification_report(table)["accuracy"] for table in tables]
    assert result["accuracies"] == accuracies
    assert result["mean"] == pytest.approx(sum(accuracies) / 6)
    deviations = [(one - result["mean"]) ** 2 for one in accuracies]
    assert result["spread"] == pytest.approx((sum(deviations) / 5) ** 0.5)
    assert result["pooled"]["faces"] == 84
    # The seeds are the same and the folds are not: a fold that was trained twice would show here.
    histories = [pd.read_csv(folds / f"fold_{fold}" / "history.csv") for fold in range(6)]
    assert len({history["loss"].iloc[0] for history in histories}) == 6


def test_a_fold_without_all_its_predictions_is_evaluated_again(
    run_dir, run_config, toon_faces_dir, tmp_path, monkeypatch
):
    copy = Run(shutil.copytree(run_dir, tmp_path / "run"))
    header, *rows = (copy / Run.PREDICTIONS).read_text().splitlines(keepends=True)
    assert len(rows) == 504
    evaluated = []
    monkeypatch.setattr(
        "keras_deep_emotion.experiments.folds.single_machine.resume",
        lambda path, data_dir: evaluated.append(path) or evaluate_run(path, data_dir),
    )
    report = finished_report(run_config, copy, toon_faces_dir)
    assert report["faces"] == 504 and evaluated == []
    for damaged in (header, header + "".join(rows[:-1]), "", None):
        (copy / Run.PREDICTIONS).unlink()
        if damaged is not None:
            (copy / Run.PREDICTIONS).write_text(damaged)
        assert finished_report(run_config, copy, toon_faces_dir) == report
        assert (copy / Run.PREDICTIONS).read_text() == header + "".join(rows)
    assert len(evaluated) == 4


def test_a_folder_of_all_folds_is_no_run_of_its_own(tmp_path):
    (tmp_path / "config.json").touch()
    (tmp_path / "fold_0").mkdir()
    with pytest.raises(FileNotFoundError, match="a run for each fold: name one .*/fold_0"):
        Run.open(tmp_path)


def test_all_folds_go_with_subjects_only(tmp_path):
    with pytest.raises(ValueError, match="--fold all requires --protocol subjects"):
        fit_folds(TrainConfig.from_recipe("paper"), tmp_path)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((6, 1), "float32"), ((7, 5), "mixed_float16"), ((9, 0), "mixed_bfloat16")],
)
def test_auto_precision_is_the_fastest_of_a_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": capability},
    )
    assert resolve_precision("auto") == expected
    assert resolve_precision("float32") == "float32"


@pytest.mark.parametrize(
    ("flags", "variables", "expected"),
    [
        ("fpu sse2 avx512f avx512_bf16", {}, "mixed_bfloat16"),
        ("fpu amx_bf16 amx_tile", {}, "mixed_bfloat16"),
        ("fpu amx_bf16", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "float32"),
        ("fpu avx512f avx512_bf16x amx_tile", {}, "float32"),
        (None, {}, "float32"),  # not Linux
    ],
)
def test_auto_precision_is_the_fastest_of_a_cpu(monkeypatch, tmp_path, flags, variables, expected):
    file = tmp_path / "cpuinfo"
    if flags is not None:
        cores = [f"processor\t: {i}\nmodel name\t: A: B\nflags\t\t: {flags}\n" for i in range(2)]
        file.write_text("\n".join(cores))
    monkeypatch.setattr(devices, "CPU_INFO", file)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert resolve_precision("auto") == expected
    assert (", A: B, " in devices.describe_machine()) is (flags is not None)
    assert resolve_precision("float32") == "float32"


def test_names_of_new_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = TrainConfig.from_recipe("paper", dataset="fer2013", protocol="deduplicated")
    assert new_run(config).path.match("runs/fer2013-ferplus-paper-deduplicated-2*-*")
    config = TrainConfig.from_recipe("paper", protocol="subjects", fold=3)
    # Started within one second: each has its own.
    monkeypatch.setattr("time.strftime", lambda form: "20000102-030405")
    names = [new_run(config, "other").path.name for _ in range(3)]
    stem = "toon_faces-paper-subjects-fold3-20000102-030405"
    assert names == [stem, f"{stem}-2", f"{stem}-3"]


def test_a_fit_that_cannot_begin_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["fit", "--dataset", "jaffe", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1 and "is not built" in result.output
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_run_that_was_evaluated_before_its_end_is_not_finished(run_dir, tiny_faces_dir, tmp_path):
    assert Run(run_dir).is_finished
    copy = shutil.copytree(run_dir, tmp_path / "run")
    config = TrainConfig.from_json(run_dir / "config.json")
    longer = dataclasses.replace(config, epochs=config.epochs + 1)
    (copy / "config.json").write_text(longer.to_json())
    # Evaluated and explained when it was stopped, and killed before it wrote its history.
    (copy / "faithfulness.json").write_text("{}")
    history = pd.read_csv(copy / "history.csv")
    history.iloc[:-1].to_csv(copy / "history.csv", index=False)
    assert not Run(copy).is_finished
    resume(copy, tiny_faces_dir)  # of other faces: quick
    assert Run(copy).is_finished
    assert not (copy / "faithfulness.json").exists()  # of the model that is no more
    pd.testing.assert_frame_equal(pd.read_csv(copy / "history.csv").iloc[:-1], history)


def same_run(one, two, atol=1e-6):
    """Assert that two run folders hold the same history and the same weights."""
    histories = [
        pd.read_csv(folder / "history.csv").drop(columns="images_per_second")
        for folder in (one, two)
    ]
    pd.testing.assert_frame_equal(*histories, check_exact=not atol)
    weights = [Run.open(folder).load_model().get_weights() for folder in (one, two)]
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-7 if atol else 0, atol=atol)


def wait_for(condition, process, seconds=120):
    """Wait until a condition holds while a process runs."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_it_had_never_stopped(tiny_faces_dir, tmp_path):
    # All that has a state: two random augmentations, dropout, schedule, decay, averaged weights.
    # In float32, in which the kept model computes too.
    config = TrainConfig.from_recipe(
        "best", width=4, epochs=3, seed=5, average=3.0, warmup=1.0, precision="float32"
    )
    whole = fit(config, tmp_path / "whole", tiny_faces_dir)
    # What was validated is what is kept: the averaged weights, not those that learn.
    faces = load_split(open_dataset(Task.parse("toon_faces"), tiny_faces_dir), "validation", 48)
    model = at_operating_point(Run.open(tmp_path / "whole").load_model())  # not calibrated yet
    answers = model.predict(faces.images, verbose=0)
    history = pd.read_csv(tmp_path / "whole" / "history.csv")
    best = history.sort_values(["val_accuracy", "val_loss"], ascending=[False, True]).iloc[0]
    # And its statistics are of the training faces as they are.
    model = Run(tmp_path / "whole").load_model()
    before = [weight.copy() for weight in model.get_weights()]
    train = load_split(open_dataset(Task.parse("toon_faces"), tiny_faces_dir), "train", 48)
    recompute_statistics(model, train.images)
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(weight, kept, rtol=1e-3, atol=1e-5)
    loss = -np.log(answers[range(len(answers)), faces.labels]).mean()
    assert loss == pytest.approx(best["val_loss"], rel=1e-4)
    assert (answers.argmax(axis=1) == faces.labels).mean() == pytest.approx(best["val_accuracy"])
    options = ["--width", "4", "--epochs", "3", "--seed", "5", "--average", "3", "--warmup", "1"]
    options += ["--precision", "float32"]
    run = tmp_path / "killed"
    command = [sys.executable, "cli.py", "fit", "--run-dir", run, "--data-dir", tiny_faces_dir]
    root = Path(__file__).parents[2]
    pipes = {"cwd": root, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, *options], **pipes) as process:
        wait_for((run / "history.csv").exists, process)
        process.kill()
    assert len(pd.read_csv(run / "history.csv")) < 3
    assert not (run / "report.json").exists()
    # Told to stop in the second epoch, it says how to go on.
    command = [sys.executable, "cli.py", "fit", "--resume", run, "--data-dir", tiny_faces_dir]
    before = os.stat(run / "backup.npz").st_mtime_ns
    with subprocess.Popen(command, **pipes) as process:
        wait_for(lambda: os.stat(run / "backup.npz").st_mtime_ns != before, process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    if process.returncode:  # else it was done before the signal came
        assert f"To go on: {sys.executable} cli.py fit --resume {run}" in errors
    report = resume(run, tiny_faces_dir)
    same_run(tmp_path / "whole", run)
    assert report == whole
    # Taken up once more when it is done, it stays as it is.
    assert resume(run, tiny_faces_dir) == whole


def test_killed_before_the_first_epoch_it_goes_on(run_dir, run_config, toon_faces_dir, tmp_path):
    (tmp_path / "config.json").write_text(run_config.to_json())  # the first file of a run
    resume(tmp_path, toon_faces_dir)
    same_run(run_dir, tmp_path, atol=0)  # two runs of one seed are alike to the bit
    for name in ("labels.txt", "versions.json"):
        assert (tmp_path / name).read_bytes() == (run_dir / name).read_bytes()


def test_resume_refuses_what_is_no_run_or_damaged(run_dir, toon_faces_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run: it has no config.json"):
        resume(tmp_path, toon_faces_dir)
    config = TrainConfig.from_recipe("paper", epochs=3, seed=1)
    (tmp_path / "config.json").write_text(config.to_json())
    whole = (run_dir / "backup.npz").read_bytes()
    (tmp_path / "backup.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="backup.npz is damaged"):
        resume(tmp_path, toon_faces_dir)
    config = TrainConfig.from_recipe("paper", epochs=3, seed=1, width=4)
    (tmp_path / "config.json").write_text(config.to_json())
    (tmp_path / "backup.npz").write_bytes(whole)
    with pytest.raises(ValueError, match="belongs to another network: was config.json changed"):
        resume(tmp_path, toon_faces_dir)


def test_resume_refuses_a_trained_run_without_a_backup(run_dir, toon_faces_dir, tmp_path):
    shutil.copytree(run_dir, tmp_path / "run")
    (tmp_path / "run" / "backup.npz").unlink()
    before = (tmp_path / "run" / "model.keras").read_bytes()
    with pytest.raises(ValueError, match="history.csv but no backup.npz.*deep-emotion evaluate"):
        resume(tmp_path / "run", toon_faces_dir)
    assert (tmp_path / "run" / "model.keras").read_bytes() == before


@pytest.mark.parametrize(("steps", "count"), [(225, 15), (224, 16), (34, 2), (17, 1), (3, 3)])
def test_steps_per_execution_divide_the_epoch(steps, count):
    assert steps_per_execution(steps) == count


def test_class_balance_weighs_by_the_classes_share():
    labels = np.array([0, 0, 0, 0, 1])
    assert class_weights(labels, 0.0) is None
    np.testing.assert_allclose(class_weights(labels, 1.0), [0.625] * 4 + [2.5])
    half = class_weights(labels, 0.5)
    assert half[4] / half[0] == pytest.approx(2.0)
    assert half.mean() == pytest.approx(1.0)


def test_the_kept_model_computes_in_float32_whatever_trained_it(tiny_faces_dir, tmp_path):
    config = TrainConfig.from_recipe(
        "best", width=4, epochs=1, image_size=32, precision="mixed_bfloat16", class_balance=0.5
    )
    fit(config, tmp_path / "run", tiny_faces_dir)
    assert keras.config.dtype_policy().name == "float32"  # the caller's, as before
    model = Run.open(tmp_path / "run").load_model()
    assert {layer.compute_dtype for layer in model.layers if layer.weights} == {"float32"}
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "history.csv")["loss"]).all()
