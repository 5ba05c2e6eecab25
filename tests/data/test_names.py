"""Which files belong to a dataset, and how a row's name finds its image: nothing vanishes without a word."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest

from tests.data.roots import converted, png, pngs, row, write_subset
from workflow_scripts.cache.folders import identity_of_files
from workflow_scripts.core.config.datasets import LocalDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import dataset_stamps, read_manifest
from workflow_scripts.data.inventory import write_inventory

SUBSET = "training/Xray/ds"
NAMES = ("röntgen.png", "thorax_é.png", "한글.png")


def detail_of(result) -> str:
    (entry,) = result.quarantine
    return entry.detail


# ---- names that are nearly those of files


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("zipped", [False, True], ids=["folder", "zip"])
def test_names_that_differ_in_composition_alone_are_equal(tmp_path, on_disk, zipped):
    images = {f"imagesTr/{unicodedata.normalize(on_disk, name)}": png(i) for i, name in enumerate(NAMES)}
    other = "NFD" if on_disk == "NFC" else "NFC"
    rows = [row(f"imagesTr/{unicodedata.normalize(other, name)}") for name in NAMES]
    write_subset(tmp_path / "root", rows, images, zipped=zipped)
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {} and len(result.rows) == len(NAMES)


def test_of_two_compositions_of_one_name_each_means_its_own_file(tmp_path):
    names = [unicodedata.normalize(form, "imagesTr/é.png") for form in ("NFC", "NFD")]
    write_subset(tmp_path / "root", [row(name) for name in names], {name: png(i) for i, name in enumerate(names)})
    result = converted(tmp_path / "root", tmp_path)
    if len(list((tmp_path / "root" / SUBSET / "imagesTr").iterdir())) < 2:
        pytest.skip("this file system takes both for one")
    assert [each.images[0].path.removeprefix(f"{SUBSET}/") for each in result.rows] == names


def test_a_zip_that_does_not_say_that_its_names_are_utf_8_is_read(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("imagesTr/röntgen.png", png(0))
    data = bytearray(stream.getvalue())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + place + 1] &= ~0x08 & 0xFF  # the flag that names are UTF-8
    folder = write_subset(tmp_path / "root", [row("imagesTr/röntgen.png")], {}).parent
    (folder / "imagesTr.zip").write_bytes(data)
    assert len(converted(tmp_path / "root", tmp_path).rows) == 1


@pytest.mark.parametrize(
    ("name", "file", "difference"),
    [
        ("imagesTr/a.png", "imagesTr/a.PNG", "letter case"),
        ("ImagesTr/g.png", "imagesTr/g.png", "letter case"),
        ("imagesTr/c%20d.png", "imagesTr/c d.png", "percent escapes"),
        ("imagesTr/c d.png", "imagesTr/c%20d.png", "percent escapes"),
        ("imagesTr/c_d.png", "imagesTr/c-d.png", "underscores, hyphens or spaces"),
        ("imagesTr/a.jpg", "imagesTr/a.png", "ending"),
        ("imagesTr/a", "imagesTr/a.png", "ending"),
        ("imagesTr/A_B.jpg", "imagesTr/a-b.png", "letter case, underscores, hyphens or spaces, ending"),
    ],
)
def test_a_missing_image_is_quarantined_with_the_near_name(tmp_path, name, file, difference):
    write_subset(tmp_path / "root", [row(name)], {file: png(0), "imagesTr/zzz.png": png(1)})
    result = converted(tmp_path / "root", tmp_path)
    assert set(result.reasons.values()) == {"missing_image"}
    assert detail_of(result) == f"not in the dataset: {name}; near: {file} (other {difference})"


def test_of_many_near_names_the_nearest_are_shown(tmp_path):
    images = {f"imagesTr/case{i}/1.png": png(i) for i in range(9)}
    write_subset(tmp_path / "root", [row("imagesTr/Case3/1.png")], images)
    assert detail_of(converted(tmp_path / "root", tmp_path)).endswith("near: imagesTr/case3/1.png (other letter case)")
    write_subset(tmp_path / "root", [row("elsewhere/1.png")], {})
    assert detail_of(converted(tmp_path / "root", tmp_path)).endswith("(another folder) or 6 others")


def test_an_ending_that_no_image_has_is_named(tmp_path):
    write_subset(tmp_path / "root", [row("imagesTr/a.dcm")], {"imagesTr/a.dcm": b"DICM", "imagesTr/0.png": png(0)})
    detail = detail_of(converted(tmp_path / "root", tmp_path))
    assert ".dcm is none of the endings of images that are read (.png, .jpg," in detail


def test_a_name_that_is_near_to_nothing_has_no_hint(tmp_path):
    write_subset(tmp_path / "root", [row("imagesTr/other.png")], pngs(1))
    assert detail_of(converted(tmp_path / "root", tmp_path)) == "not in the dataset: imagesTr/other.png"


# ---- files that are no part of a dataset


def look(root: Path, place: Path, without: tuple[Path, ...] = ()) -> tuple[str, str]:
    """What a plan calls the dataset's state, and what the step that is then run prints."""
    record = place / "seen.json"
    identity = identity_of_files(root, record, dataset_stamps(root, without))
    said = write_inventory(
        spec=LocalDataset(), root=root, manifest=place / "m.json", identity=identity, seen=record, without=without
    )
    return identity, said


