"""Files of a run that are cut or of other types: one sentence, which names the file."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from damaged import OTHER_TEXTS, OTHER_VALUES, change_member, damaged_bytes, damaged_values

from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.evaluation.predictions import read_predictions
from keras_deep_emotion.files import check_schema, parse_labels
from keras_deep_emotion.reports import text
from keras_deep_emotion.reports.figures.saliency import draw_mean_saliency, draw_saliency
from keras_deep_emotion.reports.model_card import render_model_card
from keras_deep_emotion.reports.page import write_page
from keras_deep_emotion.runs import Run


@pytest.fixture
def run(tmp_path):
    """A copy of the smaller shipped run."""
    shutil.copytree(Run.shipped("ferplus-paper").path, tmp_path / "run")
    return Run(tmp_path / "run")


def refused(read, path):
    """The sentence with which a file is refused; None if it is accepted."""
    try:
        read()
    except ValueError as error:
        message = str(error)
        assert message.startswith(str(path)) and "\n" not in message and len(message) < 800
        return message
    return None


def write(path, value):
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("kind", OTHER_TEXTS)
def test_text_files_of_other_content(run, kind):
    for name, read in (
        (Run.CONFIG, lambda: run.config),
        (Run.LABELS, lambda: run.labels),
        (Run.REPORT, lambda: run.report),
        (Run.FOLDS, lambda: run.folds),
        (Run.FAITHFULNESS, lambda: run.faithfulness),
        (Run.VERSIONS, lambda: run.versions),
    ):
        before = (run / name).read_bytes() if run.has(name) else None
        (run / name).write_bytes(OTHER_TEXTS[kind])
        message = refused(read, run / name)
        legal = (kind, name) in {("object", Run.CONFIG), ("object", Run.VERSIONS)}
        legal |= name == Run.LABELS and kind not in ("empty", "NUL", "UTF-16", "Latin-1", "ZIP")
        assert legal or message, name
        (run / name).write_bytes(before) if before else (run / name).unlink()


@pytest.mark.parametrize("field", TrainConfig.__dataclass_fields__)
def test_settings_of_other_types(run, field):
    settings = json.loads((run / Run.CONFIG).read_text())
    for value in OTHER_VALUES:
        write(run / Run.CONFIG, settings | {field: value})
        message = refused(lambda: run.task, run / Run.CONFIG)
        if message is None:
            accepted = getattr(run.config, field)
            assert accepted == value and not isinstance(value, (list, dict))
        elif "does not hold" in message:
            assert field in message and "Received: " in message


def read_everything(run):
    """What commands make of a run's report without its data set."""
    report = run.report
    if report:
        text.evaluation_lines({"paper_differs": [], **report, "deduplicated": None})
        render_model_card(run.config, report)
    write_page(run)


@pytest.mark.parametrize("seed", range(4))
def test_reports_of_other_types(run, seed):
    report = json.loads((run / Run.REPORT).read_text())
    caught = 0
    for place, changed in damaged_values(report, seed, 60):
        write(run / Run.REPORT, changed)
        try:
            caught += refused(lambda: read_everything(run), run / Run.REPORT) is not None
        except Exception as error:
            raise AssertionError(f"{place}: {error!r}") from error
    assert caught > 10


def test_the_remedy_is_a_command_that_writes_the_file(run):
    (run / Run.FOLDS).write_text("{}")
    assert f"keras-deep-emotion fit --resume {run}" in refused(lambda: run.folds, run / Run.FOLDS)
    write(run / Run.CALIBRATION, run.calibration | {"temperature": -3.0})
    message = refused(lambda: run.calibration, run / Run.CALIBRATION)
    assert "temperature must be above 0" in message and f"fit --resume {run}" in message


def test_a_schema_names_the_field():
    schema = {"a": [{"b": (float, None), "c?": str}]}
    check_schema({"a": [{"b": None}, {"b": 1, "c": ""}]}, schema)
    for value, says in (
        ([], "it must be an object. Received: []."),
        ({}, "a must be given. Received: nothing."),
        ({"a": [{"b": 1}, {"b": "x"}]}, "a[1].b must be a finite number. Received: 'x'."),
        ({"a": [{"b": float("inf")}]}, "a[0].b must be a finite number. Received: inf."),
        ({"a": [{"b": float("nan")}]}, "a[0].b must be a finite number. Received: nan."),
        (
            {"a": [{"b": 10**400}]},
            "a[0].b must be a finite number. Received: 100000000000000000...0000000000000000000.",
        ),
        ({"a": [{"b": True}]}, "a[0].b must be a finite number. Received: True."),
        ({"a": [{"b": 1, "c": 2}]}, "a[0].c must be text. Received: 2."),
    ):
        with pytest.raises(ValueError) as caught:
            check_schema(value, schema, "file: ", "Write it again.")
        assert str(caught.value) == f"file: {says} Write it again."


