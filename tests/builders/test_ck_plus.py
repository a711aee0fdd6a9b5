"""CK+'s builder, on small files drawn in each native form: nobody here has the real ones."""

import io
import itertools
import random
import tarfile
import zipfile
from collections import Counter

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders.ck_plus.ck_plus_dataset_builder  # noqa: F401  (registers ck_plus)
from keras_deep_emotion.config import TrainConfig
from keras_deep_emotion.data.building import build_dataset
from keras_deep_emotion.data.catalog import CATALOG
from keras_deep_emotion.data.task import Task
from keras_deep_emotion.runs import Run
from keras_deep_emotion.training.single_machine import fit
from tfds_builders.ck_plus.extended import CK_EXTENDED_CODES
from tfds_builders.ck_plus.landmarks import face_box
from tfds_builders.ck_plus.native import CK_PLUS_48_FOLDERS, CK_PLUS_CODES
from tfds_builders.contract import EMOTIONS
from tfds_builders.sources import skipping_damaged

PEOPLE = (
    "S005", "S010", "S011", "S014", "S022", "S026", "S130", "S138", "S501", "S506", "S895", "S999",
)  # fmt: skip
SIX = [emotion for emotion in EMOTIONS if emotion != "neutral"]
IMAGES = "cohn-kanade-images/{}/{}/{}_{}_{:08}.png"
LABELS = "Emotion/{}/{}/{}_{}_{:08}_emotion.txt"
LANDMARKS = "Landmarks/{}/{}/{}_{}_{:08}_landmarks.txt"


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def label_text(emotion):
    return f"   {CK_PLUS_CODES.index(emotion):.7e}\n".encode()


def landmark_text(number):
    """68 landmarks from (20, 15) to (40, 40), moved right by the frame's number."""
    xs, ys = np.linspace(20, 40, 68) + number, np.linspace(40, 15, 68)
    return "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in zip(xs, ys, strict=True)).encode()


class Drawn:
    """Twelve people with five sequences each: three of the six emotions (six sequences of each in
    all), contempt for the last six people, the fifth without a label.
    """

    def __init__(self):
        levels = np.random.default_rng(0)
        self.takes = {}  # (subject, sequence): (emotion or None, last frame)
        self.pixels = {}
        self.images, self.labels, self.landmarks = {}, {}, {}
        for i, subject in enumerate(PEOPLE):
            for j in range(5):
                take = f"{j + 1:03}"
                emotion = SIX[(3 * i + j) % 6] if j < 3 else "contempt" if j == 3 else None
                if emotion == "contempt" and i < 6:
                    emotion = None
                last = 4 + (i + j) % 3
                self.takes[subject, take] = (emotion, last)
                size = (49, 64) if i % 2 else (48, 64, 3)  # standing for 490 x 640, 480 x 640
                for number in range(1, last + 1):
                    place = (subject, take, subject, take, number)
                    pixels = levels.integers(0, 256, size).astype(np.uint8)
                    self.pixels[f"{subject}_{take}_{number:08}.png"] = pixels
                    self.images[IMAGES.format(*place)] = png(pixels)
                    self.landmarks[LANDMARKS.format(*place)] = landmark_text(number)
                if emotion:
                    name = LABELS.format(subject, take, subject, take, last)
                    self.labels[name] = label_text(emotion)

    def expected(self, last, neutral, contempt):
        """{name: emotion} of a variant."""
        found = {}
        for (subject, take), (emotion, peak) in self.takes.items():
            if emotion is None or (emotion == "contempt" and not contempt):
                continue
            for number in range(peak - last + 1, peak + 1):
                found[f"{subject}_{take}_{number:08}.png"] = emotion
            if neutral:
                found[f"{subject}_{take}_00000001.png"] = "neutral"
        return found


@pytest.fixture(scope="module")
def drawn():
    return Drawn()


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def write_tar(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def moved(files, old, new):
    return {name.replace(old, new): content for name, content in files.items()}


def built(config, source, data_dir):
    builder = tfds.builder("ck_plus", config=config, data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source))
    return {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in builder.info.splits
    }


