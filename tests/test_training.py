import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from keras_deep_emotion.building import build
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.evaluation import evaluate, read_predictions
from keras_deep_emotion.model import build_model
from keras_deep_emotion.runs import judge, new_run_dir, open_run
from keras_deep_emotion.training import (
    BestModel,
    compiled_trainer,
    fit,
    fit_folds,
    resolve_precision,
)


def test_run_folder_holds_what_later_commands_take(run_dir):
    present = {entry.name for entry in run_dir.iterdir()}
    assert present == {
        "config.json",
        "labels.txt",
        "model.keras",
        "history.csv",
        "logs",
        "predictions.csv",
        "report.json",
        "confusion_matrix.png",
    }
    assert TrainConfig.from_json(run_dir / "config.json") == TrainConfig.from_recipe(
        "paper", epochs=2, seed=1
    )
    history = pd.read_csv(run_dir / "history.csv")
    assert {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "images_per_second"} == set(
        history.columns
    )
    assert len(history) == 2
    assert (history["images_per_second"] > 10).all()


def test_tensorboard_reads_the_logs(run_dir):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = pd.read_csv(run_dir / "history.csv")
    for part, column in (("train", "accuracy"), ("validation", "val_accuracy")):
        events = EventAccumulator(str(run_dir / "logs" / part), size_guidance={"tensors": 0})
        events.Reload()
        logged = [
            float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("epoch_accuracy")
        ]
        np.testing.assert_allclose(logged, history[column], atol=1e-6)


def test_report_is_of_the_predictions_and_these_of_the_model(run_dir, toon_faces_dir):
    report = json.loads((run_dir / "report.json").read_text())
    table = read_predictions(run_dir / "predictions.csv")
    assert evaluate(table).items() <= report.items()
    assert report["faces"] == 504
    assert table["subject"].nunique() == 6
    before = (run_dir / "predictions.csv").read_bytes()
    assert judge(run_dir, toon_faces_dir) == report
    assert (run_dir / "predictions.csv").read_bytes() == before


