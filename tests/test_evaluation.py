import numpy as np
import pandas as pd
import pytest

from keras_deep_emotion.evaluation import (
    attention_summary,
    calibration,
    evaluate,
    predictions_table,
    read_predictions,
    summary,
    wilson_interval,
)

CLASSES = ("calm", "glad", "sour")


@pytest.fixture
def table():
    """Six faces, written by hand: calm calm calm glad glad glad; nobody sour."""
    probabilities = [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.2, 0.7, 0.1],
        [0.1, 0.9, 0.0],
        [0.1, 0.1, 0.8],
        [0.3, 0.5, 0.2],
    ]
    return predictions_table(list("abcdef"), [""] * 6, [0, 0, 0, 1, 1, 1], probabilities, CLASSES)


def test_confusion_of_six_faces_counted_by_hand(table):
    report = evaluate(table)
    assert report["confusion"] == [[2, 1, 0], [0, 2, 1], [0, 0, 0]]
    assert (report["faces"], report["correct"]) == (6, 4)
    assert report["accuracy"] == pytest.approx(4 / 6)
    assert report["per_class"]["calm"] == {
        "faces": 3,
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
    }
    assert report["per_class"]["sour"] == {"faces": 0, "precision": 0.0, "recall": None, "f1": None}
    # Over the classes that occur: a class without faces has no recall to average.
    assert report["balanced_accuracy"] == pytest.approx(2 / 3)
    assert report["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)


def test_a_class_never_predicted_has_no_precision(table):
    table = table[table["name"] != "e"]
    assert evaluate(table)["per_class"]["sour"]["precision"] is None


def test_wilson_interval_equals_published_values():
    # Newcombe (1998), Statistics in Medicine 17, table I: 81 of 263, 15 of 148, 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize("counts", [(1, 0), (5, 4), (-1, 3)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="correct must be"):
        wilson_interval(*counts)


def test_table_comes_back_from_its_file(table, tmp_path):
    table.loc[0, "name"] = "NA"  # a name that pandas would take for a missing value
    table.to_csv(tmp_path / "predictions.csv", index=False)
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "predictions.csv"), table)


def test_other_files_are_no_predictions(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="must have the columns name, subject, label"):
        read_predictions(tmp_path / "other.csv")


def test_empty_and_unknown_are_refused(table):
    with pytest.raises(ValueError, match="holds no faces"):
        evaluate(table.iloc[:0])
    table.loc[0, "label"] = "angry"
    with pytest.raises(ValueError, match="Received: angry"):
        evaluate(table)


def test_summary_reads_as_a_sentence(table):
    report = evaluate(table)
    assert summary(report) == "accuracy 66.67 % on 6 faces (95 % interval 30.00 to 90.32)"
    assert summary(report, 70.02).endswith("; the paper: 70.02 %")


def test_ties_go_to_the_first_class():
    table = predictions_table(["a"], [""], [1], np.full((1, 3), 1 / 3), CLASSES)
    assert evaluate(table)["confusion"][1] == [1, 0, 0]


def test_calibration_by_hand():
    # Four answers: at 0.9 (right), 0.9 (wrong), 0.6 (right) and 0.55 (right).
    table = predictions_table(
        ["1", "2", "3", "4"],
        [""] * 4,
        [0, 1, 1, 0],
        [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.55, 0.45]],
        ["a", "b"],
    )
    found = calibration(table, bins=2)  # all are above 1/2: one bin
    assert found["error"] == pytest.approx(abs((0.9 + 0.9 + 0.6 + 0.55) / 4 - 0.75))
    found = calibration(table, bins=10)
    # Bins [0.5, 0.6), [0.6, 0.7) and [0.9, 1).
    assert [one["faces"] for one in found["bins"]] == [1, 1, 2]
    assert found["error"] == pytest.approx((0.45 + 0.4 + 2 * 0.4) / 4)
    assert found["per_class"]["a"]["faces"] == 3
    assert found["per_class"]["a"]["accuracy"] == pytest.approx(2 / 3)
    assert found["per_class"]["b"] == {"faces": 1, "probability": 0.6, "accuracy": 1.0}


def test_calibration_of_a_class_never_answered_is_null():
    table = predictions_table(["1"], [""], [0], [[1.0, 0.0]], ["a", "b"])
    found = calibration(table)
    assert found["error"] == 0
    assert found["per_class"]["b"] == {"faces": 0, "probability": None, "accuracy": None}


def test_a_dead_transformer_is_called_one():
    dead = {"mean": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "spread": [0.0] * 6}
    assert "100% of the width" in attention_summary(dead)
    assert "the same for every face" in attention_summary(dead)
    alive = {"mean": [0.8, 0.0, 0.1, 0.0, 0.9, -0.04], "spread": [0.02, 0, 0, 0, 0.01, 0]}
    text = attention_summary(alive)
    assert "80% of the width and 90% of the height on average, +5.0% and -2.0% of them" in text
    assert text.endswith("by up to 0.020 (standard deviation)")
