"""FER+'s votes: joined to FER-2013's rows, downloaded, checked."""

import hashlib
import http.server
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds
from fer2013_files import (
    LABELS,
    USAGES,
    VOTES,
    build,
    csv_text,
    write_ferplus,
    write_folders,
    write_source,
)
from native_files import sizes_of
from PIL import Image

from tfds_builders.contract import EMOTIONS
from tfds_builders.fer2013 import ferplus


def test_folders_give_no_row_for_ferplus(pixels, tmp_path):
    write_folders(tmp_path / "source", pixels)
    with pytest.raises(ValueError, match="do not contain row numbers.*build fer2013/original"):
        build("fer2013/ferplus", tmp_path / "source", tmp_path / "data")


def test_ferplus_labels_follow_the_rule(pixels, tmp_path, caplog):
    source = write_source(tmp_path / "source", pixels)
    splits = build("fer2013/ferplus", source, tmp_path / "data")
    assert sizes_of(splits) == {
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
    # Other files and counts than the published ones give warnings.
    assert "differs from the published one" in caplog.text
    assert "Found 3 faces in test of fer2013/ferplus (" in caplog.text


def test_ferplus_beside_a_csv_named_as_source(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    for path in source.rglob("*.csv"):
        path.write_text(path.read_text() + "\n")  # a blank line at the end
    splits = build("fer2013/ferplus", source / "fer2013.csv", tmp_path / "data")
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
        splits = build("fer2013/ferplus", tmp_path / "source", tmp_path / "data")
        assert len(splits["train"]) == 5
    else:
        with pytest.raises(FileNotFoundError, match="NonMatchingChecksumError.*put them beside"):
            build("fer2013/ferplus", tmp_path / "source", tmp_path / "data")


def test_registered_checksums_are_the_published_files():
    infos = tfds.builder_cls("fer2013").url_infos
    registered = {
        path: infos[f"{ferplus.REPOSITORY}/{ferplus.PATHS[path]}"] for path in ferplus.PATHS
    }
    assert {path: info.checksum for path, info in registered.items()} == ferplus.SHA256


def test_ferplus_needs_every_row(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    lines = csv_text(pixels).splitlines(keepends=True)
    (source / "fer2013.csv").write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="fer2013new.csv has 12 rows, the images 11"):
        build("fer2013/ferplus", source, tmp_path / "data")
    (source / "fer2013.csv").write_text("".join([lines[0], *reversed(lines[1:])]))
    with pytest.raises(ValueError, match="line 2 does not fit row 0"):
        build("fer2013/ferplus", source, tmp_path / "data")


def test_broken_votes_are_named(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
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
            build("fer2013/ferplus", source, tmp_path / "data")


def test_votes_in_the_wrong_folder_are_refused(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    train, test = (source / f"FER2013{part}" / "label.csv" for part in ("Train", "Test"))
    train_text, test_text = train.read_text(), test.read_text()
    train.write_text(test_text)
    test.write_text(train_text)
    with pytest.raises(ValueError, match="line 1: fer0000109.png belongs to test.*not to train"):
        build("fer2013/ferplus", source, tmp_path / "data")


def test_rows_in_another_order_are_refused(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    lines = csv_text(pixels).splitlines(keepends=True)
    # Within each Usage, where fer2013new.csv cannot tell.
    turned = [lines[0], *lines[6:0:-1], *lines[8:10], lines[7], *lines[11:13], lines[10]]
    (source / "fer2013.csv").write_text("".join(turned))
    with pytest.raises(ValueError, match="agree on 0% of the faces.*original order"):
        build("fer2013/ferplus", source, tmp_path / "data")


def test_a_copy_of_the_ferplus_repository_beside_a_csv(pixels, tmp_path):
    source = write_source(tmp_path / "source", pixels)
    (source / "FERPlus" / "data").mkdir(parents=True)
    (source / "fer2013new.csv").rename(source / "FERPlus" / "fer2013new.csv")
    for part in ("Train", "Valid", "Test"):
        (source / f"FER2013{part}").rename(source / "FERPlus" / "data" / f"FER2013{part}")
    splits = build("fer2013/ferplus", source / "fer2013.csv", tmp_path / "data")
    assert len(splits["train"]) == 5


def test_the_files_that_the_script_of_ferplus_writes(pixels, tmp_path):
    write_ferplus(tmp_path / "source")
    (tmp_path / "source" / "fer2013new.csv").unlink()  # not needed
    for i, (image, usage, votes) in enumerate(zip(pixels, USAGES, VOTES, strict=True)):
        part = {"Training": "Train", "PublicTest": "Valid", "PrivateTest": "Test"}[usage]
        if votes:
            Image.fromarray(image).save(tmp_path / f"source/FER2013{part}/fer{i + 100:07}.png")
    splits = build("fer2013/ferplus", tmp_path / "source", tmp_path / "data")
    sizes = sizes_of(splits)
    assert (sizes["train"], sizes["validation"], sizes["test"]) == (5, 3, 3)
    for example in splits["train"]:
        row = int(example["name"].decode()[3:10]) - 100
        assert EMOTIONS[example["label"]] == LABELS[row]
        np.testing.assert_array_equal(example["image"][..., 0], pixels[row])
    with pytest.raises(ValueError, match="no labels of FER-2013's own: build fer2013/ferplus"):
        build("fer2013/original", tmp_path / "source", tmp_path / "data")
    (tmp_path / "source" / "FER2013Test" / "fer0000110.png").unlink()
    with pytest.raises(
        ValueError, match="line 2: there is no fer0000110.png among the files of te"
    ):
        build("fer2013/ferplus", tmp_path / "source", tmp_path / "other")
