"""Conversion accounts for every row: typed and typed, or in quarantine with a reason of a fixed vocabulary."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.data.roots import OPTIONS, convert_rows, converted, png, pngs, row, write_subset
from workflow_scripts.core.config.sources.entry import Policies
from workflow_scripts.core.files import BadFile, sha256_of
from workflow_scripts.core.images import open_image
from workflow_scripts.core.manifest import take_inventory, write_manifest
from workflow_scripts.core.rows import ExpectedFormat, Image, Option, QuarantinedRow, Row
from workflow_scripts.core.tables import rows_of, schema_of
from workflow_scripts.data.conversion.process_pool import ProcessPool
from workflow_scripts.data.conversion.reasons import REASONS
from workflow_scripts.data.convert import convert, convert_dataset


def assert_conserved(result) -> None:
    files = sum(entry.source_row is None for entry in result.quarantine)
    assert result.counts.records == len(result.rows) + len(result.quarantine) - files
    places = [(r.source_file, r.source_row) for r in [*result.rows, *result.quarantine]]
    assert len(set(places)) == len(places)
    assert {entry.reason for entry in result.quarantine} <= set(REASONS)


def test_the_toy_dataset_is_conserved(toy, toy_root):
    assert_conserved(toy)
    listed = sum(
        len(c if isinstance(c, list) else next(v for v in c.values() if isinstance(v, list)))
        for c in (json.loads(p.read_text()) for p in toy_root.glob("*/*/*/*.json"))
    )
    assert toy.counts.records == listed


def test_the_real_root_is_conserved(real_root, tmp_path):
    result = converted(real_root, tmp_path)
    assert_conserved(result)
    assert result.counts.records == 235


def test_every_planted_defect_is_quarantined_or_left_to_the_audit(toy, toy_root):
    planted = json.loads((toy_root / "planted.json").read_text())
    quarantined = {(q.source_file, q.source_row): q.reason for q in toy.quarantine}
    expected = {(p["file"], p["row"]): p["kind"] for p in planted if p["kind"] in REASONS}
    assert quarantined == expected


@pytest.mark.parametrize("root", ["", "questions", "data", "annotations", "items"])
def test_every_shape_of_a_question_file_is_read(tmp_path, root):
    rows = [row("imagesTr/0.png"), row("imagesTr/1.png", answer="B")]
    images = pngs(2)
    write_subset(tmp_path / "root", {"version": 1, root: rows} if root else rows, images)
    assert [r.answer for r in converted(tmp_path / "root", tmp_path).rows] == ["A", "B"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "unreadable_file"),
        ("[" * 100_000, "unreadable_file"),
        ("[1, 2", "unreadable_file"),
        ('{"rows": []}', "no_rows"),
        ('{"data": {"a": 1}}', "no_rows"),
        ("7", "no_rows"),
    ],
    ids=["cut", "brackets", "cut list", "other key", "no list", "number"],
)
def test_a_file_that_cannot_be_read_is_quarantined_as_a_whole(tmp_path, content, reason):
    write_subset(tmp_path / "root", content, {})
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], {"imagesTr/0.png": png(0)}, file="more.json")
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("ds_questions_train.json", None): reason}
    assert len(result.rows) == result.counts.records == result.counts.files == 1


def test_a_file_that_is_not_unicode_is_quarantined(tmp_path):
    write_subset(tmp_path / "root", [], {}).write_bytes(b'[{"Question": "\xff"}]')
    assert converted(tmp_path / "root", tmp_path).reasons == {("ds_questions_train.json", None): "unreadable_file"}


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("text", "not_an_object"),
        (row("imagesTr/0.png", question="caf\ud83d"), "bad_text"),
        (row("imagesTr/0.png") | {"Fault": ["no_such_reason", "?"]}, "bad_text"),
        (row("imagesTr/0.png") | {"Fault": ["missing_slice", "slice 3"]}, "missing_slice"),
        (row("imagesTr/0.png", task="Segmentation"), "unknown_task"),
        (row("imagesTr/0.png", task=3), "unknown_task"),
        (row("imagesTr/0.png", question="  "), "no_question"),
        (row("imagesTr/0.png", question=None), "no_question"),
        (row(None), "no_image_named"),
        (row([]), "no_image_named"),
        (row(["imagesTr/0.png", 3]), "no_image_named"),
        (row("imagesTr/9.png"), "missing_image"),
        (row("../../../ds/imagesTr/9.png"), "missing_image"),
        (row(["imagesTr/0.png", "imagesTr/9.png"]), "missing_image"),
        (row("imagesTr/0.png", answer=None), "no_answer"),
        (row("imagesTr/0.png", answer="None"), "no_answer"),
        (row("imagesTr/0.png", answer=["A"]), "wrong_answer_type"),
        (row("imagesTr/0.png", answer="T"), "answer_not_an_option"),
        (row("imagesTr/0.png", answer="A B"), "answer_not_an_option"),
        (row("imagesTr/0.png", "How many cells?", "many", "Counting"), "invalid_number"),
        (row("imagesTr/0.png", "How many cells?", 2.5, "Counting"), "invalid_number"),
        (row("imagesTr/0.png", "How many cells?", -1, "Counting"), "invalid_number"),
        (row("imagesTr/0.png", "How many cells?", True, "Counting"), "wrong_answer_type"),
        (row("imagesTr/0.png", "How old?", "1_000", "regression"), "invalid_number"),
        (row("imagesTr/0.png", "How old?", "３３", "regression"), "invalid_number"),
        (row("imagesTr/0.png", "How old?", float("nan"), "regression"), "invalid_number"),
        (row("imagesTr/0.png", "How old?", float("inf"), "regression"), "invalid_number"),
        (row("imagesTr/0.png", "Where? [x_min, y_min, x_max, y_max]", [[8, 8, 4, 4]], "Detection"), "invalid_box"),
        (row("imagesTr/0.png", "Where? [x_min, y_min, x_max, y_max]", [[0, 0, 17, 4]], "Detection"), "invalid_box"),
        (row("imagesTr/0.png", "Where? [x_min, y_min, x_max, y_max]", [[0, 0, 4]], "Detection"), "invalid_box"),
        (row("imagesTr/0.png", "Where? [x_min, y_min, x_max, y_max]", "here", "Detection"), "wrong_answer_type"),
        (row("imagesTr/0.png", "Where? [x, y, width, height]", "[1]", "instance_detection"), "wrong_answer_type"),
    ],
)  # fmt: skip
def test_a_bad_row_is_quarantined_with_its_reason(tmp_path, record, reason):
    result = convert_rows(tmp_path, [record, row("imagesTr/1.png")])
    assert result.reasons == {("ds_questions_train.json", 0): reason}
    assert len(result.rows) == 1


def test_a_reason_that_there_is_none_of_is_answered_with_all_that_there_are(tmp_path):
    result = convert_rows(tmp_path, [row("imagesTr/0.png") | {"Fault": ["no_such_reason", "?"]}])
    assert "Fault names 'no_such_reason'; expected one of misplaced_file" in result.quarantine[0].detail
    assert result.quarantine[0].detail.endswith("contradiction")


def test_a_number_of_5000_digits_costs_its_row_and_not_the_file(tmp_path):
    text = json.dumps([row("imagesTr/0.png", "How many cells?", 0, "Counting"), row("imagesTr/1.png")])
    write_subset(tmp_path / "root", text.replace('"Answer": 0', '"Answer": ' + "9" * 5000), pngs(2))
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("ds_questions_train.json", 0): "invalid_number"}
    assert len(result.rows) == 1


@pytest.mark.parametrize("fixture", ["toy_root", "real_root"])
def test_a_row_keeps_its_files_own_image_name_be_it_a_name_or_a_list(fixture, request, tmp_path):
    root = request.getfixturevalue(fixture)
    kinds = set()
    for typed in converted(root, tmp_path).rows:
        content = json.loads((root / typed.source_file).read_text())
        records = content if isinstance(content, list) else next(v for v in content.values() if isinstance(v, list))
        name = records[typed.source_row]["ImageName"]
        assert str(json.loads(typed.image_name)) == str(name)
        kinds.add((type(name), len(name) if isinstance(name, list) else 1))
    assert {(str, 1)} < kinds


def test_a_row_is_typed_as_the_schema_documents(tmp_path):
    names = ["imagesTr/0.png", "imagesTr/1.png"]
    (typed,) = convert_rows(tmp_path, [row(names, answer=" B ")]).rows
    options = (Option("A", "Nevus"), Option("B", "Melanoma"), Option("C", "Scar"))
    assert typed == Row(
        uid="training/Xray/ds/ds_questions_train/0",
        subset="ds",
        modality="Xray",
        folder="training",
        task="classification",
        task_raw="Classification",
        case_id="ds/training/0",
        question=OPTIONS,
        expected=ExpectedFormat("letter", options, sources=typed.expected.sources),
        images=tuple(
            Image(f"training/Xray/ds/{n}", sha256_of(png(i)), width=16, height=12) for i, n in enumerate(names)
        ),
        image_name='["imagesTr/0.png", "imagesTr/1.png"]',
        answer="B",
        answer_raw='" B "',
        source_file="training/Xray/ds/ds_questions_train.json",
        source_row=0,
        labels=("B",),
    )
    assert dict(typed.expected.sources) == {"answer_by": "training rows", "options": "question"}


def test_an_underscored_folder_has_the_hyphenated_name(tmp_path):
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], {"imagesTr/0.png": png(0)}, folder="validation_public")
    assert converted(tmp_path / "root", tmp_path).rows[0].folder == "validation-public"


def test_a_file_with_answers_supersedes_the_one_without(tmp_path):
    answered = [row("imagesTr/0.png"), row("imagesTr/1.png")]
    bare = [{key: value for key, value in record.items() if key != "Answer"} for record in answered]
    root = tmp_path / "root"
    write_subset(root, [*bare, row("imagesTr/2.png")], pngs(3), file="ds_questions_val.json")
    write_subset(root, answered, {}, file="ds_questions_val_withGT.json")
    result = converted(root, tmp_path)
    assert result.reasons == {("ds_questions_val.json", i): "superseded" for i in range(2)}
    assert [r.uid.rpartition("ds/")[2] for r in result.rows] == [
        "ds_questions_val/2", "ds_questions_val_withGT/0", "ds_questions_val_withGT/1",
    ]  # fmt: skip


def test_duplicates_contradictions_and_outliers_are_quarantined(tmp_path):
    ages = [row(f"imagesTr/{i}.png", "How old?", 30 + i, "regression") for i in range(24)]
    rows = [
        row("imagesTr/0.png"),
        row("imagesTr/0.png"),
        row("imagesTr/1.png", answer="A"),
        row("imagesTr/1.png", answer="B"),
        *ages,
        row("imagesTr/24.png", "How old?", 2085, "regression"),
    ]
    result = convert_rows(tmp_path, rows, 25)
    assert {place: reason for (_, place), reason in result.reasons.items()} == {
        1: "duplicate", 2: "contradiction", 3: "contradiction", 28: "outlier",
    }  # fmt: skip


def test_two_reports_of_one_image_do_not_contradict_each_other(tmp_path):
    rows = [row("imagesTr/0.png", "Findings?", text, "Report_Generation") for text in ("Clear.", "No nodule.")]
    assert len(convert_rows(tmp_path, rows).rows) == 2


def test_policies_keep_or_repair_and_say_so(tmp_path):
    where = "Where? [x_min, y_min, x_max, y_max]"
    rows = [
        row(["imagesTr/0.png", "imagesTr/9.png"]),
        row("imagesTr/1.png", answer="T"),
        row("imagesTr/2.png", where, [[12, 8, 4, 30]], "Detection"),
        row("imagesTr/3.png", where, [[20, 20, 30, 30]], "Detection"),
        row("imagesTr/3.png", "How many?", 3, "Counting"),
        row("imagesTr/3.png", "How many?", 4, "Counting"),
    ]
    keep = {"missing_image": "repair", "answer_not_an_option": "keep", "invalid_box": "repair", "contradiction": "keep"}
    result = convert_rows(tmp_path, rows, **keep)
    assert result.reasons == {("ds_questions_train.json", 3): "invalid_box"}
    by_row = {r.source_row: r for r in result.rows}
    assert [i.path[-5:] for i in by_row[0].images] == ["0.png"]
    assert by_row[2].answer == "[[4, 8, 12, 12]]"
    assert [by_row[i].notes[0].split(":")[0] for i in (0, 1, 2, 4, 5)] == [
        "repaired", "kept_defect", "repaired", "kept_defect", "kept_defect",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["imagesTr/a.png", "a.png", "ds/imagesTr/a.png", "./imagesTr/a.png", "imagesTr\\a.png"]
)
@pytest.mark.parametrize("member", ["imagesTr/a.png", "a.png", None], ids=["zip", "flat zip", "folder"])
def test_an_image_is_known_under_the_names_that_rows_use(tmp_path, name, member):
    write_subset(tmp_path / "root", [row(name)], {member or "imagesTr/a.png": png(0)}, zipped=member is not None)
    (typed,) = converted(tmp_path / "root", tmp_path).rows
    assert open_image(tmp_path / "root", typed.images[0].path).size == (16, 12)


def test_a_name_that_fits_two_images_is_not_guessed(tmp_path):
    images = {"imagesTr/left/a.png": png(0), "imagesTr/right/a.png": png(1)}
    write_subset(tmp_path / "root", [row("a.png"), row("left/a.png")], images)
    assert converted(tmp_path / "root", tmp_path).reasons == {("ds_questions_train.json", 0): "ambiguous_image"}


def test_a_half_unpacked_folder_is_completed_from_its_zip(tmp_path):
    write_subset(tmp_path / "root", [], pngs(2), zipped=True)
    write_subset(tmp_path / "root", [row("imagesTr/0.png"), row("imagesTr/1.png")], {"imagesTr/0.png": png(0)})
    paths = [r.images[0].path for r in converted(tmp_path / "root", tmp_path).rows]
    assert paths == ["training/Xray/ds/imagesTr/0.png", "training/Xray/ds/imagesTr.zip!imagesTr/1.png"]


def test_a_damaged_zip_costs_its_rows_and_nothing_else(tmp_path):
    subset_folder = write_subset(tmp_path / "root", [row("imagesTr/0.png")], {}).parent
    (subset_folder / "imagesTr.zip").write_bytes(b"PK\x03\x04 no zip")
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], {"imagesTr/0.png": png(0)}, name="other")
    result = converted(tmp_path / "root", tmp_path)
    assert result.reasons == {("ds_questions_train.json", 0): "missing_image"}
    assert "imagesTr.zip is not a readable zip" in result.quarantine[0].detail
    assert len(result.rows) == 1


def test_a_member_with_a_wrong_checksum_is_an_unreadable_image(tmp_path):
    write_subset(
        tmp_path / "root",
        [row("imagesTr/0.png"), row("imagesTr/1.png")],
        pngs(2),
        zipped=True,
    )
    archive = tmp_path / "root" / "training" / "Xray" / "ds" / "imagesTr.zip"
    data = bytearray(archive.read_bytes())
    data[data.index(png(1)[40:80])] ^= 1
    archive.write_bytes(bytes(data))
    assert converted(tmp_path / "root", tmp_path).reasons == {("ds_questions_train.json", 1): "unreadable_image"}


def test_only_a_subset_whose_files_changed_is_converted_again(tmp_path):
    root = tmp_path / "root"
    for name in ("one", "two", "three"):
        write_subset(root, [row("imagesTr/0.png")], {"imagesTr/0.png": png(0)}, name=name)
    first = converted(root, tmp_path)
    assert (first.counts.converted, first.counts.cached) == (3, 0)
    again = converted(root, tmp_path)
    assert (again.counts.converted, again.counts.cached) == (0, 3)
    assert again.rows == first.rows
    write_subset(root, [row("imagesTr/0.png", answer="B")], {}, name="two")
    changed = converted(root, tmp_path)
    assert (changed.counts.converted, changed.counts.cached) == (1, 2)
    assert [r.answer for r in changed.rows if r.subset == "two"] == ["B"]


def test_another_policy_converts_again(tmp_path):
    rows = [row("imagesTr/0.png"), row("imagesTr/0.png")]
    assert len(convert_rows(tmp_path, rows).rows) == 1
    assert len(convert_rows(tmp_path, rows, duplicate="keep").rows) == 2


def test_several_processes_give_the_same_rows_as_one(toy_root, toy, tmp_path, monkeypatch):
    from tests.data.roots import Policies, take_inventory, write_manifest

    pools = []
    monkeypatch.setattr("workflow_scripts.data.convert.WORTH_A_POOL", 100)  # there are more images, fewer folders
    monkeypatch.setattr(
        "workflow_scripts.data.convert.ProcessPool",
        lambda jobs, forked: pools.append((jobs, forked)) or ProcessPool(jobs, forked=forked),
    )
    write_manifest(tmp_path / "manifest.json", take_inventory(toy_root, {}))
    result = convert_dataset(toy_root, tmp_path / "manifest.json", Policies(), tmp_path / "work", jobs=2)
    assert pools == [(2, True)]
    assert rows_of(result.rows, Row) == toy.rows
    assert rows_of(result.quarantine, QuarantinedRow) == toy.quarantine
    assert (result.rows.schema, result.quarantine.schema) == (schema_of(Row), schema_of(QuarantinedRow))


def test_a_dataset_that_changed_under_its_manifest_is_refused(tmp_path):
    from tests.data.roots import Policies, take_inventory, write_manifest

    write_subset(tmp_path / "root", [row("imagesTr/0.png")], {"imagesTr/0.png": png(0)})
    write_manifest(tmp_path / "manifest.json", take_inventory(tmp_path / "root", {}))
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], {"imagesTr/0.png": png(1)})
    with pytest.raises(BadFile, match="the dataset changed; make the manifest again"):
        convert_dataset(tmp_path / "root", tmp_path / "manifest.json", Policies(), tmp_path / "work", jobs=1)


def test_uids_do_not_depend_on_where_the_dataset_lies(toy_root, toy, tmp_path):
    shutil.copytree(toy_root, tmp_path / "elsewhere")
    assert converted(tmp_path / "elsewhere", tmp_path).rows == toy.rows


def test_a_dataset_is_never_written_to(real_root, tmp_path):
    def stamp(root: Path) -> dict:
        return {p: p.stat().st_mtime_ns for p in root.rglob("*")}

    before = stamp(real_root)
    converted(real_root, tmp_path)
    assert stamp(real_root) == before


def test_zips_give_the_same_rows_as_folders(tmp_path):
    rows = [row(f"imagesTr/{i}.png", answer="ABC"[i % 3]) for i in range(9)]
    images = pngs(9)
    results = []
    for zipped in (False, True):
        place = tmp_path / str(zipped)
        write_subset(place / "root", rows, images, zipped=zipped)
        rows_ = converted(place / "root", place).rows
        results.append([replace(each, images=tuple(i._replace(path="") for i in each.images)) for each in rows_])
    assert results[0] == results[1]
    assert zipfile.is_zipfile(tmp_path / "True" / "root" / "training" / "Xray" / "ds" / "imagesTr.zip")


def test_the_summary_counts_the_quarantine_by_reason(tmp_path):
    rows = [row("imagesTr/0.png"), row("imagesTr/9.png"), row("imagesTr/8.png"), row("imagesTr/1.png", answer="F")]
    write_subset(tmp_path / "root", rows, pngs(2))
    write_manifest(tmp_path / "m.json", take_inventory(tmp_path / "root", {"source": "local"}))
    files = {name: tmp_path / f"{name}.parquet" for name in ("rows", "quarantine", "images", "conventions")}
    summary = convert(
        root=tmp_path / "root", manifest=tmp_path / "m.json", workdir=tmp_path / "w", policies=Policies(), **files
    )
    assert "1 rows, 3 quarantined (2 missing_image, 1 answer_not_an_option); " in summary
