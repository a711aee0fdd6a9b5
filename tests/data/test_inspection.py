import numpy as np
import pytest
import tensorflow_datasets as tfds
from click.testing import CliRunner
from PIL import Image

from keras_deep_emotion.cli import main
from keras_deep_emotion.data.inspection import inspect_dataset, near_duplicates, standardize
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task


def smooth_faces(count, seed):
    """Random blobs, as unlike each other as faces are."""
    small = np.random.default_rng(seed).uniform(0, 255, (count, 6, 6)).astype(np.uint8)
    return np.stack(
        [
            np.asarray(Image.fromarray(one).resize((48, 48), Image.Resampling.BICUBIC))
            for one in small
        ]
    )


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A builder with known faults: 2 exact and 1 near duplicate in test, 1 conflicting label."""
    train, test = smooth_faces(20, 0), smooth_faces(6, 1)
    test[0], test[1] = train[3], train[4]
    noise = np.random.default_rng(2).normal(0, 3, (48, 48))
    test[2] = np.clip(train[5] + noise, 0, 255).astype(np.uint8)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(48, 48, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["calm", "glad"]),
            "subject": tfds.features.Text(),
            "name": tfds.features.Text(),
            "face": tfds.features.BBoxFeature(),
        }
    )

    def rows(images, subjects):
        for i, image in enumerate(images):
            yield i, {
                "image": image[..., None], "label": i % 2, "subject": subjects[i % 2],
                "name": f"{i}", "face": tfds.features.BBox(0.0, 0.0, 1.0, 1.0),
            }  # fmt: skip

    return tfds.dataset_builders.store_as_tfds_dataset(
        name="leaky",
        version="1.0.0",
        features=features,
        split_datasets={
            "train": rows(train, ["ann", "bob"]),
            "test": rows(test, ["bob", "cem"]),
        },
        data_dir=tmp_path_factory.mktemp("leaky"),
    )


def test_faults_are_found_and_counted(leaky):
    found = inspect_dataset(leaky, per_class=4)
    assert found.counts.loc["train"].to_dict() == {"calm": 10, "glad": 10, "all": 20}
    assert found.counts.loc["test"].to_dict() == {"calm": 3, "glad": 3, "all": 6}
    assert found.duplicates.values.tolist() == [["train", "test", 2, 3]]
    # test[0] repeats train[3], test[1] train[4]: both carry the other label.
    assert found.warnings == [
        "leak: 2 of 6 faces in test are also in train.",
        "1 more faces in test are nearly equal to one in train.",
        "fewer than 10 faces in test: calm 3, glad 3.",
        "1 of 3 people are in several splits.",
        "2 groups of equal faces have different labels.",
    ]
    assert found.samples.shape == (2, 4, 48, 48)
    raw = [one for one in leaky.as_dataset(split="train").as_numpy_iterator() if one["label"] == 1]
    np.testing.assert_array_equal(found.samples[1, 0], raw[0]["image"][..., 0])


def test_near_duplicates_in_chunks_equal_those_at_once():
    random = np.random.default_rng(0)
    first = standardize(random.normal(size=(50, 144)))
    second = standardize(random.normal(size=(30, 144)))
    second[[4, 29]] = first[[49, 0]]
    for chunk in (1, 7, 1000):
        assert np.flatnonzero(near_duplicates(first, second, chunk=chunk)).tolist() == [4, 29]


def test_a_flat_image_is_like_none_by_correlation():
    flat = standardize(np.full((2, 144), 7.0))
    assert not near_duplicates(flat, flat).any()


def test_toon_faces_do_not_leak(toon_faces_dir):
    found = inspect_dataset(open_dataset(Task.parse("toon_faces"), toon_faces_dir))
    assert found.duplicates["near"].tolist() == [0, 0, 0]
    assert found.warnings == ["6 of 6 people are in several splits."]
    assert set(zip(found.faces["width"], found.faces["height"], strict=True)) == {(256, 256)}


def test_command_prints_and_draws(toon_faces_dir, tmp_path):
    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(
        main, ["data", "toon_faces", "--data-dir", str(toon_faces_dir), "--sheet", str(sheet)]
    )
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines()]
    assert ["train", *["252"] * 7, "1764"] in rows
    assert "256 x 256 pixels: 2,520 images" in result.output
    assert "warning: 6 of 6 people are in several splits." in result.output
    with Image.open(sheet) as image:
        assert min(image.size) > 500


@pytest.mark.parametrize("dataset", ["toon_faces", "fer2013"])
def test_command_knows_the_protocols(dataset, tmp_path):
    command = ["data", dataset, "--protocol", "half", "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "has no protocol 'half'; it has: standard, " in result.output


def test_command_says_what_is_not_built(tmp_path):
    result = CliRunner().invoke(main, ["data", "toon_faces", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "toon_faces is not built in" in result.output
