"""CK+'s native trees and ckextended.csv with mistakes in them."""

import pytest
from ck_plus_trees import LABELS, LANDMARKS, label_text
from native_files import refused, write_archive

PEAK = "S005", "001", "S005", "001", 4


def without(part):
    """Removes the images and emotion files whose paths contain a text."""
    return lambda drawn: {
        name: one for name, one in {**drawn.images, **drawn.labels}.items() if part not in name
    }


def with_file(name, content):
    """Adds or replaces a file."""
    return lambda drawn: {**drawn.images, **drawn.labels, name: content}


CHANGES = {  # a change of the native files, and part of the error
    "no images": (
        lambda drawn: drawn.labels,
        "There are emotion files of CK+ but no frames named like S005_001_00000011.png; put "
        "extended-cohn-kanade-images.zip",
    ),
    "no labels": (
        lambda drawn: {**drawn.images, **drawn.landmarks},
        "There are frames of CK+ but no emotion file named like S005_001_00000011_emotion.txt; put "
        "Emotion_labels.zip",
    ),
    "nothing of it": (
        lambda drawn: {"holiday.png": b"", "a.csv": b"a,b\n"},
        "CK+ was not found: neither frames named like S005_001_00000011.png, nor folders such as "
        "CK+48/anger, nor a CSV",
    ),
    "no frames": (
        without("images/S005/001"),
        "Frame 4 of sequence S005_001, which its emotion file names, is missing (there are none); "
        "put all of extended-cohn-kanade-images.zip beside",
    ),
    "no labeled frame": (
        without("S005_001_00000004.png"),
        "Frame 4 of sequence S005_001, which its emotion file names, is missing (there are 3 "
        "others)",
    ),
    "no frame before": (
        without("S005_001_00000003.png"),
        "The last 3 frames of sequence S005_001 are not complete: number 3 is missing",
    ),
    "no neutral frame": (
        without("S005_001_00000001.png"),
        "Sequence S005_001 has no frame before its last 3, so no neutral one",
    ),
    "contradiction": (
        with_file("emotion/S005_001_00000004_emotion.txt", label_text("fear")),
        "S005_001_00000004_emotion.txt contradicts another emotion file of S005_001",
    ),
    "few sequences": (
        lambda drawn: {
            name: one for name, one in {**drawn.images, **drawn.labels}.items() if "/S005/" in name
        },
        "3 of the 327 labeled sequences of CK+ are too few for train, validation and test. Request",
    ),
    **{
        f"label {text!r}": (
            with_file(LABELS.format(*PEAK), text),
            "Emotion/S005/001/S005_001_00000004_emotion.txt must hold one number, 0 to 7, such as "
            f"3.0000000e+00. Found: {text.decode().strip()!r}; obtain Emotion_labels.zip again.",
        )
        for text in (b"", b"anger", b"8.0", b"-1", b"2.5", b"nan", b"3.0 4.0")
    },
    **{
        f"landmarks {case}": (
            with_file(LANDMARKS.format(*PEAK), text),
            f"Landmarks/S005/001/S005_001_00000004_landmarks.txt must {message}",
        )
        for case, text, message in (
            ("short", b"1 2\n" * 67 + b"\n", "have 68 lines, x and y of each landmark. Found: 67;"),
            ("long", b"1 2\n" * 69, "have 68 lines, x and y of each landmark. Found: 69;"),
            ("word", b"1 2\n" * 67 + b"1 y\n", "hold two numbers a line"),
            ("three", b"1 2 3\n" * 68, "hold two numbers a line"),
            ("uneven", b"1 2\n" * 66 + b"1\n1 2 3\n", "hold two numbers a line"),
            ("nan", b"1 nan\n" * 68, "hold two numbers a line"),
        )
    },
    "landmarks outside": (
        with_file(LANDMARKS.format(*PEAK), b"900 900\n" * 68),
        "The landmarks of S005_001_00000004.png enclose no pixel of its 64 x 48",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_mistake_gives_one_sentence(case, source, drawn, tmp_path):
    files, message = CHANGES[case]
    write_archive(source / "ck.zip", files(drawn))
    assert message in refused("ck_plus/last3_neutral_standard", source, tmp_path / "data")


def test_missing_source_names_the_remedy(tmp_path):
    message = refused("ck_plus/peak_standard", tmp_path / "nowhere", tmp_path / "data")
    assert message.startswith("CK+ is missing: request it at https://www.jeffcohn.net/Resources/")
    assert "keras-deep-emotion build-data ck_plus --source DIR_OR_ARCHIVE" in message


ROW = f"3,{' '.join(['7'] * 2304)},Training"

BAD_ROWS = {
    "few pixels": ("3,1 2 3,Training", "line 3: expected 2,304 pixels, found 3."),
    "big pixel": (ROW.replace("7 7", "7 256", 1), "line 3: pixels must be 0 to 255. Found: 256"),
    "word": (ROW.replace("7 7", "7 x7", 1), "0 to 255. Found: 'x7'"),
    "minus": (ROW.replace("7 7", "7 -1", 1), "0 to 255. Found: '-1'"),
    "emotion": (ROW.replace("3", "8", 1), "line 3: the emotion must be 0 to 7. Found: '8'"),
    "columns": ("3,Training", "line 3: expected 3 columns, found 2."),
    "huge field": ("3," + "7 " * 70_000, "line 3: field larger than field limit"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_named_with_their_line(case, source, tmp_path):
    row, expected = BAD_ROWS[case]
    (source / "ckextended.csv").write_text(f"emotion,pixels,Usage\n{ROW}\n{row}\n")
    message = refused("ck_plus/peak_standard", source, tmp_path / "data")
    assert "ckextended.csv, line 3: " in message and expected in message


def test_a_csv_without_rows(source, tmp_path):
    (source / "ckextended.csv").write_text("emotion,pixels,Usage\n")
    message = refused("ck_plus/peak_standard", source, tmp_path / "data")
    assert message == "ckextended.csv holds a header and no rows; obtain it again."
