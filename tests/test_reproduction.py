import json

import pandas as pd
import pytest
from PIL import Image

from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.reproduction import figure_title, finished_run, parts_of, reproduce, row


def test_every_labelling_and_protocol_is_trained_once():
    assert parts_of(["fer2013", "jaffe"]) == [
        ("fer2013/ferplus", "paper"),
        ("fer2013/original", "paper"),
        ("jaffe", "paper"),
        ("jaffe", "subjects"),
    ]
    assert parts_of(["fer2013/original"]) == [("fer2013/original", "paper")]
    assert parts_of(["ck_plus"]) == [("ck_plus/peak", "paper"), ("ck_plus/peak", "subjects")]


def test_only_the_papers_own_faces_stand_beside_its_figures():
    assert figure_title("fer2013/ferplus", "paper").endswith("(the paper's figure 8)")
    assert figure_title("jaffe", "paper").endswith("(the paper's figure 10)")
    for other in (("fer2013/original", "paper"), ("jaffe", "subjects"), ("ck_plus", "paper")):
        assert "figure" not in figure_title(*other)
    assert "of FER+'s labels" in row("fer2013/original", "paper", None, "")[-1]
    assert row("fer2013/ferplus", "paper", None, "")[-1] == ""


def test_what_is_not_at_hand_is_named_as_such(toon_faces_dir, tmp_path):
    said = []
    table = reproduce(
        ["jaffe"],
        tmp_path,
        recipe="paper",
        data_dir=toon_faces_dir,
        announce=said.append,
        epochs=2,
        seed=1,
    )
    assert list(table["data set"]) == ["jaffe", "jaffe"]
    assert list(table["the paper"]) == ["92.80 (table III)", "-"]
    assert table["note"].str.startswith("not at hand: request it at https://zenodo.org").all()
    assert said[0] == "jaffe, protocol paper" and "JAFFE is not built in" in said[1]
    page = (tmp_path / "reproduction.md").read_text()
    assert "| jaffe | paper | 92.80 (table III) | - | - | - | not at hand: request it" in page
    assert "Recipe `paper`, epochs 2, seed 1." in page
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "reproduction.csv"), table)


def test_a_finished_run_is_read_and_one_of_other_settings_refused(run_dir, toon_faces_dir):
    config = TrainConfig.from_recipe("paper", epochs=2, seed=1)
    before = (run_dir / "report.json").stat().st_mtime_ns
    report = finished_run(config, run_dir, toon_faces_dir)
    assert report == json.loads((run_dir / "report.json").read_text())
    assert (run_dir / "report.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="is a run with other settings: name another --output"):
        finished_run(TrainConfig.from_recipe("paper", epochs=3, seed=1), run_dir, toon_faces_dir)


@pytest.mark.slow
def test_folds_and_splits_of_one_data_set_in_one_picture(toon_faces_dir, tmp_path):
    table = reproduce(
        ["toon_faces"], tmp_path, recipe="paper", data_dir=toon_faces_dir, epochs=1, batch_size=256
    )
    assert list(table["protocol"]) == ["paper", "subjects"]
    assert list(table["test faces"]) == ["504", "2,520"]
    report = json.loads((tmp_path / "toon_faces-paper-paper" / "report.json").read_text())
    assert table["ours"][0] == f"{100 * report['accuracy']:.2f}"
    assert table["note"][1].startswith("mean of 6 folds ")
    with Image.open(tmp_path / "reproduction.png") as picture:
        assert picture.width > 1000 and picture.height > 500
    again = reproduce(
        ["toon_faces"], tmp_path, recipe="paper", data_dir=toon_faces_dir, epochs=1, batch_size=256
    )
    pd.testing.assert_frame_equal(again, table)
