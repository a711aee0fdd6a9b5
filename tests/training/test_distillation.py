"""Distillation: the targets, which teachers a run may have, and resuming without them."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.targets import FaceArrays
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.files import write_json
from keras_deep_emotion.reports.model_card import render_model_card
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.distillation import (
    distillation_targets,
    teacher_predictions,
    teacher_runs,
)
from keras_deep_emotion.training.single_machine import fit, resume, train
from keras_deep_emotion.training.starting import same_training_images


@pytest.fixture(scope="module")
def faces():
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (5, 48, 48, 1)).astype(np.float32)
    labels = np.array([0, 3, 3, 5, 6])
    return FaceArrays(images, np.eye(7, dtype=np.float32)[labels], labels)


def test_targets_are_in_part_the_teachers_mean_over_both_sides(run_dir, faces, tmp_path):
    model, labels = Run(run_dir).load_model(), Run(run_dir).labels
    other = Run.open(Run.shipped("ferplus-paper").path).load_model()
    said = [
        one.predict(images, verbose=0)
        for one in (model, other)
        for images in (faces.images, faces.images[:, :, ::-1])
    ]
    config = TrainConfig(dataset="jaffe", teachers=f"{run_dir}, ferplus-paper", teacher_share=0.3)
    found = distillation_targets(faces, labels, config, Run(tmp_path))
    np.testing.assert_allclose(
        found.targets, 0.7 * faces.targets + 0.3 * np.mean(said, axis=0), atol=1e-6
    )
    np.testing.assert_array_equal(found.labels, faces.labels)
    # Kept: a run goes on with them where its teachers have gone.
    gone = TrainConfig(dataset="jaffe", teachers="gone", teacher_share=0.3)
    np.testing.assert_array_equal(
        distillation_targets(faces, labels, gone, Run(tmp_path)).targets, found.targets
    )
    assert distillation_targets(faces, labels, TrainConfig(), Run(tmp_path)) is faces


def test_a_balance_of_the_teachers_answers_is_not_learned(run_dir, faces, tmp_path):
    plain = Run(run_dir)
    balanced = Run(shutil.copytree(run_dir, tmp_path / "balanced"))
    balanced.write_config(dataclasses.replace(plain.config, balance=1.0))
    prior = dict.fromkeys(plain.labels, 0.1) | {"happiness": 0.4}
    write_json(balanced / Run.CALIBRATION, plain.calibration | {"balance": 1.0, "prior": prior})
    answers = balanced.load_model(balance=1.0)
    answers.save(balanced / Run.MODEL)
    expected, taught = (teacher_predictions(one, faces.images) for one in (plain, balanced))
    np.testing.assert_allclose(taught, expected, atol=1e-5)
    assert np.abs(answers.predict(faces.images, verbose=0) - expected).max() > 0.01


@pytest.mark.parametrize(
    ("teacher", "student", "may"),
    [
        (("toon_faces", "paper", None), ("toon_faces", "paper", None), True),
        (("toon_faces", "subjects", 2), ("toon_faces", "subjects", 2), True),
        (("toon_faces", "subjects", 3), ("toon_faces", "subjects", 2), False),
        (("toon_faces", "paper", None), ("toon_faces", "subjects", 2), False),
        (("toon_faces", "paper", None), ("ferg", "subjects", 2), True),
        # FER-2013's splits are one for all its labels, and `deduplicated` trains on the same.
        (("fer2013/ferplus", "paper", None), ("fer2013/original", "paper", None), True),
        (("fer2013", "paper", None), ("fer2013/ferplus", "deduplicated", None), True),
        (("ck_plus", "paper", None), ("ck_plus/peak", "paper", None), True),
        (("ck_plus/last3", "paper", None), ("ck_plus/peak", "paper", None), False),
        # User folders may share images.
        (("folder/mine_1", "paper", None), ("folder/mine_1", "paper", None), True),
        (("folder/mine_1", "paper", None), ("folder/mine_2", "paper", None), False),
    ],
)
def test_teachers_must_not_know_the_students_test_images(teacher, student, may):
    teacher, student = (
        Task.parse(dataset, protocol, fold) for dataset, protocol, fold in (teacher, student)
    )
    assert same_training_images(teacher, student) == may


def test_unsuitable_teachers_are_refused(run_dir, faces, toon_faces_dir, tmp_path):
    with pytest.raises(FileNotFoundError, match="none is not a finished run"):
        fit(TrainConfig(teachers=f"{tmp_path}/none"), tmp_path / "run", toon_faces_dir)
    config = TrainConfig(protocol="subjects", fold=2, teachers=str(run_dir))
    with pytest.raises(ValueError, match="toon was trained on other images of toon_faces than"):
        teacher_runs(config, Run(run_dir).labels)
    with pytest.raises(ValueError, match=r"knows the classes anger, .*; this run needs joy\."):
        distillation_targets(faces, ["joy"], TrainConfig(teachers=str(run_dir)), Run(tmp_path))
    small = faces._replace(images=faces.images[:, :32, :32])
    with pytest.raises(ValueError, match="takes faces of 48 pixels. Received: 32"):
        distillation_targets(
            small, Run(run_dir).labels, TrainConfig(teachers=str(run_dir)), Run(tmp_path)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_distilled_run_is_resumed_without_its_teacher(
    run_dir, run_config, tiny_faces_dir, tmp_path
):
    config = dataclasses.replace(run_config, epochs=1, batch_size=4)  # sixteen steps
    config = dataclasses.replace(config, teachers=str(run_dir), teacher_share=1.0)
    fit(config, tmp_path / "run", tiny_faces_dir)
    (tmp_path / "alone").mkdir()
    train(dataclasses.replace(config, teachers=None), Run(tmp_path / "alone"), tiny_faces_dir)
    alone = pd.read_csv(tmp_path / "alone" / "history.csv")["loss"][0]
    loss = pd.read_csv(tmp_path / "run" / "history.csv")["loss"][0]
    assert abs(loss - alone) > 1e-3  # other targets: another loss
    again = tmp_path / "again"
    again.mkdir()
    for name in ("labels.txt", "versions.json", "teachers.npy"):
        (again / name).write_bytes((tmp_path / "run" / name).read_bytes())
    text = config.to_json().replace(str(run_dir), str(tmp_path / "gone"))
    (again / "config.json").write_text(text)
    resume(again, tiny_faces_dir)
    assert pd.read_csv(again / "history.csv")["loss"][0] == pytest.approx(loss, abs=1e-6)


def test_the_card_names_the_teachers():
    report = Run.shipped("ferplus").report
    sentence = "50 % of each training target is the mean prediction of 2 other runs."
    assert sentence in render_model_card(TrainConfig(teachers="a,b"), report)
    assert "training target" not in render_model_card(TrainConfig(), report)
