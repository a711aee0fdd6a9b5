"""Fixtures of the tests of the local server."""

import shutil

import pytest


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """{factor: path of a SavedModel}, see `local_servers.Multiply`."""
    from local_servers import Multiply

    folder = tmp_path_factory.mktemp("saved")
    for factor in (1, 2, 3):
        Multiply(float(factor)).save(folder / str(factor))
    return {factor: folder / str(factor) for factor in (1, 2, 3)}


@pytest.fixture
def folder(saved_models, tmp_path):
    """A model's folder with version 1, which multiplies by 1."""
    shutil.copytree(saved_models[1], tmp_path / "face" / "1")
    return tmp_path / "face"


@pytest.fixture(scope="session")
def shared_folder(saved_models, tmp_path_factory):
    """As `folder`, for tests that only read."""
    folder = tmp_path_factory.mktemp("shared") / "face"
    shutil.copytree(saved_models[1], folder / "1")
    return folder


@pytest.fixture
def start():
    """Starts local servers; they are stopped after the test."""
    from keras_deep_emotion.serving.local_server import LocalServer

    started = []

    def start(folder, **options):
        options = {"port": 0, "rest_port": 0, "interval": 0.05} | options
        started.append(LocalServer(folder, "face", **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()
