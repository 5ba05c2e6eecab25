"""A folder of DICOM files with a table beside it: what a row's key names, in which order, under which pseudonyms."""

import io

import PIL.Image
import pydicom
import pytest
from pydicom.uid import generate_uid

from tests.data.dicom_files import Patient, dataset_of, radiograph, write, write_series
from tests.data.dicom_folder import Folder, of_rows
from tests.data.phantom import phantom
from workflow_scripts.cache.pseudonyms import ENVIRONMENT
from workflow_scripts.core.files import BadFile

pytestmark = pytest.mark.usefixtures("pseudonym_key")


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """Two patients: a study of two radiographs with a report, and a study of a volume with its localizer."""
    folder = Folder(tmp_path_factory.mktemp("clinic"))
    study, series, accession = generate_uid(), generate_uid(), "ACC-77-1"
    for number, view in enumerate(("PA", "LATERAL"), 1):
        values = radiograph(96 + 8 * number, number)
        given = {"StudyInstanceUID": study, "SeriesInstanceUID": series if number == 1 else generate_uid()}
        dataset = dataset_of(values, "DX", **given, InstanceNumber=number, ViewPosition=view, AccessionNumber=accession)
        write(folder.root / f"{view}.dcm", dataset)
    write(
        folder.root / "report.dcm",
        dataset_of(radiograph(), "SR", StudyInstanceUID=study, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11"),
    )
    other = Patient("Meerrettich", "Berta", "PID-8", "19300101", "F", "091Y")
    files = write_series(folder.root / "ct", phantom(slices=6), patient=other, AccessionNumber="ACC-88-2")
    ct = pydicom.dcmread(files[0])
    scout = dataset_of(
        phantom(slices=2)[0],
        "CT",
        other,
        StudyInstanceUID=ct.StudyInstanceUID,
        AccessionNumber="ACC-88-2",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    write(folder.root / "scout.dcm", scout)
    folder.keys = {
        "study": study,
        "accession": accession,
        "patient": "PID-4711-77",
        "series": series,
        "file": "PA.dcm",
        "ct": ct.StudyInstanceUID,
        "slice": ct.SOPInstanceUID,
    }
    return folder


@pytest.mark.parametrize(
    ("names", "key", "count"),
    [
        ("study", "study", 2),
        ("accession", "accession", 2),
        ("patient", "patient", 2),
        ("series", "series", 1),
        ("file", "file", 1),
        ("study", "ct", 6),
        ("instance", "slice", 1),
    ],
)
def test_a_key_names_studies_series_instances_patients_or_files(clinic, names, key, count):
    clinic.rows = [[clinic.keys[key], "", "What is seen?", "lung", "testing"]]
    [record, *rest] = clinic.read(key={"column": "uid", "names": names})
    assert record.fault is None and len(record.images) == count and record.folder == "testing"
    assert [entry.fault[0] for entry in rest] == ["not_an_image"]
    assert record.groups["age"] == ("90+" if record.modality == "CT" else "60-69")


def test_pseudonyms_of_a_second_run_are_those_of_the_first_and_of_another_key_others(clinic, monkeypatch):
    clinic.rows = [[clinic.keys["study"], "", "What is seen?", "lung", "training"]]
    first, again = (clinic.read(key={"column": "uid", "names": "study"}) for _ in range(2))
    assert first == again
    monkeypatch.setenv(ENVIRONMENT, "another key of the tests")
    other = clinic.read(key={"column": "uid", "names": "study"})
    assert other[0].case != first[0].case and other[0].images[0].name != first[0].images[0].name
    assert other[0].images[0].data == first[0].images[0].data


def test_other_modalities_can_be_left_out_and_stated_phi_switches_text_checks_off(clinic):
    clinic.rows = [
        [clinic.keys["study"], "", "Is Quastenflosser ill?", "no", "training"],
        [clinic.keys["ct"], "", "What is seen?", "lung", "training"],
    ]
    listed = of_rows(clinic.read(key={"column": "uid", "names": "study"}, modalities=["DX"], phi="removed"))
    assert [record.fault and record.fault[0] for record in listed] == [None, "missing_image"]


def test_an_error_of_the_table_names_nobody(clinic):
    clinic.rows = [[clinic.keys["study"], "", "What is seen?", "lung", "training"]]
    clinic.table.with_name("further.csv").write_text("uid,sex\n" + f"{clinic.keys['study']},M\n" * 2)
    questions = {"path": str(clinic.table), "subset": "lab", "join": [{"files": "further.csv", "on": ["uid"]}]}
    with pytest.raises(BadFile, match="the details are left out, since they would name a patient") as caught:
        clinic.read(questions=questions, key={"column": "uid", "names": "study"})
    assert clinic.keys["study"] not in str(caught.value)


def test_a_row_is_about_one_patient(clinic):
    """A prior of another patient, and a number that two patients' examinations bear."""
    clinic.rows = [[clinic.keys["study"], clinic.keys["ct"], "What is seen?", "lung", "training"]]
    key = {"column": "uid", "names": "study"}
    [record, *_] = clinic.read(key=key, prior={"column": "before", "names": "study"})
    assert record.fault == ("mixed_series", "the row names images of 2 patients") and record.images == ()


def test_an_accession_number_of_two_patients_shows_neither(tmp_path):
    folder = Folder(tmp_path)
    for patient in (Patient(), Patient("Meerrettich", "Berta", "PID-8", "19300101", "F", "091Y")):
        write(folder.root / f"{patient.id}.dcm", dataset_of(radiograph(), "DX", patient, AccessionNumber="ACC-1"))
    folder.ask("ACC-1")
    [record] = folder.read(key={"column": "uid", "names": "accession"})
    assert record.fault == ("mixed_series", "the row names images of 2 patients")


def test_an_instance_of_two_differing_files_is_not_shown(tmp_path):
    folder = Folder(tmp_path)
    path = folder.still("a.dcm")
    uid, series = pydicom.dcmread(path).SOPInstanceUID, pydicom.dcmread(path).SeriesInstanceUID
    write(folder.root / "b.dcm", dataset_of(radiograph(seed=1), "DX", SOPInstanceUID=uid, SeriesInstanceUID=series))
    folder.rows = [[uid, "", "What is seen?", "lung", "training"]]
    [record, *rest] = folder.read(key={"column": "uid", "names": "instance"})
    assert record.fault[0] == "duplicate_instance" and len(rest) == 1


def test_images_of_a_study_stand_in_the_order_of_series_and_instance_under_every_key(tmp_path, monkeypatch):
    folder, study = Folder(tmp_path), generate_uid()
    for place, (series, number) in enumerate([(3, 1), (1, 9), (10, 1), (1, 2), (None, 4), (None, 3)]):
        values = radiograph(96 + place)
        given = {"StudyInstanceUID": study, "SeriesNumber": series, "InstanceNumber": number}
        write(folder.root / f"{place}.dcm", dataset_of(values, "DX", **given))
    folder.ask(study)
    for key in ("a key of the tests", *(f"another key of the tests {n}" for n in range(4))):
        monkeypatch.setenv(ENVIRONMENT, key)
        [record] = folder.read(key={"column": "uid", "names": "study"})
        sizes = [PIL.Image.open(io.BytesIO(image.data)).size[0] - 96 for image in record.images]
        assert sizes == [3, 1, 0, 2, 5, 4]


def test_places_and_devices_are_pseudonyms_however_files_came_here(tmp_path):
    folder = Folder(tmp_path)
    folder.still("a.dcm")
    groups = {"hospital": "InstitutionName", "station": "StationName", "serial": "DeviceSerialNumber"}
    [first], [second] = (folder.read(phi=phi, groups=groups) for phi in ("removed", "unknown"))
    assert first.groups == second.groups and len(first.groups) == 3
    assert all(len(value) == 16 for value in first.groups.values())
    assert not {"Klinikum Wolkenkuckucksheim", "STATION-XQ7", "SN-0815-XYZ"} & set(first.groups.values())


@pytest.mark.parametrize("key", ["subset", "modality"])
def test_a_subset_or_a_modality_that_names_somebody_names_no_folder(tmp_path, key):
    folder = Folder(tmp_path)
    path = folder.still("a.dcm")
    uid = pydicom.dcmread(path).SeriesInstanceUID
    folder.rows = [[uid, "Ottokar", "What?", "no", "training"], ["1.2.3", "Quastenflosser", "What?", "no", "training"]]
    questions = {"path": str(folder.table), "subset": "lab", "split": {"column": "split"}, key: {"column": "before"}}
    listed = folder.read(questions=questions)
    assert [record.fault[0] for record in listed] == ["identifier_in_text", "missing_image"]
    assert {getattr(record, key) for record in listed} == {{"subset": "unnamed", "modality": "Image"}[key]}
    assert "ottokar" not in repr(listed).lower() and "quasten" not in repr(listed).lower()


def test_a_row_is_called_by_its_number_in_its_file(tmp_path):
    folder = Folder(tmp_path)
    uid = pydicom.dcmread(folder.still("a.dcm")).SeriesInstanceUID
    folder.rows = [[uid, "", f"What {n}?", "no", "training"] for n in range(5)]
    questions = {"path": str(folder.table), "subset": "lab", "where": {"question": ["What 1?", "What 4?"]}}
    assert [r.place for r in folder.read(questions=questions)] == [f"row {n} of the questions" for n in (2, 5)]
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in ("Quastenflosser.csv", "b.csv"):
        (tables / name).write_text(f"uid,question,answer\n{uid},What?,no\n{uid},Which?,no\n")
    places = [r.place for r in folder.read(questions={"path": str(tables), "subset": "lab"})]
    assert places == [f"row {n} of table {table} of the questions" for table in (1, 2) for n in (1, 2)]


def test_an_empty_folder_and_an_empty_table_say_so(tmp_path, clinic):
    clinic.rows = []
    with pytest.raises(BadFile, match="row"):
        clinic.read()
    empty = Folder(tmp_path)
    empty.root.mkdir()
    with pytest.raises(BadFile, match="holds no DICOM file"):
        empty.read()
