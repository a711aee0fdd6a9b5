"""FER-2013's builder, on small files in each native form, and on the real ones where they are."""

import hashlib
import http.server
import io
import os
import tarfile
import threading
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from keras_deep_emotion.data.building import build_dataset, damaged_files_path
from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013 import ferplus
from tfds_builders.fer2013.native import FER2013_CODES

USAGES = ("Training",) * 6 + ("PublicTest",) * 3 + ("PrivateTest",) * 3
CODES = (0, 1, 2, 3, 4, 5, 6, 3, 0, 6, 5, 4)


@pytest.fixture
def pixels():
    """Twelve drawn images; the last of validation and the last of test repeat the first."""
    images = np.random.default_rng(0).integers(0, 256, (12, 48, 48)).astype(np.uint8)
    images[8] = images[11] = images[0]
    return images


def csv_text(pixels, header="emotion,pixels,Usage", order=(0, 1, 2)):
    lines = [header]
    for image, code, usage in zip(pixels, CODES, USAGES, strict=True):
        cells = (str(code), " ".join(map(str, image.ravel())), usage)
        lines.append(",".join(cells[i] for i in order))
    return "\n".join(lines) + "\n"


# Columns: neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF.
VOTES = (
    (0, 0, 0, 0, 9, 1, 0, 0, 0, 0),  # anger
    (4, 0, 0, 4, 0, 0, 0, 2, 0, 0),  # a tie: neutral comes first
    (0, 0, 0, 0, 0, 0, 1, 9, 0, 0),  # contempt cannot be the label: fear
    (0, 9, 0, 0, 0, 0, 0, 0, 0, 1),
    (0, 0, 0, 8, 0, 0, 0, 0, 2, 0),
    None,  # not a face
    (9, 0, 0, 0, 0, 0, 0, 0, 1, 0),
    (0, 8, 2, 0, 0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 6, 4, 0, 0, 0, 0),
    (5, 0, 0, 0, 0, 5, 0, 0, 0, 0),  # a tie: neutral comes first
    (0, 0, 9, 1, 0, 0, 0, 0, 0, 0),
    (0, 0, 0, 1, 0, 2, 1, 6, 0, 0),  # disgust
)
LABELS = ("anger", "neutral", "fear", "happiness", "sadness", None) + (
    "neutral", "happiness", "anger", "neutral", "surprise", "disgust",
)  # fmt: skip


def write_ferplus(folder):
    names = [f"fer{i + 100:07}.png" for i in range(12)]  # names are no row numbers
    lines = [
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    ]
    labels = {"Training": [], "PublicTest": [], "PrivateTest": []}
    for name, usage, votes in zip(names, USAGES, VOTES, strict=True):
        lines.append(
            f"{usage},{name if votes else ''},{','.join(map(str, votes or [0] * 9 + [10]))}"
        )
        if votes:
            labels[usage].append(f'{name},"(0, 0, 48, 48)",{",".join(map(str, votes))}')
    (folder / "fer2013new.csv").write_text("\n".join(lines) + "\n")
    for part, usage in (("Train", "Training"), ("Valid", "PublicTest"), ("Test", "PrivateTest")):
        (folder / f"FER2013{part}").mkdir(exist_ok=True)
        (folder / f"FER2013{part}" / "label.csv").write_text("\n".join(labels[usage]) + "\n")


def built(dataset, source, data_dir):
    (builder,) = build_dataset(dataset, source, data_dir)
    return {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in builder.info.splits
    }


def check_original(splits, pixels):
    assert {split: len(part) for split, part in splits.items()} == {
        "train": 6,
        "validation": 3,
        "test": 3,
        "validation_deduplicated": 2,
        "test_deduplicated": 2,
    }
    rows = {}
    for split in ("train", "validation", "test"):
        for example in splits[split]:
            rows[int(example["name"].decode()[-5:])] = (split, example)
    for i in range(12):
        split, example = rows[i]
        expected = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}
        assert split == expected[USAGES[i]]
        np.testing.assert_array_equal(example["image"][..., 0], pixels[i])
        assert EMOTIONS[example["label"]] == FER2013_CODES[CODES[i]]
        assert example["subject"] == b""
        np.testing.assert_array_equal(example["face"], [0, 0, 1, 1])
    kept = {example["name"] for example in splits["test_deduplicated"]}
    assert kept == {b"row_00009", b"row_00010"}


