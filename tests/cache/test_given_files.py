"""A file that somebody gives is known by its bytes: what replaces it, older or newer, is seen, and a touch is not."""

import os
import shutil

import pytest

from workflow_scripts.cache.folders import read_seen
from workflow_scripts.cache.given_files import identity_of_file, reading
from workflow_scripts.core.files import BadFile, sha256_of


@pytest.fixture
def given(tmp_path):
    """A file that a job has read, with the record of that."""
    file, record = tmp_path / "given/theirs.jsonl", tmp_path / "results/theirs.seen.json"
    file.parent.mkdir()
    file.write_text("first")
    with reading(file, record, identity_of_file(file, record)):
        assert file.read_text() == "first"
    return file, record


def test_a_file_that_was_read_is_what_the_plan_called_it(given):
    file, record = given
    seen = read_seen(record)
    assert seen.identity == identity_of_file(file, record) and seen.hashes == {"theirs.jsonl": sha256_of(b"first")}


@pytest.mark.parametrize("how", ["written", "copied with its time", "moved", "written with the old time", "linked"])
def test_other_bytes_are_another_file_however_they_came(given, how, tmp_path):
    file, record = given
    before, status = identity_of_file(file, record), file.stat()
    other = tmp_path / "other.jsonl"
    other.write_text("other")  # of the same size
    os.utime(other, (1, 1))  # and older
    if how == "copied with its time":
        shutil.copy2(other, file)
    elif how == "moved":
        shutil.move(other, file)
    elif how == "linked":
        file.unlink()
        file.symlink_to(other)
    else:
        file.write_text("other")
        if how == "written with the old time":
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert identity_of_file(file, record) != before


def test_the_same_bytes_are_the_same_file_and_are_read_once_more_at_most(given, tmp_path, monkeypatch):
    file, record = given
    before = identity_of_file(file, record)
    shutil.copy2(file, tmp_path / "copy")
    shutil.move(tmp_path / "copy", file)
    os.utime(file, (5, 5))
    assert identity_of_file(file, record) == before
    monkeypatch.setattr("workflow_scripts.cache.folders.sha256_of_file", None)
    assert identity_of_file(file, record) == before


def test_nothing_else_in_the_files_folder_is_looked_at(given):
    file, record = given
    before = identity_of_file(file, record)
    (file.parent / "beside.jsonl").write_text("beside")
    assert identity_of_file(file, record) == before


def test_a_file_that_changes_while_it_is_read_stops_the_job(given):
    file, record = given
    sentence = r"theirs\.jsonl changed while it was read; run again when it rests"
    with pytest.raises(BadFile, match=sentence), reading(file, record, "identity"):
        file.write_text("again")


def test_a_file_that_is_not_there_is_the_readers_to_report(tmp_path):
    assert identity_of_file(tmp_path / "nowhere", tmp_path / "seen.json") == ""
    with pytest.raises(KeyError), reading(tmp_path / "nowhere", tmp_path / "seen.json", ""):
        raise KeyError
