"""Training with `--camera` and `--start-share`: what is validated, and what is kept."""

import shutil

import keras
import numpy as np
import pytest

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training import single_machine
from keras_deep_emotion.training.compile import statistics_images, with_camera


@pytest.fixture
def faces():
    images = np.random.default_rng(0).uniform(0, 255, (20, 48, 48, 1)).astype(np.float32)
    labels = np.arange(20) % 7
    return FaceArrays(images, np.eye(7, dtype=np.float32)[labels], labels)


def test_each_face_is_followed_by_what_a_camera_makes_of_it(faces):
    config = TrainConfig(camera=1.0)
    both = with_camera(faces, config)
    np.testing.assert_array_equal(both.images[::2], faces.images)
    np.testing.assert_array_equal(both.labels, np.repeat(faces.labels, 2))
    np.testing.assert_array_equal(both.targets[1::2], faces.targets)
    changed = np.abs(both.images[1::2] - faces.images).max((1, 2, 3)) > 1
    assert 0.5 < changed.mean() <= 1
    np.testing.assert_array_equal(with_camera(faces, config).images, both.images)


def test_statistics_are_of_clean_faces_without_a_camera(faces):
    assert statistics_images(faces, TrainConfig()) is faces.images
    assert len(statistics_images(faces, TrainConfig(camera=0.5))) == 40


def test_a_share_of_the_start_is_kept(run_dir, tiny_faces_dir, tmp_path):
    start = Run(run_dir).load_model().get_weights()
    settings = {"start": str(run_dir), "epochs": 1, "learning_rate": 0.01, "camera": 1.0}
    kept = {}
    for share in (0.0, 0.75):
        run = Run(tmp_path / str(share))
        changed = TrainConfig.from_recipe(
            "paper", dataset="toon_faces", start_share=share, **settings
        )
        run.write_config(changed)
        single_machine.train(changed, run, tiny_faces_dir)
        run.write_labels(Run(run_dir).labels)
        kept[share] = run.load_model().get_weights()
    moved = False
    for before, alone, mixed in zip(start, kept[0.0], kept[0.75], strict=True):
        np.testing.assert_allclose(mixed, 0.75 * before + 0.25 * alone, atol=1e-5)
        moved = moved or np.abs(alone - before).max() > 1e-3
    assert moved


class StopAfterFirst(keras.callbacks.Callback):
    """Interrupts training when the second epoch begins."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def test_a_share_of_the_start_is_kept_after_an_interruption_too(run_dir, tiny_faces_dir, tmp_path):
    start = shutil.copytree(run_dir, tmp_path / "start")
    config = TrainConfig.from_recipe(
        "paper", dataset="toon_faces", start=str(start), start_share=0.5, epochs=2, camera=0.5
    )
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    for run in (whole, stopped):
        run.write_config(config)
    single_machine.train(config, whole, tiny_faces_dir)
    with pytest.raises(KeyboardInterrupt):
        single_machine.train(config, stopped, tiny_faces_dir, callbacks=[StopAfterFirst()])
    assert len(stopped.history) == 1
    shutil.rmtree(start)  # the run keeps what it needs of it
    single_machine.train(config, stopped, tiny_faces_dir)
    columns = ["loss", "val_loss", "val_accuracy"]
    np.testing.assert_allclose(whole.history[columns], stopped.history[columns], rtol=1e-5)
