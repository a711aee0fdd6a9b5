import pytest

from keras_deep_emotion.datasets import (
    DATASETS,
    parse_build,
    parse_dataset,
    role_splits,
    tfds_config,
)


def test_the_papers_accuracies():
    reached = {name: known.paper_accuracy for name, known in DATASETS.items()}
    assert reached == {
        "toon_faces": None,
        "fer2013": 70.02,
        "ck_plus": 98.0,
        "jaffe": 92.8,
        "ferg": 99.3,
        "folder": None,
    }


def test_names_and_variants():
    assert parse_dataset("fer2013") == ("fer2013", "ferplus")
    assert parse_dataset("fer2013/original") == ("fer2013", "original")
    assert parse_dataset("jaffe") == ("jaffe", None)
    with pytest.raises(ValueError, match="no data set 'fer'; there are: toon_faces, fer2013"):
        parse_dataset("fer")
    with pytest.raises(ValueError, match="there is: fer2013/ferplus, fer2013/original"):
        parse_dataset("fer2013/plus")


@pytest.mark.parametrize(
    ("text", "dataset", "protocol"),
    [
        ("toon_faces/paper", "toon_faces", "paper"),
        ("ck_plus/last3_subjects", "ck_plus/last3", "subjects"),
        ("fer2013/deduplicated", "fer2013/ferplus", "deduplicated"),
    ],
)
def test_a_protocol_in_place_of_a_variant_is_told_where_it_goes(text, dataset, protocol):
    remedy = rf"{dataset}, '{protocol}' its protocol \(fit --protocol {protocol}\)\.$"
    with pytest.raises(ValueError, match=f"no data set '{text}'; .* The data set is {remedy}"):
        parse_dataset(text)


def test_parts_to_build():
    assert parse_build("fer2013") == ("fer2013", ("ferplus", "original"))
    assert parse_build("fer2013/original") == ("fer2013", ("original",))
    assert parse_build("toon_faces") == ("toon_faces", ("paper", "subjects"))
    assert parse_build("toon_faces/subjects") == ("toon_faces", ("subjects",))
    assert parse_build("ck_plus") == ("ck_plus", ("peak_paper", "peak_subjects"))
    assert parse_build("ck_plus/last3") == ("ck_plus", ("last3_paper", "last3_subjects"))
    assert parse_build("ck_plus/last3_paper") == ("ck_plus", ("last3_paper",))
    with pytest.raises(ValueError, match="there is: toon_faces/paper, toon_faces/subjects"):
        parse_build("toon_faces/all")


def test_tfds_config_of_a_protocol():
    assert tfds_config("fer2013", "original", "deduplicated") == "original"
    assert tfds_config("jaffe", None, "subjects") == "subjects"
    assert tfds_config("ck_plus", "peak_contempt", "paper") == "peak_contempt_paper"


def test_roles_of_each_protocol():
    assert role_splits("jaffe", "paper", None)["test"] == "test"
    assert role_splits("fer2013", "deduplicated", None) == {
        "train": "train",
        "validation": "validation_deduplicated",
        "test": "test_deduplicated",
    }
    assert role_splits("toon_faces", "subjects", 5) == {
        "train": "fold_1+fold_2+fold_3+fold_4",
        "validation": "fold_0",
        "test": "fold_5",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fer2013", "subjects", 0), "FER-2013 has no protocol 'subjects'"),
        (("toon_faces", "subjects", 6), "folds 0 to 5. Received: --fold 6"),
        (("toon_faces", "paper", 1), "--fold goes with --protocol subjects"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        role_splits(*arguments)
