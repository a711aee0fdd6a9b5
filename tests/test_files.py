"""Files that are whole at any moment."""

import os
import time
from pathlib import Path

import pytest

from keras_deep_emotion.files import atomic_write, remove_stale


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def made_yesterday(path):
    yesterday = time.time() - 25 * 60 * 60
    os.utime(path, (yesterday, yesterday))


def test_of_two_writers_at_once_the_last_wins_whole(tmp_path):
    path = tmp_path / "models.config"
    with atomic_write(path) as first:
        first.write_text("first")
        with atomic_write(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["models.config"]


def test_the_path_given_keeps_the_suffix_that_keras_asks_for(tmp_path):
    with atomic_write(tmp_path / "model.keras") as aside:
        assert aside.parent == tmp_path and aside.name != "model.keras"
        assert aside.name.endswith(".model.keras")
        aside.touch()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path, error):
    path = tmp_path / "history.csv"
    path.write_text("whole")
    with pytest.raises(error), atomic_write(path) as aside:
        aside.write_text("half")
        raise error
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["history.csv"]


def test_what_a_killed_writer_left_is_removed_after_a_day(tmp_path):
    killed = []  # kept: a writer that is forgotten tidies up
    for _ in range(2):
        killed.append(atomic_write(tmp_path / "page[1].html"))
        aside = killed[-1].__enter__()
        aside.touch()
    assert len(names(tmp_path)) == 2
    made_yesterday(aside)
    others = ["partial.0123abcd.other.html", "partial.old.page[1].html"]  # the second is the user's
    for name in others:
        (tmp_path / name).touch()
        made_yesterday(tmp_path / name)
    (young,) = set(names(tmp_path)) - {aside.name, *others}
    with atomic_write(tmp_path / "page[1].html") as aside:
        aside.touch()
    assert names(tmp_path) == sorted(["page[1].html", young, *others])


def test_what_its_writer_removes_meanwhile_stops_nobody(tmp_path, monkeypatch):
    old, gone = tmp_path / "partial-old", tmp_path / "partial-gone"
    old.mkdir()
    (old / "model").touch()
    made_yesterday(old)
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter([gone, old]))
    remove_stale(tmp_path, "partial-*")
    assert names(tmp_path) == []
