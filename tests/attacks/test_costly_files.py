"""Small files that would take much memory or time to read: they are refused before they do."""

import gzip
import io
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from keras_deep_emotion.evaluation.predictions import read_predictions
from keras_deep_emotion.files import MOST_CELLS, MOST_COLUMNS
from keras_deep_emotion.runs import MOST_BYTES, Run, read_arrays
from keras_deep_emotion.serving.container import LARGEST, read_models_config
from tfds_builders.face_tables import MOST_LINES, read_rows
from tfds_builders.fer2013 import ferplus
from tfds_builders.sources import LARGEST_HEADER, Source, find_sources

METRICS = "epoch,loss,accuracy,val_loss,val_accuracy"


@pytest.mark.parametrize(
    "rows", [f"{METRICS}{',' * MOST_COLUMNS}\n0,1,1,1,1\n", METRICS + "\n" + "0\n" * 4_000_000]
)
def test_a_history_of_too_many_cells(tmp_path, rows):
    assert rows.count("\n") < 10 or 5 * rows.count("\n") > MOST_CELLS
    (tmp_path / Run.HISTORY).write_text(rows)
    with pytest.raises(ValueError, match="history.csv is damaged: it has .* columns, .* rows.$"):
        _ = Run(tmp_path).history


def test_predictions_of_too_many_classes(tmp_path):
    path = tmp_path / Run.PREDICTIONS
    path.write_text(f"name,subject,label,{','.join(map(str, range(MOST_COLUMNS)))}\na,b,1\n")
    with pytest.raises(ValueError, match="predictions.csv is damaged: it has .* columns"):
        read_predictions(path)


def test_ragged_tables_get_one_line(tmp_path):
    path = tmp_path / Run.PREDICTIONS
    path.write_text("name,subject,label,anger,fear\na,b,fear,0,1\na,b,fear,0,1,2\n")
    with pytest.raises(ValueError, match="is damaged: Error tokenizing.* saw 6$"):
        read_predictions(path)


def test_arrays_that_expand_without_bound(tmp_path):
    path = tmp_path / "backup.npz"
    np.savez_compressed(path, a=np.zeros(MOST_BYTES + 1, np.uint8))
    assert path.stat().st_size < 2**20
    with pytest.raises(ValueError, match="backup.npz is damaged: it would take .* bytes"):
        read_arrays(path, "Train again.", a=1)
    np.savez_compressed(path, a=np.zeros(1000, np.uint8))
    assert read_arrays(path, "Train again.", a=1)["a"].shape == (1000,)


def test_a_long_list_of_models(tmp_path):
    path = tmp_path / "models.config"
    path.write_text("model_config_list {}\n" + "# x\n" * (LARGEST // 4))
    with pytest.raises(ValueError, match="models.config is not a list of models .*bytes, more"):
        read_models_config(path)


@pytest.mark.parametrize("length", [2**28, 2**40, 2**63 - 4, 2**64 - 1])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_records_that_say_they_are_huge(tmp_path, length, is_compressed):
    pytest.importorskip("apache_beam")
    from keras_deep_emotion.scoring.inputs import find_entries, masked_crc, read_entries

    head = struct.pack("<Q", length)
    content = head + struct.pack("<I", masked_crc(head)) + b"x" * 100
    path = tmp_path / "a.tfrecord"
    path.write_bytes(gzip.compress(content) if is_compressed else content)
    (entries,) = find_entries([str(path)], "file", "image_bytes", 10)
    (result,) = read_entries(entries, str(tmp_path), "image_bytes", 2)
    assert result.error == "the file of records is damaged from here on"


def test_a_list_of_many_columns_and_lines_is_read_at_once(tmp_path):
    pytest.importorskip("apache_beam")
    from keras_deep_emotion.scoring.inputs import find_entries

    path = tmp_path / "a.csv"
    path.write_text(f"file{',x' * 200_000}\n" + "".join(f"{i}.png\n" for i in range(50_000)))
    (entries,) = find_entries([str(path)], "file", "image_bytes", 100_000)
    assert len(entries) == 50_000 and entries[7].endswith("7.png")


def test_archives_that_expand_without_bound(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"{i}.png", bytes(100 * 2**20))
    with pytest.raises(ValueError, match=r"a.zip is damaged .*it would expand to .* or more"):
        find_sources(tmp_path)
    (tmp_path / "a.zip").unlink()
    member = tarfile.TarInfo("a.png")
    member.size = 2**33
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(member.tobuf() + bytes(2**20))
    with pytest.raises(ValueError, match=r"a.tar.gz is damaged .*it would expand to .* or more"):
        find_sources(tmp_path)


@pytest.mark.parametrize(
    "kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE]
)
def test_attributes_in_an_archive_that_take_memory(tmp_path, kind):
    member = tarfile.TarInfo("a.png")
    member.size, member.type = LARGEST_HEADER + 1, kind
    good = tarfile.TarInfo("b.png")
    (tmp_path / "a.tar").write_bytes(good.tobuf() + member.tobuf() + bytes(2**21))
    with pytest.raises(ValueError, match="a.tar is damaged or cut short"):
        find_sources(tmp_path)


def test_an_archive_that_points_before_its_start_is_named(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.png", b"x")
    whole = bytearray(content.getvalue())
    whole[whole.rindex(b"PK\5\6") + 16] += 60  # where the list of its files is said to begin
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(ValueError, match="^a.zip is damaged or cut short"):
        for source in find_sources(tmp_path):
            list(source.read(source.names))


def test_tables_of_too_many_lines(tmp_path):
    (tmp_path / "fer2013.csv").write_text("emotion,pixels,Usage\n" + "\n" * MOST_LINES)
    source = Source(tmp_path, ("fer2013.csv",))
    with pytest.raises(ValueError, match="fer2013.csv, line .*: more than 200,000 lines"):
        list(read_rows(source, "fer2013.csv", ["anger"]))
    (tmp_path / ferplus.NAMES).write_text("," * (ferplus.LARGEST + 1))
    with pytest.raises(ValueError, match="fer2013new.csv has more than .* bytes"):
        ferplus.find_files([Source(tmp_path, (ferplus.NAMES,))])
