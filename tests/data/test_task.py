import pytest

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.catalog import CATALOG
from keras_deep_emotion.data.task import Task, parse_build_target


def test_the_papers_accuracies():
    reached = {name: known.paper_accuracy for name, known in CATALOG.items()}
    assert reached == {
        "toon_faces": None,
        "fer2013": 70.02,
        "ck_plus": 98.0,
        "jaffe": 92.8,
        "ferg": 99.3,
        "folder": None,
    }


def test_names_and_variants():
    assert Task.parse("fer2013") == Task("fer2013", "ferplus", "standard", None)
    assert Task.parse("fer2013") == Task.parse("fer2013/ferplus") != Task.parse("fer2013/original")
    assert Task.parse("fer2013/original").dataset == "fer2013/original"
    assert Task.parse("jaffe").dataset == "jaffe" and Task.parse("jaffe").variant is None
    assert Task.parse("folder/mine_1").variant == "mine_1" and Task.parse("folder").variant is None
    with pytest.raises(ValueError, match="no data set 'fer'; there are: toon_faces, fer2013"):
        Task.parse("fer")
    with pytest.raises(ValueError, match="there is: fer2013/ferplus, fer2013/original"):
        Task.parse("fer2013/plus")


@pytest.mark.parametrize(
    ("text", "dataset", "protocol"),
    [
        ("toon_faces/standard", "toon_faces", "standard"),
        ("ck_plus/last3_subjects", "ck_plus/last3", "subjects"),
        ("fer2013/deduplicated", "fer2013/ferplus", "deduplicated"),
        ("jaffe/paper", "jaffe", "standard"),
    ],
)
def test_a_protocol_in_place_of_a_variant_is_told_where_it_goes(text, dataset, protocol):
    remedy = rf"{dataset}, '{protocol}' its protocol \(fit --protocol {protocol}\)\.$"
    with pytest.raises(ValueError, match=f"no data set '{text}'; .* The data set is {remedy}"):
        Task.parse(text)


def test_parts_to_build():
    assert parse_build_target("fer2013") == ("fer2013", ("ferplus", "original"))
    assert parse_build_target("fer2013/original") == ("fer2013", ("original",))
    assert parse_build_target("toon_faces") == ("toon_faces", ("standard", "subjects"))
    assert parse_build_target("toon_faces/subjects") == ("toon_faces", ("subjects",))
    assert parse_build_target("ck_plus") == ("ck_plus", ("peak_standard", "peak_subjects"))
    assert parse_build_target("ck_plus/last3") == ("ck_plus", ("last3_standard", "last3_subjects"))
    assert parse_build_target("ck_plus/last3_standard") == ("ck_plus", ("last3_standard",))
    with pytest.raises(ValueError, match="there is: toon_faces/standard, toon_faces/subjects"):
        parse_build_target("toon_faces/all")


def test_paper_is_an_alias_of_the_standard_protocol():
    assert Task.parse("jaffe", "paper") == Task.parse("jaffe")
    assert TrainConfig(protocol="paper") == TrainConfig()
    assert parse_build_target("toon_faces/paper") == ("toon_faces", ("standard",))
    assert parse_build_target("ck_plus/last3_paper") == ("ck_plus", ("last3_standard",))


def test_tfds_config_of_a_protocol():
    assert Task.parse("fer2013/original", "deduplicated").tfds_config == "original"
    assert Task.parse("jaffe", "subjects").tfds_config == "subjects"
    assert Task.parse("ck_plus/peak_contempt").tfds_config == "peak_contempt_standard"


def test_roles_of_each_protocol():
    assert Task.parse("jaffe").splits["test"] == "test"
    assert Task.parse("fer2013", "deduplicated").splits == {
        "train": "train",
        "validation": "validation_deduplicated",
        "test": "test_deduplicated",
    }
    assert Task.parse("toon_faces", "subjects", 5).splits == {
        "train": "fold_1+fold_2+fold_3+fold_4",
        "validation": "fold_0",
        "test": "fold_5",
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fer2013", "subjects", 0), "FER-2013 has no protocol 'subjects'"),
        (("toon_faces", "subjects", 6), "folds 0 to 5. Received: --fold 6"),
        (("toon_faces", "standard", 1), "--fold requires --protocol subjects"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Task.parse(*arguments)


def test_folds_are_tasks_and_their_parent_stands_for_all():
    task = Task.parse("toon_faces", "subjects")
    assert task.is_all_folds and task.splits["test"] == "fold_0"
    assert [one.fold for one in task.folds()] == list(range(6))
    assert not task.folds()[0].is_all_folds
    with pytest.raises(ValueError, match="--fold all requires --protocol subjects"):
        Task.parse("toon_faces").folds()


def test_what_differs_from_the_paper():
    assert Task.parse("fer2013").differences_from_paper == []
    assert Task.parse("fer2013/original", "deduplicated").differences_from_paper == [
        "the protocol here is deduplicated",
        "the faces and labels here are original, the paper's ferplus",
    ]


def test_build_commands():
    assert Task.parse("toon_faces").build_command() == "keras-deep-emotion build-data toon_faces"
    assert Task.parse("folder/mine_1").build_command("a b") == (
        "keras-deep-emotion build-data folder --source DIR --data-dir 'a b'"
    )
    assert Task.parse("ck_plus/last3").build_command() == (
        "keras-deep-emotion build-data ck_plus/last3 --source DIR_OR_ARCHIVE"
    )
