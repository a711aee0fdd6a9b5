"""CK+'s variants, splits and published counts."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from ck_plus_trees import IMAGES, LABELS, LANDMARKS, PEOPLE, emotions_of, label_text, landmark_text
from native_files import built, names_of, png, refused, write, write_archive

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.building import build_dataset
from keras_deep_emotion.data.catalog import CATALOG
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.single_machine import fit
from tfds_builders.contract import EMOTIONS

PUBLISHED = {
    "anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28,
    "surprise": 83,
}  # fmt: skip


def test_configs_are_those_of_the_table():
    configs = [config.name for config in tfds.builder_cls("ck_plus").BUILDER_CONFIGS]
    dataset = CATALOG["ck_plus"]
    assert configs == [
        Task("ck_plus", variant, protocol).tfds_config
        for variant in dataset.variants
        for protocol in dataset.protocols
    ]
    assert configs[0] == "peak_standard" and len(configs) == 16


@pytest.mark.parametrize("contempt", [False, True])
@pytest.mark.parametrize(
    ("frames", "last", "neutral"),
    [
        ("peak", 1, False),
        ("last3", 3, False),
        ("peak_neutral", 1, True),
        ("last3_neutral", 3, True),
    ],
)
def test_variants(frames, last, neutral, contempt, native_trees, drawn, tmp_path):
    config = f"{frames}{'_contempt' * contempt}_standard"
    splits = built(f"ck_plus/{config}", native_trees, tmp_path / "data")
    builder = tfds.builder("ck_plus", config=config, data_dir=tmp_path / "data")
    classes = builder.info.features["label"].names
    assert classes == [*EMOTIONS, *["contempt"] * contempt]
    found = emotions_of(splits, classes)
    assert found == drawn.expected(last, neutral, contempt)
    assert len(found) == (42 if contempt else 36) * (last + neutral)
    # A sequence stands in one split, with all its frames.
    takes = {split: {name[:8] for name in names_of(part)} for split, part in splits.items()}
    assert (
        sum(map(len, takes.values())) == len(set.union(*takes.values())) == (42 if contempt else 36)
    )


def test_every_variant_splits_the_same_sequences(native_trees, tmp_path):
    plain = built("ck_plus/peak_standard", native_trees, tmp_path / "data")
    more = built("ck_plus/last3_neutral_contempt_standard", native_trees, tmp_path / "data")
    for split, part in plain.items():
        assert {name[:8] for name in names_of(part)} <= {name[:8] for name in names_of(more[split])}


def test_folds_share_no_person(native_trees, drawn, tmp_path):
    splits = built("ck_plus/last3_subjects", native_trees, tmp_path / "data")
    assert set(splits) == {f"fold_{i}" for i in range(10)}
    people = [{one["subject"].decode() for one in part} for part in splits.values()]
    assert sorted(map(len, people)) == [1] * 8 + [2] * 2
    assert sum(map(len, people)) == 12 and set.union(*people) == set(PEOPLE)
    assert emotions_of(splits) == drawn.expected(3, neutral=False, contempt=False)
    roles = Task.parse("ck_plus", "subjects", 9).splits
    builder = tfds.builder("ck_plus", config="last3_subjects", data_dir=tmp_path / "data")
    sizes = {role: builder.info.splits[split].num_examples for role, split in roles.items()}
    assert sum(sizes.values()) == 108 and sizes["test"] in (9, 18)


def test_folds_need_ten_people(source, drawn, tmp_path):
    files = {**drawn.images, **drawn.labels, **drawn.landmarks}
    few = [*PEOPLE[:8], "S895"]
    write(source, {name: files[name] for name in files if name.split("/")[1] in few})
    assert (
        "needs images of at least 10 people. Found: 9. Request the whole set at https://"
        in refused("ck_plus/peak_subjects", source, tmp_path / "data")
    )


@pytest.fixture(scope="module")
def whole_set(tmp_path_factory):
    """593 sequences of 123 people, 327 labelled as in the release, of four tiny frames each."""
    folder = tmp_path_factory.mktemp("whole")
    labels = [emotion for emotion, count in PUBLISHED.items() for _ in range(count)]
    image, mark = png(np.zeros((49, 64), np.uint8)), landmark_text(1)
    images, emotions, landmarks = {}, {}, {}
    for i in range(593):
        place = (f"S{i % 123:03}", f"{i // 123 + 1:03}") * 2
        for number in range(1, 5):
            images[IMAGES.format(*place, number)] = image
            landmarks[LANDMARKS.format(*place, number)] = mark
        if i < 327:
            emotions[LABELS.format(*place, 4)] = label_text(labels[i])
    write_archive(folder / "extended-cohn-kanade-images.zip", images)
    write_archive(folder / "Emotion_labels.zip", emotions)
    write_archive(folder / "Landmarks.zip", landmarks)
    return folder


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        ("peak_standard", (216, 30, 63)),
        ("peak_contempt_standard", (228, 32, 67)),
        ("last3_standard", (648, 90, 189)),
        ("last3_contempt_standard", (684, 96, 201)),
        ("last3_neutral_standard", (864, 120, 252)),
    ],
)
def test_published_counts_give_no_warning(config, sizes, whole_set, tmp_path, caplog):
    builder = tfds.builder("ck_plus", config=config, data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=whole_set))
    found = tuple(builder.info.splits[one].num_examples for one in ("train", "validation", "test"))
    assert found == sizes
    assert not [one for one in caplog.records if one.name.startswith("tfds_builders")]


def test_other_counts_are_warned_of(native_trees, tmp_path, caplog):
    built("ck_plus/peak_standard", native_trees, tmp_path / "data")
    (message,) = (record.message for record in caplog.records if "of CK+ (" in record.message)
    assert message == (
        "Found 42 labeled sequences of CK+ (anger 6, contempt 6, disgust 6, fear 6, happiness 6, "
        "sadness 6, surprise 6, people 12); published are 327 (anger 45, contempt 18, disgust 59, "
        "fear 25, happiness 69, sadness 28, surprise 83, people 123)."
    )


@pytest.mark.slow
def test_eight_classes_train_and_are_evaluated(small_settings, native_trees, tmp_path):
    """With contempt the network has eight classes, and no face of one of them, neutral."""
    config = TrainConfig.from_recipe("paper", dataset="ck_plus/peak_contempt", **small_settings)
    list(build_dataset("ck_plus/peak_contempt_standard", native_trees, tmp_path))
    report = fit(config, tmp_path / "run", tmp_path)
    assert report["classes"] == [*EMOTIONS, "contempt"]
    assert report["per_class"]["neutral"]["recall"] is None
    assert Run.open(tmp_path / "run").load_model().output.shape == (None, 8)
