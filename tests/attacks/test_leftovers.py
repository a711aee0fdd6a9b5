"""What stays behind: folders of killed exports, temporary folders, memory of dropped versions."""

import gc
import os
import shutil
import tempfile
import weakref

import pytest
from local_servers import Multiply, add

from keras_deep_emotion.serving.local_server import LocalServer


def made_long_ago(folder):
    """A folder as a killed process leaves it."""
    folder.mkdir(parents=True)
    (folder / "variables").write_bytes(b"x" * 1000)
    os.utime(folder, (1, 1))
    return folder


@pytest.mark.slow
def test_a_conversion_removes_what_killed_ones_left(tmp_path, monkeypatch):
    from keras_deep_emotion.runs import Run
    from keras_deep_emotion.serving.edge import write_litert

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = made_long_ago(tmp_path / "deep-emotion-export-abcd1234")
    run = Run.shipped("ferplus-paper")
    write_litert(run.load_model(), tmp_path / "model.tflite", run.labels)
    assert not left.exists()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_pipeline_leaves_no_temporary_folder(tmp_path, monkeypatch):
    from keras_deep_emotion.scoring.pipeline import make_pipeline

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make_pipeline("DirectRunner", [])
    for options in (
        ["--direct_num_workers=x"],
        ["--runner"],
        ["--no_such_option=1", "--streaming=x"],
    ):
        try:
            make_pipeline("DirectRunner", options)
        except ValueError as error:
            assert "Beam refuses" in str(error)
    with pytest.raises(ValueError, match="Beam refuses"):
        make_pipeline("NoRunner", [])
    assert list(tmp_path.iterdir()) == []


def test_versions_that_are_dropped_leave_no_graph(tmp_path):
    """A control outside the server: sessions and graphs alone grow as much without gc.collect."""
    Multiply(1.0).save(tmp_path / "saved")
    folder = tmp_path / "face"
    shutil.copytree(tmp_path / "saved", folder / "1")
    with LocalServer(folder, "face", port=0, rest_port=0, interval=3600) as server:
        gc.collect()
        gc.disable()  # Python may never come to it
        try:
            for number in range(2, 5):
                (version,) = server.versions._loaded.values()
                graph = weakref.ref(version.session.graph)
                del version
                add(folder, number, tmp_path / "saved")
                server.versions.update()
                assert graph() is None
        finally:
            gc.enable()
