"""JAFFE's builder, on drawn files with the names of the release."""

import io
from collections import Counter

import numpy as np
import pytest
from native_files import built, encrypt, files_below, names_of, refused, sizes_of, write_archive
from PIL import Image

from tfds_builders import protocols
from tfds_builders.contract import EMOTIONS
from tfds_builders.jaffe.jaffe_dataset_builder import JAFFE_CODES, RELEASE, parse_file_name
from tfds_builders.sources import skipping_damaged

# Takes of NE, HA, SA, SU, AN, DI, FE of each person, numbered in this order; six are absent.
CODES = ("NE", "HA", "SA", "SU", "AN", "DI", "FE")
TAKES = {
    "KM": (3, 5, 5, 3, 3, 3, 3),
    "KA": (3, 4, 3, 3, 3, 3, 4),
    "YM": (3, 3, 3, 3, 3, 3, 4),
    "KR": (3, 3, 3, 3, 3, 3, 3),
    "NM": (3, 3, 3, 3, 3, 3, 3),
    "MK": (3, 3, 3, 3, 3, 3, 3),
    "UY": (3, 3, 3, 3, 3, 3, 3),
    "KL": (3, 3, 3, 3, 3, 4, 3),
    "TM": (3, 4, 3, 3, 3, 3, 3),
    "NA": (3, 3, 3, 3, 3, 3, 3),
}
ABSENT = {8, 12, 21, 76, 108, 183}
PEOPLE = {
    "KA": 23, "KL": 22, "KM": 22, "KR": 20, "MK": 21,
    "NA": 21, "NM": 20, "TM": 21, "UY": 21, "YM": 22,
}  # fmt: skip
PER_EMOTION = (30, 29, 32, 31, 30, 31, 30)


def release_names():
    numbered = [
        f"{person}.{code}{take}"
        for person, takes in TAKES.items()
        for code, count in zip(CODES, takes, strict=True)
        for take in range(1, count + 1)
    ]
    names = [f"{one}.{i}" for i, one in enumerate(numbered, start=1) if i not in ABSENT]
    assert len(names) == 213
    assert {"KA.AN1.39", "KM.SA3.11", "KM.SA5.13", "YM.FE4.70", "NA.FE3.219"} <= set(names)
    return names


NAMES = release_names()


def pixels_of(name):
    """(256, 256) uint8: one grey level and three pixels that tell the image from all others."""
    number = int(name.split(".")[2])
    pixels = np.full((256, 256), number % 200, np.uint8)
    pixels[0, number], pixels[number, 0], pixels[9, 9] = 255, 254, number
    return pixels


