"""A folder of DICOM files with a table beside it: every row and every bad file is a record, and nothing crashes."""

import csv
import io
import os
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageDraw
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, generate_uid

from tests.data.dicom_files import SECRETS, Patient, dataset_of, radiograph, write, write_series
from tests.data.dying import times_ten
from tests.data.phantom import phantom
from workflow_scripts.cache.pseudonyms import ENVIRONMENT
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.conversion.reasons import REASONS
from workflow_scripts.data.dicom.deidentify import Profile
from workflow_scripts.data.dicom.images import Showing, show
from workflow_scripts.data.dicom.processes import each_apart
from workflow_scripts.data.dicom.reading import BadDicom
from workflow_scripts.data.dicom.scanning import Options, scan
from workflow_scripts.data.dicom.series import series_of
from workflow_scripts.data.sources.dicom import records

OF_PYDICOM = Path(pydicom.__file__).parent / "data/test_files"
SMALL = ("MR_small.dcm", "MR_small_RLE.dcm", "SC_rgb_rle_2frame.dcm", "liver_1frame.dcm", "CT_small.dcm")
GROUPS = {"sex": "PatientSex", "age": "PatientAge", "hospital": "InstitutionName", "scanner": "ManufacturerModelName"}


class Folder:
    """A folder and the rows of its table."""

    def __init__(self, root):
        self.root = root / "Quastenflosser, Ottokar"
        self.table = root / "questions.csv"
        self.rows = []
        self.expected = []  # reason of each row, None where it can be used

    def ask(self, key, reason=None, question="What is seen?", answer="lung", prior=""):
        self.rows.append([key, prior, question, answer, "training"])
        self.expected.append(reason)

    def still(self, name, reason=None, values=None, modality="DX", **attributes):
        """Write an image and ask about its series; the DICOM dataset may be changed before it is written."""
        dataset = dataset_of(radiograph() if values is None else values, modality, **attributes)
        self.ask(dataset.SeriesInstanceUID, reason)
        return write(self.root / name, dataset)

    def series(self, name, reason, **attributes):
        files = write_series(self.root / name, phantom(slices=6), **attributes)
        self.ask(pydicom.dcmread(files[0]).SeriesInstanceUID, reason)
        return files

    def read(self, **changes):
        with self.table.open("w", newline="") as stream:
            csv.writer(stream).writerows([["uid", "before", "question", "answer", "split"], *self.rows])
        given = {
            "path": str(self.root),
            "questions": {"path": str(self.table), "subset": "lab", "split": {"column": "split"}},
            "key": {"column": "uid"},
            "groups": GROUPS,
        }
        entry = DicomDataset(**(given | changes))
        as_the_step_reads_it = DicomDataset.model_validate_json(entry.model_dump_json())
        return list(records(as_the_step_reads_it, self.root, 1))


@pytest.fixture(scope="module", autouse=True)
def key():
    os.environ[ENVIRONMENT] = "a key of the tests"
    yield
    del os.environ[ENVIRONMENT]


