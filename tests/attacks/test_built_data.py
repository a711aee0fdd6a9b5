"""Built data sets whose files are cut or of other types: one sentence each."""

import shutil
import struct

import pytest
import tensorflow as tf
from click.testing import CliRunner
from damaged import OTHER_TEXTS

from keras_deep_emotion.cli import main
from keras_deep_emotion.data.reading import open_dataset
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.runs import Run


@pytest.fixture
def built(tiny_faces_dir, tmp_path):
    """(folder of built data sets, folder of toon_faces in protocol `standard`)."""
    folder = shutil.copytree(tiny_faces_dir, tmp_path / "built")
    (version,) = (folder / "toon_faces" / "standard").glob("[0-9]*")
    return folder, version


@pytest.mark.parametrize("kind", OTHER_TEXTS)
def test_a_description_of_other_content(built, kind):
    folder, version = built
    (version / "dataset_info.json").write_bytes(OTHER_TEXTS[kind])
    with pytest.raises(ValueError, match="The built data set toon_faces is damaged: .*build-data"):
        open_dataset(Task.parse("toon_faces"), folder)


@pytest.mark.parametrize("kind", ["empty", "cut", "deep"])
def test_records_of_other_content(built, tmp_path, kind):
    folder, version = built
    shutil.copytree(Run.shipped("ferplus-paper").path, tmp_path / "run")
    run = Run(tmp_path / "run")
    config = run.config.from_recipe("paper", dataset="toon_faces")
    run.write_config(config)
    for path in version.glob("*tfrecord*"):
        path.write_bytes(OTHER_TEXTS[kind])
    result = CliRunner().invoke(main, ["evaluate", str(run), "--data-dir", str(folder)])
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert result.output.startswith("Error: A file is damaged: ") and result.output.count("\n") == 1


def test_names_of_other_classes_are_noticed(built, tmp_path):
    folder, _ = built
    shutil.copytree(Run.shipped("ferplus-paper").path, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.write_config(run.config.from_recipe("paper", dataset="toon_faces"))
    run.write_labels(run.labels[::-1])
    for command in (["evaluate"], ["explain"], ["explain", "--score"]):
        arguments = [*command, str(run), "--data-dir", str(folder)]
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 1 and "labels.txt has surprise, " in result.output


@pytest.mark.parametrize("length", [2**40, 2**63 - 17, 2**64 - 17])
def test_a_record_that_says_it_is_huge_does_not_end_the_process(built, length):
    pytest.importorskip("apache_beam")
    from keras_deep_emotion.scoring.inputs import masked_crc

    folder, version = built
    (path,) = version.glob("*-test.tfrecord*")
    head = struct.pack("<Q", length)
    path.write_bytes(head + struct.pack("<I", masked_crc(head)) + b"x" * 100)
    with pytest.raises(ValueError, match="^A file is damaged: .* ends amid a record. Build again"):
        open_dataset(Task.parse("toon_faces"), folder)


@pytest.mark.parametrize("content", [b"no tf.Example", b"\x0a\xff\xff\xff\xff\xff", None])
def test_records_with_right_checksums_and_other_content(built, tmp_path, content):
    folder, version = built
    shutil.copytree(Run.shipped("ferplus-paper").path, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.write_config(run.config.from_recipe("paper", dataset="toon_faces"))
    (path,) = version.glob("*-test.tfrecord*")
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    if content is None:  # of a picture
        example = tf.train.Example.FromString(records[0])
        example.features.feature["image"].bytes_list.value[0] = b"\x89PNG\r\n\x1a\n and no more"
        content = example.SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in [content, *records[1:]]:
            writer.write(record)
    result = CliRunner().invoke(main, ["evaluate", str(run), "--data-dir", str(folder)])
    assert result.exit_code == 1 and result.output.count("\n") == 1, result.output
    assert result.output.startswith("Error: A file is damaged: ") and len(result.output) < 200
    assert "Iterator" not in result.output and "tf.Example" not in result.output
