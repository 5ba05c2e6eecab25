"""A hospital's folder of DICOM files goes from source to report by the shipped configuration, and names no patient."""

import base64
import csv
import os
import re
import zipfile
import zlib
from pathlib import Path

import data_store
import pyarrow.parquet as pq
import pydicom
import pytest
import yaml

from tests.data.dicom_files import SECRETS, Patient, dataset_of, radiograph, write
from tests.workflow.runs import ROOT, checkout, planned, snakemake
from workflow_scripts.cache.pseudonyms import ENVIRONMENT
from workflow_scripts.core.rows import QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.workflow
CONFIG, RESULTS = ("--configfile", "config/dicom.yaml"), "results/dicom"
TARGETS = (f"{RESULTS}/data/hospital/audit/index.html", f"{RESULTS}/splits/train/rows.parquet")
CHEST = Path(data_store.__file__).parent / "data/RG1_UNCR.dcm"
PATIENTS = [
    Patient("Quastenflosser", "Ottokar", "PID-4711-77", "19540203", "M", "067Y"),
    Patient("Meerrettich", "Berta", "PID-8211-12", "19710911", "F", "048Y"),
    Patient("Wirsing", "Cunibert", "PID-3355-90", "19300128", "M", "091Y"),
    Patient("Haselmaus", "Dorothea", "PID-1002-31", "20001224", "F", "018Y"),
]
KEY = {ENVIRONMENT: "a key of the tests"}


