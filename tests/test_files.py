"""Files that are whole at any moment."""

import errno
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_deep_emotion.files import (
    atomic_write,
    csv_path,
    csv_text,
    from_csv_text,
    is_plain,
    plain_path,
    remove_dead,
    temporary_folder,
    write_text,
)

ROOT = Path(__file__).parents[1]


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


@pytest.mark.parametrize("name", ["a" * 251 + ".csv", "日" * 83 + ".csv"])
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path, name):
    write_text(tmp_path / name, "whole")
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "whole"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path, error):
    path = tmp_path / "history.csv"
    path.write_text("whole")
    with pytest.raises(error), atomic_write(path) as aside:
        aside.write_text("half")
        raise error
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["history.csv"]


def killed_writer(path):
    """Kill a process while it writes a file; return the temporary file that it left."""
    code = (
        "import sys, time\n"
        "from keras_deep_emotion.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as aside:\n"
        "    aside.write_text('half')\n"
        "    print(aside, flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        aside = Path(process.stdout.readline().strip())
        # While it lives, nobody removes its file, however old.
        made_yesterday(aside)
        write_text(path.with_name("other"), "whole")
        assert aside.read_text() == "half"
        process.kill()
    return aside


def test_what_a_killed_writer_left_is_removed_by_the_next_write(tmp_path):
    aside = killed_writer(tmp_path / "page[1].html")
    others = ["partial.old.page[1].html", "partial-0123abcd"]  # they are the user's
    for name in others:
        (tmp_path / name).touch()
        made_yesterday(tmp_path / name)
    young = tmp_path / "partial.0123abcd.labels.txt"  # not locked yet
    young.touch()
    write_text(tmp_path / "labels.txt", "whole")
    assert not aside.exists()
    assert names(tmp_path) == sorted(["labels.txt", "other", young.name, *others])


def test_without_locks_files_are_removed_after_a_day(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    old, young = tmp_path / "partial.0123abcd.page.html", tmp_path / "partial.0123abce.page.html"
    for path, hours in ((old, 25), (young, 23)):
        path.touch()
        os.utime(path, (time.time() - hours * 60 * 60,) * 2)
    write_text(tmp_path / "page.html", "whole")
    assert names(tmp_path) == ["page.html", young.name]


def test_a_temporary_folder_removes_those_that_no_process_holds(tmp_path):
    (tmp_path / "partial-mine").mkdir()
    with temporary_folder(tmp_path, "partial-") as living:
        made_yesterday(living)
        dead = tmp_path / "partial-0123abcd"
        dead.mkdir()
        (dead / "model").touch()
        made_yesterday(dead)
        with temporary_folder(tmp_path, "partial-") as folder:
            assert names(tmp_path) == sorted(["partial-mine", living.name, folder.name])
    assert names(tmp_path) == ["partial-mine"]


def test_what_its_writer_removes_meanwhile_stops_nobody(tmp_path, monkeypatch):
    old, gone = tmp_path / "partial-old", tmp_path / "partial-gone"
    old.mkdir()
    (old / "model").touch()
    made_yesterday(old)
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter([gone, old]))
    remove_dead(tmp_path, "partial-*")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "text",
    [
        "NA", "na", "NaN", "null", "None", "N/A", "#N/A", "TRUE", "F", "inf",  # R, pandas
        "=cmd|' /C calc'!A0", "+1", "-x", "@SUM(A1)", "\t=1", "007", "1e5", "0x1F", "1,5", "12:30",
        "2024-01-02", "MAR1", "1-Sep", "3 march 2024",  # dates of spreadsheets
    ],
)  # fmt: skip
def test_texts_that_readers_would_change_are_marked(text):
    assert csv_text(text) == f"'{text}"
    assert from_csv_text(csv_text(f"'{text}")) == f"'{text}"  # its own apostrophe stays
    assert from_csv_text(csv_text(text)) == text
    assert csv_path(text).startswith("./") and Path(csv_path(text)) == Path(text)


@pytest.mark.parametrize("text", ["", "KA", "S005", "row_00012", "KA.AN1.39", "a=b", "'x", "Ann"])
def test_other_texts_stay(text):
    assert csv_text(text) == text == from_csv_text(text)


@settings(max_examples=300)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"))))
def test_pandas_reads_back_what_was_written(texts):
    """By its defaults, no text becomes a number or is missing; ours gives the text itself."""
    file = io.StringIO()
    pd.DataFrame({"text": map(csv_text, ["x", *texts]), "one": 1}).to_csv(file, index=False)
    file.seek(0)
    read = pd.read_csv(file)["text"]
    written = [csv_text(text) for text in texts]
    assert [text for text in read[1:].fillna("")] == written
    assert [from_csv_text(text) for text in written] == texts


def test_a_subject_called_na_is_not_lost(tmp_path):
    from keras_deep_emotion.evaluation.predictions import (
        predictions_table,
        read_predictions,
        write_predictions,
    )  # fmt: skip

    people = ["NA", "KA", "", "=cmd"]
    table = predictions_table(["1", "b", "c", "d"], people, [0] * 4, np.eye(4), list("wxyz"))
    write_predictions(table, tmp_path / "predictions.csv")
    by_default = pd.read_csv(tmp_path / "predictions.csv")
    assert list(by_default["subject"].fillna("")) == ["'NA", "KA", "", "'=cmd"]
    read = read_predictions(tmp_path / "predictions.csv")
    assert list(read["subject"]) == people and list(read["name"]) == ["1", "b", "c", "d"]


# Any bytes that a file system takes for a name, with those that are special to somebody.
NAMES = st.lists(
    st.sampled_from([*"*?[]{}!\\,@:#%~$'\" -\nä日", "a", "2024", "..", "\udce9"]),
    min_size=1,
    max_size=12,
).map("".join)


@settings(max_examples=100, deadline=None)
@given(NAMES.filter(lambda name: name not in (".", "..")))
def test_tensorflow_finds_what_is_in_a_folder_of_any_name(tmp_path_factory, name):
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("names") / name
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    with plain_path(folder) as plain:
        # `tf.io.gfile.glob` is what restores the variables of a SavedModel.
        assert tf.io.gfile.glob(f"{plain}/fil*") == [f"{plain}/file"]
        assert tf.io.read_file(f"{plain}/file").numpy() == b"content"
        (Path(plain) / "other").touch()
    assert names(folder) == ["file", "other"]  # the link is gone, what it leads to is not
    assert is_plain(folder) or not os.path.lexists(plain)


def test_a_path_that_tensorflow_can_take_is_left_as_it_is():
    for path in ("a b", "naïve/日本", "a,b@2", "{c}", "gs://bucket/[x]"):
        with plain_path(path) as plain:
            assert plain == path


def test_where_no_link_helps_the_remedy_is_said(tmp_path, monkeypatch):
    folder = tmp_path / "[x]"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with (
        pytest.raises(ValueError, match=r"cannot open .*\[x\]: .* Rename the folder\.$"),
        plain_path(folder),
    ):
        pass
