import numpy as np
import pandas as pd
import pytest

from keras_deep_emotion.evaluation.metrics import (
    calibration,
    classification_report,
    confident_mistakes,
    per_subject,
)
from keras_deep_emotion.evaluation.predictions import predictions_table, read_predictions
from keras_deep_emotion.evaluation.statistics import (
    mcnemar,
    paired_interval,
    sign_test,
    wilson_interval,
)
from keras_deep_emotion.reports.figures.evaluation import reliability_figure
from keras_deep_emotion.reports.text import accuracy_summary, attention_summary, comparison_summary

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
    report = classification_report(table)
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
    assert classification_report(table)["per_class"]["sour"]["precision"] is None


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


def test_names_that_look_like_numbers_stay_names(table, tmp_path):
    table["name"] = ["007", "7", "1e3", "1000", "0x10", "-0"]
    table["subject"] = ["01", "1", "", "", "", ""]
    table.to_csv(tmp_path / "predictions.csv", index=False)
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "predictions.csv"), table)


@pytest.mark.parametrize("content", [b"", b"name,subject\n1,2,3,4\n1,2,3,4,5,6\n", b"\xff\xfe\x00"])
def test_damaged_predictions_are_named(content, tmp_path):
    (tmp_path / "predictions.csv").write_bytes(content)
    with pytest.raises(ValueError, match="predictions.csv is damaged: "):
        read_predictions(tmp_path / "predictions.csv")


def test_other_files_are_no_predictions(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="must have the columns name, subject, label"):
        read_predictions(tmp_path / "other.csv")


def test_empty_and_unknown_are_refused(table):
    with pytest.raises(ValueError, match="holds no faces"):
        classification_report(table.iloc[:0])
    table.loc[0, "label"] = "angry"
    with pytest.raises(ValueError, match="Received: angry"):
        classification_report(table)


def test_summary_reads_as_a_sentence(table):
    report = classification_report(table)
    assert accuracy_summary(report) == "accuracy 66.67 % on 6 faces (95 % interval 30.00 to 90.32)"
    assert accuracy_summary(report, 70.02).endswith("; the paper: 70.02 %")
    assert accuracy_summary(report, 70.02, ["a", "b"]).endswith(
        "; the paper: 70.02 %, not comparable: a and b"
    )


def test_ties_go_to_the_first_class():
    table = predictions_table(["a"], [""], [1], np.full((1, 3), 1 / 3), CLASSES)
    assert classification_report(table)["confusion"][1] == [1, 0, 0]


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
    bounds = [(one["low"], one["high"]) for one in found["bins"]]
    assert bounds == [(0.5, 0.6), (0.6, 0.7), (0.9, 1.0)]
    assert found["error"] == pytest.approx((0.45 + 0.4 + 2 * 0.4) / 4)
    assert found["per_class"]["a"]["faces"] == 3
    assert found["per_class"]["a"]["accuracy"] == pytest.approx(2 / 3)
    assert found["per_class"]["b"] == {"faces": 1, "probability": 0.6, "accuracy": 1.0}


def test_calibration_of_a_class_never_answered_is_null():
    table = predictions_table(["1"], [""], [0], [[1.0, 0.0]], ["a", "b"])
    found = calibration(table)
    assert found["error"] == 0
    assert found["per_class"]["b"] == {"faces": 0, "probability": None, "accuracy": None}


def test_attention_summary_says_whether_the_transform_varies():
    dead = {"mean": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "spread": [0.0] * 6}
    assert "100 % of the width and 100 % of the height on average; the" in attention_summary(dead)
    assert "the transform is the same for every face" in attention_summary(dead)
    alive = {"mean": [0.8, 0.0, 0.1, 0.0, 0.9, -0.04], "spread": [0.02, 0, 0, 0, 0.01, 0]}
    text = attention_summary(alive)
    assert "80 % of the width and 90 % of the height on average, shifted" in text
    assert "from the center by +5 % and -2 %;" in text
    assert text.endswith("by up to 0.020 (standard deviation)")


def test_the_reliability_curve_is_drawn_where_the_bins_are():
    # Five answers: four at 0.95, of which three are right, and a wrong one at 0.62.
    table = predictions_table(
        list("abcde"), [""] * 5, [0, 0, 0, 1, 1], [[0.95, 0.05]] * 4 + [[0.62, 0.38]], ["a", "b"]
    )
    curve, counts = reliability_figure(classification_report(table), "toon").axes
    # (4 * 0.2 + 0.62) / 5
    assert curve.get_title("left") == "toon\nexpected calibration error 0.284, 5 faces"
    points = curve.lines[1].get_xydata()
    np.testing.assert_allclose(points, [[0.62, 0], [0.95, 0.75]])
    (bars,) = curve.collections  # the intervals
    ends = np.array([[low[1], high[1]] for low, high in bars.get_segments()])
    np.testing.assert_allclose(ends, [wilson_interval(0, 1), wilson_interval(3, 4)], atol=1e-12)
    # The tenth and the fifteenth of fifteen bins.
    drawn = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in counts.patches]
    np.testing.assert_allclose(drawn, [(9 / 15, 1 / 15, 1), (14 / 15, 1 / 15, 4)])


def test_accuracy_of_each_person(table):
    # Right are a, b, d and f; face f is of nobody known.
    table["subject"] = ["ann", "bob", "ann", "bob", "ann", ""]
    people = classification_report(table)["per_person"]
    assert list(people) == ["ann", "bob"]
    assert people["ann"] == {
        "faces": 3,
        "correct": 1,
        "accuracy": pytest.approx(1 / 3),
        "accuracy_interval": list(wilson_interval(1, 3)),
    }
    assert (people["bob"]["faces"], people["bob"]["correct"]) == (2, 2)
    # Several tables put together repeat their row numbers.
    twice = pd.concat([table, table])
    assert (per_subject(twice)["ann"]["faces"], per_subject(twice)["ann"]["correct"]) == (6, 2)