def write_hospital(folder, count=8):
    """Radiographs of four patients below folders of their names, a real one, two bad files, and a table beside them."""
    rows = []
    for number in range(count):
        patient = PATIENTS[number % 4]
        dataset = dataset_of(
            radiograph(128, number),
            "DX",
            patient,
            BitsStored=12,
            HighBit=11,
            WindowCenter=2200,
            WindowWidth=3000,
            StudyDescription=f"Thorax {patient.family}",
            InstitutionName=("Klinikum Wolkenkuckucksheim", "Spital Luftschloss")[number % 2],
        )
        name = f"{patient.family}, {patient.given}"
        write(folder / f"dicom/{name}/{patient.id}/{patient.family}-{number}.dcm", dataset)
        split = "training" if patient in PATIENTS[:2] else "validation-public"
        rows.append([dataset.SeriesInstanceUID, "Is the heart enlarged?", ("yes", "no")[number % 2], "open vqa", split])
        rows.append([dataset.SeriesInstanceUID, f"Is {patient.family} ill?", "no", "open vqa", split])
    chest = pydicom.dcmread(CHEST)
    (folder / "dicom/real").mkdir()
    (folder / "dicom/real/RG1_UNCR.dcm").write_bytes(CHEST.read_bytes())
    rows.append([chest.SeriesInstanceUID, "What do both lungs show?", "many nodules", "open vqa", "validation-public"])
    (folder / "dicom/Wirsing-cut.dcm").write_bytes(b"")
    cut = write(folder / "dicom/Haselmaus.dcm", dataset_of(radiograph(), "DX", PATIENTS[3]))
    cut.write_bytes(cut.read_bytes()[:900])
    with (folder / "questions.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["uid", "question", "answer", "task", "split"], *rows])


def identifiers(folder):
    """Everything that a person, an examination or a file of the folder is known by."""
    known = {word for patient in PATIENTS for word in (patient.family, patient.given, patient.id, patient.birth)}
    known |= {value for value in SECRETS.values() if "^" not in value} | {"Wolkenkuckucksheim", "Luftschloss", "067Y"}
    known |= {word for value in SECRETS.values() if "^" in value for word in value.split("^")}
    for path in folder.rglob("*.dcm"):
        known |= {path.name, path.stem} - {"RG1_UNCR.dcm", "RG1_UNCR"}
        try:
            dataset = pydicom.dcmread(path, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientID", "AccessionNumber"):
            known.add(str(dataset.get(name, "")))
        known |= set(re.findall(r"\w{4,}", str(dataset.get("PatientName", ""))))
    return {word for word in known if len(word) >= 4}


def texts_of(path):
    """The bytes of a file, and what is packed into it: columns of a Parquet file, members of a zip, base64."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        for column in pq.read_table(path).itercolumns():
            for value in column.to_pylist():
                yield value if isinstance(value, bytes) else str(value).encode()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    for coded in re.findall(rb"[A-Za-z0-9+/_-]{40,}={0,2}", data) if len(data) < 5e6 else ():
        try:
            decoded = base64.b64decode(coded + b"=" * (-len(coded) % 4), altchars=b"-_")
            yield decoded
            yield zlib.decompress(decoded, wbits=47)
        except (ValueError, zlib.error):
            continue


def places_in(folder, known):
    """Which of the `known` stands in which file below `folder`, in its name or in its content."""
    names = "\n".join(path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))).lower()
    places = {("a name", word) for word in known if word.lower() in names}
    return places.union(*(places_in_file(path, known) for path in sorted(folder.rglob("*")) if path.is_file()))


def places_in_file(path, known):
    """Which of the `known` stands in a file, in whatever letter case, as UTF-8 or UTF-16."""
    forms = {form.lower(): word for word in known for form in (word.encode(), word.encode("utf-16-le"))}
    pattern = re.compile(b"|".join(map(re.escape, sorted(forms, key=len, reverse=True))))
    return {(str(path), forms[match[0]]) for text in texts_of(path) for match in pattern.finditer(text.lower())}


def test_the_shipped_configuration_is_planned(tmp_path):
    folder = checkout(tmp_path / "planned")
    write_hospital(folder / "data", 2)
    jobs = planned(folder, *CONFIG)
    assert (jobs["data_prepare"], jobs["train_tune"], jobs["infer_answer"]) == (1, 1, 4)
    assert {"features_extract", "report_tables", "report_page"} <= jobs.keys()
    # Nothing of the folder is in what a plan leaves on the disk.
    assert places_in(folder / ".snakemake", identifiers(folder / "data")) == set()


def small(folder):
    """The shipped configuration with the toy model in place of MedGemma, beside the hospital's folder."""
    write_hospital(folder / "data")
    raw = yaml.safe_load((ROOT / CONFIG[1]).read_text())
    raw["models"] = {"medgemma15": {"source": "synthetic"}}
    raw["recipes"] = {"qlora": {"learning_rate": 2e-3, "epochs": None, "steps": 2, "batch": 2, "micro_batch": 2}}
    raw["inference"] |= {"shards": 1, "max_new_tokens": {"open_vqa": 8}}
    raw |= {"scoring": {"resamples": 100}, "report": {"cases": 3}}
    (folder / CONFIG[1]).write_text(yaml.safe_dump(raw, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """The data stage on the hospital's folder."""
    folder = small(checkout(tmp_path_factory.mktemp("prepared")))
    snakemake(folder, *TARGETS, *CONFIG, env={**os.environ, **KEY})
    return folder


def check_no_identifier_is_written(folder):
    """In any byte of the results, or of what Snakemake remembers."""
    known = identifiers(folder / "data")
    assert len(known) > 60 and places_in(folder / "data", known)  # the search sees what is there
    assert places_in(folder / RESULTS, known) == set()
    assert places_in(folder / ".snakemake", known) == set()


@pytest.mark.slow
def test_every_row_and_every_bad_file_is_a_row_or_in_quarantine(prepared):
    rows = read_rows(prepared / RESULTS / "data/hospital/rows.parquet", Row)
    quarantine = read_rows(prepared / RESULTS / "data/hospital/quarantine.parquet", QuarantinedRow)
    assert len(rows) == 9 and {row.modality for row in rows} == {"X-ray"}
    assert sorted(row.reason for row in quarantine) == ["identifier_in_text"] * 8 + ["unreadable_dicom"] * 2
    assert {group.value for row in rows for group in row.groups if group.name == "age"} >= {"60-69", "90+", "10-19"}
    assert len({row.case_id for row in rows}) == 5


@pytest.mark.slow
def test_no_identifier_is_in_any_byte_of_the_data_stage(prepared):
    check_no_identifier_is_written(prepared)


@pytest.mark.extended
def test_radiographs_go_from_the_folder_to_the_report_and_no_byte_holds_an_identifier(tmp_path):
    done = small(checkout(tmp_path / "dicom"))
    snakemake(done, *CONFIG, env={**os.environ, **KEY})
    table = (done / RESULTS / "report/validation/table.md").read_text()
    assert "| base | tuned | majority |" in table
    page = (done / RESULTS / "report/validation/index.html").read_text()
    assert "What do both lungs show?" in page
    assert snakemake(done, "--report", "report.html", *CONFIG, env={**os.environ, **KEY})
    check_no_identifier_is_written(done)
    assert places_in_file(done / "report.html", identifiers(done / "data")) == set()


@pytest.mark.slow
def test_the_log_of_the_de_identification_has_tags_actions_and_counts(prepared):
    log = (prepared / RESULTS / "logs/data_prepare/hospital.log").read_text()
    lines = re.findall(r"^  \(([0-9a-f]{4}),([0-9a-fx]{4})\) (\w+): ([^,\n]+), (\d+) times$", log, re.M)
    assert len(lines) > 25
    assert ("0010", "0030", "PatientBirthDate", "Z: emptied", "9") in lines
    assert any(line[2] == "private" and line[3] == "removed" for line in lines)


@pytest.mark.slow
def test_a_second_run_does_nothing_and_a_changed_file_prepares_again(prepared, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, KEY[ENVIRONMENT])
    (path := next(prepared.glob("data/dicom/Wirsing*/*/*.dcm"))).touch()
    assert planned(prepared, *TARGETS, *CONFIG) == {}
    data = path.read_bytes()
    path.write_bytes(data + b"\0\0")
    assert planned(prepared, *TARGETS, *CONFIG)["data_prepare"] == 1
    path.write_bytes(data)
    assert planned(prepared, *TARGETS, *CONFIG) == {}
    monkeypatch.setenv(ENVIRONMENT, "another key of the tests")
    assert planned(prepared, *TARGETS, *CONFIG)["data_prepare"] == 1
