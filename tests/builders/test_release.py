"""Errors of data sets that are given on request: how to obtain them, and what is missing."""

import pytest
from native_files import refused, write

PLACES = {
    "jaffe": "https://zenodo.org/records/3451524",
    "ferg": "https://grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html",
}


@pytest.mark.parametrize(
    ("name", "title", "terms", "example"),
    [
        ("jaffe", "JAFFE", "non-commercial research", "KA.AN1.39.tiff"),
        ("ferg", "FERG", "signed agreement", "FERG_DB_256/aia/aia_joy/aia_joy_1.png"),
    ],
)
def test_missing_source_names_the_remedy(name, title, terms, example, source, tmp_path):
    assert refused(f"{name}/standard", None, tmp_path / "data") == (
        f"{title} is missing: request it at {PLACES[name]} ({terms}), then run keras-deep-emotion "
        f"build-data {name} --source DIR_OR_ARCHIVE"
    )
    (source / "README").write_text("no pictures")
    assert refused(f"{name}/standard", source, tmp_path / "data") == (
        f"{title} was not found: no file is named like {example}, neither in the folder nor in an "
        f"archive in it; request {title} at {PLACES[name]} and name with --source what you "
        "received."
    )


@pytest.mark.parametrize(
    ("name", "file", "images", "people"),
    [
        ("jaffe", "KM.NE{0}.{0}.tiff", "213 images of JAFFE",
         "10 people. Found: 1 (no images of KA, KL, KR, MK, NA, NM, TM, UY, YM)"),
        ("ferg", "aia_joy/aia_joy_{0}.png", "55,767 images of FERG",
         "6 characters. Found: 1 (no images of bonnie, jules, malcolm, mery, ray)"),
    ],
)  # fmt: skip
def test_too_few_images_for_a_protocol(name, file, images, people, source, tmp_path):
    write(source, {file.format(number): b"" for number in (1, 2, 3)})
    assert refused(f"{name}/standard", source, tmp_path / "data") == (
        f"3 of the {images} are too few for train, validation and test. Request the whole set at "
        f"{PLACES[name]}."
    )
    assert refused(f"{name}/subjects", source, tmp_path / "data") == (
        f"The protocol subjects needs images of at least {people}. Request the whole set at "
        f"{PLACES[name]}, or build the protocol standard."
    )