@pytest.fixture
def root(tmp_path) -> Path:
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], pngs(1))
    return tmp_path / "root"


@pytest.mark.parametrize(
    "name", ["notes.txt", "Thumbs.db", ".DS_Store", "desktop.ini", "a.py", "0.png.xml", "table.parquet"]
)
def test_a_file_that_no_row_can_use_changes_nothing(root, tmp_path, name):
    before = look(root, tmp_path)
    for folder in ("", "training", SUBSET, f"{SUBSET}/imagesTr"):
        (root / folder / name).write_bytes(b"x")
    assert look(root, tmp_path) == before


@pytest.mark.parametrize("name", ["1.png", "1.JPG", "more.zip", "more.json", "more.jsonl", "more.json.gz"])
def test_a_file_that_a_row_may_use_counts(root, tmp_path, name):
    before, _ = look(root, tmp_path)
    (root / SUBSET / name).write_bytes(b"x")
    after, said = look(root, tmp_path)
    assert after != before and said == "inventory: 3 files"
    assert f"{SUBSET}/{name}" in read_manifest(tmp_path / "m.json")


@pytest.mark.parametrize("inside", ["results", "training/results", f"{SUBSET}/results"])
def test_results_inside_a_dataset_are_no_part_of_it_and_that_is_said(root, tmp_path, inside):
    results = root / inside
    results.mkdir()
    before, _ = look(root, tmp_path, (results,))
    for name in ("seen.json", "report/figure.png", "data/mine/manifest.json"):
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("{}")
    after, said = look(root, tmp_path, (results,))
    assert after == before
    assert said.startswith(f"inventory: 2 files; no part of the dataset: {inside} (split folders are training, ")


def test_folders_that_are_no_split_folders_are_named(root, tmp_path):
    for number in range(7):
        (root / f"Training{number}" / "Xray").mkdir(parents=True)
    names = ", ".join(f"Training{number}" for number in range(5))
    assert f"no part of the dataset: {names} and 2 others (split" in look(root, tmp_path)[1]


@pytest.mark.parametrize("name", [b"notes_\xe9t\xe9.txt", b"training/notes_\xe9t\xe9.txt"])
def test_a_name_that_is_not_utf8_of_no_file_of_the_dataset_stops_nothing(root, tmp_path, name):
    try:
        os.close(os.open(os.fsencode(root) + b"/" + name, os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes no such name")
    assert look(root, tmp_path)[1] == "inventory: 2 files"


# ---- question files that lie elsewhere

QUESTIONS = json.dumps([row("imagesTr/0.png")])


def in_zip(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, QUESTIONS)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("file", "data", "where"),
    [
        ("training/Xray/ds/deeper/q.json", QUESTIONS.encode(), "is deeper: put its rows as plain .json into"),
        ("training/Xray/q.json", QUESTIONS.encode(), "is higher: put its rows as plain .json into"),
        ("training/q.json", QUESTIONS.encode(), "is higher: put its rows as plain .json into"),
        ("training/Xray/ds/q.json.gz", gzip.compress(QUESTIONS.encode()), "is gzip: put its rows as plain .json into"),
        ("training/Xray/ds/q.jsonl", QUESTIONS.encode(), "is JSON Lines: put its rows as plain .json into"),
        ("training/Xray/ds/deeper/q.jsonl.gz", gzip.compress(QUESTIONS.encode()), "is deeper and is gzip: put its"),
        ("training/Xray/ds/all.zip", in_zip("ds/q.json"), "is in a zip: put its rows as plain .json into"),
        ("training/Xray/ds/q.json.gz", b"\x1f\x8b broken", "is gzip: put its rows as plain .json into"),
        ("training/Xray/all.zip", in_zip("ds/q.json"), "is a zip above the subsets' folders: unpack it"),
        ("training/Xray/new/all.zip", in_zip("q.json"), "is in a zip: put its rows as plain .json into"),
    ],
)
def test_a_question_file_that_lies_elsewhere_is_quarantined_as_a_whole(root, tmp_path, file, data, where):
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_bytes(data)
    for _ in range(2):  # converted, and out of the cache
        result = converted(root, tmp_path)
        (entry,) = result.quarantine
        assert (entry.reason, entry.source_row, entry.folder) == ("misplaced_file", None, "training")
        assert entry.source_file.startswith(file) and f"{entry.source_file} {where}" in entry.detail
        assert (len(result.rows), result.counts.records, result.counts.files) == (1, 1, 1)


@pytest.mark.parametrize("data", [b'{"images": [], "annotations": []}', b"[]", b"not JSON"])
def test_other_json_beside_images_is_no_question_file(root, tmp_path, data):
    (root / SUBSET / "imagesTr" / "meta.json").write_bytes(data)
    assert converted(root, tmp_path).quarantine == []


def test_without_any_question_file_the_one_that_lies_elsewhere_is_named(tmp_path):
    (tmp_path / SUBSET).mkdir(parents=True)
    (tmp_path / SUBSET / "all.zip").write_bytes(in_zip("q.json"))
    with pytest.raises(
        BadFile, match=r"holds no question file; expected .*; training/Xray/ds/all\.zip!q\.json is in a zip"
    ):
        converted(tmp_path, tmp_path)


# ---- what would lose a value

DOUBLED = '[{"TaskType": "Classification", "ImageName": "imagesTr/0.png", "Question": "A) x B) y", "Answer": "A", '


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (DOUBLED + '"Answer": "B"}]', "Answer"),
        (DOUBLED + '"ImageName": "imagesTr/1.png"}]', "ImageName"),
        (DOUBLED + '"More": {"a": 1, "a": 2}}]', "a"),
        (DOUBLED + '"More": [[{"a": 1, "b": 3, "a": 2}]]}]', "a"),
    ],
)
def test_a_row_with_a_key_twice_is_quarantined_as_it_stands(tmp_path, text, key):
    write_subset(tmp_path / "root", text, pngs(2))
    write_subset(tmp_path / "root", [row("imagesTr/1.png")], {}, file="more.json")
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("ds_questions_train.json", 0): "doubled_key"} and len(result.rows) == 1
    (entry,) = result.quarantine
    assert entry.detail == f"{key} stands more than once" and entry.uid == f"{SUBSET}/ds_questions_train/0"
    assert ('"Answer": "A", "Answer": "B"' in entry.record) == (key == "Answer")