@pytest.mark.parametrize("form", ["folder", "file", "zip", "tar.gz", "kaggle", "deep"])
def test_each_form_of_the_csv(form, pixels, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    text = csv_text(pixels)
    if form in ("folder", "file"):
        (source / "any name.csv").write_text(text)
        (source / "other.csv").write_text("a,b\n1,2\n")
        source = source / "any name.csv" if form == "file" else source
    elif form == "deep":
        (source / "__MACOSX").mkdir()
        (source / "__MACOSX" / "fer2013.csv").write_text("junk")
        (source / "a" / "b").mkdir(parents=True)
        (source / "a" / "b" / "fer2013.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    elif form == "kaggle":
        text = csv_text(pixels, "emotion, Usage, pixels", (0, 2, 1))
        (source / "icml_face_data.csv").write_text(text)
        (source / "train.csv").write_text("emotion,pixels\n0,1 2 3\n")
    elif form == "zip":
        with zipfile.ZipFile(source / "archive.zip", "w") as archive:
            archive.writestr("fer2013/README", "read me")
            archive.writestr("fer2013/fer2013.csv", text)
    else:
        source = source / "fer2013.tar.gz"
        with tarfile.open(source, "w:gz") as archive:
            member = tarfile.TarInfo("fer2013/fer2013.csv")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    check_original(built("fer2013/original", source, tmp_path / "data"), pixels)


def write_folders(folder, pixels):
    """The re-packaging as JPEG files; returns what each decodes to."""
    decoded = {}
    names = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    for i, (image, code, usage) in enumerate(zip(pixels, CODES, USAGES, strict=True)):
        part = "train" if usage == "Training" else "test"
        path = folder / part / names[code] / f"{usage}_{i * 37}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=95)
        decoded[f"{names[code]}/{path.name}"] = np.asarray(Image.open(path))
    return decoded


@pytest.mark.parametrize("archived", [False, True])
def test_folders_of_jpeg_files(archived, pixels, tmp_path):
    source = tmp_path / "source"
    decoded = write_folders(source, pixels)
    if archived:
        with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
            for path in source.rglob("*.jpg"):
                archive.write(path, f"archive/{path.relative_to(source)}")
        source = tmp_path / "faces.zip"
    splits = built("fer2013/original", source, tmp_path / "data")
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [6, 3, 3]
    assert [len(splits[f"{split}_deduplicated"]) for split in ("validation", "test")] == [2, 2]
    examples = [one for split in ("train", "validation", "test") for one in splits[split]]
    assert {one["name"].decode() for one in examples} == set(decoded)
    for example in examples:
        np.testing.assert_array_equal(example["image"][..., 0], decoded[example["name"].decode()])
    happy = [one for one in examples if one["name"].startswith(b"happy/")]
    assert len(happy) == 2 and {EMOTIONS[one["label"]] for one in happy} == {"happiness"}


def test_folders_give_no_row_for_ferplus(pixels, tmp_path):
    write_folders(tmp_path / "source", pixels)
    with pytest.raises(ValueError, match="give no row.*build fer2013/original"):
        built("fer2013/ferplus", tmp_path / "source", tmp_path / "data")


def test_ferplus_labels_follow_the_rule(pixels, tmp_path, caplog):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "fer2013.csv").write_text(csv_text(pixels))
    write_ferplus(tmp_path / "source")
    splits = built("fer2013/ferplus", tmp_path / "source", tmp_path / "data")
    assert {split: len(part) for split, part in splits.items()} == {
        "train": 5,  # one is no face
        "validation": 3,
        "test": 3,
        "validation_deduplicated": 2,
        "test_deduplicated": 2,
    }
    for split in ("train", "validation", "test"):
        for example in splits[split]:
            row = int(example["name"].decode()[-5:])
            assert EMOTIONS[example["label"]] == LABELS[row]
            assert tuple(example["votes"]) == VOTES[row]
            np.testing.assert_array_equal(example["image"][..., 0], pixels[row])
    # Files that are not the published ones, and counts that are not, are said.
    assert "differs from the published one" in caplog.text
    assert "test of fer2013/ferplus has 3 faces" in caplog.text


def test_ferplus_beside_a_csv_that_was_named_alone(pixels, tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "fer2013.csv").write_text(csv_text(pixels))
    write_ferplus(tmp_path / "source")
    splits = built("fer2013/ferplus", tmp_path / "source" / "fer2013.csv", tmp_path / "data")
    assert len(splits["train"]) == 5


@pytest.fixture
def server(tmp_path):
    """A web server on loopback, with FER+'s files as the repository has them."""
    folder = tmp_path / "web"
    (folder / "data").mkdir(parents=True)
    write_ferplus(folder)
    for part in ("Train", "Valid", "Test"):
        (folder / f"FER2013{part}").rename(folder / "data" / f"FER2013{part}")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


@pytest.mark.parametrize("right", [True, False])
def test_ferplus_is_downloaded_and_checked(right, server, pixels, tmp_path, monkeypatch):
    folder, url = server
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "fer2013.csv").write_text(csv_text(pixels))
    monkeypatch.setattr(ferplus, "REPOSITORY", url)
    infos = {}
    for path in ferplus.PATHS.values():
        content = (folder / path).read_bytes()
        infos[f"{url}/{path}"] = tfds.download.checksums.UrlInfo(
            size=len(content),
            checksum=hashlib.sha256(content if right else b"another").hexdigest(),
            filename=path.rsplit("/")[-1],
        )
    builder_class = tfds.builder_cls("fer2013")
    monkeypatch.setattr(builder_class, "url_infos", infos)
    if right:
        splits = built("fer2013/ferplus", tmp_path / "source", tmp_path / "data")
        assert len(splits["train"]) == 5
    else:
        with pytest.raises(FileNotFoundError, match="NonMatchingChecksumError.*put them beside"):
            built("fer2013/ferplus", tmp_path / "source", tmp_path / "data")