@pytest.mark.parametrize("content", ["", " \n", "a\nb\na", "a\x1b[2J\nb", "a\nb", "a\nb\nc\nd"])
def test_labels_that_are_refused(content):
    with pytest.raises(ValueError, match="^labels.txt is damaged: "):
        parse_labels(content, "labels.txt", 3)


def test_labels_of_another_length_or_data_set(run):
    names = run.labels
    run.write_labels(names[:-1])
    assert "and they say" in refused(run.load_model, run / Run.MODEL)
    run.write_labels(names[::-1])
    with pytest.raises(ValueError, match="labels.txt has surprise, .* and the data set has anger"):
        run.check_labels(names)


def test_a_model_of_other_content(run):
    path = run / Run.MODEL
    whole = path.read_bytes()
    for content in (b"[]", b"{}", b"3", b'{"class_name": "Functional", "config": []}'):
        path.write_bytes(whole)
        change_member(path, "config.json", content)
        assert "is damaged: " in refused(run.load_model, path)
    write(run / Run.CONFIG, json.loads((run / Run.CONFIG).read_text()) | {"image_size": 64})
    path.write_bytes(whole)
    assert "does not belong to config.json" in refused(run.load_model, path)


def test_a_model_that_cannot_be_read_is_not_called_damaged(run, monkeypatch):
    def refuse(path, *arguments):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError):
        run.load_model()


TABLE = "epoch,loss,accuracy,val_loss,val_accuracy\n"


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        TABLE.encode() + b"x,1,1,1,1\n",
        TABLE.encode() + b"0,1,1,1,1\n0,1,1,1,1\n",
        TABLE.encode() + b"5,1,1,1,1\n",
        TABLE.encode() + b"0,1,many,1,1\n",
        TABLE.encode() + b"0,1,1,1,1,7,8\n0,1\n",
        TABLE.encode() + b"\xff\xfe0,1,1,1,1\n",
        b"\0" * 100,
    ],
)
def test_a_history_of_other_content(run, content):
    (run / Run.HISTORY).write_bytes(content)
    assert refused(lambda: run.history, run / Run.HISTORY)


@pytest.mark.parametrize(
    "rows", ["a,b,fear,x,0.5", "a,b,fear,nan,0.5", "a,b,fear,7,0.5", "a,b,fear,inf,0", "a,b,c,0,1"]
)
def test_predictions_of_other_content(tmp_path, rows):
    path = tmp_path / Run.PREDICTIONS
    path.write_text(f"name,subject,label,anger,fear\n{rows}\n")
    assert refused(lambda: read_predictions(path), path)


def test_predictions_without_a_probability_are_of_a_diverged_training(tmp_path):
    path = tmp_path / Run.PREDICTIONS
    path.write_text("name,subject,label,anger,fear\na,,fear,,\nb,,anger,0,1\n")
    assert read_predictions(path)["anger"].isna().tolist() == [True, False]


def saliency_maps():
    """The arrays of a saliency.npz of two faces and three classes."""
    faces, places = np.zeros((2, 8, 8), np.float32), np.zeros((2, 9, 2), int)
    return {
        **{"name": np.array(["a", "b"]), "classes": np.array(["x", "y", "z"])},
        **dict.fromkeys(("image", "saliency", "attended"), faces),
        **{"probabilities": np.eye(2, 3), "decisive": faces > 0, "window": places},
        **{"lost": np.zeros((2, 3, 3)), "answer": np.ones((2, 3, 3), int)},
        **{"occluded": np.zeros((2, 9, 8, 8), np.float32), "theta": np.zeros((2, 6))},
        "label": np.array([0, 2]),
    }