def refused(config, source, data_dir):
    """What is said instead of building."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        built(config, source, data_dir)
    assert not list(data_dir.rglob("dataset_info.json"))
    return str(caught.value)


def names(part):
    return {one["name"].decode() for one in part}


def emotions_of(splits, classes=EMOTIONS):
    return {one["name"].decode(): classes[one["label"]] for part in splits.values() for one in part}


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def native(source, drawn):
    """The three trees, unpacked."""
    write(source, {**drawn.images, **drawn.labels, **drawn.landmarks})
    return source


@pytest.fixture(scope="module")
def untouched(drawn, tmp_path_factory):
    """The same, for tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("untouched")
    write(folder, {**drawn.images, **drawn.labels, **drawn.landmarks})
    return folder


def test_configs_are_those_of_the_table():
    configs = [config.name for config in tfds.builder_cls("ck_plus").BUILDER_CONFIGS]
    dataset = CATALOG["ck_plus"]
    assert configs == [
        Task("ck_plus", variant, protocol).tfds_config
        for variant in dataset.variants
        for protocol in dataset.protocols
    ]
    assert configs[0] == "peak_paper" and len(configs) == 16


@pytest.mark.parametrize("form", ["folders", "zips", "tars", "mixed", "one zip"])
def test_each_container_of_the_native_trees(form, source, drawn, tmp_path, caplog):
    if form == "folders":
        write(
            source / "CK+", {**drawn.images, **drawn.landmarks, "cohn-kanade-images/.DS_Store": b""}
        )
        write(source, moved(drawn.labels, "Emotion/", "Emotion_labels/Emotion/"))
        (source / "Emotion_labels" / "Emotion" / "S005" / "005").mkdir()
        (source / "FACS" / "S005").mkdir(parents=True)
        (source / "FACS" / "S005" / "S005_001_00000004_facs.txt").write_text("9.0 4.0\n")
    elif form == "zips":
        write_zip(source / "extended-cohn-kanade-images.zip", drawn.images)
        write_zip(source / "Emotion_labels.zip", {"Emotion/.DS_Store": b"", **drawn.labels})
        write_zip(source / "Landmarks.zip", {"__MACOSX/Landmarks/._x": b"", **drawn.landmarks})
    elif form == "tars":
        write_tar(source / "images.tar.gz", drawn.images)
        write_tar(source / "labels" / "emotion.tgz", moved(drawn.labels, "Emotion", "emotion"))
        write_tar(source / "landmarks.tar.gz", drawn.landmarks)
    elif form == "mixed":  # an archive beside what was unpacked from it counts once
        write_zip(source / "extended-cohn-kanade-images.zip", drawn.images)
        write_zip(source / "Emotion_labels.zip", drawn.labels)
        write(source, {**moved(drawn.labels, "Emotion", "emotion"), **drawn.landmarks})
    else:
        files = [*drawn.images.items(), *drawn.labels.items(), *drawn.landmarks.items()]
        random.Random(1).shuffle(files)
        write_zip(source / "all of it.zip", dict(files))
    splits = built("peak_paper", source, tmp_path / "data")
    # Of 6 sequences an emotion, round(0.6) validate and round(1.2) test.
    assert {split: len(part) for split, part in splits.items()} == {
        "train": 24,
        "validation": 6,
        "test": 6,
    }
    assert emotions_of(splits) == drawn.expected(1, neutral=False, contempt=False)
    assert Counter(EMOTIONS[one["label"]] for one in splits["test"]) == dict.fromkeys(SIX, 1)
    for one in itertools.chain(*splits.values()):
        pixels = drawn.pixels[one["name"].decode()]
        assert one["image"].shape == (*pixels.shape[:2], 3)
        np.testing.assert_array_equal(
            one["image"], pixels if pixels.ndim == 3 else np.stack([pixels] * 3, axis=-1)
        )
        assert one["subject"].decode() == one["name"].decode()[:4]
    # A person, a sequence and a seed make the split, on every machine and from every container.
    assert names(splits["test"]) == {
        "S014_001_00000004.png",
        "S022_003_00000004.png",
        "S026_002_00000004.png",
        "S130_001_00000004.png",
        "S130_002_00000005.png",
        "S138_003_00000004.png",
    }
    assert "landmark" not in caplog.text


