"""FER-2013's native files with mistakes in them."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from fer2013_files import build, csv_text, write_folders
from hypothesis import given, settings
from hypothesis import strategies as st
from native_files import refused
from PIL import Image

from keras_deep_emotion.data.building import build_dataset, damaged_files_path
from tfds_builders.face_tables import COLUMNS, read_headers, read_rows
from tfds_builders.fer2013.native import FER2013_CODES
from tfds_builders.sources import Source


def row(code="3", pixels=None, usage="Training"):
    return f"{code},{pixels or ' '.join(['7'] * 2304)},{usage}"


HEADER = "emotion,pixels,Usage"

BAD_ROWS = {  # a second row, and part of the error
    "few pixels": (row(pixels="1 2 3"), "expected 2,304 pixels, found 3"),
    "big pixel": (row(pixels=" ".join(["256"] * 2304)), "pixels must be 0 to 255. Found: 256"),
    "word": (row(pixels="12 x7 9"), "pixels must be whole numbers 0 to 255. Found: 'x7'"),
    "minus": (row(pixels="-1 7 9"), "pixels must be whole numbers 0 to 255. Found: '-1'"),
    "emotion": (row(code="7"), "the emotion must be 0 to 6. Found: '7'"),
    "usage": (
        row(usage="Testing"),
        "Usage must be one of Training, PublicTest, PrivateTest. Found: 'Testing'",
    ),
    "columns": ("3,Training", "expected 3 columns, found 2"),
}

BAD_FILES = {
    "no rows": (HEADER, "holds a header and no rows"),
    "empty": ("", "FER-2013 was not found"),
    "no usage": ("emotion,pixels\n0,1", "has no Usage column"),
    **{
        case: (f"{HEADER}\n{row()}\n{second}", f"fer2013.csv, line 3: {message}")
        for case, (second, message) in BAD_ROWS.items()
    },
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_csv_is_named_with_its_line(case, source, tmp_path):
    text, message = BAD_FILES[case]
    (source / "fer2013.csv").write_text(text)
    assert message in refused("fer2013/original", source, tmp_path / "data")


def test_missing_source_names_the_remedy(tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (None, tmp_path / "empty"):
        with pytest.raises(
            FileNotFoundError, match="FER-2013 is missing: get fer2013.csv"
        ) as caught:
            build("fer2013/original", source, tmp_path / "data")
        assert "keras-deep-emotion build-data fer2013 --source DIR_OR_ARCHIVE" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "mode", "size", "message"),
    [
        ("test/happy/Training_1.jpg", "L", 48, "lies under test/ but its name says Training"),
        ("train/joy/Training_1.jpg", "L", 48, "must lie in a folder named angry"),
        ("train/happy/Training_1.jpg", "L", 64, "must have 48 x 48 pixels"),
        ("train/sad/Training_9.jpg", "RGB", 48, "9.jpg must be grey. Found: colors; name"),
    ],
)
def test_bad_jpeg_folders_are_named(name, mode, size, message, source, tmp_path):
    path = source / name
    path.parent.mkdir(parents=True)
    Image.new(mode, (size, size), "red" if mode == "RGB" else 0).save(path)
    with pytest.raises(ValueError, match=message):
        build("fer2013/original", source, tmp_path / "data")


def test_damaged_jpegs_are_named_or_left_out(source, tmp_path):
    for part, usage in (("train", "Training"), ("test", "PublicTest"), ("test", "PrivateTest")):
        for number in (1, 2):
            path = source / part / "sad" / f"{usage}_{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (48, 48), 40 * number).save(path)
    (source / "train" / "sad" / "Training_2.jpg").write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(ValueError, match="Training_2.jpg is damaged .*--skip-damaged"):
        build("fer2013/original", source, tmp_path / "data")
    (builder,) = build_dataset("fer2013/original", source, tmp_path / "data", skip_damaged=True)
    assert {
        split: builder.info.splits[split].num_examples for split in ("train", "validation", "test")
    } == {"train": 1, "validation": 2, "test": 2}
    assert damaged_files_path(builder).read_text().startswith("train/sad/Training_2.jpg: ")
    for path in source.rglob("*.jpg"):
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="None of the image files can be decoded; obtain FER"):
        list(build_dataset("fer2013/original", source, tmp_path / "other", skip_damaged=True))


def test_a_part_of_the_release_is_refused(pixels, source, tmp_path):
    lines = csv_text(pixels).splitlines(keepends=True)
    (source / "fer2013.csv").write_text("".join(lines[:7]))
    with pytest.raises(ValueError, match="No face belongs to validation and test"):
        build("fer2013/original", source, tmp_path / "data")
    write_folders(tmp_path / "jpeg", pixels)
    with pytest.raises(ValueError, match="No face belongs to validation and test"):
        build("fer2013/original", tmp_path / "jpeg" / "train", tmp_path / "data")


def test_other_csv_files_are_named(source, tmp_path):
    (source / "a.csv").write_text("")
    (source / "b.csv").write_text("label,image\n")
    with pytest.raises(FileNotFoundError, match=r"only a.csv \(empty\), b.csv \(label, image\)"):
        build("fer2013/original", source, tmp_path / "data")


def test_folders_of_emotions_without_the_official_split_are_another_data_set(source, tmp_path):
    path = source / "train" / "angry" / "im0.png"
    path.parent.mkdir(parents=True)
    Image.new("L", (48, 48)).save(path)
    with pytest.raises(
        FileNotFoundError, match="train/angry/im0.png and others .* --dataset folder"
    ):
        build("fer2013/original", source, tmp_path / "data")


@settings(deadline=None, max_examples=40)
@given(
    delimiter=st.sampled_from(",;\t"),
    quote=st.sampled_from(["none", "some", "all"]),
    space=st.booleans(),
    newline=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    order=st.permutations(["emotion", "pixels", "Usage", "extra"]),
    change=st.sampled_from([str, str.upper, str.title]),
)
def test_tables_in_every_dialect(delimiter, quote, space, newline, encoding, order, change):
    face = " ".join(map(str, np.arange(2304) % 256))
    cells = {"emotion": "3", "pixels": face, "Usage": "Training", "extra": "a, b"}
    rows = [{name: change(name) for name in cells}, cells, cells | {"emotion": "0"}]

    def cell(name, text):
        is_quoted = quote == "all" or (quote == "some" and name == "pixels") or delimiter in text
        return f'"{text}"' if is_quoted else text

    joint = delimiter + " " * (space and delimiter != "\t")
    lines = [joint.join(cell(name, row[name]) for name in order) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.csv").write_bytes((newline.join(lines) + newline).encode(encoding))
        source = Source(Path(folder), ("a.csv",))
        assert {*COLUMNS} <= {*read_headers(source)["a.csv"]}
        first, second = read_rows(source, "a.csv", FER2013_CODES)
    assert (first.emotion, second.emotion, first.usage) == ("happiness", "anger", "Training")
    np.testing.assert_array_equal(first.pixels.ravel(), np.arange(2304) % 256)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"emotion,pixels,Usage\n0,\xff\xfe,Training\n", "not text in UTF-8; obtain it again."),
        (b"emotion,pixels,Usage\n0," + b"1" * 5000 + b",Training\n", "expected 2,304 pixels, fou"),
        (
            b"emotion,pixels,Usage\n" + b"9" * 5000 + b",1 2,Training\n",
            "the emotion must be 0 to 6",
        ),
        (b"emotion,pixels,Usage\n" + b"0" * 200_000, "larger than field limit"),
        (b"emotion,pixels,Usage\n0," + b"1," * 2**20, "more than 262,144 characters in a line."),
    ],
)
def test_hostile_rows_get_a_sentence(content, message, source, tmp_path):
    (source / "fer2013.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        build("fer2013/original", source, tmp_path / "data")
