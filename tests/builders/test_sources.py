"""Folders and archives, read in place; damaged ones."""

import gzip
import random
import subprocess
import sys
import tarfile
import zipfile

import pytest
from native_files import encrypt, write, write_archive

from tfds_builders.sources import find_sources

FILES = {"b/two.txt": b"2", "a.csv": b"x,y\n", "b/c/three.bin": bytes(1000)}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "X.TGZ"])
def test_archives_are_read_in_place(name, tmp_path):
    write_archive(tmp_path / name, FILES)
    folder, archive = find_sources(tmp_path)
    assert folder.names == ()
    assert archive.names == tuple(sorted(FILES))
    with archive.open("a.csv") as file:
        assert file.read() == b"x,y\n"
    wanted = ["a.csv", "b/c/three.bin"]
    assert dict(archive.read(wanted)) == {name: FILES[name] for name in wanted}
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing unpacked


def test_folders_are_read_with_their_junk_left_out(tmp_path):
    junk = {"__MACOSX/a.csv": b"", "b/.DS_Store": b"", "b/._two.txt": b""}
    write(tmp_path, {**FILES, **junk})
    (source,) = find_sources(tmp_path)
    assert source.names == tuple(sorted(FILES))
    assert dict(source.read(FILES)) == FILES
    with source.open("b/two.txt") as file:
        assert file.read() == b"2"


def test_links_to_folders_are_followed_and_circles_not(tmp_path):
    (tmp_path / "far" / "happy").mkdir(parents=True)
    (tmp_path / "far" / "happy" / "1.png").write_bytes(b"1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "happy").symlink_to(tmp_path / "far" / "happy")
    (tmp_path / "mine" / "joy").symlink_to(tmp_path / "far" / "happy")
    (tmp_path / "far" / "happy" / "up").symlink_to(tmp_path / "mine")
    (source,) = find_sources(tmp_path / "mine")
    assert source.names == ("happy/1.png", "joy/1.png")
    assert dict(source.read(source.names)) == {"happy/1.png": b"1", "joy/1.png": b"1"}


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_unsafe_names_are_ignored(name, tmp_path):
    write_archive(
        tmp_path / name, {"../up.csv": b"", "/root.csv": b"", "a/../../b.csv": b"", "good.csv": b""}
    )
    assert find_sources(tmp_path)[1].names == ("good.csv",)


def test_links_in_an_archive_are_ignored(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo(f"link{kind.decode()}.csv")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    assert find_sources(tmp_path)[1].names == ()


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
@pytest.mark.parametrize("keep", [0, 40, 300])
def test_cut_archives_are_named(name, keep, tmp_path):
    noise = {"noise.bin": random.Random(0).randbytes(3000)}
    write_archive(tmp_path / name, noise)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:keep])
    with pytest.raises(ValueError, match=f"{name} is damaged or cut short"):
        for source in find_sources(tmp_path)[1:]:
            dict(source.read(source.names))


def zeros_to_the_end(stored):
    """A download whose place was taken beforehand, and that never ended."""
    half = len(stored) // 2 // 512 * 512
    stored[half:] = bytes(len(stored) - half)


def header(stored):
    stored[512 * 60 * 101] ^= 1  # of the 60th of members of 50 KiB


def checksum(stored):
    stored[-6] ^= 1


def amid(stored):
    stored[len(stored) // 2] ^= 1


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("x.tar", zeros_to_the_end),
        ("x.tar", header),
        ("x.tar.gz", checksum),
        ("x.tar.gz", amid),
        ("x.tar.bz2", amid),
    ],
)
def test_no_file_of_a_damaged_tar_is_lost_silently(name, damage, tmp_path):
    content = random.Random(0).randbytes(100 * 512)
    write_archive(tmp_path / name, {f"{number}.png": content for number in range(100)})
    assert len(find_sources(tmp_path)[1].names) == 100
    stored = bytearray((tmp_path / name).read_bytes())
    damage(stored)
    (tmp_path / name).write_bytes(stored)
    with pytest.raises(ValueError, match=f"^{name} is damaged or cut short"):
        find_sources(tmp_path)