def test_face_is_a_square_about_the_landmarks_and_the_forehead(untouched, tmp_path):
    splits = built("peak_neutral_paper", untouched, tmp_path / "data")
    faces = {one["name"].decode(): one["face"] for one in itertools.chain(*splits.values())}
    # Frame 1: x 21..41, y 15..40; margins 2.5, above 7.5: x 18.5..43.5, y 7.5..42.5: 35 high, 25
    # wide, so 5 more at each side: x 13.5..48.5. S005 has 48 lines, S010 has 49.
    np.testing.assert_allclose(
        faces["S005_001_00000001.png"], [7.5 / 48, 13.5 / 64, 42.5 / 48, 48.5 / 64], rtol=1e-6
    )
    np.testing.assert_allclose(
        faces["S010_001_00000001.png"], [7.5 / 49, 13.5 / 64, 42.5 / 49, 48.5 / 64], rtol=1e-6
    )
    # Frame 4, the peak of S005_001: three pixels further to the right.
    np.testing.assert_allclose(
        faces["S005_001_00000004.png"], [7.5 / 48, 16.5 / 64, 42.5 / 48, 51.5 / 64], rtol=1e-6
    )


def test_face_is_cut_where_the_image_ends():
    points = np.array([[0.0, 10.0], [40.0, 30.0]])
    # Margins 4, above 12: x -4..44, y -2..34: 48 wide, 36 high, so 6 more above and below.
    assert face_box(points, height=32, width=50, name="x") == (0.0, 0.0, 1.0, 44 / 50)
    with pytest.raises(ValueError, match="landmarks of x enclose no pixel of its 50 x 32"):
        face_box(points + 100, height=32, width=50, name="x")


@pytest.mark.parametrize("contempt", [False, True])
@pytest.mark.parametrize(
    ("frames", "last", "neutral"),
    [
        ("peak", 1, False),
        ("last3", 3, False),
        ("peak_neutral", 1, True),
        ("last3_neutral", 3, True),
    ],
)
def test_variants(frames, last, neutral, contempt, untouched, drawn, tmp_path):
    config = f"{frames}{'_contempt' * contempt}_paper"
    splits = built(config, untouched, tmp_path / "data")
    builder = tfds.builder("ck_plus", config=config, data_dir=tmp_path / "data")
    classes = builder.info.features["label"].names
    assert classes == [*EMOTIONS, "contempt"] if contempt else list(EMOTIONS)
    found = emotions_of(splits, classes)
    assert found == drawn.expected(last, neutral, contempt)
    assert len(found) == (42 if contempt else 36) * (last + neutral)
    # A sequence stands in one split, with all its frames.
    takes = {split: {name[:8] for name in names(part)} for split, part in splits.items()}
    assert (
        sum(map(len, takes.values())) == len(set.union(*takes.values())) == (42 if contempt else 36)
    )


def test_every_variant_splits_the_same_sequences(untouched, tmp_path):
    plain = built("peak_paper", untouched, tmp_path / "data")
    more = built("last3_neutral_contempt_paper", untouched, tmp_path / "data")
    for split, part in plain.items():
        assert {name[:8] for name in names(part)} <= {name[:8] for name in names(more[split])}


def test_folds_share_no_person(untouched, drawn, tmp_path):
    splits = built("last3_subjects", untouched, tmp_path / "data")
    assert set(splits) == {f"fold_{i}" for i in range(10)}
    people = [{one["subject"].decode() for one in part} for part in splits.values()]
    assert sorted(map(len, people)) == [1] * 8 + [2] * 2
    assert sum(map(len, people)) == 12 and set.union(*people) == set(PEOPLE)
    assert emotions_of(splits) == drawn.expected(3, neutral=False, contempt=False)
    roles = Task.parse("ck_plus", "subjects", 9).splits
    builder = tfds.builder("ck_plus", config="last3_subjects", data_dir=tmp_path / "data")
    sizes = {role: builder.info.splits[split].num_examples for role, split in roles.items()}
    assert sum(sizes.values()) == 108 and sizes["test"] in (9, 18)


