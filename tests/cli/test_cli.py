"""Each command: once for success, once for each likely mistake with its exact sentence."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from few_faces import few_toon_faces
from PIL import Image

from keras_deep_emotion import __version__
from keras_deep_emotion.cli import main
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.task import Task

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_command():
    """Runs a command; asserts its exit status and that no traceback is shown."""

    def run(*arguments, status=0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == status, result.output
        assert "Traceback" not in result.output
        return result.output

    return run


def fails(run_command, *arguments, says, status=1):
    output = run_command(*arguments, status=status)
    assert says in " ".join(output.split()), output


def test_help_answers_at_once():
    best = 9.0
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "cli.py", "--help"], cwd=ROOT, capture_output=True, text=True
        )
        best = min(best, time.perf_counter() - start)
    # The lines to be typed stand as they are, not run together.
    name = f"{sys.executable} cli.py"
    assert f"\n    {name} build-data toon_faces\n    {name} fit" in done.stdout
    assert best < 0.5


def test_version(run_command):
    assert run_command("--version") == f"keras-deep-emotion, version {__version__}\n"


def test_defaults_shown_are_those_of_the_settings(run_command):
    text = " ".join(run_command("fit", "--help").split())
    best, paper, tuned = (TrainConfig.from_recipe(name) for name in ("best", "paper", "finetune"))
    for name in ("epochs", "learning_rate", "width"):
        shown = f"[default: {getattr(best, name)}; paper: {getattr(paper, name)}"
        if name != "width":
            shown += f"; finetune: {getattr(tuned, name)}"
        shown += "]"
        assert re.search(
            f"--{name.replace('_', '-')} (INTEGER|FLOAT) [^[]*{re.escape(shown)}", text
        )
    assert "[default: soft-labels; paper: no-soft-labels]" in text


@pytest.mark.parametrize("name", main.commands)
def test_help_shows_no_internals(name, run_command):
    text = run_command(name, "--help")
    assert not re.search(r"None\b|2147483647|<class|Sentinel", text)


def test_what_is_not_given_is_the_recipes(run_command, monkeypatch):
    from keras_deep_emotion.training import single_machine

    seen = []

    def stop(config, run_dir, data_dir, profile):
        seen.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(single_machine, "fit", stop)
    for arguments in ([], ["--recipe", "paper"], ["--no-flip", "--epochs", "2"]):
        CliRunner().invoke(main, ["fit", *arguments])
    assert seen == [
        TrainConfig(),
        TrainConfig.from_recipe("paper"),
        TrainConfig(flip=False, epochs=2),
    ]


def test_build_data_builds_what_is_missing(run_command, tmp_path):
    with few_toon_faces():
        run_command("build-data", "toon_faces/standard", "--data-dir", tmp_path)
        output = run_command("build-data", "toon_faces", "--data-dir", tmp_path)
    assert output.count("building") == 1 and "building toon_faces/subjects" in output
    assert "toon_faces/standard/1.0.0" in output
    assert "toon_faces/subjects/1.0.0" in output
    lines = [line.split() for line in output.splitlines()]
    assert ["test", "14", "images"] in lines
    assert ["fold_5", "14", "images"] in lines


@pytest.mark.parametrize(
    ("name", "title"), [("jaffe", "JAFFE"), ("ck_plus", "CK+"), ("ferg", "FERG")]
)
def test_data_sets_on_request_say_where_to_ask_and_what_to_run(run_command, name, title, tmp_path):
    command = f"keras-deep-emotion build-data {name} --source DIR_OR_ARCHIVE"
    for arguments in (["build-data", name], ["fit", "--dataset", name]):
        arguments += ["--data-dir", tmp_path]
        for says in (f"{title} is ", "request it at https://", command):
            fails(run_command, *arguments, says=says)


def test_build_data_mistakes(run_command, tmp_path):
    fails(
        run_command, "build-data", "fer",
        says="There is no data set 'fer'; there are: toon_faces, fer2013", status=2,
    )  # fmt: skip
    fails(
        run_command, "build-data", "fer2013", "--source", tmp_path / "none",
        "--data-dir", tmp_path,
        says=f"Error: {tmp_path}/none does not exist; name what you obtained with --source.",
    )  # fmt: skip
    for command in (("build-data", "toon_faces"), ("fit", "--dataset", "toon_faces"), ("fit",)):
        says = (
            "toon_faces takes no --source: it is drawn by code. Leave --source out, or name another"
        )
        fails(run_command, *command, "--source", tmp_path, says=says)


def test_fit_evaluate_explain_export_predict(run_command, tiny_faces_dir, tmp_path):
    run, data = tmp_path / "run", ("--data-dir", tiny_faces_dir)
    output = run_command("fit", "--recipe", "paper", "--epochs", 1, "--run-dir", run, *data)
    assert "test accuracy " in output
    assert "on 14 faces (95 % interval" in output
    assert f"run: {run}\n" in output
    written = {Path(path).name for path in re.findall("wrote (.*)", output)}
    assert written == {path.name for path in run.iterdir()}

    output = run_command("evaluate", run, *data)
    report = json.loads((run / "report.json").read_text())
    assert f"accuracy {100 * report['accuracy']:.2f} % on 14 faces" in output
    assert "happiness" in output
    for name in ("confusion_matrix.png", "reliability.png", "predictions.csv", "report.json"):
        assert f"wrote {run / name}\n" in output
        assert (run / name).stat().st_size > 0
    assert f"{len(report['per_person'])} people: lowest accuracy " in output
    surest = report["surest_mistakes"][:5]
    shown = output.partition("most confident mistakes (true -> predicted):\n")[2].splitlines()[:5]
    for mistake, line in zip(surest, shown, strict=True):
        said = [
            f"{100 * mistake['probability']:.2f}",
            "%",
            mistake["label"],
            "->",
            mistake["answer"],
        ]
        assert line.split() == [*said, mistake["name"]]

    output = run_command("explain", run, "--window", 16, "--stride", 8, *data)
    for name in ("saliency.npz", "saliency.png", "occlusions.png", "attended.png", "report.html"):
        assert f"wrote {run / name}\n" in output

    output = run_command("export", run, "--exports", tmp_path / "exports")
    version = tmp_path / "exports" / "toon_faces" / "1"
    assert str(version) in output

    picture = write_picture(tmp_path / "face.png")
    from_run, from_export = (
        json.loads(
            run_command(
                "predict", "--faces", "none", "--json", "--model", model, picture
            ).splitlines()[-1]
        )
        for model in (run, version)
    )
    assert from_run["file"] == str(picture)
    assert from_run["emotion"] == from_export["emotion"]
    assert from_run["probabilities"] == pytest.approx(from_export["probabilities"], abs=1e-6)


def test_evaluate_against_another_run(run_command, run_dir, toon_faces_dir, tmp_path):
    from keras_deep_emotion.evaluation.predictions import predicted_classes, read_predictions

    # The other run: the same predictions, but ten of the right ones turned wrong.
    table = read_predictions(run_dir / "predictions.csv")
    turned = table.index[predicted_classes(table)[2]][:10]
    table.loc[turned, table.columns[3:]] = 1 - table.loc[turned, table.columns[3:]]
    (tmp_path / "other").mkdir()
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "other/predictions.csv", index=False)
    arguments = ["evaluate", run_dir, "--data-dir", toon_faces_dir, "--output", tmp_path / "one"]
    output = run_command(*arguments, "--against", tmp_path / "other")
    assert f"against {tmp_path}/other: " in output
    assert "+1.98 points on the same 504 faces (95 % interval +" in output  # 10 of 504
    # All ten of ten: 2 of 1024.
    assert (
        "the difference is significant: only this run is right on 10 faces, only the other on 0 "
        "(McNemar's test, p = 0.0020)\n"
    ) in output
    assert f"wrote {tmp_path}/one/against.json\n" in output
    found = json.loads((tmp_path / "one/against.json").read_text())
    assert found["second"] == f"{tmp_path}/other"
    assert (found["only_first"], found["only_second"], found["p_value"]) == (10, 0, 2 / 1024)

    # Other faces are known only once this run's have been judged.
    table.iloc[:-4].to_csv(tmp_path / "other/predictions.csv", index=False)
    fails(
        run_command, *arguments, "--against", tmp_path / "other",
        says=f"{tmp_path}/one and {tmp_path}/other cannot be compared. Both runs must be "
        "evaluated on the same faces: choose runs of one data set, protocol and fold. Received: 4",
    )  # fmt: skip


def test_evaluation_is_not_written_over_that_of_another_run(run_command, run_dir, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run_dir, other)
    before = {path: path.read_bytes() for path in other.rglob("*") if path.is_file()}
    says = f"{other} is a run, and has such files of its own: name another --output."
    fails(run_command, "evaluate", run_dir, "--output", other, says=says, status=2)
    command = ("evaluate", "--weights", "ferplus", "--output", other)
    fails(run_command, *command, says=says, status=2)
    assert {path: path.read_bytes() for path in other.rglob("*") if path.is_file()} == before


def test_evaluate_against_shipped_weights(
    run_command, run_dir, toon_faces_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", run_dir, "--data-dir", toon_faces_dir, "--output", "one"]
    command += ["--against", "ferplus-paper"]
    says = "runs/ferplus-paper has no such predictions: call keras-deep-emotion evaluate --weights "
    fails(run_command, *command, says=f"{says}ferplus-paper first.")
    folder = tmp_path / "runs" / "ferplus-paper"
    folder.mkdir(parents=True)
    shutil.copy(run_dir / "predictions.csv", folder)  # of the same faces
    fails(run_command, *command, "--robustness", says=f"{says}ferplus-paper --robustness first.")
    output = run_command(*command)
    assert "against runs/ferplus-paper: " in output
    assert "+0.00 points on the same 504 faces" in output


def test_evaluate_against_a_folder_without_predictions(run_command, run_dir, tmp_path, monkeypatch):
    from keras_deep_emotion.evaluation import evaluate

    def too_late(*arguments):
        raise AssertionError("The run was judged before the other was looked at.")

    monkeypatch.setattr(evaluate, "evaluate_run", too_late)
    fails(
        run_command, "evaluate", run_dir, "--against", tmp_path,
        says=f"Error: {tmp_path} is not a finished run: it has no predictions.csv. Name a folder",
    )  # fmt: skip
    (tmp_path / "predictions.csv").touch()
    fails(
        run_command, "evaluate", run_dir, "--against", tmp_path,
        says=f"Error: {tmp_path}/predictions.csv is damaged: ",
    )  # fmt: skip


def test_the_deduplicated_part_is_evaluated_in_full(
    run_command, run_dir, toon_faces_dir, tmp_path, monkeypatch
):
    from types import SimpleNamespace

    from keras_deep_emotion.data.reading import open_dataset
    from keras_deep_emotion.evaluation import evaluate
    from keras_deep_emotion.evaluation.metrics import classification_report
    from keras_deep_emotion.evaluation.predictions import read_predictions

    # toon_faces has no such split: its first hundred test faces stand in for one.
    builder = open_dataset(Task.parse("toon_faces"), toon_faces_dir)
    names = {"test_deduplicated": "test[:100]"}
    stand_in = SimpleNamespace(
        info=SimpleNamespace(
            full_name=builder.info.full_name,
            features=builder.info.features,
            splits={**builder.info.splits, **names},
        ),
        as_dataset=lambda split, **others: builder.as_dataset(
            split=names.get(split, split), **others
        ),
    )
    monkeypatch.setattr(evaluate, "open_dataset", lambda task, data_dir: stand_in)
    output = run_command("evaluate", run_dir, "--output", tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    table = read_predictions(tmp_path / "predictions.csv")
    assert report["deduplicated"] == classification_report(table.iloc[:100])
    title = "without duplicates of training faces"
    assert re.search(rf"{title}: accuracy .* on 100 faces", output)
    balanced = 100 * report["deduplicated"]["balanced_accuracy"]
    assert f"{title}: balanced accuracy {balanced:.2f} %" in output


def write_picture(path):
    import numpy as np
    from PIL import Image

    grey = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    Image.fromarray(grey).save(path)
    return path


def test_predict_prints_a_table_and_fails_for_bad_files(run_command, run_dir, tmp_path):
    good = write_picture(tmp_path / "face.png")
    (tmp_path / "bad.png").touch()
    arguments = ["predict", "--faces", "none", "--model", run_dir]
    output = run_command(*arguments, tmp_path / "bad.png", good, status=1)
    assert f"{tmp_path}/bad.png: the file is empty.\n" in output
    row = [line.split() for line in output.splitlines() if line.endswith("face.png")]
    assert len(row) == 1 and row[0][2] == "%" and row[0][3] == str(good)


def test_mistakes_with_runs(run_command, run_dir, toon_faces_dir, tmp_path):
    none = tmp_path / "none"
    for command in ("evaluate", "export"):
        fails(
            run_command, command, none, says=f"{none} is not a finished run: it has no config.json"
        )
    fails(run_command, "explain", none, says=f"{none} is not a folder; name a run or an export.")
    fails(run_command, "predict", "--model", none, "x.png", says=f"{none} is not a folder")
    fails(run_command, "predict", "--model", run_dir, says="Missing argument 'IMAGES...'", status=2)
    fails(
        run_command, "fit", "--run-dir", run_dir, "--data-dir", toon_faces_dir,
        says=f"{run_dir} already holds something; name a new folder, or go on with what is there:",
    )  # fmt: skip
    fails(
        run_command, "fit", "--resume", run_dir, "--epochs", 3,
        says="--resume goes on with the settings of the run: leave the other options out.",
        status=2,
    )  # fmt: skip
    fails(run_command, "evaluate", says="Name either RUN, a folder that fit made", status=2)
    fails(
        run_command, "predict", "--weights", "none", "x.png",
        says="There are no weights 'none'; there are: ",
    )  # fmt: skip
    fails(
        run_command, "explain", run_dir, "--stride", 9, "--data-dir", toon_faces_dir,
        says="stride must be between 1 and window=8. Received: 9",
    )  # fmt: skip


def test_options_without_effect_are_refused(run_command, run_dir, tmp_path):
    for arguments, says in {
        ("fit", "--start-share", 0.4): "--start-share is for --start.",
        ("fit", "--teacher-share", 0.5): "--teacher-share is for --teachers.",
        ("fit", "--camera-changes", "noise"): "--camera-changes is for --camera.",
        ("fit", "--camera", 0, "--camera-changes", "noise"): "is for --camera.",
        ("fit", "--no-cosine", "--warmup", 3): "--warmup is for --cosine.",
        ("fit", "--no-transformer", "--theta-rate", 0.1): "--theta-rate is for --transformer.",
        ("fit", "--network", "resnet50", "--width", 8): "--width is for a network with a width",
        ("predict", "--faces", "none", "--smallest", 20, "x.png"): "is for --faces find.",
        ("predict", "--timeout", 5, "x.png"): "--timeout is for --server.",
        ("demo", "--authority", "x.pem"): "--authority is for --server.",
        ("export", run_dir, "--format", "onnx", "--keep", 2): "--keep is for --format saved_model.",
        ("explain", run_dir, "--faces", "none"): "--faces is for IMAGEs: faces of a data set",
        ("explain", run_dir, "x.png", "--split", "train"): "--split is for faces of a run's data",
        ("explain", run_dir, "x.png", "--score"): "--score is for faces of a run's data set: name",
        ("explain", run_dir, "--count", 9): "--count goes with --score.",
        ("explain", run_dir, "--score", "--per-class", 2): "--per-class goes without --score.",
    }.items():
        fails(run_command, *arguments, says=says, status=2)
    url = "gs://bucket/data"
    fails(run_command, "fit", "--data-dir", url, says=f"{url} is a URL; name a folder", status=2)


def test_mistakes_with_fit(run_command, tmp_path):
    fails(
        run_command, "fit", "--dataset", "toon_faces", "--data-dir", tmp_path,
        says="toon_faces is not built in",
    )  # fmt: skip
    fails(run_command, "fit", "--epochs", 0, says="Error: epochs must be 1 or more. Received: 0")
    fails(run_command, "fit", "--precision", "half", says="'half' is not one of", status=2)
    fails(
        run_command, "fit", "--dataset", "fer2013", "--protocol", "subjects",
        says="FER-2013 has no protocol 'subjects'; it has: standard, deduplicated.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("data jaffe --protocol half", "JAFFE has no protocol 'half'; it has: standard, subjects."),
        ("tune --fold 1", "--fold requires --protocol subjects. Received: standard"),
        ("reproduce --epochs 0", "epochs must be 1 or more. Received: 0"),
        ("fit --fold all", "--fold all requires --protocol subjects. Received: standard"),
        ("predict --model none x.png", "none is not a folder; name a run or an export."),
        ("demo --weights none", "There are no weights 'none'; there are: "),
        ("explain --weights none", "There are no weights 'none'; there are: "),
        ("explain none x.png", "none is not a folder; name a run or an export."),
        ("explain tests", "tests is not a run: it has no config.json. An export has no data set"),
    ],
)
def test_what_is_known_without_tensorflow_is_checked_first(run_command, monkeypatch, command, says):
    monkeypatch.chdir(ROOT)
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # importing it raises
    fails(run_command, *command.split(), says=says, status=2 if command == "explain tests" else 1)


def test_damaged_settings_of_a_run(run_command, run_dir, tmp_path):
    for name in ("labels.txt", "model.keras"):
        (tmp_path / name).write_bytes((run_dir / name).read_bytes())
    (tmp_path / "config.json").write_text("{")
    fails(run_command, "evaluate", tmp_path, says="does not hold the settings of a run")


def test_damaged_model_of_a_run(run_command, run_dir, tmp_path):
    for name in ("labels.txt", "config.json"):
        (tmp_path / name).write_bytes((run_dir / name).read_bytes())
    (tmp_path / "model.keras").write_bytes((run_dir / "model.keras").read_bytes()[:500])
    fails(run_command, "evaluate", tmp_path, says="model.keras is damaged")


def test_a_bug_keeps_its_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "keras_deep_emotion.inference.loading.load_path",
        lambda *given, **settings: int("no number"),
    )
    result = CliRunner().invoke(main, ["predict", "--model", str(tmp_path), "y.png"])
    # Raised in this test, not by the package's check of its input.
    assert isinstance(result.exception, ValueError)


def test_debug_shows_the_traceback(tmp_path):
    result = CliRunner().invoke(main, ["--debug", "evaluate", str(tmp_path)])
    assert isinstance(result.exception, FileNotFoundError)


@pytest.mark.parametrize("command", ["fit", "build-data"])
def test_a_full_disk_is_one_sentence(command, tiny_faces_dir, tmp_path):
    """A limit on file size simulates the full disk: the same path, another errno."""
    arguments = {
        "fit": ["--run-dir", tmp_path / "run", "--epochs", 1, "--data-dir", tiny_faces_dir],
        "build-data": ["toon_faces", "--data-dir", tmp_path],
    }[command]
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "from keras_deep_emotion.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "File too large" in done.stderr.splitlines()[-1]


def test_a_command_ends_with_its_last_line(tiny_faces_dir, tmp_path):
    options = ["--data-dir", tiny_faces_dir, "--sheet", tmp_path / "a.png"]
    command = [sys.executable, "cli.py", "data", "toon_faces", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        times = [time.monotonic() for _ in process.stdout]
        assert process.wait() == 0
    assert len(times) > 5 and time.monotonic() - times[-1] < 0.7  # TensorFlow's own end takes 1.5 s


@pytest.mark.parametrize(("argument", "status"), [("--version", 0), ("nope", 2)])
def test_the_exit_status_is_the_commands(argument, status):
    done = subprocess.run([sys.executable, "cli.py", argument], cwd=ROOT, capture_output=True)
    assert done.returncode == status


@pytest.mark.parametrize(
    "command",
    [
        ("build-data", "fer2013", "--source", "none"),
        ("fit", "--dataset", "folder", "--source", "none"),
        ("score", "none", "--input", "x", "--output", "y"),
        ("predict", "--model", "none", "x.png"),
        ("data", "toon_faces", "--protocol", "deduplicated"),
        ("explain", "none"),
        ("explain", "--weights", "ferplus", "x.png", "--stride", "9"),
        ("tune", "--fold", "9"),
        ("reproduce", "--epochs", "0"),
        ("verify", "none"),
        ("export", "none"),
    ],
    ids=lambda command: command[0],
)
def test_mistakes_are_found_before_tensorflow_is_imported(command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("keras_deep_emotion.files.quiet_stderr", None)
    monkeypatch.setattr("keras_deep_emotion.cli.options.quiet_stderr", None)  # a call fails
    done = CliRunner().invoke(main, list(command))
    assert done.exit_code == 1 and done.output.startswith("Error: "), done.output


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A folder of 300 crops."""
    folder = tmp_path_factory.mktemp("faces")
    for i in range(300):
        Image.new("L", (48, 48), i % 256).save(folder / f"{i}.png")
    return folder


