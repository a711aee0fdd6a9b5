"""FER-2013's native files with mistakes in them."""

import pytest
from fer2013_files import build, csv_text, write_folders
from native_files import refused
from PIL import Image

from keras_deep_emotion.data.building import build_dataset, damaged_files_path


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
        assert "python cli.py build-data fer2013 --source DIR_OR_ARCHIVE" in str(caught.value)


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
