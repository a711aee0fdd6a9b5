import dataclasses
import json
import shutil

import pandas as pd
import pytest
from PIL import Image

from keras_deep_emotion.data.task import Task
from keras_deep_emotion.experiments.reproduction import (
    figure_title,
    report_of,
    reproduce,
    table_row,
    tasks_of,
)
from keras_deep_emotion.runs import Run


def parts(datasets):
    return [(task.dataset, task.protocol) for task in tasks_of(datasets)]


def test_every_labelling_and_protocol_is_trained_once():
    assert parts(["fer2013", "jaffe"]) == [
        ("fer2013/ferplus", "standard"),
        ("fer2013/original", "standard"),
        ("jaffe", "standard"),
        ("jaffe", "subjects"),
    ]
    assert parts(["fer2013/original"]) == [("fer2013/original", "standard")]
    assert parts(["ck_plus"]) == [("ck_plus/peak", "standard"), ("ck_plus/peak", "subjects")]


def test_pictures_of_ones_own_are_trained_on_by_fit():
    with pytest.raises(ValueError, match="fit --dataset folder --source DIR"):
        tasks_of(["folder"])


def test_only_the_papers_own_faces_stand_beside_its_figures():
    assert figure_title(Task.parse("fer2013/ferplus")).endswith("(the paper's figure 8)")
    assert figure_title(Task.parse("jaffe", "standard")).endswith("(the paper's figure 10)")
    for other in (("fer2013/original", "standard"), ("jaffe", "subjects"), ("ck_plus", "paper")):
        assert "figure" not in figure_title(Task.parse(*other))
    for dataset, theirs in (("fer2013/original", "ferplus"), ("ck_plus/last3", "peak")):
        assert f"the paper's {theirs}" in table_row(Task.parse(dataset), [])[-1]
        assert table_row(Task.parse(f"{dataset.partition('/')[0]}/{theirs}"), [])[-1] == ""


def test_data_sets_that_are_not_built_are_listed_as_not_available(tiny_faces_dir, tmp_path):
    said = []
    table = reproduce(
        ["jaffe"],
        tmp_path,
        recipe="paper",
        data_dir=tiny_faces_dir,
        announce=said.append,
        epochs=2,
        seed=1,
    )
    assert list(table["data set"]) == ["jaffe", "jaffe"]
    assert list(table["the paper"]) == ["92.80 (table III)", "-"]
    assert table["note"].str.startswith("not available: request it at https://zenodo.org").all()
    assert said[0] == "jaffe, protocol standard" and "JAFFE is not built in" in said[1]
    page = (tmp_path / "reproduction.md").read_text()
    assert "| jaffe | standard | 92.80 (table III) | - | - | - | not available: request it" in page
    assert "Recipe `paper`, epochs 2, seed 1." in page
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "reproduction.csv"), table)


def test_a_finished_run_is_read_and_one_of_other_settings_refused(
    run_dir, run_config, toon_faces_dir
):
    before = (run_dir / "report.json").stat().st_mtime_ns
    report = report_of(run_config, Run(run_dir), toon_faces_dir)
    assert report == json.loads((run_dir / "report.json").read_text())
    assert (run_dir / "report.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="is a run with other settings: name another --output"):
        report_of(dataclasses.replace(run_config, epochs=3), Run(run_dir), toon_faces_dir)


def test_the_row_of_several_seeds():
    reports = [{"accuracy": right / 200, "faces": 200} for right in (150, 156, 162)]
    assert table_row(Task.parse("fer2013/original"), reports)[3:] == (
        "78.00",
        "71.76 to 83.18",  # Wilson's of 156 of 200
        "200",
        "mean of 3 seeds (75.00, 78.00, 81.00), spread 3.00; the faces and labels here are "
        "original, the paper's ferplus",
    )
    assert table_row(Task.parse("jaffe", "subjects"), reports[:1], "a note")[3:] == (
        "75.00",
        "68.57 to 80.49",
        "200",
        "a note",
    )


@pytest.mark.slow
def test_folds_and_splits_of_one_data_set_in_one_picture(
    reproduced, small_settings, tiny_faces_dir, tmp_path
):
    folder, table = reproduced
    settings = {"recipe": "paper", "data_dir": tiny_faces_dir, **small_settings}
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert list(table["protocol"]) == ["standard", "subjects"]
    assert list(table["test faces"]) == ["14", "84"]
    report = json.loads((tmp_path / "toon_faces-standard-paper" / "report.json").read_text())
    assert table["ours"][0] == f"{100 * report['accuracy']:.2f}"
    assert table["note"][1].startswith("mean of 6 folds ")
    with Image.open(tmp_path / "reproduction.png") as picture:
        assert picture.width > 1000 and picture.height > 500
    again = reproduce(["toon_faces"], tmp_path, **settings)
    pd.testing.assert_frame_equal(again, table)
    # A second seed: runs of their own, here those of the first with other accuracies.
    for name, file in (("standard", "report.json"), ("subjects", "folds.json")):
        first = tmp_path / f"toon_faces-{name}-paper"
        second = shutil.copytree(first, tmp_path / f"toon_faces-{name}-paper-seed1")
        config = json.loads((first / "config.json").read_text())
        (second / "config.json").write_text(json.dumps(config | {"seed": config["seed"] + 1}))
        report = json.loads((first / file).read_text())
        report.get("pooled", report)["accuracy"] = 0.5
        (second / file).write_text(json.dumps(report))
    said = []
    both = reproduce(["toon_faces"], tmp_path, seeds=2, announce=said.append, **settings)
    for ours, alone, note in zip(both["ours"], table["ours"], both["note"], strict=True):
        assert float(ours) == pytest.approx((float(alone) + 50) / 2, abs=0.01)
        assert note.startswith(f"mean of 2 seeds ({alone}, 50.00), spread ")
    assert said.count("  seed 1") == 2
    with pytest.raises(ValueError, match="seeds must be 1 or more. Received: 0"):
        reproduce(["toon_faces"], tmp_path, data_dir=tiny_faces_dir, seeds=0)