def test_registered_checksums_are_the_published_files():
    infos = tfds.builder_cls("fer2013").url_infos
    registered = {
        path: infos[f"{ferplus.REPOSITORY}/{ferplus.PATHS[path]}"] for path in ferplus.PATHS
    }
    assert {path: info.checksum for path, info in registered.items()} == ferplus.SHA256


def row(code="3", pixels=None, usage="Training"):
    return f"{code},{pixels or ' '.join(['7'] * 2304)},{usage}"


HEADER = "emotion,pixels,Usage"
BAD_ROWS = {  # a second row, and what is said of it
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
def test_bad_csv_is_named_with_its_line(case, tmp_path):
    text, message = BAD_FILES[case]
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "fer2013.csv").write_text(text)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        built("fer2013/original", tmp_path / "source", tmp_path / "data")
    assert message in str(caught.value)
    # Nothing is left that a later command takes for whole.
    assert not list((tmp_path / "data").rglob("dataset_info.json"))


def test_missing_source_says_what_to_request(tmp_path):
    (tmp_path / "empty").mkdir()
    for source in (None, tmp_path / "empty"):
        with pytest.raises(
            FileNotFoundError, match="FER-2013 is missing: get fer2013.csv"
        ) as caught:
            built("fer2013/original", source, tmp_path / "data")
        assert "python cli.py build-data fer2013 --source DIR_OR_ARCHIVE" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("test/happy/Training_1.jpg", 48, "lies under test/ but its name says Training"),
        ("train/joy/Training_1.jpg", 48, "must lie in a folder named angry"),
        ("train/happy/Training_1.jpg", 64, "must have 48 x 48 pixels"),
    ],
)
def test_bad_jpeg_folders_are_named(name, size, message, tmp_path):
    path = tmp_path / "source" / name
    path.parent.mkdir(parents=True)
    Image.new("L", (size, size)).save(path)
    with pytest.raises(ValueError, match=message):
        built("fer2013/original", tmp_path / "source", tmp_path / "data")


