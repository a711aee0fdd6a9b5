"""toon_faces: the drawings, their boxes, the splits and the built data set."""

import collections
import random

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import ImageChops
from tensorflow_datasets.core import dataset_metadata

from tfds_builders.contract import EMOTIONS
from tfds_builders.toon_faces import features, mouth
from tfds_builders.toon_faces.canvas import Canvas
from tfds_builders.toon_faces.characters import CHARACTERS
from tfds_builders.toon_faces.drawing import draw, picture_name
from tfds_builders.toon_faces.expressions import ACTION_UNITS, UNIT_EFFECTS, Expression, express
from tfds_builders.toon_faces.shapes import Pose
from tfds_builders.toon_faces.toon_faces_dataset_builder import PICTURES, Builder, assign

PARTS = ("mouth", "eyes", "brows")
REST = Expression()


@pytest.fixture(scope="module")
def faces():
    """Three takes of everybody in every emotion."""
    return {
        (character, emotion, take): draw(character, emotion, take)
        for character in CHARACTERS
        for emotion in EMOTIONS
        for take in range(3)
    }


def same(first, second):
    return first[1:] == second[1:] and np.array_equal(first.image, second.image)


def test_a_face_depends_only_on_its_name():
    first = draw("kofi", "fear", 3)
    state = random.getstate()
    draw("nell", "anger", 0)
    assert same(first, draw("kofi", "fear", 3))
    assert not same(first, draw("kofi", "fear", 4))
    assert random.getstate() == state


def test_known_face():
    # A change of these numbers is a new version of the data set.
    face = draw("mira", "happiness", 7)
    assert face.image.mode == "RGB" and face.image.size == (256, 256)
    assert face.face == pytest.approx((60.25, 63.18, 218.44, 205.92), abs=0.01)
    assert np.asarray(face.image).mean(axis=(0, 1)) == pytest.approx((118.6, 104.9, 82.8), abs=0.2)


def test_names():
    assert picture_name("mira", "happiness", 7) == "mira_happiness_07"
    assert len(PICTURES) == 6 * 7 * 60
    assert PICTURES["mira_happiness_07"] == ("mira", "happiness", 7)


@pytest.mark.parametrize("wrong", [("nobody", "fear"), ("mira", "contempt")])
def test_unknown_character_or_emotion(wrong):
    with pytest.raises(KeyError, match="nobody|contempt"):
        draw(*wrong, 0)


def test_boxes_lie_inside_the_face_and_the_face_inside_the_picture(faces):
    for key, face in faces.items():
        top, left, bottom, right = face.face
        assert 0 <= top < bottom <= 256 and 0 <= left < right <= 256, key
        for part in PARTS:
            box = getattr(face, part)
            assert top <= box[0] < box[2] <= bottom and left <= box[1] < box[3] <= right, key
        assert face.brows[0] < face.eyes[0] < face.mouth[0], key
        assert face.brows[2] < face.eyes[2] < face.mouth[2], key


@pytest.mark.parametrize(
    ("module", "paint", "part", "emotions"),
    [
        (mouth, "paint_mouth", "mouth", ["happiness", "fear", "neutral", "surprise"]),
        (features, "paint_eye", "eyes", ["fear", "neutral", "surprise"]),
        (features, "paint_brow", "brows", ["happiness", "neutral", "surprise"]),
    ],
)
def test_a_box_is_where_the_part_is_painted(monkeypatch, module, paint, part, emotions):
    """Leave the part out: the picture changes in the box, up to its edges, and nowhere else."""
    whole = {(who, what): draw(who, what, 11) for who in CHARACTERS for what in emotions}
    original = getattr(module, paint)
    monkeypatch.setattr(module, paint, lambda canvas, *others: original(Canvas((0, 0, 0)), *others))
    for (who, what), face in whole.items():
        without = draw(who, what, 11).image
        change = np.asarray(ImageChops.difference(face.image, without)).max(axis=2) > 20
        rows, columns = np.nonzero(change.any(axis=1))[0], np.nonzero(change.any(axis=0))[0]
        changed = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
        assert changed == pytest.approx(getattr(face, part), abs=3), (who, what)


def test_every_action_unit_moves_something():
    used = {unit for variants in ACTION_UNITS.values() for units in variants for unit in units}
    assert used == set(UNIT_EFFECTS)
    assert tuple(ACTION_UNITS) == EMOTIONS


def expressions(emotion, intensity):
    return [express(emotion, random.Random(take), intensity) for take in range(20)]


@pytest.mark.parametrize("emotion", [emotion for emotion in EMOTIONS if emotion != "neutral"])
def test_an_emotion_moves_mouth_and_brows_or_eyes(emotion):
    assert express(emotion, random.Random(0), 0.0) == REST
    for expression in expressions(emotion, 0.65):
        moved = np.abs(np.array(mouth.mouth_edges(expression)) - mouth.mouth_edges(REST))
        assert moved.max() > 3  # pixels
        brows = abs(expression.brow_inner) + abs(expression.brow_outer)
        lids = abs(expression.lower_lid - REST.lower_lid)
        assert brows > 5 or lids > 0.15  # happiness leaves the brows alone


