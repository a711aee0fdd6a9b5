"""The local server's versions: swapped while calls run, kept, labelled, refused."""

import os
import shutil
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from local_servers import (
    FOREVER,
    add,
    attempt,
    factor_of,
    rest,
    slow_request,
    states,
    wait_until,
)

from keras_deep_emotion.serving.local_server import LocalServer
from keras_deep_emotion.serving.local_server.versions import make_callable


def test_a_newer_version_replaces_the_older_and_no_request_is_lost(start, folder, saved_models):
    lines, answers, done = [], [], threading.Event()
    server = start(folder, report=lines.append)

    def call():
        while not done.is_set():
            answers.append(factor_of(server))

    thread = threading.Thread(target=call)
    thread.start()
    wait_until(lambda: answers)
    shutil.copytree(saved_models[3], folder / "partial-3")  # half-written: no number, never seen
    add(folder, 2, saved_models[2])
    wait_until(lambda: states(server) == [(2, "AVAILABLE"), (1, "END")])
    assert factor_of(server) == 2
    assert factor_of(server, "/versions/1") == "Servable not found for request: Specific(face, 1)"
    assert lines == [
        "face: version 1 is served.",
        "face: version 2 is served.",
        "face: version 1 was dropped.",
    ]
    add(folder, 3, saved_models[3])
    wait_until(lambda: answers[-1] == 3)
    done.set()
    thread.join()
    assert answers == sorted(answers)
    assert set(answers) == {1, 2, 3}


def test_a_version_is_kept_until_its_calls_are_done(start, folder, saved_models):
    server = start(folder)
    answers = []
    thread = threading.Thread(
        target=lambda: answers.append(rest(server, ":predict", slow_request(200_000)))
    )
    thread.start()
    wait_until(lambda: server.versions._loaded[1].calls == 1)
    add(folder, 2, saved_models[2])
    wait_until(lambda: states(server) == [(2, "AVAILABLE"), (1, "UNLOADING")])
    assert factor_of(server) == 2
    thread.join()
    assert answers == [(200, {"outputs": [1.0]})]
    wait_until(lambda: states(server) == [(2, "AVAILABLE"), (1, "END")])


def test_a_version_that_cannot_be_loaded_leaves_the_older_in_place(start, folder, saved_models):
    server = start(folder)
    (folder / "2").mkdir()
    wait_until(lambda: (2, "END") in states(server))
    entry = rest(server, "/versions/2")[1]["model_version_status"][0]
    assert entry["status"]["error_code"] == "NOT_FOUND"
    assert str(folder / "2") in entry["status"]["error_message"]
    (folder / "damaged").mkdir()
    (folder / "damaged" / "saved_model.pb").write_bytes(b"\xff\xff no protocol buffer")
    os.rename(folder / "damaged", folder / "3")
    wait_until(lambda: (3, "END") in states(server))
    entry = rest(server, "/versions/3")[1]["model_version_status"][0]
    assert entry["status"]["error_code"] == "DATA_LOSS"
    assert f"{folder / '3'}/saved_model.pb" in entry["status"]["error_message"]
    assert states(server) == [(3, "END"), (2, "END"), (1, "AVAILABLE")]
    assert factor_of(server) == 1
    # Gone and back, it is tried again.
    shutil.rmtree(folder / "3")
    shutil.rmtree(folder / "2")
    wait_until(lambda: not server.versions._failed)
    add(folder, 3, saved_models[3])
    wait_until(lambda: states(server)[0] == (3, "AVAILABLE"))
    assert factor_of(server) == 3
    # A folder that goes away changes nothing; an empty one has no versions.
    os.rename(folder, folder.parent / "away")
    time.sleep(0.3)  # several intervals
    assert factor_of(server) == 3
    folder.mkdir()
    wait_until(lambda: (3, "END") in states(server))


def test_versions_that_are_kept_and_labels(start, folder, saved_models):
    for version in (2, 3):
        add(folder, version, saved_models[version])
    server = start(folder, keep=2, labels={"stable": 1})
    assert states(server) == [(3, "AVAILABLE"), (2, "AVAILABLE"), (1, "AVAILABLE")]
    assert factor_of(server) == 3
    assert factor_of(server, "/versions/2") == 2
    assert factor_of(server, "/labels/stable") == 1
    assert rest(server, "/labels/stable/metadata")[1]["model_spec"]["version"] == "1"
    add(folder, 10, saved_models[2])  # the newest by number, not by name
    wait_until(lambda: states(server)[0] == (10, "AVAILABLE"))
    wait_until(lambda: (2, "END") in states(server))
    assert dict(states(server)) == {10: "AVAILABLE", 3: "AVAILABLE", 2: "END", 1: "AVAILABLE"}


def test_one_version_and_those_of_labels(start, folder, saved_models):
    for version in (2, 3):
        add(folder, version, saved_models[version])
    server = start(folder, only=1, labels={"next": 2})
    assert states(server) == [(2, "AVAILABLE"), (1, "AVAILABLE")]
    assert factor_of(server, "/labels/next") == 2
    assert factor_of(server, "/versions/1") == 1
    server = start(folder, only=1)
    assert states(server) == [(1, "AVAILABLE")]
    assert factor_of(server) == 1


def test_what_does_not_start(start, folder):
    with pytest.raises(ValueError, match=r"label stable names version 7, and .* has only \[1\]"):
        start(folder, labels={"stable": 7})
    (folder / "2").mkdir()
    with pytest.raises(ValueError, match=f"Version 2 of face cannot be loaded: .*{folder}/2"):
        start(folder)


def test_stopping_cancels_what_runs(folder):
    answers = []
    with LocalServer(folder, "face", port=0, rest_port=0) as server:
        thread = threading.Thread(
            target=lambda: answers.append(
                attempt(lambda: rest(server, ":predict", slow_request(FOREVER)))
            )
        )
        thread.start()
        wait_until(lambda: server.versions._loaded[1].calls == 1)
        begun = time.monotonic()
    thread.join()
    assert time.monotonic() - begun < 5
    assert answers


def test_the_private_method_of_tensorflow_is_still_there():
    """`make_callable` holds it; if it goes, this says so before any server does."""
    graph = tf.Graph()
    with graph.as_default():
        x = tf.compat.v1.placeholder(tf.float32, (None,), name="x")
        y = tf.multiply(x, 2.0, name="y")
    with tf.compat.v1.Session(graph=graph) as session:
        run = make_callable(session, [x.name], [y.name], timeout=60)
        assert run(np.array([1, 2], np.float32))[0].tolist() == [2, 4]
        with pytest.raises(tf.errors.InvalidArgumentError, match="double"):
            run(np.array([1.0]))
