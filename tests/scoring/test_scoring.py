"""Bulk scoring: a real export, Beam's own runner, real files."""

import gzip
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image
from skimage.data import astronaut

from keras_deep_emotion import __version__
from keras_deep_emotion.cli import main
from keras_deep_emotion.images import Detector
from keras_deep_emotion.inference.loading import load_path
from keras_deep_emotion.inference.media import predict_crops

pytest.importorskip("apache_beam")
from apache_beam.io.filesystem import FileMetadata  # noqa: E402
from apache_beam.io.localfilesystem import LocalFileSystem  # noqa: E402

from keras_deep_emotion import scoring  # noqa: E402
from keras_deep_emotion.scoring import job, pipeline, scorer  # noqa: E402
from keras_deep_emotion.scoring.inputs import find_entries, masked_crc, read_entries  # noqa: E402
from keras_deep_emotion.scoring.storage import expand  # noqa: E402

ROOT = Path(__file__).parents[2]
DAMAGED = {
    "cut.jpg": "the image is damaged",
    "large.png": "4097 x 4097 pixels are too many, at most 16,777,216: shrink it",
    "cut.png": "the image is damaged",
    "empty.png": "the file is empty",
    "gone.jpg": "no such file or directory",
    "text.jpg": "not a picture of a known format",
}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Folder of 30 drawn faces, PNG and JPEG, at three depths."""
    folder = tmp_path_factory.mktemp("faces")
    random = np.random.default_rng(0)
    for i in range(30):
        small = Image.fromarray(random.integers(0, 256, (6, 6, 3)).astype(np.uint8))
        path = folder / ["", "a", "a/b"][i % 3] / f"{i:02d}.{'jpg' if i % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        small.resize((56, 56)).save(path)
    return folder


@pytest.fixture
def damaged(faces, tmp_path):
    """A copy of the faces with `DAMAGED` among them."""
    folder = shutil.copytree(faces, tmp_path / "faces")
    (folder / "empty.png").touch()
    (folder / "gone.jpg").symlink_to(folder / "nowhere")
    (folder / "text.jpg").write_text("no picture")
    Image.new("1", (4097, 4097)).save(folder / "large.png")
    (folder / "cut.jpg").write_bytes((faces / "a/01.jpg").read_bytes()[:300])
    (folder / "cut.png").write_bytes((faces / "00.png").read_bytes()[:300])
    return folder


def paths(folder, *endings):
    return sorted(
        str(path) for path in folder.rglob("*") if path.suffix in (endings or (".jpg", ".png"))
    )


def rows_of(output):
    shards = sorted(output.glob("part-*.jsonl"))
    return [json.loads(line) for shard in shards for line in shard.read_text().splitlines()]


def listed_damage(output):
    lists = sorted(output.glob("damaged-*.jsonl"))
    return [json.loads(line) for one in lists for line in one.read_text().splitlines()]


def score(*arguments, status=0):
    result = CliRunner().invoke(main, ["score", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def check_rows(rows, files, export, names=None):
    """The rows are those of `predict_crops`, in the order of the files."""
    model = load_path(export)
    assert [row["file"] for row in rows] == list(map(str, names or files))
    for row, expected in zip(rows, predict_crops(model, files), strict=True):
        found = row["probabilities"]
        assert list(found) == model.labels
        np.testing.assert_allclose(
            list(found.values()), expected.probabilities[0], rtol=1e-5, atol=1e-6
        )
        assert row["emotion"] == model.labels[expected.probabilities.argmax()]
        assert row["probability"] == found[row["emotion"]] == max(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("shards", ["jsonl", "parquet"])
def test_faces_are_found_in_photos(shards, export_dir, tmp_path):
    photo = Image.fromarray(astronaut())
    two = Image.new("RGB", (1024, 512))
    for x in (0, 512):
        two.paste(photo, (x, 0))
    (tmp_path / "photos").mkdir()
    two.save(tmp_path / "photos" / "a.png")
    photo.crop((300, 200, 512, 512)).save(tmp_path / "photos" / "b.png")  # no face
    two.save(tmp_path / "photos" / "c.png")
    (tmp_path / "photos" / "d.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    arguments = (export_dir, "--input", tmp_path / "photos", "--format", shards, "--faces", "find")
    said = score(*arguments, "--output", tmp_path / "out")
    assert "inputs: 4, scored: 3 with 4 faces, damaged: 1, listed in" in said
    assert "warning" not in said
    (path,) = (tmp_path / "out").glob("part-*")
    if shards == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        boxes = [row["box"] for row in rows]
    else:
        rows = pd.read_parquet(path).to_dict("records")
        boxes = [[row[name] for name in ("x", "y", "width", "height")] for row in rows]
    assert [Path(row["file"]).name for row in rows] == ["a.png", "a.png", "c.png", "c.png"]
    expected = [face.box for one in (two, two) for face in Detector().find(one)]
    for box, other in zip(sorted(boxes), sorted(map(list, expected)), strict=True):
        np.testing.assert_allclose(box, other, atol=8)


def test_photos_that_are_taken_for_crops_are_named(export_dir, tmp_path):
    for i in range(3):
        Image.fromarray(astronaut()).crop((0, 0, 512, 512 - 160 * (i > 0))).save(
            tmp_path / f"{i}.png"
        )
    said = score(export_dir, "--input", tmp_path, "--output", tmp_path / "out")
    assert "warning: 2 of the first 3 pictures look like photos, and each is taken for the" in said


def test_a_folder_with_damaged_files(damaged, export_dir, tmp_path):
    output = tmp_path / "out"
    said = score(
        export_dir.parent, "--input", f"{damaged}/**/*.png", "--input", f"{damaged}/**/*.jpg",
        "--output", output, "--part-size", 9, "--batch-size", 4,
    )  # fmt: skip
    good = [path for path in paths(damaged, ".png") if Path(path).name not in DAMAGED]
    good += [path for path in paths(damaged, ".jpg") if Path(path).name not in DAMAGED]
    rows = rows_of(output)
    check_rows(rows, good, export_dir)
    assert {Path(one["file"]).name: one["error"] for one in listed_damage(output)} == DAMAGED
    assert said.endswith(f"inputs: 36, scored: 30, damaged: 6, listed in {output}/damaged-*.jsonl")
    counted = pd.Series([row["emotion"] for row in rows]).value_counts()
    emotions = {label: int(counted.get(label, 0)) for label in load_path(export_dir).labels}
    assert json.loads((output / "summary.json").read_text()) == {
        "inputs": 36,
        "scored": 30,
        "damaged": 6,
        "emotions": emotions,
        "parts": 4,
        "format": "jsonl",
        "export": str(export_dir),
        "version": 1,
        "project_version": __version__,
    }
    assert sorted(path.name for path in output.glob("part-*")) == [
        f"part-0000{part}-of-00004.jsonl" for part in range(4)
    ]
    assert not (output / "job" / "partial").exists()


def test_a_folder_of_brackets_and_pictures_that_are_to_be_turned(export_dir, tmp_path):
    # What cameras write: the picture lies on its side, and EXIF data say so.
    folder = tmp_path / "faces [1]"
    folder.mkdir()
    shades = np.linspace(0, 255, 56 * 56).reshape(56, 56).astype(np.uint8)
    upright = Image.fromarray(shades)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    upright.save(folder / "a_upright.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "b_turned.png", exif=exif)
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    lying.save(folder / "c_turned.jpg", exif=exif, quality=100)
    lying.save(folder / "d_lying.png")
    output = tmp_path / "out [1]"
    files = sorted(folder.iterdir())
    (tmp_path / "list.csv").write_text("\n".join(["file", *map(str, files)]))
    said = score(export_dir, "--input", tmp_path / "list.csv", "--output", output)
    assert said.endswith("inputs: 4, scored: 4, damaged: 0")
    rows = rows_of(output)
    check_rows(rows, files, export_dir)  # `predict` turns them
    first, turned, jpeg, other = (np.array(list(row["probabilities"].values())) for row in rows)
    np.testing.assert_allclose(turned, first, atol=1e-6)
    np.testing.assert_allclose(jpeg, first, atol=0.02)
    assert np.abs(other - first).max() > 1e-3
    assert not (output / "job" / "partial").exists()


def test_a_list(faces, export_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # relative to the list, not to where the command runs
    shutil.copytree(faces, tmp_path / "data" / "faces")
    listed = ["faces/00.png", "faces/a/01.jpg", "faces/00.png", str(faces / "03.jpg"), "none.png"]
    table = pd.DataFrame({"id": range(5), "path": listed})
    # As a spreadsheet saves it.
    table.to_csv(tmp_path / "data/list.csv", index=False, encoding="utf-8-sig")
    score(
        export_dir, "--input", "data/list.csv", "--column", "path", "--output", "out",
    )  # fmt: skip
    files = ["data/faces/00.png", "data/faces/a/01.jpg", str(faces / "03.jpg")]
    check_rows(rows_of(tmp_path / "out"), files, export_dir)
    (missing,) = listed_damage(tmp_path / "out")
    assert missing == {"file": "data/none.png", "error": "no such file or directory"}


def write_records(path, contents, feature="image_bytes", compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for content in contents:
            values = tf.train.BytesList(value=[content])
            features = {feature: tf.train.Feature(bytes_list=values)}
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())
    return path


def test_records(faces, export_dir, tmp_path):
    files = paths(faces)
    contents = [Path(file).read_bytes() for file in files]
    whole = write_records(tmp_path / "x.tfrecord-00000-of-00003", contents[:12])
    # Compressed, whatever the name says.
    packed = write_records(
        tmp_path / "x.tfrecord-00001-of-00003", contents[12:20], "image_bytes", "GZIP"
    )
    cut = write_records(tmp_path / "x.tfrecord-00002-of-00003", contents[20:])
    cut.write_bytes(cut.read_bytes()[:-100])
    output = tmp_path / "out"
    score(export_dir, "--input", f"{tmp_path}/*.tfrecord*", "--output", output, "--part-size", 7)
    names = [f"{whole}#{i}" for i in range(12)] + [f"{packed}#{i}" for i in range(8)]
    names += [f"{cut}#{i}" for i in range(9)]
    check_rows(rows_of(output), files[:29], export_dir, names)
    assert listed_damage(output) == [
        {"file": f"{cut}#9", "error": "the file of records is damaged from here on"}
    ]
    assert json.loads((output / "summary.json").read_text())["inputs"] == 30


def test_checksum_of_records():
    # https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4: CRC-32C of 32 zero bytes is 8a9136aa.
    crc = 0x8A9136AA
    assert masked_crc(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_records_that_change_after_they_are_counted(faces, tmp_path):
    contents = [Path(file).read_bytes() for file in paths(faces)[:5]]
    file = write_records(tmp_path / "x.tfrecord", contents)
    packed = tmp_path / "y.tfrecord.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    for path in (file, packed):
        ((part),) = find_entries([str(path)], "file", "image_bytes", 100)
        whole = list(read_entries(part, "", "image_bytes", 2))
        assert [one.image for one in whole] == contents
        path.write_bytes(path.read_bytes()[:-150])
        got = list(read_entries(part, "", "image_bytes", 2))
        assert [one.name for one in got] == [one.name for one in whole]
        assert got[0] == whole[0]
        assert got[-1].image is None and "damaged from here on" in got[-1].error
        path.unlink()
        got = list(read_entries(part, "", "image_bytes", 2))
        assert {one.error for one in got} == {"no such file or directory"} and len(got) == 5


def test_records_that_hold_no_image(tmp_path):
    file = write_records(tmp_path / "x.tfrecord", [b"one", b""])
    with tf.io.TFRecordWriter(str(tmp_path / "z.tfrecord")) as writer:
        writer.write(b"\xff no message")
    parts = list(find_entries([f"{tmp_path}/*.tfrecord"], "file", "image_bytes", 2))
    errors = [one.error for part in parts for one in read_entries(part, "", "image_bytes", 2)]
    assert errors == [
        None,
        "the record has no image in its feature 'image_bytes'",
        "the record is not a tf.Example",
    ]
    assert parts[0] == [{"file": str(file), "first": 0, "count": 2, "offset": 0}]


def test_a_folder_named_as_records_holds_what_it_holds(tmp_path):
    (tmp_path / "faces.tfrecord").mkdir()
    (tmp_path / "faces.tfrecord" / "a.png").write_bytes(b"1")
    (part,) = find_entries([f"{tmp_path}/faces.tfrecord/*.png"], "file", "image_bytes", 2)
    assert part == [str(tmp_path / "faces.tfrecord" / "a.png")]


def test_parquet(damaged, export_dir, tmp_path):
    output = tmp_path / "out"
    score(
        export_dir, "--input", f"{damaged}/**/*.*", "--output", output, "--part-size", 20,
        "--format", "parquet",
    )  # fmt: skip
    shards = sorted(output.glob("part-*.parquet"))
    assert [shard.name for shard in shards] == [
        "part-00000-of-00002.parquet",
        "part-00001-of-00002.parquet",
    ]
    table = pd.concat(map(pd.read_parquet, shards), ignore_index=True)
    good = [path for path in paths(damaged) if Path(path).name not in DAMAGED]
    labels = load_path(export_dir).labels
    assert list(table.columns) == ["file", "emotion", "probability", *labels]
    assert set(table[["probability", *labels]].dtypes) == {np.dtype(np.float32)}
    rows = [
        {**row, "probabilities": {label: row[label] for label in labels}}
        for row in table.to_dict("records")
    ]
    check_rows(rows, good, export_dir)
    assert len(listed_damage(output)) == len(DAMAGED)


def test_a_part_without_a_good_file(tmp_path, export_dir):
    (tmp_path / "empty.png").touch()
    for shards in ("jsonl", "parquet"):
        output = tmp_path / shards
        said = score(
            export_dir, "--input", tmp_path / "*.png", "--output", output, "--format", shards
        )
        assert "inputs: 1, scored: 0, damaged: 1" in said
        (shard,) = output.glob("part-*")
        read = pd.read_parquet(shard) if shards == "parquet" else pd.DataFrame(rows_of(output))
        assert len(read) == 0


def test_killed_and_started_again(faces, export_dir, tmp_path):
    arguments = ["score", str(export_dir), "--input", f"{faces}/**/*.*", "--part-size", "1"]
    score(*arguments[1:], "--output", tmp_path / "whole")
    output = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "cli.py", *arguments, "--output", str(output)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(list(output.glob("part-*"))) < 4:
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert 4 <= len(before) < 30
    assert not (output / "summary.json").exists()
    # What it was writing when it was killed, and a shard that a power cut left short.
    (output / "job/partial").mkdir(exist_ok=True)
    (output / "job/partial/left").write_text("half a sh")
    short, *kept = sorted(before)
    os.truncate(short, 10)

    said = score(*arguments[1:], "--output", output)
    assert f"parts done already: {len(kept)} of 30" in said
    assert said.endswith("inputs: 30, scored: 30, damaged: 0")
    assert {path: path.stat().st_mtime_ns for path in kept} == {path: before[path] for path in kept}

    def files(folder):
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    assert files(output) == files(tmp_path / "whole")


def test_a_finished_job_is_not_done_again(faces, export_dir, tmp_path, monkeypatch):
    arguments = [export_dir, "--input", f"{faces}/*.*", "--output", tmp_path / "out"]
    first = score(*arguments)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("part-*")}

    def fail(*arguments):
        raise AssertionError("Scored again.")

    monkeypatch.setattr(scoring, "run_pipeline", fail)
    assert score(*arguments).partition(" anger ")[2] == first.partition(" anger ")[2]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_list_is_frozen_and_so_is_the_version(faces, export_dir, tmp_path, monkeypatch):
    versions = tmp_path / "exports"
    versions.mkdir()
    (versions / "9").symlink_to(export_dir, target_is_directory=True)
    (versions / "10").symlink_to(export_dir, target_is_directory=True)
    folder = shutil.copytree(faces / "a", tmp_path / "faces")
    arguments = [versions, "--input", f"{folder}/**/*.*", "--output", tmp_path / "out"]

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(scoring, "run_pipeline", stop)
        score(*arguments, status=130)
    (versions / "11").symlink_to(export_dir, target_is_directory=True)
    shutil.copy(faces / "00.png", folder / "new.png")
    (folder / "01.jpg").unlink()
    assert "inputs: 20, scored: 19, damaged: 1" in score(*arguments)
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert (summary["export"], summary["version"]) == (f"{versions}/10", 10)


def test_workers_beside_each_other_write_the_same(faces, export_dir, tmp_path):
    arguments = [export_dir, "--input", f"{faces}/**/*.*", "--part-size", 8]
    score(*arguments, "--output", tmp_path / "one")
    score(
        *arguments, "--output", tmp_path / "two", "--",
        "--direct_running_mode=multi_threading", "--direct_num_workers=2",
    )  # fmt: skip
    for shard in (tmp_path / "one").glob("part-*"):
        assert (tmp_path / "two" / shard.name).read_bytes() == shard.read_bytes()


def test_a_bundle_that_runs_again_adds_nothing(faces, export_dir, tmp_path):
    score(
        export_dir, "--input", f"{faces}/**/*.*", "--part-size", 8, "--output", tmp_path / "out",
        "--", "--direct_runner_bundle_repeat=1",
    )  # fmt: skip
    check_rows(rows_of(tmp_path / "out"), paths(faces), export_dir)


class Bucket(LocalFileSystem):
    """A fake bucket: URLs, no folders, a rename that refuses to replace."""

    root = None

    @classmethod
    def scheme(cls):
        return "elsewhere"

    def has_dirs(self):
        return False

    def local(self, url):
        return Path(self.root) / url.removeprefix("elsewhere://x").lstrip("/")

    def join(self, folder, *names):
        return "/".join([folder, *names])

    def split(self, url):
        folder, _, name = url.rpartition("/")
        return folder, name

    def _list(self, prefix):
        for path in Path(self.root).rglob("*"):
            url = f"elsewhere://x/{path.relative_to(self.root)}"
            if path.is_file() and url.startswith(prefix):
                yield FileMetadata(url, path.stat().st_size)

    def metadata(self, url):
        return FileMetadata(url, self.local(url).stat().st_size)

    def exists(self, url):
        return self.local(url).is_file()

    def open(self, url, *arguments, **options):
        return super().open(str(self.local(url)), *arguments, **options)

    def create(self, url, *arguments, **options):
        return super().create(str(self.local(url)), *arguments, **options)

    def rename(self, sources, destinations):
        for source, destination in zip(sources, destinations, strict=True):
            assert not self.exists(destination)
            self.local(destination).parent.mkdir(parents=True, exist_ok=True)
            self.local(source).rename(self.local(destination))

    def delete(self, urls):
        for url in urls:
            self.local(url).unlink()


def test_inputs_and_shards_in_a_bucket(damaged, export_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(Bucket, "root", tmp_path)
    (tmp_path / "list.csv").write_text(
        "file\nfaces/00.png\nfaces/none.png\nelsewhere://x/faces/03.jpg"
    )
    contents = [path.read_bytes() for path in sorted(damaged.glob("a/*.jpg"))]
    write_records(tmp_path / "x.tfrecord", contents)
    arguments = [
        export_dir, "--input", "elsewhere://x/faces/**/*.jpg", "--input", "elsewhere://x/list.csv",
        "--input", "elsewhere://x/*.tfrecord", "--output", "elsewhere://x/out", "--part-size", 9,
    ]  # fmt: skip
    said = score(*arguments)
    # 15 of 17 JPEG files are whole; of the list one is new, one is not there; five records.
    assert said.endswith("damaged: 3, listed in elsewhere://x/out/damaged-*.jsonl")
    assert "inputs: 24, scored: 21" in said
    whole = [path for path in paths(damaged, ".jpg") if Path(path).name not in DAMAGED]
    files = [*whole, damaged / "00.png", *sorted(damaged.glob("a/*.jpg"))]
    names = [f"elsewhere://x/{Path(path).relative_to(tmp_path)}" for path in files[:16]]
    names += [f"elsewhere://x/x.tfrecord#{i}" for i in range(5)]
    check_rows(rows_of(tmp_path / "out"), files, export_dir, names)
    errors = {one["file"]: one["error"] for one in listed_damage(tmp_path / "out")}
    assert errors.keys() == {
        f"elsewhere://x/faces/{name}" for name in ("cut.jpg", "text.jpg", "none.png")
    }
    # A shard that is gone is made again, and replaces nothing but its own.
    shards = sorted((tmp_path / "out").glob("part-*"))
    before = shards[1].read_bytes()
    shards[1].unlink()
    assert "parts done already: 2 of 3" in score(*arguments)
    assert shards[1].read_bytes() == before


def test_patterns_match_the_same_here_and_in_a_bucket(faces, monkeypatch):
    monkeypatch.setattr(Bucket, "root", faces)
    for pattern in ("**/*.jpg", "*.jpg", "a/**/*.png", "a/*/2?.jpg", "**/[01]*.png"):
        local = [str(Path(path).relative_to(faces)) for path in expand(f"{faces}/{pattern}")]
        remote = expand(f"elsewhere://x/{pattern}")
        assert local and [f"elsewhere://x/{path}" for path in local] == remote


def test_a_folder_is_scored_and_what_is_passed_over_is_named(faces, export_dir, tmp_path):
    folder = tmp_path / "run [2024]"
    shutil.copytree(faces, folder)
    Image.open(next(folder.glob("*.png"))).save(folder / "another.webp", lossless=True)
    (folder / "notes.txt").write_text("no picture")
    answer = score(export_dir, "--input", folder, "--output", tmp_path / "out")
    assert "1 file passed over, not images: notes.txt" in answer
    assert "inputs: 31, scored: 31, damaged: 0" in answer
    assert "another.webp" in (tmp_path / "out" / "part-00000-of-00001.jsonl").read_text()


def test_mistakes(faces, export_dir, run_dir, tmp_path):
    out, png = tmp_path / "out", f"{faces}/*.png"

    def fails(*arguments, says, status=1):
        assert says in score(*arguments, status=status)
        assert not (out / "manifest.json").exists()

    fails(
        export_dir, "--input", f"{faces}/*.gif", "--output", out,
        says=f"Error: No image or list matches {faces}/*.gif. Name a folder, or files, such as",
    )  # fmt: skip
    (tmp_path / "empty").mkdir()
    fails(
        export_dir, "--input", tmp_path / "empty", "--output", out,
        says=f"No image or list matches {tmp_path / 'empty'}. ",
    )  # fmt: skip
    fails(
        run_dir, "--input", png, "--output", out,
        says=f"{run_dir} is a run; `keras-deep-emotion export {run_dir}` makes an export of it",
    )  # fmt: skip
    fails(
        faces, "--input", png, "--output", out, says=f"{faces} is not an export (no saved_model.pb)"
    )
    fails(
        export_dir, "--input", png, "--output", faces,
        says=f"{faces} already holds something else; name a new folder with --output.",
    )  # fmt: skip
    fails(
        export_dir, "--input", png, "--output", out, "--part-size", 0,
        says="part_size must be 1 or more. Received: 0",
    )  # fmt: skip
    fails(
        export_dir, "--input", png, "--output", out, "--runner", "Nimble",
        says="Beam refuses --runner or the options after `--`: Unexpected pipeline runner: Nimble.",
    )  # fmt: skip
    fails(
        export_dir, "--input", png, "--output", out, "--", "--direct_num_workers=x",
        says="argument --direct_num_workers: invalid int value: 'x'.",
    )  # fmt: skip
    fails(
        export_dir, "--input", faces / "00.png", faces / "06.png", "--output", out,
        says=f"{faces}/06.png is left over. Put a pattern in quotes, or the shell", status=2,
    )  # fmt: skip
    fails(
        export_dir, "--input", "none://x/*.png", "--output", out,
        says="Error: No file system is installed for none://x/*.png; for gs:// pip install",
    )  # fmt: skip


def test_mistakes_in_lists_and_records(export_dir, tmp_path):
    out, table, records = tmp_path / "out", tmp_path / "list.csv", tmp_path / "x.tfrecord"

    def fails(path, says):
        assert says in score(export_dir, "--input", path, "--output", out, status=1)

    table.write_text("name,path\na,b\n")
    fails(table, f"{table} has no column 'file'; it has: name, path. Name one with --column.")
    table.write_text("file,id\nx.png,1\n,2\n")
    fails(table, f"{table}, line 3: column 'file' is empty. Give it the path of an image, or")
    table.write_bytes(b"file\n\xff\xfe.png\n")
    fails(table, f"{table} is not a CSV file in UTF-8: ")
    table.write_text("file\n")
    fails(table, f"{table}: these files name no image and hold no record.")
    write_records(records, [b"x"], "image")
    fails(
        records,
        f"The records of {records} have no feature 'image_bytes'; they have: image. Name one",
    )


def test_the_folder_of_another_job_is_refused(faces, export_dir, tmp_path):
    out = tmp_path / "out"
    score(export_dir, "--input", f"{faces}/*.png", "--output", out)
    before = (out / "manifest.json").read_bytes()
    for changed, says in (
        (["--input", f"{faces}/*.jpg"], f"whose inputs is ['{faces}/*.png']."),
        (["--input", f"{faces}/*.png", "--part-size", 3], "whose part_size is 10000."),
        (["--input", f"{faces}/*.png", "--format", "parquet"], "whose format is 'jsonl'."),
    ):
        said = score(export_dir, *changed, "--output", out, status=1)
        assert f"Error: {out} holds another job, {says} Name a new folder with --output" in said
    assert (out / "manifest.json").read_bytes() == before


def test_files_that_a_power_cut_left_empty(faces, export_dir, tmp_path):
    out = tmp_path / "out"
    arguments = (export_dir, "--input", f"{faces}/*.png", "--output", out, "--part-size", 2)
    score(*arguments)
    before, (counts, *_) = rows_of(out), sorted((out / "job" / "counts").iterdir())
    counts.write_text("")
    assert "parts done already: 2 of 3" in score(*arguments)
    assert rows_of(out) == before
    counts.unlink()
    assert "parts done already: 2 of 3" in score(*arguments)
    (out / "manifest.json").write_text("")
    said = score(*arguments, status=1)
    assert f"Error: {out}/manifest.json is damaged: Expecting value" in said
    assert said.endswith("Name a new folder with --output.")


def test_a_second_process_waits_outside(faces, export_dir, tmp_path):
    out = tmp_path / "out"
    with job.exclusive_job(str(out)):
        said = score(export_dir, "--input", f"{faces}/*.png", "--output", out, status=1)
    assert f"Error: Another process works on {out}; wait for it, or name a new folder" in said


def test_a_full_disk_is_one_sentence(faces, export_dir, tmp_path, monkeypatch):
    write = pipeline.write

    def full(output, path, content):
        if "part-" in path:
            raise OSError(28, "No space left on device", path)
        write(output, path, content)

    monkeypatch.setattr(pipeline, "write", full)
    said = score(export_dir, "--input", f"{faces}/*.png", "--output", tmp_path / "out", status=1)
    assert said.endswith(f"Error: No space left on device: {tmp_path}/out.")


def test_stopped_by_the_keyboard(faces, export_dir, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(scorer.Scorer, "__call__", stop)
    said = score(export_dir, "--input", f"{faces}/*.png", "--output", tmp_path / "out", status=130)
    assert said.endswith("Stopped. Finished parts are kept; the same command continues the job.")


def test_without_beam(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = score("x", "--input", "y", "--output", "z", status=1)
    assert said == "Error: Apache Beam is not installed: pip install 'apache-beam>=2.70'"


def test_the_terminal_shows_the_job_and_nothing_of_beam(faces, export_dir, tmp_path):
    done = subprocess.run(
        [sys.executable, "cli.py", "score", str(export_dir), "--input", f"{faces}/*.png"]
        + ["--output", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stderr == "inputs: 5, parts: 1\n"
    lines = done.stdout.splitlines()
    assert len(lines) == 9 and lines[0].startswith("anger")
    assert lines[-2:] == [
        f"by {export_dir}; wrote {tmp_path}/out/summary.json and {tmp_path}/out/part-*",
        "inputs: 5, scored: 5, damaged: 0",
    ]