def test_folds_need_ten_people(source, drawn, tmp_path):
    files = {**drawn.images, **drawn.labels, **drawn.landmarks}
    few = [*PEOPLE[:8], "S895"]
    write(source, {name: files[name] for name in files if name.split("/")[1] in few})
    assert "needs at least 10 people. Found: 9; request the whole set at https://" in refused(
        "peak_subjects", source, tmp_path / "data"
    )


def test_only_the_chosen_frames_are_read(native, drawn, tmp_path):
    chosen = drawn.expected(1, neutral=False, contempt=False)
    for name in drawn.images:
        if name.rpartition("/")[2] not in chosen:
            (native / name).write_bytes(b"no picture")
    for name in drawn.landmarks:
        if name.rpartition("/")[2].replace("_landmarks.txt", ".png") not in chosen:
            (native / name).write_bytes(b"no numbers")
    assert emotions_of(built("peak_paper", native, tmp_path / "data")) == chosen


def test_frames_after_the_labelled_one_are_left_out(native, drawn, tmp_path):
    (native / IMAGES.format("S005", "001", "S005", "001", 5)).write_bytes(b"no picture")
    splits = built("last3_paper", native, tmp_path / "data")
    assert emotions_of(splits) == drawn.expected(3, neutral=False, contempt=False)


def test_a_file_that_is_no_png_becomes_one(native, tmp_path):
    pixels = np.random.default_rng(2).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    path = native / IMAGES.format("S005", "001", "S005", "001", 4)
    Image.fromarray(pixels).save(path, "TIFF")
    splits = built("peak_paper", native, tmp_path / "data")
    (one,) = (one for one in itertools.chain(*splits.values()) if one["name"] == path.name.encode())
    np.testing.assert_array_equal(one["image"], pixels)


def test_frames_without_landmarks_are_counted_once(native, drawn, tmp_path, caplog):
    for name in drawn.landmarks:
        if name.startswith(("Landmarks/S005", "Landmarks/S999")):
            (native / name).unlink()
    splits = built("last3_paper", native, tmp_path / "data")
    for one in itertools.chain(*splits.values()):
        whole = np.array_equal(one["face"], [0, 0, 1, 1])
        assert whole == (one["subject"] in (b"S005", b"S999"))
    said = [record.message for record in caplog.records if "landmark" in record.message]
    assert said == [
        "18 of 108 frames have no landmark file: their face is the whole frame; put Landmarks.zip "
        "beside the images."
    ]


def test_other_counts_are_said(untouched, tmp_path, caplog):
    built("peak_paper", untouched, tmp_path / "data")
    (said,) = (record.message for record in caplog.records if "CK+ as found" in record.message)
    assert said == (
        "Labelled sequences of CK+ as found: 42 (anger 6, contempt 6, disgust 6, fear 6, happiness "
        "6, sadness 6, surprise 6), of 12 people; published: 327 (anger 45, contempt 18, disgust "
        "59, fear 25, happiness 69, sadness 28, surprise 83), of 123 people."
    )


def test_sequences_that_begin_late_are_said(native, drawn, tmp_path, caplog):
    (native / IMAGES.format("S005", "001", "S005", "001", 1)).unlink()
    splits = built("peak_neutral_paper", native, tmp_path / "data")
    assert "S005_001_00000002.png" in set.union(*map(names, splits.values()))
    assert "1 of 36 sequences do not begin at frame 1 (S005_001, ...)" in caplog.text


def test_damaged_frames_are_named_or_left_out(native, tmp_path):
    path = native / IMAGES.format("S005", "001", "S005", "001", 4)
    path.write_bytes(path.read_bytes()[:300])
    said = refused("peak_paper", native, tmp_path / "data")
    assert "cohn-kanade-images/S005/001/S005_001_00000004.png is damaged" in said
    with skipping_damaged(tmp_path / "damaged.txt"):
        splits = built("peak_paper", native, tmp_path / "data")
    assert sum(map(len, splits.values())) == 35
    assert "S005_001_00000004.png" in (tmp_path / "damaged.txt").read_text()


