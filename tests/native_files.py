"""Native files of data sets for the tests of their builders: written, archived, and built."""

import io
import tarfile
import zipfile

import pytest
import tensorflow_datasets as tfds
from PIL import Image

import tfds_builders  # noqa: F401  (registers the builders)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def files_below(folder):
    """{path relative to the folder: content}."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_archive(path, files):
    """Write {name: content} as .zip, .tar, .tar.gz, ..., in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return
    kind = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix.lower(), "")
    fast = {"compresslevel": 1} if kind == "gz" else {}
    with tarfile.open(path, f"w:{kind}", **fast) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def encrypt(path):
    """Set the flag of encryption in every header of a zip."""
    raw = bytearray(path.read_bytes())
    for start, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = raw.find(start)
        while place >= 0:
            raw[place + flag] |= 1
            place = raw.find(start, place + 1)
    path.write_bytes(raw)


def built(dataset, source, data_dir):
    """Examples of each split, after a build from the folder `source`."""
    builder = tfds.builder(dataset, data_dir=data_dir)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=source))
    return {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in builder.info.splits
    }


def refused(dataset, source, data_dir):
    """The error message of a build that leaves nothing behind."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        built(dataset, source, data_dir)
    assert not list(data_dir.rglob("dataset_info.json"))
    return str(caught.value)


def names_of(examples):
    return {one["name"].decode() for one in examples}


def sizes_of(splits):
    return {split: len(part) for split, part in splits.items()}
