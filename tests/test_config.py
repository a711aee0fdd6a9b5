import dataclasses

import pytest

from keras_deep_emotion.config import RECIPES, TrainConfig


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 0}, "epochs must be 1 or more. Received: 0"),
        ({"dropout": 1.0}, "dropout must be 0 or more and below 1"),
        ({"precision": "half"}, "precision must be one of auto, float32"),
        ({"seed": -1}, "seed must be between 0"),
        ({"recipe": "worst"}, "recipe must be one of"),
        ({"network": "deep"}, "network must be one of wide, residual, paper, resnet50"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of adam, sgd"),
        ({"class_balance": 2.0}, "class_balance must be between 0 and 1"),
        ({"mixup": -0.1}, "mixup must be 0 or more"),
        ({"rotation": 200.0}, "rotation must be between 0 and 180. Received: 200.0"),
        ({"zoom": 1.0}, "zoom must be between 0 and 0.99"),
        ({"shift": -0.1}, "shift must be between 0 and 1"),
        ({"cutout": -0.1}, "cutout must be between 0 and 1"),
        ({"theta_reach": 2.5}, "theta_reach must be above 0 and at most 2"),
        ({"theta_rate": 11.0}, "theta_rate must be above 0 and at most 10"),
        ({"alignment": 1001.0}, "alignment must be between 0 and 1000"),
        ({"teachers": " ,"}, "teachers must be names of runs"),
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


def test_the_paper_recipe_is_the_papers():
    paper = TrainConfig.from_recipe("paper")
    assert (paper.epochs, paper.learning_rate, paper.optimizer) == (500, 0.005, "adam")
    assert paper.network == "paper" and paper.width == 10
    # Nothing of what has been learnt since.
    later = ("weight_decay", "average", "label_smoothing", "class_balance", "cutout", "mixup")
    assert [getattr(paper, name) for name in later] == [0.0] * 6
    assert not paper.soft_labels
    # What it leaves out, as it was measured to serve so small a network.
    assert paper.cosine and paper.warmup == 1.0
    amounts = (paper.dropout, paper.rotation, paper.zoom, paper.shift)
    assert amounts == (0.1, 5.0, 0.05, 0.04)


def test_a_recipe_sets_what_is_not_given():
    assert TrainConfig.from_recipe("paper", epochs=3).epochs == 3
    assert TrainConfig.from_recipe("best") == TrainConfig()
    with pytest.raises(
        ValueError, match="recipe must be one of best, paper, finetune. Received: worst"
    ):
        TrainConfig.from_recipe("worst")
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert all(set(changes) <= fields for changes in RECIPES.values())


def test_settings_that_a_file_lacks_are_the_recipes(tmp_path):
    (tmp_path / "config.json").write_text('{"recipe": "paper", "epochs": 7}')
    config = TrainConfig.from_json(tmp_path / "config.json")
    assert config == TrainConfig.from_recipe("paper", epochs=7)


def test_teachers_are_separated_by_commas_but_a_folder_may_have_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "c"):
        (tmp_path / name).mkdir()
    for text, names in {
        "a,b": ["a,b"],
        "c, a,b,ferplus": ["c", "a,b", "ferplus"],
        "a,d": ["a", "d"],
        "c,,": ["c"],
        None: [],
    }.items():
        assert TrainConfig(teachers=text).teacher_names == names
