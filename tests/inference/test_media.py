"""`predict` from photos to rows, with the shipped weights."""

import contextlib
import csv
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.cbook
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data
from videos import write_video

from keras_deep_emotion.cli import main
from keras_deep_emotion.images.faces import crop
from keras_deep_emotion.images.inputs import load_pixels
from keras_deep_emotion.images.reading import open_photo
from keras_deep_emotion.inference import media
from keras_deep_emotion.inference.media import ImageResult, predict_faces
from keras_deep_emotion.inference.tables import open_table
from keras_deep_emotion.reports.timeline import Timeline
from tfds_builders.contract import EMOTIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(data.astronaut())


@pytest.fixture(scope="module")
def folder(photo, tmp_path_factory):
    """Two faces; one face turned by EXIF; the crop of a face; a blank crop."""
    folder = tmp_path_factory.mktemp("photos")
    two = Image.new("RGB", (1000, 512), (120, 130, 140))
    two.paste(photo, (0, 0))
    two.paste(photo.resize((400, 400)), (560, 50))
    two.save(folder / "two.jpg", quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=exif)
    photo.save(folder / "upright.png")
    photo.crop((160, 40, 290, 170)).resize((48, 48)).save(folder / "crop.png")
    Image.new("L", (48, 48), 90).save(folder / "blank.png")
    Image.new("RGB", (640, 480), (9, 60, 9)).save(folder / "lawn.png")
    return folder


def predict(*arguments, status=0):
    result = CliRunner().invoke(main, ["predict", *map(str, arguments)])
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


def test_a_row_for_each_face_and_a_line_for_each_failure(folder):
    done = predict(folder / "two.jpg", folder / "blank.png", folder / "lawn.png", status=1)
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["emotion", "probability", "x", "y", "w", "h", "file"]
    assert [row.split()[0] for row in rows] == ["happiness"] * 2  # she smiles
    assert all(row.split()[-1] == str(folder / "two.jpg") for row in rows)
    boxes = np.array([[int(one) for one in row.split()[3:7]] for row in rows])
    np.testing.assert_allclose(boxes[0], [178, 63, 90, 113], atol=6)
    np.testing.assert_allclose(boxes[1], [699, 99, 70, 88], atol=6)
    assert done.stderr.splitlines() == [
        f"{folder}/blank.png: no face is found in its 48 x 48 pixels; if it is the crop of a face "
        "already: --faces none.",
        f"{folder}/lawn.png: no face is found, of 13 pixels or more; --smallest sets the size, and "
        "if it is the crop of a face already: --faces none.",
    ]


def test_exif_says_how_a_photo_stands(folder):
    lines = predict(folder / "turned.png", folder / "upright.png", "--json").stdout.splitlines()
    turned, upright = map(json.loads, lines)
    assert turned.pop("file") != upright.pop("file")
    assert turned == upright
    names = {"box", "landmarks", "turned", "emotion", "probability", "probabilities"}
    assert set(turned) == names and turned["turned"] == 0


def test_a_photo_that_lies_on_its_side_is_turned_and_that_is_said(folder, photo, tmp_path):
    photo.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "side.png")
    done = predict(tmp_path / "side.png", "--json")
    found = json.loads(done.stdout)
    assert (found["emotion"], found["turned"]) == ("happiness", 90)
    assert found["box"] == pytest.approx([63, 512 - 178 - 90, 113, 90], abs=6)
    assert done.stderr == (
        f"{tmp_path}/side.png: turned by 90 degrees to find its faces; boxes are of the photo as "
        "it is.\n"
    )


def test_all_shows_every_emotion(folder):
    head, row = predict(folder / "upright.png", "--all").stdout.splitlines()
    assert head.split()[2:9] == list(EMOTIONS)
    first, *shares = map(float, re.findall(r"(\S+) %", row))
    assert sum(shares) == pytest.approx(100, abs=0.4)
    assert shares[3] == first  # happiness