def test_damaged_jpeg_is_named(tmp_path):
    path = tmp_path / "source" / "train" / "sad" / "Training_9.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xd8\xff no picture")
    with pytest.raises(ValueError, match="Training_9.jpg is damaged .*--skip-damaged"):
        built("fer2013/original", tmp_path / "source", tmp_path / "data")


def test_damaged_jpegs_can_be_left_out(tmp_path):
    source = tmp_path / "source"
    for part, usage in (("train", "Training"), ("test", "PublicTest"), ("test", "PrivateTest")):
        for number in (1, 2):
            path = source / part / "sad" / f"{usage}_{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (48, 48), 40 * number).save(path)
    (source / "train" / "sad" / "Training_2.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (builder,) = build_dataset("fer2013/original", source, tmp_path / "data", skip_damaged=True)
    assert {
        split: builder.info.splits[split].num_examples for split in ("train", "validation", "test")
    } == {
        "train": 1,
        "validation": 2,
        "test": 2,
    }
    assert damaged_files_path(builder).read_text().startswith("train/sad/Training_2.jpg: ")
    for path in source.rglob("*.jpg"):
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="None of the JPEG files can be decoded; obtain FER"):
        list(build_dataset("fer2013/original", source, tmp_path / "other", skip_damaged=True))


def test_ferplus_needs_every_row(pixels, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    lines = csv_text(pixels).splitlines(keepends=True)
    write_ferplus(source)
    (source / "fer2013.csv").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="fer2013new.csv has 12 rows, the images 11"):
        built("fer2013/ferplus", source, tmp_path / "data")
    (source / "fer2013.csv").write_text("".join([lines[0], *reversed(lines[1:])]))
    with pytest.raises(ValueError, match="line 2 does not fit row 0"):
        built("fer2013/ferplus", source, tmp_path / "data")


def test_broken_votes_are_named(pixels, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "fer2013.csv").write_text(csv_text(pixels))
    write_ferplus(source)
    label = source / "FER2013Test" / "label.csv"
    for content, message in (
        (
            "fer1.png,box,1,2\n",
            "FER2013Test/label.csv, line 1: expected a name, a box and ten votes",
        ),
        ("fer1.png,box" + ",1" * 10, "line 1: fer1.png is not in fer2013new.csv"),
        ("", "FER2013Test/label.csv is empty"),
    ):
        label.write_text(content)
        with pytest.raises(ValueError, match=message):
            built("fer2013/ferplus", source, tmp_path / "data")


def write_source(folder, pixels):
    folder.mkdir()
    (folder / "fer2013.csv").write_text(csv_text(pixels))
    write_ferplus(folder)
    return folder


