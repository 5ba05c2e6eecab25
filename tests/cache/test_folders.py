"""A folder that others may change: changes are recognised by content, and only files whose stamps differ are read."""

import os
import shutil
import time

import pytest

from workflow_scripts.cache import folders
from workflow_scripts.cache.folders import Seen, identity_of, read_seen, stamps_below, write_seen
from workflow_scripts.core.files import sha256_of_file


@pytest.fixture
def root(tmp_path):
    for name in ("training/Xray/a/a.json", "training/Xray/a/images/1.png", "training/Xray/a/images/2.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(name)
    return tmp_path / "root"


def inventory(root, record):
    """What the step of the inventory leaves behind."""
    identity, stamps = identity_of(root, record), stamps_below(root)
    write_seen(record, Seen(identity, stamps, {path: sha256_of_file(root / path) for path in stamps}))
    return identity


@pytest.fixture
def record(root, tmp_path):
    inventory(root, tmp_path / "seen.json")
    return tmp_path / "seen.json"


def never(path):
    raise AssertionError(f"{path} was read")


def test_an_unchanged_folder_is_not_read_and_keeps_its_identity(root, record, monkeypatch):
    monkeypatch.setattr(folders, "sha256_of_file", never)
    assert identity_of(root, record) == read_seen(record).identity


def test_a_touched_folder_is_read_once_and_keeps_its_identity(root, record, monkeypatch):
    before = read_seen(record).identity
    for path in stamps_below(root):
        os.utime(root / path, (1, 1))
    assert identity_of(root, record) == before
    monkeypatch.setattr(folders, "sha256_of_file", never)
    assert identity_of(root, record) == before


def test_bytes_of_the_same_length_change_the_identity_until_they_are_put_back(root, record):
    before, image = read_seen(record).identity, root / "training/Xray/a/images/1.png"
    content = image.read_text()
    image.write_text(content[::-1])
    changed = identity_of(root, record)
    assert changed != before and identity_of(root, record) == changed
    image.write_text(content)
    assert identity_of(root, record) == before


def test_bytes_of_the_same_length_and_time_change_the_identity(root, record):
    before, image = read_seen(record).identity, root / "training/Xray/a/images/1.png"
    status = image.stat()
    image.write_text(image.read_text()[::-1])
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identity_of(root, record) != before


DAMAGED = ['{"files": {"a": [1, 2]}}', "", "{", '{"identity": 1, "files": []}', "[" * 100_000, "\xff", "[]"]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_record_is_reported_and_written_anew(root, record, content, capsys):
    record.write_text(content, encoding="latin-1")
    first = identity_of(root, record)
    assert capsys.readouterr().err == f"{record} is damaged: it is ignored and written anew\n"
    assert inventory(root, record) == first == identity_of(root, record)
    assert "damaged" in capsys.readouterr().err and identity_of(root, record) == first
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["added", "removed", "renamed"])
def test_files_that_come_and_go_change_the_identity(root, record, change):
    before, image = read_seen(record).identity, root / "training/Xray/a/images/1.png"
    if change == "added":
        image.with_name("3.png").write_text("3")
    elif change == "removed":
        image.unlink()
    else:
        image.rename(image.with_name("3.png"))
    assert identity_of(root, record) != before


def test_after_an_inventory_the_identity_that_its_plan_gave_stands(root, record):
    (root / "training/Xray/a/a.json").write_text("[]")
    planned = inventory(root, record)
    assert identity_of(root, record) == planned


def test_hidden_files_and_dangling_links_do_not_count(root, record):
    before = read_seen(record).identity
    (root / ".DS_Store").write_text("x")
    (root / "training/gone.png").symlink_to(root / "nowhere")
    assert identity_of(root, record) == before


def test_a_record_that_cannot_be_written_stops_no_plan(root, record, monkeypatch):
    before = read_seen(record).identity
    os.utime(root / "training/Xray/a/a.json", (1, 1))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert identity_of(root, record) == before


@pytest.mark.extended
def test_fifty_thousand_files_are_looked_at_in_under_two_seconds(tmp_path):
    root = tmp_path / "root"
    for folder in range(50):
        (root / str(folder)).mkdir(parents=True)
        for number in range(1000):
            (root / str(folder) / f"{number}.png").touch()
    inventory(root, tmp_path / "seen.json")
    spent = []
    for _ in range(3):  # the least: other processes take a share of the processor's speed
        start = time.process_time()
        identity_of(root, tmp_path / "seen.json")
        spent.append(time.process_time() - start)
    shutil.rmtree(root)
    assert min(spent) < 2
