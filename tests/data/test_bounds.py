"""Every reader has a bound: what is ten times as large costs its row, or its file, and never the memory."""

import json
import resource
import subprocess
import sys
import zipfile
import zlib

import pytest

from tests.data.roots import converted, png, pngs, row, write_subset
from workflow_scripts.core import images
from workflow_scripts.core.images import BadImage, image_bytes
from workflow_scripts.data.conversion import question_files, rows
from workflow_scripts.data.conversion.reasons import REASONS

SUBSET = "training/Xray/ds"


class Repeated:
    """Compresses the first of equal blocks, and gives the same bytes for each: a block refers to none before it."""

    block = b""

    def compress(self, data: bytes) -> bytes:
        if not self.block:
            deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
            self.block = deflate.compress(data) + deflate.flush(zlib.Z_FULL_FLUSH)
        return self.block

    def flush(self) -> bytes:
        return zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def zipped(root, name: str, size: int, compression: int = zipfile.ZIP_DEFLATED):
    """Add a member of `size` zeros to the subset's zip."""
    folder = root / SUBSET
    folder.mkdir(parents=True, exist_ok=True)
    member = zipfile.ZipInfo(name)
    member.compress_type = compression
    with (
        zipfile.ZipFile(folder / "imagesTr.zip", "a") as archive,
        archive.open(member, "w", force_zip64=True) as stream,
    ):
        if size % (1 << 20) == 0:
            stream._compressor = Repeated()  # a hundred times as fast
        zeros = bytes(1 << 20)
        for start in range(0, size, len(zeros)):
            stream.write(zeros[: size - start])


def test_a_member_of_ten_times_the_bound_costs_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGEST_FILE", 10_000)
    write_subset(tmp_path / "root", [row("imagesTr/0.png"), row("imagesTr/huge.png")], pngs(1), zipped=True)
    zipped(tmp_path / "root", "imagesTr/huge.png", 100_000, zipfile.ZIP_STORED)
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("ds_questions_train.json", 1): "unreadable_image"}
    assert "would grow to 100000 bytes; an image may hold 10000" in result.quarantine[0].detail


def test_a_member_that_grows_ten_times_as_much_costs_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "ALLOWANCE", 1000)
    monkeypatch.setattr(images, "RATIO", 20)
    write_subset(tmp_path / "root", [row("imagesTr/0.png"), row("imagesTr/bomb.png")], pngs(1), zipped=True)
    with zipfile.ZipFile(tmp_path / "root" / SUBSET / "imagesTr.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imagesTr/bomb.png", bytes(100_000))
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("ds_questions_train.json", 1): "unreadable_image"}
    assert "a bomb, or a blank image" in result.quarantine[0].detail


def test_a_member_is_read_no_further_than_it_says(tmp_path):
    zipped(tmp_path, "imagesTr/a.png", 1000)
    archive = tmp_path / SUBSET / "imagesTr.zip"
    archive.write_bytes(archive.read_bytes().replace((1000).to_bytes(8, "little"), (10).to_bytes(8, "little")))
    archive.write_bytes(archive.read_bytes().replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(BadImage, match="Bad CRC-32"):
        image_bytes(tmp_path, f"{SUBSET}/imagesTr.zip!imagesTr/a.png")


LIMITED = """
import resource, sys
from pathlib import Path
import workflow_scripts.data.convert as convert
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
from workflow_scripts.core.config.sources.entry import Policies
done = convert.convert_dataset(Path(sys.argv[1]), Path(sys.argv[2]), Policies(), Path(sys.argv[3]), 1)
print(done.counts.rows, done.quarantine["reason"].to_pylist())
"""


@pytest.mark.slow
def test_a_zip_of_6_mb_with_a_member_of_6_gb_ends_as_one_quarantined_row(tmp_path):
    from tests.data.roots import take_inventory, write_manifest

    root = tmp_path / "root"
    write_subset(root, [row("imagesTr/0.png"), row("imagesTr/bomb.png")], pngs(1), zipped=True)
    zipped(root, "imagesTr/bomb.png", 6 << 30)
    assert (root / SUBSET / "imagesTr.zip").stat().st_size < 7 << 20
    write_manifest(tmp_path / "manifest.json", take_inventory(root, {}))
    command = [sys.executable, "-c", LIMITED, root, tmp_path / "manifest.json", tmp_path / "work"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "1 ['unreadable_image']\n", done.stderr[-2000:]


def test_a_file_of_ten_times_the_bound_costs_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGEST_FILE", 10_000)
    huge = {"imagesTr/0.png": png(0), "imagesTr/1.png": png(1) + bytes(100_000)}
    write_subset(tmp_path / "root", [row(name) for name in huge], huge)
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("ds_questions_train.json", 1): "unreadable_image"}
    assert "bytes; an image may hold 10000" in result.quarantine[0].detail


def test_an_image_of_ten_times_the_pixels_costs_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 16 * 12)
    write_subset(
        tmp_path / "root",
        [row("imagesTr/0.png"), row("imagesTr/1.png")],
        {"imagesTr/0.png": png(0), "imagesTr/1.png": png(1, 160, 12)},
    )
    assert converted(tmp_path / "root", tmp_path).reasons == {("ds_questions_train.json", 1): "unreadable_image"}


def test_a_question_file_of_ten_times_the_bound_is_quarantined_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(question_files, "LARGEST_QUESTIONS", 1000)
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], pngs(1))
    write_subset(tmp_path / "root", [row("imagesTr/0.png") for _ in range(70)], {}, file="huge.json")
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("huge.json", None): "unreadable_file"} and len(result.rows) == 1
    assert "of 1000 at most: split it" in result.quarantine[0].detail


@pytest.mark.parametrize("field", ["Question", "Answer"])
def test_a_text_of_ten_times_the_bound_costs_its_row(tmp_path, monkeypatch, field):
    monkeypatch.setattr(rows, "LONGEST_TEXT", 100)
    records = [row("imagesTr/0.png", "What is to be seen?", "Nothing.", "Report Generation") for _ in range(2)]
    records[1][field] = "x" * 1000
    write_subset(tmp_path / "root", records, pngs(1))
    assert converted(tmp_path / "root", tmp_path).reasons == {("ds_questions_train.json", 1): "too_long"}


def test_an_answer_that_is_nested_too_deeply_costs_its_row(tmp_path):
    depth = sys.getrecursionlimit() // 2
    text = json.dumps([row("imagesTr/0.png", answer=0), row("imagesTr/1.png")])
    write_subset(tmp_path / "root", text.replace('"Answer": 0', f'"Answer": {"[" * depth}{"]" * depth}'), pngs(2))
    (reason,) = converted(tmp_path / "root", tmp_path).reasons.values()
    assert reason in REASONS


def test_a_member_that_is_no_image_is_not_read(tmp_path):
    """Of 128 MiB of what is called `.json` in a zip, the start alone is looked at."""
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], pngs(1), zipped=True)
    zipped(tmp_path / "root", "imagesTr/data.json", 1 << 27)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert converted(tmp_path / "root", tmp_path).reasons == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB
