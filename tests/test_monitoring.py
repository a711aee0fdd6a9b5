import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data import Faces
from keras_deep_emotion.model import build_model
from keras_deep_emotion.monitoring import Pictures
from keras_deep_emotion.report import attended_corners, attended_figure, figure_pixels
from keras_deep_emotion.training import fit

LABELS = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]


def events_in(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def test_rate_and_speed_are_curves_too(run_dir):
    events = events_in(run_dir / "logs" / "train")
    rates = [float(tf.make_ndarray(e.tensor_proto)) for e in events.Tensors("epoch_learning_rate")]
    assert rates == pytest.approx([0.005, 0.005])
    assert len(events.Tensors("epoch_images_per_second")) == 2


def test_pictures_of_the_last_epoch(run_dir):
    events = events_in(run_dir / "logs" / "pictures")
    assert set(events.Tags()["tensors"]) == {"confusion matrix", "attended region", "saliency"}
    for tag in events.Tags()["tensors"]:
        (event,) = events.Tensors(tag)
        assert event.step == 1
        width, height, png = event.tensor_proto.string_val
        picture = np.asarray(Image.open(io.BytesIO(png)))
        assert picture.shape == (int(height), int(width), 3)
        assert min(picture.shape[:2]) > 300 and picture.std() > 20


def test_settings_are_listed_with_their_results(run_dir):
    events = events_in(run_dir / "logs")
    found = {}
    for tag in events.PluginTagToContent("hparams"):
        content = events.PluginTagToContent("hparams")[tag]
        found[tag] = plugin_data_pb2.HParamsPluginData.FromString(content)
    started = found["_hparams_/session_start_info"].session_start_info.hparams
    config = json.loads((run_dir / "config.json").read_text())
    assert started["learning_rate"].number_value == config["learning_rate"]
    assert started["recipe"].string_value == "paper"
    assert started["flip"].bool_value is True and "fold" not in started
    metrics = found["_hparams_/experiment"].experiment.metric_infos
    named = {(metric.name.group, metric.name.tag) for metric in metrics}
    # Those of the curves that are there.
    assert ("validation", "epoch_accuracy") in named
    assert "epoch_accuracy" in events_in(run_dir / "logs" / "validation").Tags()["tensors"]
    assert found["_hparams_/session_end_info"].session_end_info.status == 1  # success


def test_a_network_without_transformer_has_no_attended_region(tmp_path):
    config = TrainConfig.from_recipe("paper", transformer=False)
    images = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    labels = np.array([5, 0, 0, 5])
    faces = Faces(images, np.eye(7, dtype=np.float32)[labels], labels)
    pictures = Pictures(1, tmp_path, build_model(config), faces, LABELS)
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


def test_profile_of_the_second_epoch(toon_faces_dir, tmp_path):
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    config = TrainConfig.from_recipe("paper", epochs=2, batch_size=256)
    fit(config, tmp_path / "run", toon_faces_dir, profile=True)
    (path,) = (tmp_path / "run" / "logs").rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    names = {
        plane.event_metadata[event.metadata_id].name
        for plane in space.planes
        for line in plane.lines
        for event in line.events
    }
    assert any("attended" in name for name in names)  # our sampler, forward or backward
    assert any("Conv2DBackpropFilter" in name for name in names)