def test_csv_is_a_table_with_every_probability(folder):
    (folder / "in, quotes.png").write_bytes((folder / "upright.png").read_bytes())
    text = predict(folder / "in, quotes.png", folder / "two.jpg", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in rows] == [
        str(folder / "in, quotes.png"), *[str(folder / "two.jpg")] * 2
    ]  # fmt: skip
    assert list(rows[0])[-7:] == list(EMOTIONS)
    assert sum(float(rows[0][name]) for name in EMOTIONS) == pytest.approx(1, abs=1e-5)
    (folder / "in, quotes.png").unlink()


def test_crops_are_answered_whole(folder, ferplus):
    """`--faces none` gives the prediction for the whole image, and no box."""
    answer = json.loads(predict("--faces", "none", "--json", folder / "crop.png").stdout)
    expected = ferplus.predict(folder / "crop.png")[0]
    assert list(answer["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert "box" not in answer
    head, _ = predict("--faces", "none", folder / "crop.png").stdout.splitlines()
    assert head.split() == ["emotion", "probability", "file"]


def test_crops_are_turned_by_exif_too(folder):
    lines = predict("--faces", "none", "--json", folder / "turned.png", folder / "upright.png")
    turned, upright = map(json.loads, lines.stdout.splitlines())
    assert list(turned["probabilities"].values()) == pytest.approx(
        list(upright["probabilities"].values()), abs=1e-6
    )
    # And in the library, where the picture is open already.
    with Image.open(folder / "turned.png") as image:
        assert (load_pixels(image) == np.asarray(open_photo(folder / "upright.png"))).all()


def test_run_and_export_take_the_same_road(folder, run_dir, export_dir):
    by_run, by_export = (
        json.loads(predict("--model", model, "--json", folder / "upright.png").stdout)
        for model in (run_dir, export_dir)
    )
    assert by_run["box"] == by_export["box"]
    assert list(by_run["probabilities"].values()) == pytest.approx(
        list(by_export["probabilities"].values()), abs=1e-5
    )


def test_a_faces_answer_is_that_of_its_crop(photo, ferplus, detector):
    faces, probabilities = predict_faces(ferplus, photo, detector)
    # The way round: the crop as an array, by the library.
    again = ferplus.predict([np.asarray(crop(photo, faces[0]))])
    np.testing.assert_allclose(probabilities, again, atol=1e-6)


def test_hundreds_of_faces(photo, ferplus, detector):
    head = photo.crop((150, 20, 300, 200)).resize((75, 90))
    crowd = Image.new("RGB", (1200, 900))
    for x in range(0, 1200, 75):
        for y in range(0, 900, 90):
            crowd.paste(head, (x, y))
    faces, probabilities = predict_faces(ferplus, crowd, detector)
    assert len(faces) == len(probabilities) == 160
    assert (probabilities.argmax(axis=1) == EMOTIONS.index("happiness")).mean() > 0.9


def test_annotated_photos_of_one_name_stand_side_by_side(folder, photo, tmp_path):
    (tmp_path / "other").mkdir()
    photo.save(tmp_path / "other/upright.png")
    pictures = (folder / "upright.png", tmp_path / "other/upright.png", folder / "crop.png")
    out = tmp_path / "out"
    predict(*pictures, "--annotate", out)
    assert sorted(path.name for path in out.iterdir()) == [
        "crop-faces.jpg", "upright-faces-2.jpg", "upright-faces.jpg",
    ]  # fmt: skip
    with Image.open(out / "upright-faces.jpg") as picture:
        drawn = np.asarray(picture, float)
    assert drawn.shape == (512, 512, 3)
    changed = np.abs(drawn - np.asarray(photo)).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    # Box (182, 63, 83, 108) and a label above it, nothing elsewhere.
    assert 175 <= columns.min() <= 185 and columns.max() < 320
    assert 30 < rows.min() < 63 and 160 < rows.max() < 180
    assert not changed[80:150, 195:250].any()  # the face itself is left as it is
    with Image.open(out / "crop-faces.jpg") as picture:
        assert picture.size == (240, 240)


def test_standard_input_is_named_by_its_sign_and_its_files_by_its_name(photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    video = write_video(tmp_path / "film.mp4", [photo] * 3)
    options = ["--annotate", tmp_path / "drawn", "--output", tmp_path / "tables", "--every", 1]
    command = ["predict", "-", *map(str, options), "--csv"]
    for file, faces in ((tmp_path / "photo.png", 1), (video, 3)):
        done = CliRunner().invoke(main, command, input=file.read_bytes())
        assert done.exit_code == 0, done.output
        rows = list(csv.DictReader(io.StringIO(done.stdout)))
        assert [row["file"] for row in rows] == ["-"] * faces
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == [
        "stdin-000000-faces.jpg", "stdin-000001-faces.jpg", "stdin-000002-faces.jpg",
        "stdin-faces.jpg",
    ]  # fmt: skip
    text = (tmp_path / "tables" / "stdin-emotions.csv").read_text()
    table = list(csv.DictReader(io.StringIO(text)))
    assert [row["file"] for row in table] == ["-"] * 3
    assert (tmp_path / "tables" / "stdin-emotions.png").exists()
    done = CliRunner().invoke(main, command, input=b"no picture")
    assert (done.exit_code, done.stderr) == (1, "-: not a picture of a known format.\n")


def test_annotated_pictures_never_stand_among_those_that_are_read(photo, tmp_path):
    photo.save(tmp_path / "me.jpg")
    for read, folder in (("", ""), ("", "new/drawn"), ("me.jpg", ""), ("*.jpg", "")):
        done = predict(tmp_path / read, "--annotate", tmp_path / folder, status=2)
        assert "the folder is among the inputs. Name another." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["me.jpg"]
    predict(tmp_path / "me.jpg", "--annotate", tmp_path / "drawn")
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["me-faces.jpg"]


def test_a_model_of_drawings_says_so(run_dir, photo, tmp_path):
    photo.save(tmp_path / "me.jpg")
    done = predict(tmp_path / "me.jpg", tmp_path / "me.jpg", "--model", run_dir)
    warning = "warning: this model was trained on drawings (toon_faces) and knows no real faces; "
    assert done.stderr.count(warning) == 1
    assert "drawings" not in predict(tmp_path / "me.jpg").stderr


def test_what_cannot_be_drawn_is_named_and_the_rest_goes_on(folder, tmp_path):
    (tmp_path / "blank-faces.jpg").mkdir()
    pictures = (folder / "blank.png", folder / "crop.png")
    done = predict("--faces", "none", *pictures, "--annotate", tmp_path, status=1)
    assert len(done.stdout.splitlines()) == 3
    assert done.stderr.startswith(f"{folder}/blank.png: not annotated: [Errno 21] Is a directory")
    assert (tmp_path / "crop-faces.jpg").is_file()
    assert done.stderr.endswith(f"wrote {tmp_path / 'crop-faces.jpg'}\n")


def test_names_that_no_terminal_and_no_formula_can_show(photo, tmp_path, capfd):
    name = os.fsdecode(b"$a_$ f\xfcr.png")  # Latin-1
    photo.save(tmp_path / name)
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}  # as most terminals have it
    command = [sys.executable, str(ROOT / "cli.py"), "predict", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout.decode().splitlines()[1].endswith("/$a_$ f\ufffdr.png")
    rows = np.full((1, 7), 1 / 7, np.float32)
    answer = ImageResult(tmp_path / name, None, rows, None, 0, 0.0, [1])
    timeline = Timeline(EMOTIONS)
    timeline.add(answer)
    timeline.draw(answer.file, tmp_path / "curves.png")
    with open_table(tmp_path / "table.csv", EMOTIONS) as add:
        add(answer)
    assert "$a_$ f\ufffdr.png,0," in (tmp_path / "table.csv").read_text("utf-8")


def test_a_video_gives_rows_a_table_and_curves(photo, tmp_path):
    empty = Image.new("RGB", (256, 256), (50, 60, 70))
    frames = [photo.resize((256, 256)) if i < 20 else empty for i in range(30)]
    write_video(tmp_path / "film.mp4", frames)
    arguments = [tmp_path / "film.mp4", "--every", 5, "--output", tmp_path / "out"]
    done = predict(*arguments, "--annotate", tmp_path / "drawn")
    rows = done.stdout.splitlines()[1:]
    assert [row.split()[-4] for row in rows] == ["0.00", "0.50", "1.00", "1.50"]
    assert all(row.startswith("happiness") and row.endswith(" s, person 1") for row in rows)
    names = [tmp_path / "out" / f"film-emotions.{kind}" for kind in ("csv", "png")]
    drawn = tmp_path / "drawn" / "film-*-faces.jpg"
    assert done.stderr == f"wrote {names[0]}\nwrote {names[1]}\nwrote {drawn}\n"
    table = list(csv.DictReader(names[0].read_text().splitlines()))
    assert [(row["frame"], row["seconds"], row["track"], row["emotion"]) for row in table] == [
        ("0", "0.0", "1", "happiness"), ("5", "0.5", "1", "happiness"),
        ("10", "1.0", "1", "happiness"), ("15", "1.5", "1", "happiness"),
        ("20", "2.0", "", ""), ("25", "2.5", "", ""),
    ]  # fmt: skip
    with Image.open(names[1]) as curves:
        assert curves.size == (1320, 612)
    assert len(list((tmp_path / "drawn").iterdir())) == 6
    in_csv = predict(*arguments, "--csv").stdout
    assert in_csv.splitlines() == names[0].read_text().splitlines()
    faces = [json.loads(line) for line in predict(*arguments, "--json").stdout.splitlines()]
    assert [face["track"] for face in faces] == [1, 1, 1, 1, None, None]
    assert faces[0]["box"] and "box" not in faces[5] and faces[5]["probabilities"] is None

    write_video(tmp_path / "none.mp4", [empty] * 12)
    done = predict(tmp_path / "none.mp4", "--output", tmp_path, status=1)
    assert done.stderr == (
        f"wrote {tmp_path}/none-emotions.csv\n"
        f"{tmp_path}/none.mp4: no face is found in the 2 frames that were examined.\n"
    )

    (tmp_path / "taken" / "none-emotions.csv").mkdir(parents=True)
    done = predict(tmp_path / "none.mp4", "--output", tmp_path / "taken", status=1)
    assert "none-emotions.csv" in done.stderr and "wrote" not in done.stderr


def test_people_of_a_video_are_followed_and_smoothed(photo, tmp_path):
    """One smiles on her way; another, who does not, passes below and is hidden for a second."""
    head = photo.crop((120, 0, 350, 260)).resize((140, 158))
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as opened:
        other = opened.convert("RGB").crop((130, 70, 400, 370)).resize((160, 178))
    frames = []
    for i in range(60):
        frame = Image.new("RGB", (800, 500), (90, 100, 110))
        frame.paste(head, (20 + 9 * i, 20 + i))
        if not 25 < i < 35:
            frame.paste(other, (600 - 9 * i, 300))
        frames.append(frame)
    write_video(tmp_path / "two.mp4", frames)
    tables = {}
    for smooth in (0, 1):
        options = ["--every", 2, "--smooth", smooth, "--output", tmp_path / str(smooth), "--csv"]
        done = predict(tmp_path / "two.mp4", *options)
        tables[smooth] = list(csv.DictReader(done.stdout.splitlines()))
    middle = {}
    for row in tables[0]:
        middle.setdefault(row["track"], []).append(int(row["x"]) + int(row["width"]) / 2)
    assert len(middle) == 2  # nobody is taken for another
    assert sorted(len(places) for places in middle.values()) == [25, 30]
    for places in middle.values():
        steps = np.diff(places)
        assert (steps > 0).all() or (steps < 0).all()
    spread = {
        smooth: np.std([float(row["neutral"]) for row in table if row["emotion"] == "neutral"])
        for smooth, table in tables.items()
    }
    assert 0 < spread[1] < 0.8 * spread[0]


def test_a_video_whose_server_goes_away_keeps_what_was_answered(photo, tmp_path, monkeypatch):
    write_video(tmp_path / "film.mp4", [photo.resize((256, 256))] * 30)
    asked = predict_faces

    def ask_until_it_goes(model, image, *arguments, **turn):
        found = asked(model, image, *arguments, **turn)
        if len(calls) == 2:
            raise ConnectionError("The server went away.")
        calls.append(image)
        return found

    calls = []
    monkeypatch.setattr(media, "predict_faces", ask_until_it_goes)
    done = predict(tmp_path / "film.mp4", "--every", 5, "--output", tmp_path, status=1)
    assert done.stderr.endswith("Error: The server went away.\n")
    table = list(csv.DictReader((tmp_path / "film-emotions.csv").read_text().splitlines()))
    assert [row["frame"] for row in table] == ["0", "5"]


def test_bad_input_is_named_and_the_rest_goes_on(folder, tmp_path):
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty").mkdir()
    bad = {
        "zero.png": "the file is empty",
        "text.jpg": "not a picture of a known format",
        "text.mp4": "not a video that can be read",
        "empty": "no images or videos in this folder",
        "none.jpg": "no such file or directory",
        "*.bmp": "no file matches this pattern",
    }
    names = [tmp_path / name for name in bad]
    expected = [f"{tmp_path}/{name}: {says}." for name, says in bad.items()]
    for faces in ("find", "none"):
        done = predict(*names, folder / "upright.png", "--faces", faces, status=1)
        assert done.stderr.splitlines() == expected
        assert len(done.stdout.splitlines()) == 2
    assert "Name one of --json and --csv." in predict("x", "--json", "--csv", status=2).output


def test_a_terminal_gets_a_bar_with_the_time_left(photo, tmp_path):
    write_video(tmp_path / "film.mp4", [photo.resize((256, 256))] * 150)
    terminal, end = pty.openpty()
    command = ["cli.py", "predict", tmp_path / "film.mp4", "--every", "1", "--output", tmp_path]
    done = subprocess.run(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=end, text=True, cwd=ROOT
    )
    os.close(end)
    os.set_blocking(terminal, False)
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 65536):
            shown += part
    os.close(terminal)
    assert len(done.stdout.splitlines()) == 151  # rows alone
    text = shown.decode()
    assert re.search(r"film.mp4  \d+ %  \[#+ *\]  0:00:\d\d of 0:00:15, 0:00:\d\d left", text)


def test_a_folder_is_searched_by_what_files_are(photo, tmp_path):
    inside = tmp_path / "in"
    (inside / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    photo.save(inside / "a.dat", "PNG")
    photo.save(inside / "deep" / "b", "JPEG")
    photo.save(tmp_path / "elsewhere" / "c.jfif", "WEBP")
    photo.save(inside / ".hidden.png")
    (inside / "link").symlink_to(tmp_path / "elsewhere")
    (inside / "deep" / "loop").symlink_to(inside)
    write_video(tmp_path / "film.mp4", [photo.resize((256, 256))] * 3)
    (tmp_path / "film.mp4").rename(inside / "film.xyz")
    for name in ("notes.txt", "table.csv", "._a.png", "x.eps"):
        (inside / name).write_text("%!PS-Adobe-3.0 EPSF-3.0")
    done = predict(inside, "--output", tmp_path / "out", "--csv")
    files = [row["file"] for row in csv.DictReader(done.stdout.splitlines())]
    names = ["a.dat", "deep/b", "film.xyz", "link/c.jfif"]
    assert files == [f"{inside}/{name}" for name in names]
    assert done.stderr.splitlines()[0] == (
        "3 files passed over, neither images nor videos: notes.txt, table.csv, x.eps"
    )


def test_a_terminal_shows_how_far_a_video_is(photo, tmp_path):
    """Below the rows where stdout is the same terminal; nothing of it is left at the end."""
    write_video(tmp_path / "film.mp4", [photo.resize((256, 256))] * 30)
    command = [sys.executable, str(ROOT / "cli.py"), "predict", "film.mp4"]
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "100"}
    process = subprocess.Popen(
        command, stdout=theirs, stderr=theirs, stdin=theirs, cwd=tmp_path, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # how Linux ends a terminal
        pass
    os.close(ours)
    assert process.wait() == 0
    lines = [line.rpartition("\r\x1b[K")[2] for line in shown.decode().split("\r\n")]
    assert lines[0].split()[:2] == ["emotion", "probability"]
    assert [line.split()[-4] for line in lines[1:4]] == ["0.00", "1.00", "2.00"]
    assert lines[4:] == ["wrote runs/film-emotions.csv", "wrote runs/film-emotions.png", ""]
    assert b"film.mp4  33 %  [######              ]  0:00:01 of 0:00:03, " in shown