def edited(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    write(path, dataset)


def with_syntax(path, syntax):
    """Put another transfer syntax of as many characters into a file's bytes; its pixels stay as they are."""
    data = path.read_bytes()
    old = b"1.2.840.10008.1.2.1\0"
    assert data.count(old) == 1 and len(syntax) <= len(old)
    path.write_bytes(data.replace(old, syntax.encode().ljust(len(old), b"\0")))


def bomb(dataset):
    """A JPEG 2000 image whose codestream says that it is of 60,000 × 60,000 pixels."""
    stream = bytearray(b"\xff\x4f\xff\x51\x00\x2f\x00\x00" + (60000).to_bytes(4, "big") * 2 + bytes(100))
    dataset.PixelData = encapsulate([bytes(stream)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless


def lettered():
    """A radiograph with a name written into its corner."""
    values = (radiograph(200) // 16).astype(np.uint8)
    image = PIL.Image.fromarray(values)
    ImageDraw.Draw(image).text((10, 10), "QUASTENFLOSSER, OTTOKAR", fill=255)
    return np.asarray(image)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Everything that can be wrong, each asked about, beside what is right."""
    folder = Folder(tmp_path_factory.mktemp("hostile"))
    root = folder.root
    folder.still("good.dcm", BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096)
    folder.series("good ct", None)
    for name, change, reason in (
        ("cut short", lambda data: data[: len(data) - 1000], "bad_pixel_data"),
        ("half a header", lambda data: data[:700], "unreadable_dicom"),
        ("without preamble", lambda data: data[132:], "unreadable_dicom"),
        ("noise", lambda data: data[:132] + bytes(range(256)) * 40, "unreadable_dicom"),
    ):
        path = folder.still(f"{name}.dcm", reason if name == "cut short" else "missing_image")
        path.write_bytes(change(path.read_bytes()))
    (root / "empty.dcm").write_bytes(b"")
    (root / "IM0001").write_bytes(b"")
    edited(folder.still("no pixels.dcm", "no_pixel_data"), lambda d: d.__delattr__("PixelData"))
    with_syntax(folder.still("wrong syntax.dcm", "unsupported_dicom"), "1.2.840.10008.1.9.9")
    with_syntax(folder.still("said to be run-length encoded.dcm", "bad_pixel_data"), "1.2.840.10008.1.2.5")
    edited(folder.still("bomb.dcm", "bad_pixel_data"), bomb)
    edited(
        folder.still("huge.dcm", "bad_pixel_data"), lambda d: (setattr(d, "Rows", 60000), setattr(d, "Columns", 60000))
    )
    edited(folder.still("many frames.dcm", "bad_pixel_data"), lambda d: setattr(d, "NumberOfFrames", "2000000000"))
    edited(folder.still("no rows.dcm", "bad_pixel_data"), lambda d: d.__delattr__("Rows"))
    edited(folder.still("odd bits.dcm", "bad_pixel_data"), lambda d: setattr(d, "BitsStored", 40))
    edited(
        folder.still("not jpeg.dcm", "bad_pixel_data"),
        lambda d: (bomb(d), setattr(d, "PixelData", encapsulate([b"\xff\xd8" + b"\0" * 99]))),
    )
    folder.still("report.dcm", "missing_image", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    write(root / "DICOMDIR", dataset_of(radiograph(), "DX"))
    folder.still("directory", "missing_image", SOPClassUID="1.2.840.10008.1.3.10")
    edited(root / "directory", lambda d: setattr(d.file_meta, "MediaStorageSOPClassUID", "1.2.840.10008.1.3.10"))
    (root / "notes.txt").write_text("Quastenflosser")
    folder.series("missing", "missing_slice")[2].unlink()
    lies = folder.series("lies", "not_hounsfield", RescaleIntercept=0)
    assert len(lies) == 6
    folder.series("zero slope", "wrong_rescale", RescaleSlope=0)
    mixed = folder.series("mixed", "mixed_series")
    edited(mixed[3], lambda d: setattr(d, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]))
    sizes = folder.series("sizes", "mixed_series")
    write(sizes[1], changed_size(sizes[1]))
    twice = folder.series("twice", None)
    (root / "twice/copy.dcm").write_bytes(twice[0].read_bytes())
    differing = folder.series("differing", "duplicate_instance")
    (root / "differing/copy.dcm").write_bytes(differing[0].read_bytes()[:-2] + b"\7\7")
    damaged = folder.series("damaged", "bad_pixel_data")
    damaged[4].write_bytes(damaged[4].read_bytes()[:-2000])
    folder.still("text.dcm", "burned_in_text", lettered(), "CR")
    folder.still("us.dcm", "burned_in_text", (radiograph() // 32).astype(np.uint8), "US")
    folder.still("declared.dcm", "burned_in_text", BurnedInAnnotation="YES")
    folder.still("capture.dcm", "burned_in_text", (radiograph() // 32).astype(np.uint8), "OT")
    folder.ask("1.2.3.4", "missing_image")
    folder.ask("", "no_image_named")
    good = pydicom.dcmread(root / "good.dcm").SeriesInstanceUID
    folder.ask(good, "identifier_in_text", "Is Ottokar Quastenflosser's heart large?")
    folder.ask(good, "identifier_in_text", "What is seen?", "As Dr Zwiebelfisch wrote: nothing")
    folder.ask(good, None, "Another question?", "no", prior=good)
    return folder


def changed_size(path):
    dataset = pydicom.dcmread(path)
    small = dataset.pixel_array[:-1]
    dataset.Rows = len(small)
    dataset.PixelData = small.tobytes()
    return dataset


@pytest.fixture(scope="module")
def read(hostile):
    return hostile.read(prior={"column": "before"})


def of_rows(listed):
    numbered = [record for record in listed if record.place.startswith("row ")]
    return sorted(numbered, key=lambda record: int(record.place.split()[1]))


def test_every_row_is_a_record_with_the_reason_that_it_should_have(hostile, read):
    reasons = [record.fault and record.fault[0] for record in of_rows(read)]
    assert list(zip(hostile.rows, reasons, strict=True)) == list(zip(hostile.rows, hostile.expected, strict=True))
    assert {record.fault[0] for record in read if record.fault} <= set(REASONS)
    assert all(bool(record.images) == (record.fault is None) for record in read)


def test_every_file_and_series_that_cannot_be_used_is_a_record_too(read):
    rest = Counter((record.place.split()[0], record.fault[0]) for record in read if not record.place.startswith("row "))
    assert rest == {
        ("file", "unreadable_dicom"): 5,
        ("file", "unsupported_dicom"): 1,
        ("file", "no_pixel_data"): 1,
        ("file", "bad_pixel_data"): 6,
        ("file", "not_an_image"): 1,
        ("file", "duplicate_instance"): 1,
        ("series", "missing_slice"): 2,
        ("series", "mixed_series"): 2,
        ("series", "duplicate_instance"): 1,
    }
    assert len({record.place for record in read}) == len(read)


def test_no_record_tells_a_name_an_identifier_or_a_date(read):
    text = repr(
        [
            (
                r.folder,
                r.subset,
                r.place,
                r.question,
                r.answer,
                r.case,
                r.groups,
                r.fault,
                [(i.name, i.role) for i in r.images],
            )
            for r in read
        ]
    )
    for word in (
        *SECRETS.values(),
        "Quastenflosser",
        "Ottokar",
        "PID-4711",
        "19540203",
        ".dcm",
        "good",
        "1.2.840.10008.5",
    ):
        assert word.lower() not in text.lower()


def test_groups_are_retained_and_cases_are_patients(read):
    usable = [record for record in of_rows(read) if record.fault is None]
    assert {(r.groups["sex"], r.groups["age"], r.groups["scanner"]) for r in usable} == {
        ("M", "60-69", "Ganzkörper 3000")
    }
    assert len({record.case for record in usable}) == 1 and len(usable[0].case) == 16
    assert {record.subset: record.modality for record in usable} == {"lab X-ray": "X-ray", "lab CT": "CT"}


def test_images_of_an_earlier_examination_go_first(read):
    assert [image.role for image in of_rows(read)[-1].images] == ["prior", "current"]
    ct = next(record for record in of_rows(read) if record.modality == "CT" and record.fault is None)
    assert [image.role for image in ct.images] == [f"slice {n}" for n in range(1, 7)]


def test_written_images_are_pngs_without_a_word_beside_their_pixels(read):
    for image in (image for record in read for image in record.images):
        with PIL.Image.open(io.BytesIO(image.data)) as opened:
            assert opened.format == "PNG" and opened.info == {} and opened.size[0] >= 48


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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_to_a_files_bytes_raises_anything(tmp_path, data):
    whole = bytearray((OF_PYDICOM / data.draw(st.sampled_from(SMALL))).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(128, len(whole) - 1))
        whole[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (tmp_path / "damaged.dcm").write_bytes(whole[: data.draw(st.integers(140, len(whole)))])
    options = Options("a key of the tests", "unknown", tuple(GROUPS.items()))
    result = scan(tmp_path, ["damaged.dcm"], options)
    assert len(result.instances) + len(result.faults) + result.others == 1
    for instance in result.instances:
        try:
            series = series_of([instance])
        except BadDicom:
            continue
        [shown] = show([series], options, Showing("grey", 85, "quarantine", "quarantine"))
        assert (shown.fault is None) == bool(shown.images)


def test_a_file_that_cannot_be_de_identified_is_not_used_and_its_series_is_not_either(tmp_path, monkeypatch):
    files = write_series(tmp_path / "ct", phantom(slices=4))
    names = [path.relative_to(tmp_path).as_posix() for path in files]

    def fail(self, dataset):
        raise ZeroDivisionError("Quastenflosser")

    monkeypatch.setattr(Profile, "apply", fail)
    result = scan(tmp_path, names, Options("a key of the tests", "unknown", ()))
    assert result.instances == [] and {fault.reason for fault in result.faults} == {"not_deidentified"}
    assert all(dict(fault.keys)["series"].startswith("2.25.") for fault in result.faults)
    assert "Quasten" not in repr(result.faults)


def test_a_process_that_dies_takes_its_task_along_and_no_other():
    assert list(each_apart(times_ten, [(n,) for n in range(7)], 2)) == [0, 10, 20, None, 40, 50, 60]