def write(path, name, mode="L", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_of(name)).convert(mode).save(path, **options)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Folder with `jaffe/` as the release has it, and what its archives add."""
    folder = tmp_path_factory.mktemp("release")
    for name in NAMES:
        write(folder / "jaffe" / f"{name}.tiff", name)
    (folder / "jaffe" / "README").write_text("N HAP SAD SUR ANG DIS FEA PIC\n1 2.87 KM-NE1\n")
    (folder / "jaffe" / ".DS_Store").write_bytes(b"junk")
    (folder / "jaffe" / "._KA.AN1.39.tiff").write_bytes(b"\0\5\x16\7 AppleDouble")
    (folder / "__MACOSX" / "jaffe").mkdir(parents=True)
    (folder / "__MACOSX" / "jaffe" / "KA.AN1.39.tiff").write_bytes(b"junk")
    return folder


def check_examples(examples):
    """All 213, each with its own pixels, label and person."""
    assert len(examples) == 213 and names_of(examples) == set(NAMES)
    for example in examples:
        name = example["name"].decode()
        assert example["image"].shape == (256, 256, 1)
        np.testing.assert_array_equal(example["image"][..., 0], pixels_of(name))
        assert EMOTIONS[example["label"]] == JAFFE_CODES[name[3:5]]
        assert example["subject"].decode() == name[:2]
        np.testing.assert_array_equal(example["face"], [0, 0, 1, 1])
    assert Counter(one["subject"].decode() for one in examples) == PEOPLE
    labels = Counter(int(one["label"]) for one in examples)
    assert tuple(labels[i] for i in range(7)) == PER_EMOTION


@pytest.fixture(scope="module")
def standard(release, tmp_path_factory):
    return built("jaffe/standard", release, tmp_path_factory.mktemp("data"))


def test_paper_has_every_image_in_the_papers_sizes(standard):
    assert sizes_of(standard) == {"train": 120, "validation": 23, "test": 70}
    check_examples([one for part in standard.values() for one in part])
    assert Counter(int(one["label"]) for one in standard["test"]) == dict.fromkeys(range(7), 10)


def test_subjects_has_one_person_a_fold(release, tmp_path):
    folds = built("jaffe/subjects", release, tmp_path)
    assert set(folds) == {f"fold_{i}" for i in range(10)}
    check_examples([one for part in folds.values() for one in part])
    dealt = protocols.subject_folds(PEOPLE, 10)
    for person, fold in dealt.items():
        part = folds[f"fold_{fold}"]
        assert {one["subject"].decode() for one in part} == {person}
        assert len(part) == PEOPLE[person]


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_archives_give_the_same_in_any_order(form, release, standard, source, tmp_path):
    files = files_below(release)
    order = sorted(files, key=lambda name: protocols.shuffle_rank(name, seed=5))
    write_archive(source / f"any name.{form}", {name: files[name] for name in order})
    splits = built("jaffe/standard", source, tmp_path / "data")
    check_examples([one for part in splits.values() for one in part])
    for split, part in standard.items():
        assert names_of(splits[split]) == names_of(part)


def test_the_whole_set_gives_no_warning(release, tmp_path, caplog):
    built("jaffe/standard", release, tmp_path)
    assert "of JAFFE (" not in caplog.text


IRREGULAR = {
    "KA.AN1.39.tiff": "KA.AN1.39",
    "jaffe/KA.AN1.39.TIF": "KA.AN1.39",
    "ka.an1.39.jpeg": "KA.AN1.39",
    "NA.SU1.208 .tiff": "NA.SU1.208",
    "NA.SU1..208.tiff": "NA.SU1.208",
    "NA.SU1 .208..tiff": "NA.SU1.208",
    "NA.SU1208.tiff": "NA.SU1.208",
    "NASU1.208.tiff": "NA.SU1.208",
    "NA_SU1_208.png": "NA.SU1.208",
    "NA-SU1-208.png": "NA.SU1.208",
    " NA.SU1.208tiff ": "NA.SU1.208",
    "NA.SU1.208.tiff.jpg": "NA.SU1.208",
    "NA.SU1.020.tiff": "NA.SU1.20",
    "KA.AN1.39.webp": "KA.AN1.39",
    "KA.AN1.39": "KA.AN1.39",
    # None of JAFFE's, or not to be told.
    "._KA.AN1.39.tiff": None,
    "KA.AN1.tiff": None,
    "KM-NE1": None,
    "XX.AN1.39.tiff": None,
    "KA.XX1.39.tiff": None,
    "KA.AN.39.tiff": None,
    "KA.AN1.39 copy.tiff": None,
    "KA.AN1.39.tiff/other.tiff": None,
}


@pytest.mark.parametrize("file", IRREGULAR)
def test_irregular_names(file):
    picture = parse_file_name(file)
    assert (picture and picture.name) == IRREGULAR[file]
    if picture:
        assert picture.subject == picture.name[:2]
        assert picture.emotion == JAFFE_CODES[picture.name[3:5]]


def test_conversions_and_irregular_names_are_built(standard, tmp_path):
    """Every format, grey, RGB, RGBA, 16 bits; an image in several files counts once."""
    source = tmp_path / "source"
    for i, name in enumerate(NAMES):
        ending, mode = (("png", "RGB"), ("tif", "RGB"), ("PNG", "RGBA"), ("png", "L"))[i % 4]
        write(source / "converted" / f"{name.lower()} .{ending}", name, mode)
    deep = Image.fromarray(pixels_of(NAMES[4]).astype(np.uint16) * 257)
    deep.save(source / "converted" / f"{NAMES[4].lower()} .png")
    black = Image.new("L", (256, 256))
    first, second, third = NAMES[:3]
    (source / "other").mkdir()
    black.save(source / "other" / f"{first}.jpg")
    black.save(source / "converted" / f"{second}.jpeg")
    black.save(source / "other" / f"{third}.png")
    (source / "converted" / f"{third.lower()} .PNG").unlink()
    write(source / "other" / f"{third}.TIFF", third)
    splits = built("jaffe/standard", source, tmp_path / "data")
    check_examples([one for part in splits.values() for one in part])
    for split, part in standard.items():
        assert names_of(splits[split]) == names_of(part)


def test_jpeg_files_give_their_own_pixels(tmp_path):
    source = tmp_path / "source"
    decoded = {}
    for name in NAMES[:100]:
        path = source / f"{name}.jpg"
        write(path, name, "RGB", quality=90)
        decoded[name] = np.asarray(Image.open(path))[..., 0]
    splits = built("jaffe/standard", source, tmp_path / "data")
    for example in (one for part in splits.values() for one in part):
        name = example["name"].decode()
        np.testing.assert_array_equal(example["image"][..., 0], decoded.pop(name))
    assert not decoded


def test_a_part_of_the_set_is_split_in_the_same_shares_with_a_warning(tmp_path, caplog):
    source = tmp_path / "source"
    for name in NAMES[::2]:
        write(source / f"{name}.tiff", name)
    (source / "more").mkdir()
    (source / "more" / "KA.AN1.39 copy.tiff").write_bytes(b"")
    (source / "more" / "._KA.AN1.39.tiff").write_bytes(b"")
    splits = built("jaffe/standard", source, tmp_path / "data")
    sizes = sizes_of(splits)
    assert sum(sizes.values()) == 107
    assert sizes["test"] == pytest.approx(107 * 70 / 213, abs=4)
    assert sizes["validation"] == pytest.approx(107 * 23 / 213, abs=4)
    (warning,) = [record.message for record in caplog.records if "of JAFFE (" in record.message]
    counts = Counter(name[:2] for name in NAMES[::2])
    assert warning.startswith("Found 107 images of JAFFE (anger ")
    assert f"KA {counts['KA']}, KL {counts['KL']}" in warning
    assert warning.endswith(
        "published are 213 (anger 30, disgust 29, fear 32, happiness 31, neutral 30, sadness 31, "
        "surprise 30, KA 23, KL 22, KM 22, KR 20, MK 21, NA 21, NM 20, TM 21, UY 21, YM 22)."
    )
    note = "1 file passed over, not pictures of JAFFE by content and name: KA.AN1.39 copy.tiff"
    assert note in caplog.text


def test_splits_depend_only_on_names():
    pictures = [parse_file_name(f"{name}.tiff") for name in NAMES]
    for protocol in ("standard", "subjects"):
        assert RELEASE.assign(pictures, protocol) == RELEASE.assign(pictures[::-1], protocol)
    with pytest.raises(
        ValueError, match="protocol must be 'standard' or 'subjects'. Received: 'x'"
    ):
        RELEASE.assign(pictures, "x")


def test_a_damaged_file_stops_the_build_or_is_left_out_and_listed(tmp_path):
    source = tmp_path / "source"
    for name in NAMES[::3]:
        write(source / f"{name}.tiff", name)
    bad = NAMES[3]
    path = source / f"{bad}.tiff"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=f"{bad}.tiff is damaged .*--skip-damaged"):
        built("jaffe/subjects", source, tmp_path / "stopped")
    with skipping_damaged(tmp_path / "damaged.txt"):
        folds = built("jaffe/subjects", source, tmp_path / "skipped")
    (line,) = (tmp_path / "damaged.txt").read_text().splitlines()
    assert line.startswith(f"{bad}.tiff: ")
    written = [one for part in folds.values() for one in part]
    assert len(written) + 1 == len(NAMES[::3])
    assert names_of(written) == set(NAMES[::3]) - {bad}


@pytest.mark.parametrize(
    ("size", "color", "message"),
    [
        ((128, 256), (9, 9, 9), "must have 256 x 256 pixels. Found: 128 x 256"),
        ((256, 256), (9, 9, 10), "must be grey. Found: colors"),
    ],
)
def test_other_images_are_named(size, color, message, tmp_path):
    for name in NAMES:
        path = tmp_path / "source" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", size, color).save(path, compress_level=1)
    with pytest.raises(ValueError, match=message) as caught:
        built("jaffe/standard", tmp_path / "source", tmp_path / "data")
    assert ".png must" in str(caught.value) and "zenodo.org" in str(caught.value)


def test_an_encrypted_zip_asks_for_its_password(source, tmp_path):
    content = io.BytesIO()
    Image.fromarray(pixels_of(NAMES[0])).save(content, "TIFF")
    path = source / "jaffe.zip"
    write_archive(path, {f"jaffe/{name}.tiff": content.getvalue()[:500] for name in NAMES})
    encrypt(path)
    message = refused("jaffe/standard", source, tmp_path / "data")
    assert "jaffe.zip is encrypted; unpack it with its password" in message
