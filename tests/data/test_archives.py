"""A zip is unpacked whole and safely, or refused in one sentence with nothing written."""

import io
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import take_inventory
from workflow_scripts.data.downloading.archives import BadArchive, unpack

MEMBERS = {f"imagesTr/{i}.png": random.Random(i).randbytes(5000) for i in range(20)}


def write_zip(path: Path, members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder.parent).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_archive_becomes_the_folder_of_its_name(tmp_path):
    assert contents(unpack(write_zip(tmp_path / "imagesTr.zip", MEMBERS))) == MEMBERS


def test_members_without_the_folder_go_into_it_as_well(tmp_path):
    bare = {name.split("/")[1]: data for name, data in MEMBERS.items()}
    assert contents(unpack(write_zip(tmp_path / "imagesTr.zip", bare))) == MEMBERS


def test_finder_litter_is_left_out(tmp_path):
    litter = {"__MACOSX/imagesTr/._0.png": b"x"}
    assert contents(unpack(write_zip(tmp_path / "imagesTr.zip", MEMBERS | litter))) == MEMBERS


def test_a_half_unpacked_folder_is_completed_and_mended(tmp_path):
    archive = write_zip(tmp_path / "imagesTr.zip", MEMBERS)
    folder = unpack(archive)
    (folder / "3.png").unlink()
    (folder / "4.png").write_bytes(b"cut")
    (folder / "5.png").write_bytes(MEMBERS["imagesTr/5.png"][::-1])
    before = (folder / "6.png").stat().st_mtime_ns
    assert contents(unpack(archive)) == MEMBERS
    assert (folder / "6.png").stat().st_mtime_ns == before


def _link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("imagesTr/link.png")
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../outside.png", "leaves its folder"),
        ("imagesTr/../../outside.png", "leaves its folder"),
        ("/etc/outside.png", "leaves its folder"),
        ("C:/outside.png", "leaves its folder"),
        ("..\\outside.png", "leaves its folder"),
        (_link(), "is a link"),
    ],
    ids=["up", "up inside", "absolute", "drive", "backslash", "link"],
)
def test_a_member_that_leaves_the_folder_is_refused_and_nothing_is_written(tmp_path, name, said):
    archive = write_zip(tmp_path / "ds" / "imagesTr.zip", MEMBERS)
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(name, b"/etc/passwd")
    with pytest.raises(BadArchive, match=said):
        unpack(archive)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["imagesTr.zip"]


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "imagesTr.zip", "w") as archive:
        archive.writestr("imagesTr/a.png", b"1")
        archive.writestr("imagesTr/a.png", b"2")
    with pytest.raises(BadArchive, match="twice"):
        unpack(tmp_path / "imagesTr.zip")


def test_a_bomb_is_refused(tmp_path):
    archive = write_zip(tmp_path / "imagesTr.zip", {"imagesTr/bomb.bmp": bytes(120_000_000)})
    with pytest.raises(BadArchive, match="would grow from"):
        unpack(archive)
    assert not (tmp_path / "imagesTr").exists()


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path):
    archive = write_zip(tmp_path / "imagesTr.zip", {"imagesTr/bomb.bmp": bytes(5_000_000)})
    data = archive.read_bytes()
    honest, claimed = (5_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    archive.write_bytes(data.replace(honest, claimed))
    with pytest.raises(BadArchive, match="damaged"):
        unpack(archive)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.part")) <= 1000


def test_a_wrong_checksum_is_said_with_the_remedy(tmp_path):
    archive = write_zip(tmp_path / "imagesTr.zip", MEMBERS, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[data.index(MEMBERS["imagesTr/7.png"][:50])] ^= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(BadArchive, match=r"damaged \(Bad CRC-32.*download it again"):
        unpack(archive)
    assert not (tmp_path / "imagesTr").exists()


def test_an_encrypted_archive_is_said(tmp_path):
    archive = write_zip(tmp_path / "imagesTr.zip", {"imagesTr/a.png": b"1"}, zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(BadArchive, match="encrypted"):
        unpack(archive)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 4000), value=st.integers(0, 255), cut=st.integers(0, 4000))
def test_no_damage_to_an_archive_escapes(tmp_path_factory, place, value, cut):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(12):
            archive.writestr(f"imagesTr/{i}.png", random.Random(i).randbytes(100))
    data = bytearray(stream.getvalue())
    if place < len(data):
        data[place] = value
    path = tmp_path_factory.mktemp("zip") / "ds" / "imagesTr.zip"
    path.parent.mkdir()
    path.write_bytes(bytes(data)[: cut if cut % 3 == 0 else None])
    try:
        unpack(path)
    except BadFile as error:
        assert "\n" not in str(error)
    assert [p.name for p in path.parent.parent.iterdir()] == ["ds"]


def _unpacked(subset_folder: Path) -> int:
    return sum(1 for _ in subset_folder.glob("*imagesTr*/*.png"))


@pytest.mark.slow
@pytest.mark.parametrize("times", [2, pytest.param(10, marks=pytest.mark.extended)])
def test_an_extraction_killed_at_random_moments_ends_with_the_same_manifest(tmp_path, times):
    subset_folder = tmp_path / "root" / "training" / "Xray" / "chestdr"
    members = {f"imagesTr/{i:05d}.png": random.Random(i).randbytes(20_000) for i in range(6000)}
    archive = write_zip(subset_folder / "imagesTr.zip", members, zipfile.ZIP_STORED)
    code = "import sys; from pathlib import Path; from workflow_scripts.data.downloading.unpack import unpack_archives"
    code += "; unpack_archives(Path(sys.argv[1]), 2)"
    command = [sys.executable, "-c", code, tmp_path / "root"]
    rng, killed, grown = random.Random(5), 0, [0]
    for _ in range(times):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and _unpacked(subset_folder) <= grown[-1]:
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        grown.append(_unpacked(subset_folder))
        assert not (subset_folder / "imagesTr").exists() or grown[-1] == len(members), (
            "the folder was there before it was whole"
        )
    assert killed >= times // 3
    assert grown == sorted(grown), "a run lost what the one before had unpacked"
    subprocess.run(command, check=True, capture_output=True)
    manifest = take_inventory(tmp_path / "root", {})
    assert len(manifest["files"]) == len(members) + 1
    clean = tmp_path / "clean" / "training" / "Xray" / "chestdr"
    clean.mkdir(parents=True)
    (clean / "imagesTr.zip").write_bytes(archive.read_bytes())
    unpack(clean / "imagesTr.zip")
    assert take_inventory(tmp_path / "clean", {}) == manifest