PUBLISHED = {
    "anger": 45, "contempt": 18, "disgust": 59, "fear": 25, "happiness": 69, "sadness": 28,
    "surprise": 83,
}  # fmt: skip


@pytest.fixture(scope="module")
def whole_set(tmp_path_factory):
    """593 sequences of 123 people, 327 labelled as in the release, of four tiny frames each."""
    folder = tmp_path_factory.mktemp("whole")
    labels = [emotion for emotion, count in PUBLISHED.items() for _ in range(count)]
    image, mark = png(np.zeros((49, 64), np.uint8)), landmark_text(1)
    images, emotions, landmarks = {}, {}, {}
    for i in range(593):
        place = (f"S{i % 123:03}", f"{i // 123 + 1:03}") * 2
        for number in range(1, 5):
            images[IMAGES.format(*place, number)] = image
            landmarks[LANDMARKS.format(*place, number)] = mark
        if i < 327:
            emotions[LABELS.format(*place, 4)] = label_text(labels[i])
    write_zip(folder / "extended-cohn-kanade-images.zip", images)
    write_zip(folder / "Emotion_labels.zip", emotions)
    write_zip(folder / "Landmarks.zip", landmarks)
    return folder


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        ("peak_paper", (216, 30, 63)),
        ("peak_contempt_paper", (228, 32, 67)),
        ("last3_paper", (648, 90, 189)),
        ("last3_contempt_paper", (684, 96, 201)),
        ("last3_neutral_paper", (864, 120, 252)),
    ],
)
def test_published_counts_are_not_remarked(config, sizes, whole_set, tmp_path, caplog):
    builder = tfds.builder("ck_plus", config=config, data_dir=tmp_path)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=whole_set))
    found = tuple(builder.info.splits[one].num_examples for one in ("train", "validation", "test"))
    assert found == sizes
    assert not [one for one in caplog.records if one.name.startswith("tfds_builders")]


