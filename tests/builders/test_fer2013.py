"""FER-2013's builder, on small files in each native form, and on the real ones where they are."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from fer2013_files import CODES, USAGES, build, csv_text, write_folders, write_source
from native_files import files_below, sizes_of, write, write_archive

from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013.native import FER2013_CODES


def check_original(splits, pixels):
    assert sizes_of(splits) == {
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
def test_each_form_of_the_csv(form, pixels, source):
    text = csv_text(pixels).encode()
    files, named = {
        "folder": ({"any name.csv": text, "other.csv": b"a,b\n1,2\n"}, ""),
        "file": ({"any name.csv": text, "other.csv": b"a,b\n1,2\n"}, "any name.csv"),
        "deep": ({"__MACOSX/fer2013.csv": b"junk", "a/b/fer2013.csv": b"\xef\xbb\xbf" + text}, ""),
        "kaggle": (
            {
                "icml_face_data.csv": csv_text(
                    pixels, "emotion, Usage, pixels", (0, 2, 1)
                ).encode(),
                "train.csv": b"emotion,pixels\n0,1 2 3\n",
            },
            "",
        ),
        "zip": ({}, ""),
        "tar.gz": ({}, "fer2013.tar.gz"),
    }[form]
    write(source, files)
    if form == "zip":
        write_archive(
            source / "archive.zip", {"fer2013/README": b"read me", "fer2013/fer2013.csv": text}
        )
    elif form == "tar.gz":
        write_archive(source / "fer2013.tar.gz", {"fer2013/fer2013.csv": text})
    check_original(build("fer2013/original", source / named, source.parent / "data"), pixels)


@pytest.mark.parametrize("archived", [False, True])
def test_folders_of_jpeg_files(archived, pixels, tmp_path):
    source = tmp_path / "source"
    decoded = write_folders(source, pixels)
    if archived:
        files = {f"archive/{name}": content for name, content in files_below(source).items()}
        source = tmp_path / "faces.zip"
        write_archive(source, files)
    splits = build("fer2013/original", source, tmp_path / "data")
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [6, 3, 3]
    assert [len(splits[f"{split}_deduplicated"]) for split in ("validation", "test")] == [2, 2]
    examples = [one for split in ("train", "validation", "test") for one in splits[split]]
    assert {one["name"].decode() for one in examples} == set(decoded)
    for example in examples:
        np.testing.assert_array_equal(example["image"][..., 0], decoded[example["name"].decode()])
    happy = [one for one in examples if one["name"].startswith(b"happy/")]
    assert len(happy) == 2 and {EMOTIONS[one["label"]] for one in happy} == {"happiness"}


def test_other_files_beside_are_no_obstacle(pixels, tmp_path, caplog):
    source = write_source(tmp_path / "source", pixels)
    (source / "ckextended.csv").write_text("emotion,pixels,Usage\n7,1 2,Training\n")  # CK+'s
    (source / "thesis.zip").write_bytes(b"PK cut")
    check_original(build("fer2013/original", source, tmp_path / "data"), pixels)
    assert "Ignored: thesis.zip is damaged or cut short" in caplog.text


def test_a_blank_line_at_the_end_is_ignored(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    (source / "fer2013.csv").write_text(csv_text(pixels) + "\n")
    check_original(build("fer2013/original", source, tmp_path / "data"), pixels)


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
