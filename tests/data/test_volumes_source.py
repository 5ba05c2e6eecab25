"""A folder of NIfTI volumes with a table: every row and every file becomes a row or is quarantined with a reason."""

import csv
import io
import json
from collections import Counter

import nibabel
import numpy as np
import PIL.Image
import pytest
from pydantic import ValidationError

from tests.data.phantom import phantom, write_nifti
from tests.data.roots import convert_rows, converted, png
from tests.data.roots import row as record
from workflow_scripts.core.config.sources.cells import TextCell
from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.data.auditing.leaks import leaks_of
from workflow_scripts.data.case_groups import group_rows, pixels_of
from workflow_scripts.data.sources.folder import write_folder
from workflow_scripts.data.sources.nifti import records
from workflow_scripts.data.volumes.sampling import sampled_places
from workflow_scripts.data.volumes.windows import PRESETS, windowed

SIZE = (12, 14, 16)


def write_table(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(rows)


def entry(folder, **keys):
    keys = {"task": "Report Generation", "modality": "CT", "subset": "chest", "question": {"text": "Report."}} | keys
    return NiftiDataset.model_validate({"path": str(folder), "answer": "report", **keys})


def prepared(spec, folder, place, jobs=1):
    """The conversion of what the source yields."""
    root = place / "root"
    write_folder(records(spec, folder, jobs), root, {"source": "nifti"})
    return root, converted(root, place)


@pytest.fixture
def folder(tmp_path):
    """Three volumes in the layout of a patient's folder each, and a table of reports."""
    place = tmp_path / "source"
    for number in (1, 2, 3):
        write_nifti(place / f"train/p{number}/p{number}_a.nii.gz", phantom(*SIZE, seed=number))
    reports = [{"volume": f"p{n}_a.nii.gz", "patient": f"p{n}", "report": f"Nodule {n}."} for n in (1, 2, 3)]
    write_table(place / "reports.csv", reports)
    return place


def test_a_volumes_slices_are_the_images_of_its_row(folder, tmp_path):
    root, result = prepared(entry(folder, slices=5, case="patient"), folder, tmp_path)
    assert [row.answer for row in result.rows] == ["Nodule 1.", "Nodule 2.", "Nodule 3."] and not result.quarantine
    for number, row in enumerate(result.rows, 1):
        assert [image.role for image in row.images] == [f"slice {place}" for place in (1, 2, 3, 4, 5)]
        assert row.case_id == f"/case/p{number}"
        values = phantom(*SIZE, seed=number)
        for image, place in zip(row.images, sampled_places(12, 5), strict=True):
            shown = np.asarray(PIL.Image.open(root / image.path))
            assert np.array_equal(shown, windowed(values[place], PRESETS["medgemma-notebook"]))


def test_several_processes_write_the_same(folder, tmp_path):
    roots = []
    for jobs in (1, 2):
        root = tmp_path / f"jobs{jobs}"
        write_folder(records(entry(folder), folder, jobs), root, {})
        roots.append({path.relative_to(root): path.read_bytes() for path in root.rglob("*.*") if path.is_file()})
    assert roots[0] == roots[1] and len(roots[0]) == 3 * 12 + 1


def test_every_file_and_row_is_there_once_with_its_reason(folder, tmp_path):
    good = phantom(*SIZE)
    (folder / "cut.nii.gz").write_bytes((folder / "train/p1/p1_a.nii.gz").read_bytes()[:900])
    (folder / "text.nii").write_text("no volume")
    write_nifti(folder / "raw.nii", (good + 1024).astype(np.int16))
    image = nibabel.Nifti1Image(good, None)
    image.header["qform_code"] = image.header["sform_code"] = 0
    nibabel.save(image, folder / "nowhere.nii")
    nibabel.save(nibabel.Nifti1Image(np.stack([good, good], -1), np.eye(4)), folder / "series.nii")
    write_nifti(folder / "left/twice.nii", good)
    write_nifti(folder / "right/twice.nii", good)
    write_nifti(folder / "nobody.nii.gz", good)
    names = ["cut.nii.gz", "text.nii", "raw.nii", "nowhere.nii", "series.nii", "twice.nii", "gone.nii", ""]
    write_table(folder / "more.csv", [{"volume": name, "report": "x"} for name in names])
    _, result = prepared(entry(folder), folder, tmp_path)
    assert len(result.rows) == 3
    reasons = Counter(item.reason for item in result.quarantine)
    assert reasons == {
        "unreadable_volume": 3,
        "not_hounsfield": 1,
        "unknown_orientation": 1,
        "ambiguous_image": 1,
        "missing_image": 1,
        "no_image_named": 1,
        "unused_volume": 3,
    }
    unused = {json.loads(item.record)["Place"] for item in result.quarantine if item.reason == "unused_volume"}
    assert unused == {"nobody.nii.gz", "left/twice.nii", "right/twice.nii"}
    assert all(str(tmp_path) not in item.detail for item in result.quarantine)


def test_a_rescale_comes_from_the_table(folder, tmp_path):
    """As CT-RATE has it: stored numbers in the file, slope and intercept in a table of metadata."""
    for number, (slope, intercept) in enumerate([(1, -1024), (0.5, -1000)], 1):
        stored = ((phantom(*SIZE, seed=number) - intercept) / slope).astype(np.int16)
        write_nifti(folder / f"train/p{number}/p{number}_a.nii.gz", stored)
    slopes = [("p1", 1, -1024), ("p2", 0.5, -1000), ("p3", 1, 0)]
    write_table(
        folder / "metadata.csv",
        [{"volume": f"{p}_a.nii.gz", "RescaleSlope": a, "RescaleIntercept": b} for p, a, b in slopes],
    )
    spec = entry(
        folder,
        files=["reports.csv"],
        join=[{"files": "metadata.csv", "on": ["volume"]}],
        slope="RescaleSlope",
        intercept="RescaleIntercept",
    )
    root, result = prepared(spec, folder, tmp_path)
    assert not result.quarantine
    for number, row in enumerate(result.rows, 1):
        shown = np.stack([np.asarray(PIL.Image.open(root / image.path)) for image in row.images])
        assert np.array_equal(shown, windowed(phantom(*SIZE, seed=number), PRESETS["medgemma-notebook"]))


@pytest.mark.parametrize("slope", ["", "one"])
def test_a_slope_that_is_no_number_is_quarantined(folder, tmp_path, slope):
    rows = [{"volume": f"p{n}_a.nii.gz", "report": "x", "slope": slope if n == 1 else "1"} for n in (1, 2, 3)]
    write_table(folder / "reports.csv", rows)
    _, result = prepared(entry(folder, slope="slope"), folder, tmp_path)
    assert [(item.reason, item.detail) for item in result.quarantine] == [
        ("bad_cell", f"slope of the volume is {slope or None!r}; expected a number")
    ]


@pytest.mark.parametrize(("slope", "intercept"), [(1, -1024), (0.5, -1000.0)])
def test_a_rescale_may_be_a_number_for_all_volumes(folder, tmp_path, slope, intercept):
    for number in (1, 2, 3):
        stored = ((phantom(*SIZE, seed=number) // 2 * 2 - intercept) / slope).astype(np.int16)
        write_nifti(folder / f"train/p{number}/p{number}_a.nii.gz", stored)
    spec = entry(folder, slope=slope, intercept=intercept)
    assert NiftiDataset.model_validate_json(spec.model_dump_json()) == spec
    root, result = prepared(spec, folder, tmp_path)
    assert not result.quarantine
    for number, row in enumerate(result.rows, 1):
        shown = np.stack([np.asarray(PIL.Image.open(root / image.path)) for image in row.images])
        assert np.array_equal(shown, windowed(phantom(*SIZE, seed=number) // 2 * 2, PRESETS["medgemma-notebook"]))


def test_a_volume_is_not_taken_from_another_patients_folder(folder, tmp_path):
    """Of `p2/ct.nii.gz` the folder counts; a name alone, or the lower part of a path, is found however deep."""
    for number in (1, 3):
        write_nifti(folder / f"train/p{number}/ct.nii.gz", phantom(*SIZE, seed=number))
    write_nifti(folder / "train/xp2/ct.nii.gz", phantom(*SIZE, seed=9))
    names = ["p2/ct.nii.gz", "p3/ct.nii.gz", "train/p1/ct.nii.gz", "p1_a.nii.gz", "ct.nii.gz"]
    write_table(folder / "reports.csv", [{"volume": name, "report": name} for name in names])
    _, result = prepared(entry(folder, slices=1), folder, tmp_path)
    assert [row.answer for row in result.rows] == names[1:4]
    reasons = [item.reason for item in result.quarantine if item.reason != "unused_volume"]
    assert sorted(reasons) == ["ambiguous_image", "missing_image"]


def test_prior_and_current_volumes_say_which_is_which(folder, tmp_path):
    rows = [
        {"volume": "p1_a.nii.gz", "before": "", "report": "First."},
        {"volume": "p2_a.nii.gz", "before": "p3_a.nii.gz", "report": "Larger."},
    ]
    write_table(folder / "reports.csv", rows)
    images = [{"column": "before", "role": "prior", "optional": True}, {"column": "volume", "role": "current"}]
    _, result = prepared(entry(folder, images=images, slices=2), folder, tmp_path)
    roles = [[image.role for image in row.images] for row in result.rows]
    assert roles == [
        ["current slice 1", "current slice 2"],
        ["prior slice 1", "prior slice 2", "current slice 1", "current slice 2"],
    ]


def test_slices_of_two_volumes_without_roles_are_numbered_on(folder, tmp_path):
    write_table(folder / "reports.csv", [{"a": "p1_a.nii.gz", "b": "p2_a.nii.gz", "report": "x"}])
    _, result = prepared(entry(folder, images=["a", "b"], slices=2), folder, tmp_path)
    assert [image.role for image in result.rows[0].images] == ["slice 1", "slice 2", "slice 3", "slice 4"]


def test_images_may_stand_beside_volumes(folder, tmp_path):
    (folder / "scout.png").write_bytes(png(1))
    write_table(folder / "reports.csv", [{"a": "scout.png", "b": "p2_a.nii.gz", "report": "x"}])
    _, result = prepared(entry(folder, images=["a", "b"], slices=2), folder, tmp_path)
    assert [image.role for image in result.rows[0].images] == ["", "slice 1", "slice 2"]


def test_questions_share_a_volumes_slices(folder, tmp_path):
    rows = [{"volume": "p1_a.nii.gz", "q": f"Question {n}?", "report": "x"} for n in range(20)]
    write_table(folder / "reports.csv", rows)
    root, result = prepared(entry(folder, question="q"), folder, tmp_path)
    assert len(result.rows) == 20 and len(list(root.rglob("*.png"))) == 12


def test_rows_that_are_left_out_leave_no_volume_unused(folder, tmp_path):
    _, result = prepared(entry(folder, where={"patient": ["p2"]}), folder, tmp_path)
    assert [row.answer for row in result.rows] == ["Nodule 2."] and not result.quarantine


def test_grey_windows_take_a_volume_without_air(folder, tmp_path):
    write_nifti(folder / "train/p1/p1_a.nii.gz", (phantom(*SIZE) + 1024).astype(np.int16))
    root, result = prepared(entry(folder, windows="grey"), folder, tmp_path)
    assert not result.quarantine
    shown = np.asarray(PIL.Image.open(root / result.rows[0].images[5].path))
    assert np.array_equal(shown[..., 0], shown[..., 1]) and shown.min() == 0 and shown.max() == 255


def test_nothing_of_a_header_is_written(folder, tmp_path):
    image = nibabel.load(folder / "train/p1/p1_a.nii.gz")
    image.header["descrip"] = b"MUELLER^HANS 1951-02-03"
    image.header["aux_file"] = b"MUELLER"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, b"MUELLER^HANS"))
    data = np.asarray(image.dataobj)
    nibabel.save(nibabel.Nifti1Image(data, image.affine, image.header), folder / "train/p1/p1_a.nii.gz")
    root, _ = prepared(entry(folder), folder, tmp_path)
    for path in root.rglob("*"):
        assert not path.is_file() or b"MUELLER" not in path.read_bytes()


@pytest.mark.parametrize("keys", [{"slices": 0}, {"windows": "lung"}, {"frame": -1}])
def test_wrong_keys_are_refused(keys, tmp_path):
    with pytest.raises(ValidationError):
        entry(tmp_path, **keys)


def test_slices_are_written_as_their_own_png(folder, tmp_path):
    root, result = prepared(entry(folder), folder, tmp_path)
    opened = PIL.Image.open(io.BytesIO((root / result.rows[0].images[0].path).read_bytes()))
    assert (opened.format, opened.mode, opened.size) == ("PNG", "RGB", (16, 14))
    assert TextCell(text="chest") == entry(folder).subset


def test_blank_slices_of_two_patients_do_not_tie_them_and_equal_ones_do(folder, tmp_path):
    blank = [phantom(*SIZE, seed=number) for number in (1, 2, 3)]
    for values in blank:
        values[:4] = -1024
    blank[2][7] = blank[0][7]
    for number, values in enumerate(blank, 1):
        write_nifti(folder / f"train/p{number}/p{number}_a.nii.gz", values)
    _, result = prepared(entry(folder, case="patient"), folder, tmp_path)
    groups = group_rows(result.rows, pixels_of(result.images))
    assert [[row.case_id for row in group] for group in groups] == [["/case/p1", "/case/p3"], ["/case/p2"]]


def test_slices_of_other_patients_are_not_reported_as_look_alikes(folder, tmp_path):
    spec = entry(
        folder, case="patient", split={"column": "patient", "values": {"p1": "testing"}, "otherwise": "training"}
    )
    _, result = prepared(spec, folder, tmp_path)
    assert {row.folder for row in result.rows} == {"training", "testing"}
    assert leaks_of(result.rows, result.images).alike == []


@pytest.mark.parametrize("role", ["<start_of_image>", "a\nb", "x" * 41])
def test_a_role_that_no_prompt_may_say_is_quarantined(role, tmp_path):
    result = convert_rows(
        tmp_path, [record("imagesTr/0.png") | {"Roles": [role]}, record("imagesTr/1.png") | {"Roles": [""]}]
    )
    assert [item.reason for item in result.quarantine] == ["bad_text"] and len(result.rows) == 1