CHANGES = {  # what is done to the native files, and what is said of it
    "no images": (
        lambda drawn: drawn.labels,
        "There are emotion files of CK+ but no frames named like S005_001_00000011.png; put "
        "extended-cohn-kanade-images.zip",
    ),
    "no labels": (
        lambda drawn: {**drawn.images, **drawn.landmarks},
        "There are frames of CK+ but no emotion file named like S005_001_00000011_emotion.txt; put "
        "Emotion_labels.zip",
    ),
    "nothing of it": (
        lambda drawn: {"holiday.png": b"", "a.csv": b"a,b\n"},
        "CK+ was not found: neither frames named like S005_001_00000011.png, nor folders such as "
        "CK+48/anger, nor a CSV",
    ),
    "no frames": (
        lambda drawn: {
            **{name: one for name, one in drawn.images.items() if "S005/001" not in name},
            **drawn.labels,
        },
        "Frame 4 of sequence S005_001, which its emotion file names, is missing (there are none); "
        "put all of extended-cohn-kanade-images.zip beside",
    ),
    "no labelled frame": (
        lambda drawn: {
            name: one
            for name, one in {**drawn.images, **drawn.labels}.items()
            if not name.endswith("S005_001_00000004.png")
        },
        "Frame 4 of sequence S005_001, which its emotion file names, is missing (there are 3 "
        "others)",
    ),
    "no frame before": (
        lambda drawn: {
            name: one
            for name, one in {**drawn.images, **drawn.labels}.items()
            if not name.endswith("S005_001_00000003.png")
        },
        "The last 3 frames of sequence S005_001 are not all there: number 3 is missing",
    ),
    "no neutral frame": (
        lambda drawn: {
            name: one
            for name, one in {**drawn.images, **drawn.labels}.items()
            if not name.endswith("S005_001_00000001.png")
        },
        "Sequence S005_001 has no frame before its last 3, so none that is neutral",
    ),
    "contradiction": (
        lambda drawn: {
            **drawn.images,
            **drawn.labels,
            "emotion/S005_001_00000004_emotion.txt": label_text("fear"),
        },
        "S005_001_00000004_emotion.txt contradicts another emotion file of S005_001",
    ),
    "few sequences": (
        lambda drawn: {
            name: one for name, one in {**drawn.images, **drawn.labels}.items() if "/S005/" in name
        },
        "3 of CK+'s 327 labelled sequences are too few for train, validation and test; request",
    ),
    **{
        f"label {text!r}": (
            lambda drawn, text=text: {
                **drawn.images,
                **drawn.labels,
                LABELS.format("S005", "001", "S005", "001", 4): text,
            },
            "Emotion/S005/001/S005_001_00000004_emotion.txt must hold one number, 0 to 7, such as "
            f"3.0000000e+00. Found: {text.decode().strip()!r}; obtain Emotion_labels.zip again.",
        )
        for text in (b"", b"anger", b"8.0", b"-1", b"2.5", b"nan", b"3.0 4.0")
    },
    **{
        f"landmarks {case}": (
            lambda drawn, text=text: {
                **drawn.images,
                **drawn.labels,
                LANDMARKS.format("S005", "001", "S005", "001", 4): text,
            },
            f"Landmarks/S005/001/S005_001_00000004_landmarks.txt must {message}",
        )
        for case, text, message in (
            ("short", b"1 2\n" * 67 + b"\n", "have 68 lines, x and y of each landmark. Found: 67;"),
            ("long", b"1 2\n" * 69, "have 68 lines, x and y of each landmark. Found: 69;"),
            ("word", b"1 2\n" * 67 + b"1 y\n", "hold two numbers a line"),
            ("three", b"1 2 3\n" * 68, "hold two numbers a line"),
            ("uneven", b"1 2\n" * 66 + b"1\n1 2 3\n", "hold two numbers a line"),
            ("nan", b"1 nan\n" * 68, "hold two numbers a line"),
        )
    },
    "landmarks outside": (
        lambda drawn: {
            **drawn.images,
            **drawn.labels,
            LANDMARKS.format("S005", "001", "S005", "001", 4): b"900 900\n" * 68,
        },
        "The landmarks of S005_001_00000004.png enclose no pixel of its 64 x 48",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_is_not_right_is_one_sentence(case, source, drawn, tmp_path):
    files, message = CHANGES[case]
    write_zip(source / "ck.zip", files(drawn))
    assert message in refused("last3_neutral_paper", source, tmp_path / "data")


def test_missing_source_says_what_to_request(tmp_path):
    said = refused("peak_paper", tmp_path / "nowhere", tmp_path / "data")
    assert said.startswith("CK+ is missing: request it at https://www.jeffcohn.net/Resources/")
    assert "python cli.py build-data ck_plus --source DIR_OR_ARCHIVE" in said


@pytest.fixture(scope="module")
def cropped(drawn):
    """CK+48 of the drawn sequences: {path: pixels}."""
    levels = np.random.default_rng(3)
    folders = {emotion: folder for folder, emotion in CK_PLUS_48_FOLDERS.items()}
    return {
        f"CK+48/{folders[emotion]}/{subject}_{take}_{number:08}.png": levels.integers(
            0, 256, (48, 48)
        ).astype(np.uint8)
        for (subject, take), (emotion, last) in drawn.takes.items()
        if emotion
        for number in range(last - 2, last + 1)
    }


@pytest.mark.parametrize(
    ("form", "frames", "last"), [("folder", "peak", 1), ("zip", "last3", 3), ("zip", "peak", 1)]
)
def test_ck48(form, frames, last, cropped, drawn, source, tmp_path, caplog):
    files = {name: png(pixels) for name, pixels in cropped.items()}
    if form == "folder":
        write(source, files)
    else:
        write_zip(source / "archive.zip", dict(reversed(files.items())))
    splits = built(f"{frames}_contempt_paper", source, tmp_path / "data")
    found = emotions_of(splits, [*EMOTIONS, "contempt"])
    assert found == drawn.expected(last, neutral=False, contempt=True)
    pixels = {name.rpartition("/")[2]: one for name, one in cropped.items()}
    for one in itertools.chain(*splits.values()):
        np.testing.assert_array_equal(one["image"][..., 0], pixels[one["name"].decode()])
        np.testing.assert_array_equal(one["face"], [0, 0, 1, 1])
        assert one["subject"].decode() == one["name"].decode()[:4]
    assert "landmark" not in caplog.text
    assert "surprise 6); published: 327" in caplog.text.replace("\n", "")


def test_ck48_splits_as_the_native_trees(cropped, untouched, tmp_path):
    (tmp_path / "48").mkdir()
    write(tmp_path / "48", {name: png(pixels) for name, pixels in cropped.items()})
    parts = built("peak_paper", tmp_path / "48", tmp_path / "data 48")
    same = built("peak_paper", untouched, tmp_path / "data")
    assert {split: names(part) for split, part in parts.items()} == {
        split: names(part) for split, part in same.items()
    }


def test_what_ck48_does_not_hold_is_refused(cropped, source, tmp_path):
    write(source, {name: png(pixels) for name, pixels in cropped.items()})
    assert refused("last3_neutral_contempt_paper", source, tmp_path / "data") == (
        "CK+48 holds no neutral face for ck_plus/last3_neutral_contempt_paper: build "
        "ck_plus/last3_contempt, or name the native images with their emotion files."
    )
    path = source / "CK+48" / "anger" / "S005_001_00000004.png"
    Image.new("L", (64, 49)).save(path)
    said = refused("peak_paper", source, tmp_path / "data")
    assert "must have 48 x 48 pixels, as in CK+48. Found: 64 x 49; name the native" in said
    path.rename(source / "CK+48" / "fear" / path.name)
    said = refused("peak_paper", source, tmp_path / "data")
    assert "Sequence S005_001 lies in the folders of anger and fear" in said


def extended(count=8, codes=range(8), usage="Training"):
    """ckextended.csv with `count` rows of each code, and their pixels."""
    images = np.random.default_rng(4).integers(0, 256, (count * len(codes), 48, 48))
    lines = ["emotion,pixels,Usage"]
    for i, image in enumerate(images):
        lines.append(f"{codes[i % len(codes)]},{' '.join(map(str, image.ravel()))},{usage}")
    return "\n".join(lines) + "\n", images.astype(np.uint8)


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ("peak_paper", (0, 1, 2, 3, 4, 5)),
        ("peak_contempt_paper", (0, 1, 2, 3, 4, 5, 7)),
        ("peak_neutral_paper", (0, 1, 2, 3, 4, 5, 6)),
        ("peak_neutral_contempt_paper", range(8)),
    ],
)
def test_ckextended(config, kept, source, tmp_path, caplog):
    text, images = extended()
    (source / "any name.csv").write_text(text + "\n")  # a blank line at its end
    (source / "other.csv").write_text("a,b\n1,2\n")
    splits = built(config, source, tmp_path / "data")
    classes = [*EMOTIONS, "contempt"]
    assert emotions_of(splits, classes) == {
        f"row_{i:05}": CK_EXTENDED_CODES[i % 8] for i in range(64) if i % 8 in kept
    }
    # Of 8 rows a class, round(0.8) validate and round(1.6) test.
    sizes = {split: len(part) for split, part in splits.items()}
    assert sizes == {"train": 5 * len(kept), "validation": len(kept), "test": 2 * len(kept)}
    for one in itertools.chain(*splits.values()):
        np.testing.assert_array_equal(one["image"][..., 0], images[int(one["name"][4:])])
        assert one["image"].shape == (48, 48, 3)
        assert one["subject"] == b""
        np.testing.assert_array_equal(one["face"], [0, 0, 1, 1])
    assert "neutral 8, sadness 8, surprise 8); published: 920 (" in caplog.text.replace("\n", "")