def test_saliency_maps_of_other_types(tmp_path):
    path = tmp_path / Run.SALIENCY_MAPS
    np.savez(path, **saliency_maps())
    assert len(draw_saliency(tmp_path)) == 3
    others = (np.array(3), np.zeros((2, 1)), np.array(["x"] * 2), np.full((2, 3, 3), 9), None)
    for name in saliency_maps():
        for other in others:
            arrays = saliency_maps() | {name: other}
            if other is None and name not in ("label", "theta", "attended"):
                del arrays[name]
            if name == "name" and other is not None and other.ndim == 1:
                continue  # names may be any
            if name == "lost" and other is not None and other.shape == (2, 3, 3):
                continue  # a probability lost
            np.savez(path, **arrays)
            assert refused(lambda: draw_saliency(tmp_path), path), (name, other)


def test_arrays_that_are_cut(tmp_path):
    path = tmp_path / Run.SALIENCY_MAPS
    np.savez_compressed(path, **saliency_maps())
    whole = path.read_bytes()
    for content in [*OTHER_TEXTS.values(), *damaged_bytes(whole, 0, 60)]:
        path.write_bytes(content)
        refused(lambda: draw_saliency(tmp_path), path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(path)
    assert refused(lambda: draw_saliency(tmp_path), path)


def test_mean_maps_without_their_scores(tmp_path):
    np.savez(tmp_path / Run.MEAN_MAPS, classes=["x"], maps=np.zeros((1, 8, 8)), faces=[[[0.0]]])
    assert draw_mean_saliency(tmp_path) == []
    (tmp_path / Run.MEAN_MAPS).write_bytes(b"[]")
    assert refused(lambda: draw_mean_saliency(tmp_path), tmp_path / Run.MEAN_MAPS)


def test_a_folder_of_a_killed_start_is_empty(tmp_path):
    from keras_deep_emotion.training.single_machine import check_empty

    (tmp_path / "partial.0123abcd.config.json").touch()
    check_empty(Run(tmp_path))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileExistsError, match="name a new folder.$"):  # there is nothing to resume
        check_empty(Run(tmp_path))


def commands_and_numbers():
    """(command, option) of each option of the command line that takes a number."""
    for name, command in main.commands.items():
        for option in command.params:
            if option.type.name in ("integer", "float", "integer range", "float range"):
                yield name, option


@pytest.mark.parametrize(
    ("command", "option"), [*commands_and_numbers()], ids=lambda one: getattr(one, "name", one)
)
@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e300", str(10**21), "9" * 5000])
def test_numbers_that_no_option_takes(command, option, number):
    result = CliRunner().invoke(main, [command, f"{option.opts[0]}={number}"])
    assert result.exit_code == 2 and f"Invalid value for '{option.opts[0]}'" in result.output


@pytest.mark.parametrize("command", ["export", "evaluate"])
def test_a_damaged_run_is_refused_at_once(run, command):
    (run / Run.REPORT).write_text("{}")
    (run / Run.LABELS).write_text("")
    result = CliRunner().invoke(main, [command, str(run)])
    assert result.exit_code == 1 and "is damaged: " in result.output
    assert result.output.count("\n") == 1 and "Traceback" not in result.output


@pytest.mark.parametrize("name", [Run.ROBUSTNESS, Run.FAITHFULNESS, Run.HISTORY, Run.VERSIONS])
def test_a_damaged_file_of_the_page_is_found_before_the_evaluation(run, name, toon_faces_dir):
    (run / name).write_text("[1")
    (run / Run.PREDICTIONS).write_text("before")
    result = CliRunner().invoke(main, ["evaluate", str(run), "--data-dir", str(toon_faces_dir)])
    assert result.exit_code == 1 and f"{run / name} is damaged: " in result.output
    assert (run / Run.PREDICTIONS).read_text() == "before"


def test_an_unreadable_file_is_not_refused_with_the_others(tmp_path, monkeypatch):
    from PIL import Image

    Image.new("L", (48, 48), 99).save(tmp_path / "good.png")
    (tmp_path / "bad.png").symlink_to("bad.png")  # leads to itself: nobody can read it
    monkeypatch.setattr("os.access", lambda path, *a, **k: not str(path).endswith("bad.png"))
    names = [str(tmp_path / name) for name in ("bad.png", "good.png")]
    command = ["predict", "--weights", "ferplus-paper", "--faces", "none", *names]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1 and "good.png" in result.stdout
    assert result.stderr.startswith(f"{names[0]}: ") and result.stderr.count("\n") == 1