def in_shell(command, **kwargs):
    """Run a line of bash that names the command line `cli`."""
    start = f'cli() {{ {sys.executable} {ROOT}/cli.py "$@"; }}; {command}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", start], capture_output=True, text=True, **kwargs
    )


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("cli predict --faces none --csv FACES | head -n 2", 2),
        ("cli predict --faces none FACES 2>&1 | head -n 1", 1),
        ("cli --help | true", 0),
        ("cli fit --help | true", 0),
        ("cli --version | true", 0),
        ("cli data toon_faces --data-dir DATA --sheet SHEET | true", 0),  # TensorFlow is loaded
    ],
)
def test_a_reader_that_goes_away_is_no_error(command, lines, faces, tiny_faces_dir, tmp_path):
    for name, path in (("FACES", faces), ("DATA", tiny_faces_dir), ("SHEET", tmp_path / "a.png")):
        command = command.replace(name, str(path))
    done = in_shell(command, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == lines
    assert (tmp_path / "a.png").exists() == ("data" in command.split())  # what it writes is written


@pytest.mark.slow
def test_a_training_does_not_end_with_its_reader(tiny_faces_dir, tmp_path):
    options = f"--dataset toon_faces --recipe paper --epochs 2 --data-dir {tiny_faces_dir}"
    done = in_shell(f"cli fit {options} --run-dir {tmp_path}/run | true")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_stream_may_be_closed(closed, faces):
    done = in_shell(f"cli predict --faces none --csv {faces}/1.png {faces}/2.png {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == (0 if ">&-" in closed.split() else 3)


@pytest.mark.parametrize("command", ["--help", "predict --faces none FACE"])
def test_a_full_disk_behind_stdout_is_an_error(command, faces):
    done = in_shell(f"cli {command.replace('FACE', str(faces / '1.png'))} > /dev/full")
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_the_home_folder_also_where_no_shell_replaces_it(run_command, faces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run_command("predict", "--faces", "none", faces / "1.png", "--annotate=~/drawn")
    assert (tmp_path / "home" / "drawn" / "1-faces.jpg").exists()
    (tmp_path / "~").mkdir()  # what exists is what is meant
    run_command("predict", "--faces", "none", faces / "1.png", "--annotate=~")
    assert (tmp_path / "~" / "1-faces.jpg").exists()