def test_what_ckextended_does_not_hold_is_refused(source, tmp_path):
    write_zip(source / "archive.zip", {"ckextended.csv": extended()[0].encode()})
    assert refused("last3_contempt_paper", source, tmp_path / "data") == (
        "ckextended.csv has one frame a sequence, too few for ck_plus/last3_contempt_paper: build "
        "ck_plus/peak_contempt_paper, or name the native images with their emotion files."
    )
    assert refused("peak_subjects", source, tmp_path / "data") == (
        "ckextended.csv names no people, so ck_plus/peak_subjects cannot keep them apart: build "
        "ck_plus/peak_paper, or name the native images with their emotion files."
    )


def test_fer2013_is_not_taken_for_ck_plus(source, tmp_path):
    row = f"3,{' '.join(['7'] * 2304)},Training\n"
    (source / "fer2013.csv").write_text("emotion,pixels,Usage\n" + row * 921)
    said = refused("peak_paper", source, tmp_path / "data")
    assert said.startswith("fer2013.csv is not CK+: it has more than 920 rows and no contempt")
    assert "build it with python cli.py build-data fer2013, or name ckextended.csv" in said
    # Beside it, CK+ is found; without contempt too, since it has so few rows.
    (source / "later.csv").write_text(extended(codes=range(7))[0])
    assert len(emotions_of(built("peak_paper", source, tmp_path / "data"))) == 48


