"""The presets of published tables, on imitations of their files."""

import io

import pytest
from PIL import Image

from tests.data.table_layouts import chestx_ray14, chexpert, mimic_cxr, path_vqa, slake, vqa_rad, write_files
from tests.data.tables import table_of
from workflow_scripts.core.config.datasets import HubDataset
from workflow_scripts.core.config.sources.presets import PRESETS, keys_of
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.images import image_bytes
from workflow_scripts.data.download import download_files
from workflow_scripts.tasks.multi_label.label_sets import FIVE, THREE


def by_folder(rows):
    counts = {}
    for row in rows:
        counts[row.folder] = counts.get(row.folder, 0) + 1
    return counts


@pytest.fixture(scope="module")
def rad(tmp_path_factory):
    place = tmp_path_factory.mktemp("rad")
    return table_of(place / "work", write_files(place / "hub", vqa_rad()), preset="vqa-rad")


def test_vqa_rad_keeps_its_official_split_and_knows_open_from_closed_questions(rad):
    assert not rad.faults
    assert by_folder(rad.result.rows) == {"training": 48, "testing": 24}
    assert {(row.question, row.task) for row in rad.result.rows} == {
        ("is there a fracture?", "closed_vqa"),
        ("what organ is shown?", "open_vqa"),
    }
    assert {(row.subset, row.modality) for row in rad.result.rows} == {("VQA-RAD", "Radiology")}


def test_images_in_a_table_are_written_once_and_bit_by_bit(rad):
    from tests.data.roots import png

    images = {row.images[0].path for row in rad.result.rows if row.folder == "training"}
    assert len(images) == 24
    assert {image_bytes(rad.root, path) for path in images} == {png(number, 40, 32) for number in range(24)}


def test_vqa_rad_tells_test_rows_whose_image_is_trained_on_from_the_others(rad):
    testing = [row for row in rad.result.rows if row.folder == "testing"]
    assert [row.groups[0].value for row in testing] == ["yes"] * 8 + ["no"] * 16
    assert {row.groups[0].name for row in testing} == {"image_in_training"}
    assert not any(row.groups for row in rad.result.rows if row.folder == "training")
    training = {row.case_id for row in rad.result.rows if row.folder == "training"}
    assert {row.case_id in training for row in testing[:8]} == {True}  # so that training leaves them out
    assert {row.case_id in training for row in testing[8:]} == {False}


def test_slake_is_read_out_of_its_zip_in_english_with_a_case_an_image(tmp_path):
    slake_files = write_files(tmp_path / "hub", slake())
    done = table_of(tmp_path / "work", slake_files, preset="slake")
    assert not done.faults
    assert by_folder(done.result.rows) == {"training": 12, "validation-public": 12, "testing": 12}
    assert {row.task for row in done.result.rows} == {"open_vqa", "closed_vqa"}
    assert len({row.case_id for row in done.result.rows}) == 18  # not one for all that is called source.jpg
    assert dict(done.row().groups) == {"content": "Organ", "language": "en", "modality": "MRI", "organ": "Lung"}
    assert Image.open(io.BytesIO(image_bytes(done.root, done.row().images[0].path))).format == "JPEG"
    both = table_of(tmp_path / "both", slake_files, preset="slake", where={})
    assert (
        by_folder(both.result.rows)["testing"] + len(both.faults) >= 24
    )  # equal questions of two languages are doubled


def test_path_vqa_comes_in_several_files(tmp_path):
    done = table_of(tmp_path / "work", write_files(tmp_path / "hub", path_vqa()), preset="path-vqa")
    assert not done.faults
    assert by_folder(done.result.rows) == {"training": 32, "validation-public": 16, "testing": 16}
    assert {row.modality for row in done.result.rows} == {"Pathology"}


def test_chexpert_has_a_row_a_study_with_its_frontal_images(tmp_path):
    done = table_of(tmp_path / "work", chexpert(tmp_path / "CheXpert-v1.0-small"), preset="chexpert")
    assert not done.faults
    assert by_folder(done.result.rows) == {"training": 12, "validation-public": 6}
    by_case = {row.case_id: row for row in done.result.rows}
    first = by_case["/case/patient00001"]
    assert first.labels == ("Atelectasis", "Cardiomegaly") and len(first.images) == 1
    assert first.expected.labels == ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
    assert {label.lower() for label in first.expected.labels} == set(FIVE)
    assert "frontal" in first.images[0].path
    assert by_case["/case/patient00006"].labels == ()  # uncertain counts as negative
    assert by_case["/case/patient00006"].has_answer and by_case["/case/patient00006"].answer == "None"
    assert dict(first.groups) == {"age": "18 to 39", "sex": "Female"}


