"""Preparing a source: what a plan sees of it, what is written, and datasets that are joined."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

from tests.data.roots import converted, png, row, write_converted, write_subset
from tests.data.table_layouts import write_files
from tests.data.tables import entry
from workflow_scripts import ROOT
from workflow_scripts.cache.source_files import identity_of_source
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.config.sources.joined import JoinedDataset, faults_of_joins
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.images import image_bytes
from workflow_scripts.core.rows import Convention, ImageFacts, QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.data import prepare as step
from workflow_scripts.data.case_groups import pixels_of
from workflow_scripts.data.join import join
from workflow_scripts.data.prepare import prepare
from workflow_scripts.data.sources import folder as folders
from workflow_scripts.data.sources.folder import write_folder
from workflow_scripts.data.sources.record import SourceImage, SourceRecord
from workflow_scripts.data.split import EmptySplit, select, split_rows

TABLE = "image,question,answer\nscans/0.png,Is it?,yes\nscans/1.png,Is it?,no\nscans/2.png,Is it?,no\n"


@pytest.fixture
def lab(tmp_path):
    """A table with two images and one that is missing, prepared once; its entry, folder and record."""
    folder = write_files(tmp_path / "lab", {"t.csv": TABLE, "scans/0.png": png(0), "scans/1.png": png(1)})
    spec, seen = entry(path=str(folder), task="closed vqa"), tmp_path / "seen.json"

    def run():
        identity = identity_of_source(spec.root, folder, seen)
        keys = {"identity": identity, "seen": seen, "manifest": tmp_path / "m.json", "name": "lab"}
        prepare(spec=spec, source=folder, out=tmp_path / "root", **keys)
        return identity

    return spec, folder, seen, run


def state(lab):
    return identity_of_source(lab[0].root, lab[1], lab[2])


def test_a_source_that_did_not_change_has_the_state_that_was_seen(lab):
    seen = lab[3]()
    assert state(lab) == seen
    (lab[1] / "notes.txt").write_text("no table")
    (lab[1] / "scans/other.png").write_bytes(png(7))  # no row names it
    assert state(lab) == seen


@pytest.mark.parametrize("name", ["t.csv", "scans/0.png"])
def test_a_touched_file_is_no_change_and_other_bytes_are_one(lab, name):
    seen, file = lab[3](), lab[1] / name
    os.utime(file, (1, 1))
    assert state(lab) == seen
    assert state(lab) == seen  # by the new times alone
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, (1, 1))
    assert state(lab) != seen
    file.write_bytes(content)
    assert state(lab) == seen


def test_a_missing_image_that_comes_a_new_table_and_a_lost_one_are_changes(lab):
    states = {lab[3]()}
    (lab[1] / "scans/2.png").write_bytes(png(2))
    states.add(state(lab))
    (lab[1] / "scans/2.png").unlink()
    (lab[1] / "u.csv").write_text(TABLE)
    states.add(state(lab))
    (lab[1] / "u.csv").unlink()
    (lab[1] / "scans/1.png").unlink()
    states.add(state(lab))
    assert len(states) == 4
    (lab[1] / "t.csv").unlink()
    with pytest.raises(BadFile, match="holds no table that fits"):
        state(lab)


@pytest.mark.parametrize("images_in", [["a", "b"], ["?"], ["", "b"]])
def test_an_image_that_comes_in_a_further_folder_is_a_change_and_then_none(tmp_path, images_in):
    line = "1.png,Is it?,yes\n"
    folder = write_files(tmp_path / "lab", {"t.csv": f"image,question,answer\n0.png,Is it?,yes\n{line}"})
    write_files(folder, {"a/0.png": png(0), "b/0.png": png(0), "0.png": png(0)})
    spec, seen = entry(path=str(folder), task="closed vqa", images_in=images_in), tmp_path / "seen.json"
    states = []
    for name in ("", "b/notes.png", "b/1.png", "b/1.png"):
        if name:
            write_files(folder, {name: png(1)})
        states.append(identity_of_source(spec.root, folder, seen))
        keys = {"identity": states[-1], "seen": seen, "manifest": tmp_path / "m.json", "name": "lab"}
        prepare(spec=spec, source=folder, out=tmp_path / "root", **keys)
        assert identity_of_source(spec.root, folder, seen) == states[-1]
    assert states[0] == states[1] != states[2] == states[3]


def test_a_zip_of_images_that_changes_or_comes_is_a_change(tmp_path):
    folder = write_files(tmp_path / "lab", {"t.csv": TABLE})
    spec, seen = entry(path=str(folder), task="closed vqa", images_in=["*.zip"]), tmp_path / "seen.json"
    states = []
    for name, seeds in (("a.zip", (0, 1)), ("a.zip", (0, 5)), ("b.zip", (2,))):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for place, seed in enumerate(seeds):
                archive.writestr(f"scans/{place}.png", png(seed))
        states.append(identity_of_source(spec.root, folder, seen))
        keys = {"identity": states[-1], "seen": seen, "manifest": tmp_path / "m.json", "name": "lab"}
        prepare(spec=spec, source=folder, out=tmp_path / "root", **keys)
        os.utime(folder / name, (1, 1))
        assert identity_of_source(spec.root, folder, seen) == states[-1]
    assert len(set(states)) == 3


@pytest.mark.parametrize(
    ("modality", "subset", "image"),
    [
        ("../../../evil", "s", "images/0.png"),
        ("X-ray/CT", "s", "images/0.png"),
        ("Xray", "..", "images/0.png"),
        ("Xray", "s", "../../../../x.png"),
    ],
)
def test_nothing_is_written_outside_the_folder_of_a_subset(tmp_path, modality, subset, image):
    images = (SourceImage(image, data=png(0)),)
    record = SourceRecord("training", modality, subset, "row 1", "closed vqa", "?", "yes", images=images)
    with pytest.raises(BadFile, match=r"row 1: .*(is no folder of a subset|leaves the folder of training/Xray/s)"):
        write_folder([record], tmp_path / "a/b/c/root", {})
    written = [path for path in tmp_path.rglob("*") if path.is_file() and "root.partial" not in path.parts]
    assert not written


def test_a_source_that_changes_while_it_is_read_stops_the_step(lab, monkeypatch):
    original = step.records_of

    def meddling(*arguments):
        yield from original(*arguments)
        (lab[1] / "t.csv").write_text(TABLE + "\n")

    monkeypatch.setattr(step, "records_of", meddling)
    with pytest.raises(BadFile, match=r"t.csv changed while it was read; run again when it rests"):
        lab[3]()


def test_the_step_runs_from_the_command_line_and_a_fault_is_one_sentence(lab, tmp_path):
    flags = ["--spec", json.dumps({"source": "table", "path": "x", "task": "closed vqa"}), "--name", "lab"]
    flags += ["--out", str(tmp_path / "out"), "--manifest", str(tmp_path / "m.json"), "--source"]
    command = [sys.executable, "-m", "workflow_scripts.data.prepare", *flags]
    done = subprocess.run([*command, str(lab[1])], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "prepare: 3 records, 3 files\n", done.stderr
    done = subprocess.run([*command, str(tmp_path / "nowhere")], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "nowhere does not exist; give the table, or the folder that holds it" in done.stderr


def records(count, **more):
    for number in range(count):
        image = SourceImage(f"images/{number % 3}.png", data=png(number % 3))
        keys = {"question": "Is it?", "answer": "yes", "images": (image,)} | more
        yield SourceRecord("training", "Xray", "many", f"row {number}", "closed vqa", **keys)


def test_many_questions_are_parted_into_files(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "QUESTIONS_A_FILE", 4)
    prepared = write_folder(records(9), tmp_path / "root", {"source": "table"})
    names = [entry["path"].rpartition("/")[2] for entry in prepared.manifest["files"]]
    assert names == ["0.png", "1.png", "2.png", "questions.json", "questions_2.json", "questions_3.json"]
    assert converted(tmp_path / "root", tmp_path).counts.records == 9


def test_two_images_of_one_name_and_other_content_are_refused(tmp_path):
    def listed():
        yield from records(1)
        yield from records(1, images=(SourceImage("images/0.png", data=png(5)),))

    with pytest.raises(BadFile, match=r"another image of training/Xray/many is called images/0.png too"):
        write_folder(listed(), tmp_path / "root", {})


def test_a_case_that_records_name_ties_subsets_and_is_no_case_that_a_name_tells(tmp_path):
    images = {"imagesTr/p1_left.png": png(0), "imagesTr/p2_left.png": png(1)}
    first, second = (row(name) for name in images)
    for seed, subset in enumerate(("h CT", "h X-ray", "case")):
        rows = [first | {"Case": "p2"}, second]
        write_subset(tmp_path / "root", rows, {name: png(seed * 2 + n) for n, name in enumerate(images)}, name=subset)
    cases = {(r.subset, r.source_row): r.case_id for r in converted(tmp_path / "root", tmp_path).rows}
    assert {cases[subset, 0] for subset in ("h CT", "h X-ray", "case")} == {cases["case", 0]}
    assert len({cases[subset, 1] for subset in ("h CT", "h X-ray", "case")} - {cases["case", 0]}) == 3


def part(place, name, subset, count, **keys):
    """A converted dataset in `place/name`: its tables and its root."""
    for folder in ("training", "testing"):
        rows = [row(f"imagesTr/p{n}_frontal.png", f"{name} {folder}: how many?", n, "counting") for n in range(count)]
        images = {f"imagesTr/p{n}_frontal.png": png(keys.get("first", 0) + n) for n in range(count)}
        bad = row("imagesTr/none.png", "Which?", 1, "counting")
        write_subset(place / name / "root", [*rows, bad], images, name=subset, folder=folder)
    write_converted(converted(place / name / "root", place / name), place / name)
    return f"{name}={place / name}", f"{name}={place / name / 'root'}"


def joined(place, parts):
    """Join parts of datasets; the tables that are written."""
    names = ("rows", "quarantine", "images", "conventions")
    files = {name: place / f"joined/{name}.parquet" for name in names}
    (place / "joined").mkdir()
    tables, roots = zip(*parts, strict=True)
    join(tables=tables, roots=roots, out=place / "joined/root", **files)
    kinds = (Row, QuarantinedRow, ImageFacts, Convention)
    return [read_rows(files[name], kind) for name, kind in zip(names, kinds, strict=True)]


def test_joined_datasets_hold_all_rows_under_names_of_their_own(tmp_path):
    rows, quarantine, images, conventions = joined(
        tmp_path, [part(tmp_path, "a", "north", 3), part(tmp_path, "b", "south", 2, first=50)]
    )
    assert len(rows) == 10 and len(quarantine) == 4 and len({row.uid for row in rows}) == 10
    assert {row.uid.split("/")[0] for row in rows} == {"a", "b"}
    assert {fact.path for fact in images} == {image.path for row in rows for image in row.images}
    for image in images:
        assert image_bytes(tmp_path / "joined/root", image.path).startswith(b"\x89PNG")
    assert (tmp_path / "joined/root/a").is_symlink()
    assert {entry.uid.split("/")[0] for entry in quarantine if entry.uid} == {"a", "b"}
    assert {convention.subset for convention in conventions} <= {"north", "south"}


def test_a_training_row_of_a_joined_dataset_leaks_no_case_or_image_of_another_dataset(tmp_path):
    parts = [part(tmp_path, "a", "north", 3), part(tmp_path, "b", "north", 4)]  # the same images, cases and subset
    rows, _, images, _ = joined(tmp_path, parts)
    protected = [row for row in read_rows(tmp_path / "b/rows.parquet", Row) if row.folder == "testing"][:2]
    spec = Split(dataset="both", folder="training")
    left, excluded = split_rows(rows, spec, protected, pixels_of(images))
    assert {row.case_id for row in left}.isdisjoint(row.case_id for row in protected)
    assert len(excluded) == 4 and {entry.reason for entry in excluded} == {"leaked_image"}


def test_one_subset_in_two_modalities_is_refused(tmp_path):
    first = part(tmp_path, "a", "north", 1)
    write_subset(tmp_path / "b/root", [row("imagesTr/0.png", "?", 1, "counting")], {"imagesTr/0.png": png(0)},
                 name="North", modality="CT")  # fmt: skip
    write_converted(converted(tmp_path / "b/root", tmp_path / "b"), tmp_path / "b")
    with pytest.raises(BadFile, match="'North' is a subset of Xray in a and of CT in b: rename one"):
        joined(tmp_path, [first, (f"b={tmp_path / 'b'}", f"b={tmp_path / 'b/root'}")])


def test_only_datasets_that_are_there_and_are_not_joined_themselves_can_be_joined():
    datasets = {
        "a": TableDataset(path="x"),
        "b": JoinedDataset(datasets=("a", "c")),
        "c": JoinedDataset(datasets=("a", "none")),
    }
    assert list(faults_of_joins(datasets)) == [
        "datasets.b.datasets: 'c' is joined itself; allowed: a",
        "datasets.c.datasets: 'none' is not in `datasets`; allowed: a",
    ]
    with pytest.raises(ValueError, match="'a' stands there twice"):
        JoinedDataset(datasets=("a", "a"))
    with pytest.raises(ValueError, match="`policies` are those of each dataset"):
        JoinedDataset(datasets=("a", "b"), policies={"duplicate": "keep"})


def test_a_split_leaves_out_the_subsets_that_it_excludes(tmp_path):
    part(tmp_path, "a", "north", 2)
    write_subset(
        tmp_path / "a/root", [row("imagesTr/9.png", "?", 1, "counting")], {"imagesTr/9.png": png(9)}, name="east"
    )
    result = converted(tmp_path / "a/root", tmp_path / "a")
    pixels = pixels_of(result.images)

    def subsets(**keys):
        return {row.subset for row in select(result.rows, Split(dataset="a", folder="training", **keys), pixels)}

    assert subsets() == {"north", "east"}
    assert subsets(exclude=("east",)) == {"north"}
    assert subsets(only=("east",)) == {"east"}
    with pytest.raises(EmptySplit, match=r"no row of west is in folder 'training'; subsets there: east, north"):
        subsets(exclude=("west",))
    with pytest.raises(ValueError, match="`only` and `exclude` both name 'east'"):
        subsets(only=("east",), exclude=("east",))