ROW = f"3,{' '.join(['7'] * 2304)},Training"
BAD_ROWS = {
    "few pixels": ("3,1 2 3,Training", "line 3: expected 2,304 pixels, found 3."),
    "big pixel": (ROW.replace("7 7", "7 256", 1), "line 3: pixels must be 0 to 255. Found: 256"),
    "word": (ROW.replace("7 7", "7 x7", 1), "0 to 255. Found: 'x7'"),
    "minus": (ROW.replace("7 7", "7 -1", 1), "0 to 255. Found: '-1'"),
    "emotion": (ROW.replace("3", "8", 1), "line 3: the emotion must be 0 to 7. Found: '8'"),
    "columns": ("3,Training", "line 3: expected 3 columns, found 2."),
    "huge field": ("3," + "7 " * 70_000, "line 3: field larger than field limit"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_named_with_their_line(case, source, tmp_path):
    row, message = BAD_ROWS[case]
    (source / "ckextended.csv").write_text(f"emotion,pixels,Usage\n{ROW}\n{row}\n")
    said = refused("peak_paper", source, tmp_path / "data")
    assert "ckextended.csv, line 3: " in said and message in said


def test_a_csv_without_rows(source, tmp_path):
    (source / "ckextended.csv").write_text("emotion,pixels,Usage\n")
    said = refused("peak_paper", source, tmp_path / "data")
    assert said == "ckextended.csv holds a header and no rows; obtain it again."


def test_native_trees_come_before_ck48_before_ckextended(native, cropped, drawn, tmp_path):
    (native / "ckextended.csv").write_text(extended()[0])
    write(native, {name: png(pixels) for name, pixels in cropped.items()})
    splits = built("peak_paper", native, tmp_path / "data")
    assert all(one["image"].shape[1] == 64 for one in itertools.chain(*splits.values()))
    for name in drawn.images:
        (native / name).unlink()
    splits = built("peak_contempt_paper", native, tmp_path / "data")
    assert all(one["image"].shape[1] == 48 for one in itertools.chain(*splits.values()))
    assert len(emotions_of(splits, [*EMOTIONS, "contempt"])) == 42


@pytest.mark.slow
def test_eight_classes_train_and_are_judged(untouched, tmp_path):
    """With contempt the network has eight answers, and no neutral face to judge one of them by."""
    config = TrainConfig(dataset="ck_plus/last3_contempt", epochs=1)
    list(build_dataset("ck_plus/last3_contempt_paper", untouched, tmp_path))
    report = fit(config, tmp_path / "run", tmp_path)
    assert report["classes"] == [*EMOTIONS, "contempt"]
    assert report["per_class"]["neutral"]["recall"] is None
    assert Run.open(tmp_path / "run").load_model().output.shape == (None, 8)