def corners_above_middle(expression):
    upper, lower = mouth.mouth_edges(expression)
    corner = (upper[0, 1] + upper[-1, 1]) / 2
    return (upper[16, 1] + lower[16, 1]) / 2 - corner  # y points down


def test_lip_corners_rise_in_happiness_and_fall_in_sadness():
    assert corners_above_middle(REST) == 0
    for intensity in (0.65, 1.0):
        assert min(map(corners_above_middle, expressions("happiness", intensity))) > 8
        assert max(map(corners_above_middle, expressions("sadness", intensity))) < -7


def test_expressions_as_measured_on_the_pictures(faces):
    """Means over all characters, as shares of the height or width of the face."""
    sizes = collections.defaultdict(lambda: collections.defaultdict(list))
    for (_, emotion, _), face in faces.items():
        height, width = face.face[2] - face.face[0], face.face[3] - face.face[1]
        size = sizes[emotion]
        size["mouth height"].append((face.mouth[2] - face.mouth[0]) / height)
        size["mouth width"].append((face.mouth[3] - face.mouth[1]) / width)
        size["brow lift"].append((face.eyes[2] - face.brows[0]) / height)
    mean = {
        emotion: {what: np.mean(values) for what, values in size.items()}
        for emotion, size in sizes.items()
    }
    highest = max(EMOTIONS, key=lambda emotion: mean[emotion]["brow lift"])
    assert highest == "surprise"
    assert mean["anger"]["brow lift"] < mean["neutral"]["brow lift"] < mean["fear"]["brow lift"]
    for emotion in ("happiness", "fear"):
        assert mean[emotion]["mouth width"] > 1.2 * mean["neutral"]["mouth width"]
    assert mean["surprise"]["mouth width"] < mean["neutral"]["mouth width"]
    for emotion in ("happiness", "surprise", "disgust"):
        assert mean[emotion]["mouth height"] > 2 * mean["neutral"]["mouth height"]


def test_a_pose_at_rest_only_moves_the_head_to_its_place():
    points = np.array([(0.0, 0.0), (30.0, -20.0)])
    for placed in (Pose().head(points), Pose().face(points), Pose().body(points)):
        np.testing.assert_allclose(placed, points + 128)


def test_a_turned_head():
    middle, cheek = Pose(yaw=0.2).face([(0, 0), (60, 0)]) - Pose().face([(0, 0), (60, 0)])
    assert middle[0] > 5 and middle[1] == pytest.approx(0)  # the nose goes right
    assert cheek[0] < middle[0]  # what lies at the side goes less far
    assert Pose(pitch=0.1).face([(0, 0)])[0, 1] < 128  # and up
    quarter = Pose(roll=np.pi / 2).head([(0, 68)])
    np.testing.assert_allclose(quarter, [(128 + 10, 128 + 78)])  # 10 above the neck: now right


def test_paper_protocol_is_stratified():
    counts = collections.Counter(
        (split, PICTURES[name][1]) for name, split in assign("standard").items()
    )
    sizes = {"train": 252, "validation": 36, "test": 72}  # 70, 10, 20 % of 6 x 60
    assert counts == {(split, emotion): sizes[split] for split in sizes for emotion in EMOTIONS}


def test_subjects_protocol_gives_a_fold_to_each_character():
    people = collections.defaultdict(collections.Counter)
    for name, split in assign("subjects").items():
        people[split][PICTURES[name][0]] += 1
    assert sorted(people) == [f"fold_{fold}" for fold in range(6)]
    assert all(list(counts.values()) == [420] for counts in people.values())
    assert {character for counts in people.values() for character in counts} == set(CHARACTERS)


def test_unknown_protocol():
    with pytest.raises(ValueError, match="'standard' or 'subjects'. Received: 'official'"):
        assign("official")


def test_metadata_is_read_and_valid():
    metadata = Builder.get_metadata()
    assert "says nothing about real faces" in metadata.description
    assert "Ekman" in metadata.citation
    assert metadata.tags and set(metadata.tags) <= set(dataset_metadata.valid_tags())


def test_built_data_set(toon_faces_dir):
    builder = tfds.builder("toon_faces", data_dir=toon_faces_dir)
    assert builder.info.full_name == "toon_faces/standard/1.0.0"
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    assert sizes == {"train": 1764, "validation": 252, "test": 504}
    assert builder.info.features["label"].names == list(EMOTIONS)
    splits = assign("standard")
    for split in sizes:
        for example in tfds.as_numpy(builder.as_dataset(split=split).take(3)):
            name = example["name"].decode()
            assert splits[name] == split
            character, emotion, take = PICTURES[name]
            assert example["subject"].decode() == character
            assert EMOTIONS[example["label"]] == emotion
            face = draw(character, emotion, take)
            np.testing.assert_array_equal(example["image"], face.image)
            for part in ("face", *PARTS):
                np.testing.assert_allclose(example[part] * 256, getattr(face, part), atol=1e-4)