@pytest.mark.parametrize("keys", [("questions", "questions"), ("questions", "data")])
def test_a_file_with_two_lists_of_rows_is_quarantined_as_a_whole(tmp_path, keys):
    lists = ", ".join(f'"{key}": {json.dumps([row("imagesTr/0.png")])}' for key in keys)
    write_subset(tmp_path / "root", f"{{{lists}}}", pngs(1))
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], {}, file="more.json")
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("ds_questions_train.json", None): "no_rows"} and len(result.rows) == 1
    assert f"holds several lists of rows ({', '.join(keys)})" in detail_of(result)


def test_a_list_of_other_things_beside_the_rows_is_none(tmp_path):
    content = {"annotations": [1], "data": [row("imagesTr/0.png")], "questions": ["how many"]}
    write_subset(tmp_path / "root", content, pngs(1))
    assert len(converted(tmp_path / "root", tmp_path).rows) == 1


# ---- the inputs that failed


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> Path:
    """The trees of the folder of inputs that failed, drawn anew."""
    place = os.environ.get("FLAREBENCH_BUG_INPUTS")
    if not place:
        pytest.skip("FLAREBENCH_BUG_INPUTS is not set to the folder of inputs that failed")
    out = tmp_path_factory.mktemp("failed") / "roots"
    scripts = shutil.copytree(place, tmp_path_factory.mktemp("scripts") / "inputs")
    subprocess.run([sys.executable, scripts / "make_trees.py", out], check=True)
    return out


@pytest.mark.parametrize(
    ("name", "rows", "reasons"),
    [
        ("sym", 12, []),
        ("sym_images", 4, []),
        ("sym_all", 8, []),
        ("nfd", 4, []),
        ("latin1", 8, []),
        ("names", 0, ["missing_image"] * 3),
        ("good", 28, []),
        ("good_val", 6, []),
    ],
)
def test_what_failed_is_in_a_table_or_quarantined_with_the_near_name(failed, tmp_path, name, rows, reasons):
    result = converted(failed / name, tmp_path)
    assert (len(result.rows), [entry.reason for entry in result.quarantine]) == (rows, reasons)
    assert all("; near: imagesTr/" in entry.detail for entry in result.quarantine)


def test_a_zip_is_opened_once_whatever_the_number_of_its_json_files(root, tmp_path, monkeypatch):
    with zipfile.ZipFile(root / SUBSET / "all.zip", "w") as archive:
        for number in range(50):
            archive.writestr(f"boxes/{number}.json", '{"boxes": []}')
        archive.writestr("q.json", QUESTIONS)
    opened = []
    real = zipfile.ZipFile
    monkeypatch.setattr("zipfile.ZipFile", lambda file, *more: opened.append(file) or real(file, *more))
    (entry,) = converted(root, tmp_path).quarantine
    assert entry.source_file == f"{SUBSET}/all.zip!q.json" and len(opened) == 2