def test_damage_within_a_compressed_tar_is_one_line(tmp_path):
    content = random.Random(0).randbytes(30_000)
    write_archive(tmp_path / "x.tar.xz", {"noise.bin": content})
    stored = bytearray((tmp_path / "x.tar.xz").read_bytes())
    stored[15_000:15_064] = bytes(64)
    (tmp_path / "x.tar.xz").write_bytes(stored)
    (tmp_path / "y.tar.gz").write_bytes(b"no archive at all")
    for name in ("x.tar.xz", "y.tar.gz"):
        folder = tmp_path / name[0]
        folder.mkdir()
        (tmp_path / name).rename(folder / name)
        with pytest.raises(ValueError, match=f"^{name} is damaged or cut short [^\n]*$"):
            for source in find_sources(folder)[1:]:
                dict(source.read(source.names))


def test_an_encrypted_zip_asks_for_its_password(tmp_path):
    write_archive(tmp_path / "x.zip", FILES)
    encrypt(tmp_path / "x.zip")
    archive = find_sources(tmp_path)[1]
    with pytest.raises(ValueError, match="x.zip is encrypted; unpack it with its password"):
        dict(archive.read(archive.names))


def test_a_file_that_claims_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tfds_builders.sources.MOST_BYTES", 999)
    write_archive(tmp_path / "x.zip", FILES)
    with pytest.raises(ValueError, match="three.bin in x.zip has 1,000 bytes"):
        find_sources(tmp_path)
    monkeypatch.setattr("tfds_builders.sources.MOST_FILES", 2)
    with pytest.raises(ValueError, match="x.zip holds 3 files, more than"):
        find_sources(tmp_path)


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [("x.rar", b"Rar!\x1a\x07\x01\0", "RAR"), ("x.7z", b"7z\xbc\xaf'\x1c\0\4", "7-Zip")],
)
def test_archives_that_are_not_read_are_named_as_what_they_are(name, start, kind, tmp_path, caplog):
    (tmp_path / name).write_bytes(start + bytes(99))
    with pytest.raises(ValueError, match=f"^{name} is a {kind} archive, which is not read: unpack"):
        find_sources(tmp_path)
    write(tmp_path, FILES)
    find_sources(tmp_path)
    assert f"Ignored: {name} is a {kind} archive" in caplog.text


def test_an_archive_is_known_by_what_it_holds(tmp_path):
    for i, kind in enumerate((".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")):
        write_archive(tmp_path / f"x{kind}", FILES)
        (tmp_path / f"x{kind}").rename(tmp_path / f"{i}.download")
    (tmp_path / "text.csv.gz").write_bytes(gzip.compress(b"x,y\n"))
    folder, *archives = find_sources(tmp_path)
    assert [source.names for source in archives] == [tuple(sorted(FILES))] * 5
    assert folder.names == ("text.csv.gz",)


def test_a_small_archive_takes_little_memory(tmp_path):
    """Six members of 40 MB, in 240 kB: the start of each is read, and is no picture."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for i in range(6):
            with archive.open(f"happy/{i}.png", "w", force_zip64=True) as file:
                file.write(b"\x89PNG\r\n\x1a\n")
                for _ in range(40):
                    file.write(bytes(2**20))
    program = """
import re, sys
from pathlib import Path
from tfds_builders.sources import find_sources, read_images
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
_, source = find_sources(Path(sys.argv[1]))
try:
    list(read_images(source, source.pictures()[0]))
except ValueError as error:
    print(error)
print(peak() - before)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True
    )
    *_, error, grown = answer.stdout.splitlines()
    assert "happy/0.png is damaged" in error
    assert int(grown) < 600 * 1024  # kilobytes