@pytest.mark.parametrize(("policy", "labels"), [("positive", {("Edema",)}), ("leave_out", set())])
def test_uncertain_labels_follow_the_stated_policy(tmp_path, policy, labels):
    conditions = keys_of("chexpert")["labels"]["conditions"]
    done = table_of(
        tmp_path / "work",
        chexpert(tmp_path / "x"),
        preset="chexpert",
        labels={"conditions": conditions, "uncertain": policy},
    )
    sixth = [row.labels for row in done.result.rows if row.case_id == "/case/patient00006"]
    assert set(sixth) == labels
    assert {reason for reason, _ in done.faults} == ({"no_answer"} if policy == "leave_out" else set())


def test_chestx_ray14_follows_its_lists_and_finds_images_in_twelve_folders(tmp_path):
    done = table_of(tmp_path / "work", chestx_ray14(tmp_path / "nih"), preset="chestx-ray14")
    assert not done.faults
    assert by_folder(done.result.rows) == {"training": 12, "testing": 6}
    by_case = {row.images[0].path.rpartition("/")[2]: row for row in done.result.rows}
    assert by_case["00000000_000.png"].labels == ("Cardiomegaly", "Pleural Effusion")
    assert by_case["00000000_001.png"].labels == ()
    assert by_case["00000001_000.png"].labels == ("Pleural Thickening",)
    assert len(by_case["00000000_000.png"].expected.labels) == 14
    assert by_case["00000000_000.png"].case_id == "/case/0"
    assert dict(by_case["00000000_000.png"].groups) == {"age": "18 to 39", "sex": "M", "view": "PA"}


def test_the_radiologists_labels_of_chestx_ray14_are_the_three_conditions_of_medgemmas_report(tmp_path):
    done = table_of(tmp_path / "work", chestx_ray14(tmp_path / "nih"), preset="chestx-ray14-expert")
    assert done.faults == [("no_answer", "Lung Opacity is blank, and `labels.blank` leaves such rows out")]
    assert by_folder(done.result.rows) == {"testing": 5}
    assert {row.labels for row in done.result.rows} == {("Lung Opacity",), ("Lung Opacity", "Pneumothorax")}
    assert done.row().expected.labels == ("Lung Opacity", "Pneumothorax", "Fracture")
    known = {label.lower() for label in done.row().expected.labels}
    assert known == set(THREE)


def test_mimic_cxr_joins_its_three_packed_tables(tmp_path):
    done = table_of(tmp_path / "work", mimic_cxr(tmp_path / "mimic"), preset="mimic-cxr")
    assert by_folder(done.result.rows) == {"training": 5, "validation-public": 3, "testing": 3}
    assert done.faults == [("no_answer", "no table that is joined has labels of the row")]
    paths = {row.images[0].path.partition("/MIMIC-CXR/")[2] for row in done.result.rows}
    assert len(paths) == 11 and "files/p10/p10000032/s50414267/00000000-pa.jpg" in paths
    assert {row.case_id for row in done.result.rows if row.folder == "testing"} <= {
        f"/case/{subject}" for subject in range(10000032, 10000038)
    }
    assert {row.labels for row in done.result.rows} == {(), ("Pleural Effusion",)}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_a_valid_entry_in_one_line_and_a_path_takes_the_place_of_its_repository(preset):
    local = TableDataset(preset=preset, path="somewhere")
    assert local.repo is None and local.path == "somewhere"
    if "repo" in keys_of(preset):
        hub = TableDataset(preset=preset)
        assert hub.repo and hub.path is None
        assert TableDataset.model_validate_json(hub.source_spec()) == hub.model_copy(update={"preset": None})
    else:
        with pytest.raises(ValueError, match="give a `path` to the table"):
            TableDataset(preset=preset)


def test_a_download_is_that_of_a_dataset_on_the_hub_and_how_it_is_reached_changes_no_row(tmp_path):
    entry = TableDataset(preset="slake", mirror=str(tmp_path), gated=True)
    assert entry.source_spec() == TableDataset(preset="slake").source_spec()
    download = HubDataset.model_validate_json(entry.download_spec())
    assert (download.repo, download.mirror) == ("BoKelvin/SLAKE", str(tmp_path))
    write_files(tmp_path / "mirror", slake())
    download = download.model_copy(update={"mirror": str(tmp_path / "mirror")})
    manifest = download_files(download, tmp_path / "download", threads=1)
    assert [entry["path"] for entry in manifest["files"]] == ["imgs.zip", "test.json", "train.json", "validation.json"]
    done = table_of(tmp_path / "work", tmp_path / "download", preset="slake", repo="BoKelvin/SLAKE")
    assert len(done.result.rows) == 36