def test_best_epoch_is_kept_by_validation_accuracy_then_loss(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    best = BestModel(model, tmp_path / "model.keras")
    epochs = [(0.5, 1.0), (0.7, 2.0), (0.6, 0.1), (0.7, 1.5), (0.7, 1.9)]
    for epoch, (accuracy, loss) in enumerate(epochs):
        model.layers[0].set_weights([np.full((1, 1), epoch), np.zeros(1)])
        best.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_loss": loss})
    kept = keras.saving.load_model(tmp_path / "model.keras")
    assert kept.layers[0].get_weights()[0] == 3
    assert best.epoch == 4
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


def test_two_runs_of_one_seed_are_alike(run_dir, toon_faces_dir, tmp_path):
    fit(TrainConfig.from_recipe("paper", epochs=2, seed=1), tmp_path / "again", toon_faces_dir)
    one, two = (
        pd.read_csv(folder / "history.csv").drop(columns="images_per_second")
        for folder in (run_dir, tmp_path / "again")
    )
    pd.testing.assert_frame_equal(one, two)
    for ours, theirs in zip(
        open_run(run_dir)[1].get_weights(),
        open_run(tmp_path / "again")[1].get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_folder_in_use_is_not_written_over(run_dir, toon_faces_dir):
    before = (run_dir / "model.keras").read_bytes()
    with pytest.raises(FileExistsError, match="already holds something; name a new folder"):
        fit(TrainConfig.from_recipe("paper", epochs=1), run_dir, toon_faces_dir)
    assert (run_dir / "model.keras").read_bytes() == before


def test_loss_is_cross_entropy_plus_the_penalty():
    config = TrainConfig.from_recipe("paper", regularization=0.01, dropout=0.0)
    model = build_model(config)
    trainer = compiled_trainer(model, config)
    faces = np.random.default_rng(0).uniform(0, 255, (6, 48, 48, 1)).astype(np.float32)
    labels = np.array([0, 1, 2, 3, 4, 5])
    loss, _ = trainer.evaluate(faces, labels, verbose=0)
    chosen = model.predict(faces, verbose=0)[range(6), labels]
    dense = [layer for layer in model.layers if getattr(layer, "units", 0) in (50, 7)]
    norm = sum((layer.get_weights()[0] ** 2).sum() for layer in dense)
    assert loss == pytest.approx(-np.log(chosen).mean() + 0.01 * norm, rel=1e-4)


@pytest.mark.slow
def test_every_fold_in_turn_never_tests_on_a_character_it_saw(toon_faces_dir, tmp_path):
    list(build("toon_faces/subjects", data_dir=toon_faces_dir))
    config = TrainConfig.from_recipe("paper", protocol="subjects", epochs=1)
    result = fit_folds(config, tmp_path / "folds", toon_faces_dir)
    assert json.loads((tmp_path / "folds" / "folds.json").read_text()) == result
    tables = [
        read_predictions(tmp_path / "folds" / f"fold_{fold}" / "predictions.csv")
        for fold in range(6)
    ]
    assert [table["subject"].nunique() for table in tables] == [1] * 6
    assert len({table["subject"].iloc[0] for table in tables}) == 6
    accuracies = [evaluate(table)["accuracy"] for table in tables]
    assert result["accuracies"] == accuracies
    assert result["mean"] == pytest.approx(sum(accuracies) / 6)
    deviations = [(one - result["mean"]) ** 2 for one in accuracies]
    assert result["spread"] == pytest.approx((sum(deviations) / 5) ** 0.5)
    assert result["pooled"]["faces"] == 2520
    # The seeds are the same and the folds are not: a fold that was trained twice would show here.
    assert len(set(accuracies)) > 1


def test_all_folds_go_with_subjects_only(tmp_path):
    with pytest.raises(ValueError, match="--fold all goes with --protocol subjects"):
        fit_folds(TrainConfig.from_recipe("paper"), tmp_path)


def test_a_trainer_shares_the_models_weights():
    config = TrainConfig.from_recipe("paper")
    model = build_model(config)
    trainer = compiled_trainer(model, config)
    before = [weight.copy() for weight in model.get_weights()]
    faces = np.random.default_rng(0).uniform(0, 255, (8, 48, 48, 1)).astype(np.float32)
    trainer.fit(faces, np.arange(8) % 7, verbose=0)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("capability", "expected"),
    [(None, "float32"), ((6, 1), "float32"), ((7, 5), "mixed_float16"), ((9, 0), "mixed_bfloat16")],
)
def test_auto_precision_is_the_fastest_of_the_device(monkeypatch, capability, expected):
    gpus = [] if capability is None else ["gpu"]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(
        tf.config.experimental,
        "get_device_details",
        lambda gpu: {"compute_capability": capability},
    )
    assert resolve_precision("auto") == expected
    assert resolve_precision("float32") == "float32"


def test_mixed_precision_trains(toon_faces_dir, tmp_path):
    config = TrainConfig.from_recipe(
        "paper", epochs=1, precision="mixed_bfloat16", protocol="paper", batch_size=256
    )
    try:
        report = fit(config, tmp_path / "run", toon_faces_dir)
    finally:
        keras.config.set_dtype_policy("float32")
    assert report["faces"] == 504
    assert np.isfinite(pd.read_csv(tmp_path / "run" / "history.csv")["loss"]).all()


def test_names_of_new_runs():
    config = TrainConfig.from_recipe("paper", dataset="fer2013", protocol="deduplicated")
    assert new_run_dir(config).match("runs/fer2013-ferplus-deduplicated-2*-*")
    config = TrainConfig.from_recipe("paper", protocol="subjects", fold=3)
    assert new_run_dir(config, "other").match("other/toon_faces-subjects-fold3-2*")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more. Received: 0"),
        ({"dropout": 1.0}, "dropout must be 0 or more and below 1"),
        ({"precision": "half"}, "precision must be one of auto, float32"),
        ({"seed": -1}, "seed must be between 0"),
        ({"recipe": "worst"}, "recipe must be one of"),
    ],
)
def test_settings_out_of_range_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**setting)


def test_settings_come_back_from_json_and_others_are_refused(tmp_path):
    config = TrainConfig.from_recipe(
        "paper", dataset="jaffe", fold=2, protocol="subjects", learning_rate=0.1
    )
    (tmp_path / "config.json").write_text(config.to_json())
    assert TrainConfig.from_json(tmp_path / "config.json") == config
    for text in ('{"colour": 1}', "not JSON", "[1]"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match="does not hold the settings of a run"):
            TrainConfig.from_json(tmp_path / "config.json")