def test_a_part_of_the_release_is_refused(pixels, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    lines = csv_text(pixels).splitlines(keepends=True)
    (source / "fer2013.csv").write_text("".join(lines[:7]))
    with pytest.raises(ValueError, match="No face belongs to validation and test"):
        built("fer2013/original", source, tmp_path / "data")
    write_folders(tmp_path / "jpeg", pixels)
    with pytest.raises(ValueError, match="No face belongs to validation and test"):
        built("fer2013/original", tmp_path / "jpeg" / "train", tmp_path / "data")


def test_other_files_beside_are_no_obstacle(pixels, tmp_path, caplog):
    source = write_source(tmp_path / "source", pixels)
    (source / "ckextended.csv").write_text("emotion,pixels,Usage\n7,1 2,Training\n")  # CK+'s
    (source / "thesis.zip").write_bytes(b"PK cut")
    check_original(built("fer2013/original", source, tmp_path / "data"), pixels)
    assert "Passed over: thesis.zip is damaged or cut short" in caplog.text


def test_a_blank_line_at_the_end_is_no_row(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    (source / "fer2013.csv").write_text(csv_text(pixels) + "\n")
    check_original(built("fer2013/original", source, tmp_path / "data"), pixels)


def test_what_was_found_instead_is_said(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.csv").write_text("")
    (source / "b.csv").write_text("label,image\n")
    with pytest.raises(FileNotFoundError, match=r"only a.csv \(empty\), b.csv \(label, image\)"):
        built("fer2013/original", source, tmp_path / "data")


def test_votes_in_the_wrong_folder_are_refused(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    train, test = (source / f"FER2013{part}" / "label.csv" for part in ("Train", "Test"))
    train_text, test_text = train.read_text(), test.read_text()
    train.write_text(test_text)
    test.write_text(train_text)
    with pytest.raises(ValueError, match="line 1: fer0000109.png belongs to test.*not to train"):
        built("fer2013/ferplus", source, tmp_path / "data")


def test_rows_in_another_order_are_refused(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    lines = csv_text(pixels).splitlines(keepends=True)
    # Within each Usage, where fer2013new.csv cannot tell.
    turned = [lines[0], *lines[6:0:-1], *lines[8:10], lines[7], *lines[11:13], lines[10]]
    (source / "fer2013.csv").write_text("".join(turned))
    with pytest.raises(ValueError, match="agree on 0% of the faces.*original order"):
        built("fer2013/ferplus", source, tmp_path / "data")


def test_a_copy_of_the_ferplus_repository_beside_a_csv(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    (source / "FERPlus" / "data").mkdir(parents=True)
    (source / "fer2013new.csv").rename(source / "FERPlus" / "fer2013new.csv")
    for part in ("Train", "Valid", "Test"):
        (source / f"FER2013{part}").rename(source / "FERPlus" / "data" / f"FER2013{part}")
    splits = built("fer2013/ferplus", source / "fer2013.csv", tmp_path / "data")
    assert len(splits["train"]) == 5


def test_colour_is_refused(tmp_path):
    path = tmp_path / "source" / "train" / "sad" / "Training_9.jpg"
    path.parent.mkdir(parents=True)
    Image.new("RGB", (48, 48)).save(path)
    with pytest.raises(ValueError, match="must have 48 x 48 pixels of grey.*48 x 48 in colour"):
        built("fer2013/original", tmp_path / "source", tmp_path / "data")


class TestRealFiles:
    """Counts as published, pixels as in the file: 35,887 of them."""

    COUNTS = {
        "ferplus": {"train": 28_558, "validation": 3_579, "test": 3_573},
        "original": {"train": 28_709, "validation": 3_589, "test": 3_589},
    }

    @pytest.fixture
    def examples(self, fer2013_dir):
        def read(config, split):
            builder = tfds.builder("fer2013", config=config, data_dir=fer2013_dir)
            return list(builder.as_dataset(split=split).as_numpy_iterator())

        return read

    def classes(self, examples):
        counts = Counter(EMOTIONS[one["label"]] for one in examples)
        return [counts[emotion] for emotion in EMOTIONS]

    @pytest.mark.parametrize("config", ["ferplus", "original"])
    def test_sizes(self, config, fer2013_dir):
        splits = tfds.builder("fer2013", config=config, data_dir=fer2013_dir).info.splits
        sizes = {split: splits[split].num_examples for split in self.COUNTS[config]}
        assert sizes == self.COUNTS[config]
        leaked = [
            splits[split].num_examples - splits[f"{split}_deduplicated"].num_examples
            for split in ("validation", "test")
        ]
        assert leaked == {"ferplus": [279, 288], "original": [280, 288]}[config]

    def test_ferplus_test_classes_are_those_of_the_papers_figure_8(self, examples):
        assert self.classes(examples("ferplus", "test")) == [327, 25, 99, 930, 1290, 452, 450]

    def test_original_classes_and_every_pixel(self, examples):
        found = [one for split in self.COUNTS["original"] for one in examples("original", split)]
        totals = dict(zip(EMOTIONS, self.classes(found), strict=True))
        published = (4953, 547, 5121, 8989, 6077, 4002, 6198)
        assert totals == dict(zip(FER2013_CODES, published, strict=True))
        images = {one["name"].decode(): one["image"].tobytes() for one in found}
        with (Path(os.environ["FER2013_DIR"]) / "fer2013.csv").open() as file:
            next(file)
            for i, line in enumerate(file):
                text = line.split(",")[1]
                assert images[f"row_{i:05}"] == bytes(map(int, text.split()))
        assert i == 35_886
