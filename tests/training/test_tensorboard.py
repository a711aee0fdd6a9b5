import io
import logging

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.pipeline import load_split
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.experiments.folds import resume_run
from keras_deep_emotion.models import at_operating_point
from keras_deep_emotion.models.deep_emotion import build_model
from keras_deep_emotion.reports.figures.canvas import figure_pixels
from keras_deep_emotion.reports.figures.saliency import attended_corners, attended_figure
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training import single_machine as training
from keras_deep_emotion.training.callbacks import AveragedEvaluation, BestModel
from keras_deep_emotion.training.compile import compiled_trainer
from keras_deep_emotion.training.single_machine import fit, resume
from keras_deep_emotion.training.tensorboard import (
    CURVES,
    Pictures,
    ProfileSteps,
    RunSummaries,
    drawn_epochs,
)

LABELS = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]


def events_in(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def curve(events, tag):
    """Values of a curve, whose steps must be the epochs from 1 without a gap."""
    logged = events.Tensors(tag)
    assert [event.step for event in logged] == list(range(1, len(logged) + 1))
    return [float(tf.make_ndarray(event.tensor_proto)) for event in logged]


def test_rate_and_speed_are_curves_too(run_dir):
    events = events_in(run_dir / "logs")
    # At the end of each of two epochs: the first rises to 0.005, the second falls to 0.
    assert curve(events, "training/learning rate") == pytest.approx([0.005, 0])
    speed = pd.read_csv(run_dir / "history.csv")["images_per_second"]
    assert curve(events, "training/images per second") == pytest.approx(speed)


@pytest.mark.parametrize(
    ("epochs", "drawn"),
    [
        (1, {1}),
        (2, {1, 2}),
        (10, set(range(1, 11))),
        (19, set(range(1, 20, 2))),
        (500, {1, 56, 112, 167, 223, 278, 334, 389, 445, 500}),
    ],
)
def test_ten_epochs_are_drawn_with_the_first_and_the_last(epochs, drawn):
    assert drawn_epochs(epochs) == drawn


def pictures_in(folder):
    """{(tag, epoch): (height, width, 3) uint8} of TensorBoard's pictures."""
    events = events_in(folder)
    pictures = {}
    for tag in events.PluginTagToContent("images"):
        for event in events.Tensors(tag):
            width, height, png = event.tensor_proto.string_val
            picture = np.asarray(Image.open(io.BytesIO(png)))
            assert picture.shape == (int(height), int(width), 3)
            pictures[tag, event.step] = picture
    return pictures


def test_pictures_of_the_first_and_the_last_epoch(run_dir):
    pictures = pictures_in(run_dir / "logs")
    tags = ("confusion matrix", "attended region", "attended, transformed", "saliency")
    assert set(pictures) == {(tag, epoch) for tag in tags for epoch in (1, 2)}
    for picture in pictures.values():
        # A card shows them at 350 pixels and at most as tall as wide: letters keep their size.
        assert picture.shape[1] == 700 >= picture.shape[0] and picture.std() > 20
    # Of the network as it then was.
    assert (pictures["confusion matrix", 1] != pictures["confusion matrix", 2]).any()


def test_the_last_pictures_are_of_the_model_that_is_kept(run_dir, toon_faces_dir, tmp_path):
    history = pd.read_csv(run_dir / "history.csv")
    assert history["val_accuracy"].argmax() == 1  # the last epoch's, else the test proves nothing
    model = at_operating_point(Run(run_dir).load_model())  # as it was before it was calibrated
    labels = Run(run_dir).labels
    faces = load_split(open_dataset(Task.parse("toon_faces"), toon_faces_dir), "validation", 48)
    again = Pictures(AveragedEvaluation(model), faces, labels).figures()
    logged = pictures_in(run_dir / "logs")
    for tag, figure in again.items():
        np.testing.assert_allclose(logged[tag, 2], figure_pixels(figure), atol=3)


def test_pictures_are_of_the_averaged_weights(tmp_path):
    """Weights that learn are zeros, their average is not: the answers tell which were drawn."""
    config = TrainConfig.from_recipe("paper", average=3.0, epochs=30, theta_rate=1.0)
    network = build_model(config)
    trainer = compiled_trainer(network, config, steps_per_epoch=5)
    trainer.optimizer.build(trainer.trainable_variables)
    averages = trainer.optimizer._model_variables_moving_average
    rng = np.random.default_rng(0)
    for weight, average in zip(trainer.trainable_variables, averages, strict=True):
        average.assign(rng.normal(0, 0.1, average.shape))
        weight.assign(np.zeros(weight.shape))
    images = rng.uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    faces = FaceArrays(images, np.eye(7, dtype=np.float32)[:4], np.arange(4))
    averaged = AveragedEvaluation(network)
    averaged.set_model(trainer)
    pictures = Pictures(averaged, faces, LABELS)
    seen = []
    pictures.figures = lambda: seen.append(pictures.predict(images)["theta"].numpy()) or {}
    averaged.on_test_begin()
    averaged.on_test_end()
    best = BestModel(averaged, network, tmp_path / "model.keras")
    summaries = RunSummaries(config, tmp_path, best, pictures)
    summaries.on_train_begin()
    logs = dict.fromkeys(CURVES, 0.5)
    summaries.on_epoch_end(0, logs)
    summaries.on_epoch_end(1, logs)  # none of the ten
    identity = [1, 0, 0, 0, 1, 0]
    assert len(seen) == 1 and np.abs(seen[0] - identity).max() > 0.01
    np.testing.assert_array_equal(pictures.predict(images)["theta"].numpy(), [identity] * 4)


def test_a_network_that_has_diverged_is_drawn():
    network = build_model(TrainConfig.from_recipe("paper"))
    network.set_weights([np.full(weight.shape, np.nan) for weight in network.weights])
    images = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    faces = FaceArrays(images, np.eye(7, dtype=np.float32)[:4], np.arange(4))
    figures = Pictures(AveragedEvaluation(network), faces, LABELS).figures()
    assert all(figure_pixels(figure).std() > 10 for figure in figures.values())


def test_settings_are_listed_with_their_results(run_dir):
    events = events_in(run_dir / "logs")
    found = {}
    for tag in events.PluginTagToContent("hparams"):
        content = events.PluginTagToContent("hparams")[tag]
        found[tag] = plugin_data_pb2.HParamsPluginData.FromString(content)
    started = found["_hparams_/session_start_info"].session_start_info.hparams
    # What names the run, and what differs from the recipe.
    assert dict(started.items()).keys() == {"dataset", "recipe", "epochs", "seed"}
    assert started["recipe"].string_value == "paper" and started["epochs"].number_value == 2
    # TensorBoard lists the settings and results of all runs, the results by name.
    assert "_hparams_/experiment" not in found
    assert min(events.PluginTagToContent("scalars")) == "accuracy/best validation"
    ended = found["_hparams_/session_end_info"].session_end_info
    assert ended.status == api_pb2.STATUS_SUCCESS
    history = pd.read_csv(run_dir / "history.csv")
    assert curve(events, "accuracy/best validation") == pytest.approx(
        history["val_accuracy"].cummax()
    )
    kept = history["val_loss"][history["val_accuracy"].argmax()]
    assert curve(events, "loss/best validation")[-1] == pytest.approx(kept)


def test_a_network_without_transformer_has_no_attended_region():
    config = TrainConfig.from_recipe("paper", transformer=False)
    images = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    labels = np.array([5, 0, 0, 5])
    faces = FaceArrays(images, np.eye(7, dtype=np.float32)[labels], labels)
    pictures = Pictures(AveragedEvaluation(build_model(config)), faces, LABELS)
    assert pictures.chosen == [1, 0]  # the first of each class that there is
    assert set(pictures.figures()) == {"confusion matrix", "saliency"}


def test_the_attended_region_of_known_transforms():
    theta = [
        [1, 0, 0, 0, 1, 0],  # the whole face
        [0.5, 0, 0, 0, 0.5, 0],  # its middle, twice as large
        [1, 0, 0.5, 0, 1, 0],  # to the right, by half of half the face
        [0, -1, 0, 1, 0, 0],  # a quarter turn
    ]
    corners = attended_corners(np.array(theta), (49, 25))
    np.testing.assert_allclose(corners[0], [[0, 0], [24, 0], [24, 48], [0, 48]])
    np.testing.assert_allclose(corners[1], [[6, 12], [18, 12], [18, 36], [6, 36]])
    np.testing.assert_allclose(corners[2], [[6, 0], [30, 0], [30, 48], [6, 48]])
    np.testing.assert_allclose(corners[3], [[24, 0], [24, 48], [0, 48], [0, 0]])


def test_the_box_is_drawn_where_the_region_is():
    faces = np.full((1, 48, 48, 1), 255.0)
    whole, half = (
        figure_pixels(attended_figure(faces, np.array([[s, 0, 0, 0, s, 0]]), faces, ["fear"]))
        for s in (1, 0.5)
    )
    sides = []
    for picture in (whole, half):
        orange = (picture.astype(int)[..., 0] - picture[..., 2]) > 120
        columns = np.flatnonzero(orange.any(axis=0))
        sides.append(columns[-1] - columns[0])
    assert sides[1] / sides[0] == pytest.approx(0.5, abs=0.05)


class Stop(keras.callbacks.Callback):
    """Stops a training as Ctrl-C does, in the epoch after some."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epochs:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_a_run_that_is_taken_up_goes_on_with_its_logs(
    small_settings, tiny_faces_dir, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    config = TrainConfig.from_recipe("paper", **small_settings | {"epochs": 3})
    monkeypatch.setattr(training, "EpochTable", lambda lines: Stop(2))
    with pytest.raises(KeyboardInterrupt):
        fit(config, run, tiny_faces_dir)
    assert len(curve(events_in(run / "logs"), "loss/training")) == 2
    monkeypatch.undo()
    resume(run, tiny_faces_dir)
    history = pd.read_csv(run / "history.csv")
    events = events_in(run / "logs")
    for column, tag in CURVES.items():
        assert curve(events, tag) == pytest.approx(history[column], rel=1e-6)
    assert curve(events, "accuracy/best validation") == pytest.approx(
        history["val_accuracy"].cummax()
    )
    assert {epoch for _, epoch in pictures_in(run / "logs")} == {1, 2, 3}
    assert "_hparams_/session_end_info" in events.PluginTagToContent("hparams")
    with pytest.raises(ValueError, match="--profile records training, and .* has all its epochs"):
        resume(run, tiny_faces_dir, profile=True)


def profiled(log_dir):
    """(names of all events, numbers of the marked steps) of the one profile below a folder."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (path,) = log_dir.rglob("*.xplane.pb")
    names, steps = set(), set()
    for plane in xplane_pb2.XSpace.FromString(path.read_bytes()).planes:
        for event in (event for line in plane.lines for event in line.events):
            name = plane.event_metadata[event.metadata_id].name
            names.add(name)
            if name == "train":
                steps |= {
                    stat.int64_value or stat.uint64_value
                    for stat in event.stats
                    if plane.stat_metadata[stat.metadata_id].name == "step_num"
                }
    return names, steps


def test_profile_of_the_second_epoch(tiny_faces_dir, tmp_path):
    config = TrainConfig.from_recipe("paper", epochs=2, batch_size=6)  # eleven steps an epoch
    fit(config, tmp_path / "run", tiny_faces_dir, profile=True)
    names, steps = profiled(tmp_path / "run" / "logs" / "plugins" / "profile")
    assert any("attended" in name for name in names)  # our sampler, forward or backward
    assert any("Conv2DBackpropFilter" in name for name in names)
    assert steps == set(range(10))


@pytest.mark.parametrize(
    ("epochs", "per_call", "expected"),
    [
        (3, 1, {0, 1, 2}),  # the second epoch's first three
        (1, 1, {1, 2, 3}),  # all but the one that compiles
        (2, 4, {0}),  # a call of four steps, as on a GPU
        (1, 4, {4}),  # the rest of the epoch
        (2, 8, {0}),
    ],
)
def test_profile_leaves_out_what_compiles(tmp_path, epochs, per_call, expected):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="ours")])
    model.compile("sgd", "mse", steps_per_execution=per_call)
    x, y = np.ones((12, 3), np.float32), np.ones((12, 2), np.float32)
    profile = ProfileSteps(tmp_path, steps=3)
    model.fit(
        x,
        y,
        batch_size=2,
        epochs=epochs,
        validation_data=(x, y),
        verbose=0,
        callbacks=[profile],
    )
    names, steps = profiled(tmp_path)
    assert steps == expected
    assert any("ours" in name for name in names)
    assert not any("test_function" in name for name in names)


def test_a_training_with_nothing_to_profile_says_so(tmp_path, caplog):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse", steps_per_execution=6)
    with caplog.at_level(logging.WARNING):
        model.fit(
            np.ones((12, 3)), np.ones((12, 2)), 2, verbose=0, callbacks=[ProfileSteps(tmp_path)]
        )
    assert (
        "No profile was recorded: the only call of the training function compiles it."
        in caplog.text
    )
    assert not list(tmp_path.rglob("*.xplane.pb"))


def test_folds_are_not_profiled(tmp_path):
    config = TrainConfig.from_recipe("paper", protocol="subjects")
    (tmp_path / "config.json").write_text(config.to_json())
    with pytest.raises(ValueError, match="--profile records one run, and .* holds all folds"):
        resume_run(tmp_path, profile=True)