def test_unnamed_people_have_no_accuracy(table):
    assert per_subject(table) == {}


def test_the_surest_mistakes_come_first(table):
    assert classification_report(table)["surest_mistakes"] == [
        {"name": "e", "subject": "", "label": "glad", "answer": "sour", "probability": 0.8},
        {"name": "c", "subject": "", "label": "calm", "answer": "glad", "probability": 0.7},
    ]
    assert [one["name"] for one in confident_mistakes(table, count=1)] == ["e"]
    assert confident_mistakes(table[table["name"] == "a"]) == []


def test_mistakes_as_sure_as_others_keep_their_order():
    table = predictions_table(list("abc"), [""] * 3, [1] * 3, [[0.9, 0.1]] * 3, ["x", "y"])
    assert [one["name"] for one in confident_mistakes(table, count=2)] == ["a", "b"]


def judged(right):
    """A table of faces of class x, the named ones answered rightly."""
    scores = [[0.8, 0.2] if one else [0.2, 0.8] for one in right]
    names = [f"face {i}" for i in range(len(right))]
    return predictions_table(names, [""] * len(right), [0] * len(right), scores, ["x", "y"])


def test_mcnemar_of_ten_against_two_by_the_binomial():
    # Of 30 faces both get 15, only the first 10, only the second 2 and neither 3.
    first = judged([1] * 25 + [0] * 5)
    second = judged([1] * 15 + [0] * 10 + [1] * 2 + [0] * 3)
    found = mcnemar(first, second)
    assert [found[key] for key in ("both_right", "only_first", "only_second", "both_wrong")] == [
        15, 10, 2, 3,
    ]  # fmt: skip
    assert found["faces"] == 30
    # Two-sided: 2 * (1 + 12 + 66) of 4096.
    assert found["p_value"] == 158 / 4096
    assert found["difference"] == pytest.approx(25 / 30 - 17 / 30)
    low, high = found["difference_interval"]
    assert 0 < low < 8 / 30 < high < 1
    turned = mcnemar(second, first)
    assert turned["p_value"] == found["p_value"]
    assert turned["difference_interval"] == pytest.approx([-high, -low])
    assert comparison_summary(found).splitlines() == [
        "this run 83.33 %, the other 56.67 %: +26.67 points on the same 30 faces "
        f"(95 % interval {100 * low:+.2f} to {100 * high:+.2f})",
        "the difference is significant: only this run is right on 10 faces, only the other on 2 "
        "(McNemar's test, p = 0.0386)",
    ]


def test_a_difference_within_chance_is_called_that():
    found = mcnemar(judged([1, 1, 1, 1, 0]), judged([0, 0, 0, 1, 1]))
    assert found["p_value"] == pytest.approx(2 * (1 + 4) / 16)  # three against one
    text = comparison_summary(found)
    assert "the difference is not significant: only this run is right on 3 faces" in text


def test_a_model_does_not_differ_from_itself(table):
    found = mcnemar(table, table.iloc[::-1])  # matched by name, whatever the order
    assert (found["both_right"], found["both_wrong"]) == (4, 2)
    assert (found["difference"], found["p_value"]) == (0, 1)


def test_p_values_of_the_sign_test():
    assert sign_test(0, 0) == 1
    assert sign_test(5, 5) == 1
    assert sign_test(0, 6) == 2 / 64
    assert sign_test(30_000, 20_000) == 0  # far below the least float, and no overflow
    assert "p < 0.0001" in comparison_summary(mcnemar(judged([1] * 20), judged([0] * 20)))


def test_paired_intervals_equal_published_values():
    # Newcombe (1998), Statistics in Medicine 17, 2635-2650, method 10: 36, 12, 2, 0.
    assert paired_interval(36, 12, 2, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)
    # As the R package contingencytables gives it in its own tests.
    assert paired_interval(59, 6, 16, 80) == pytest.approx((-0.1186, -0.0046), abs=5e-5)
    # No correlation is defined where a model gets all right: still an interval around 0.
    low, high = paired_interval(20, 0, 0, 0)
    assert low == -high and 0 < high < 0.2


def test_only_the_same_faces_are_compared(table):
    for one, other in ((table, table.iloc[1:]), (table.iloc[1:], table)):
        with pytest.raises(ValueError, match="1 in only one of them, such as a$"):
            mcnemar(one, other)
    with pytest.raises(ValueError, match="Received: a as calm and as sour$"):
        mcnemar(table, table.replace({"label": {"calm": "sour"}}))
    with pytest.raises(ValueError, match="Received: f twice$"):
        mcnemar(pd.concat([table, table.iloc[5:]]), table)
    with pytest.raises(ValueError, match="no predictions to compare"):
        mcnemar(table.iloc[:0], table.iloc[:0])


def test_a_network_that_has_diverged_is_told_so(tmp_path):
    table = predictions_table(["a", "b"], ["", ""], [0, 1], [[0.5, 0.5], [np.nan, np.nan]], "xy")
    table.to_csv(tmp_path / "predictions.csv", index=False)
    with pytest.raises(ValueError, match="1 of 2 faces have no probabilities.*--learning-rate"):
        classification_report(read_predictions(tmp_path / "predictions.csv"))
