"""ECG of DICOM files: de-identified before anything of them is looked at; what is written names nobody."""

import re
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from tests.data.signal_tables import signals, signals_of, table
from workflow_scripts.cache.pseudonyms import ENVIRONMENT
from workflow_scripts.cache.source_files import identity_of_source
from workflow_scripts.data.signals.waveforms import read_waveform

ECG = Path(str(get_testdata_file("waveform_ecg.dcm")))
KEY = "0123456789abcdef-of-tests"


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, KEY)


@pytest.fixture(scope="module")
def original():
    return pydicom.dcmread(ECG)


@pytest.fixture
def folder(tmp_path):
    """A folder with the ECG in a file that is called after its patient, and a table."""
    place = tmp_path / "lab"
    place.mkdir()
    shutil.copy(ECG, place / "Mustermann^Erika 1954.dcm")
    return place


def row(**more):
    return {"file": "Mustermann^Erika 1954.dcm", "id": "MRN 7", "question": "How many beats?", "answer": 10} | more


KEYS = {"series": {"file": "{file}"}, "task": "cell counting", "id": "id"}


def test_the_twelve_leads_are_pydicoms_values_in_their_unit(original):
    waveform = read_waveform(ECG, (), KEY)
    leads = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert [channel.name for channel in waveform.channels] == [f"ECG lead {lead}" for lead in leads]
    assert {(channel.unit, channel.hz) for channel in waveform.channels} == {("uV", 1000.0)}
    expected = original.waveform_array(0)
    assert np.array_equal(np.stack([channel.values for channel in waveform.channels], axis=1), expected)


def test_channels_are_taken_by_name_or_number(folder, tmp_path):
    series = {"file": "{file}", "channels": ["ECG lead V5", "1"], "start": 0.0, "stop": 0.01}
    keys = KEYS | {"series": series, "rendering": {"form": "text", "decimals": 0}}
    done = signals_of(tmp_path / "work", table(folder, [row()]), **keys)
    lines = done.row().question.splitlines()[1:]
    assert [line.partition(" (")[0] for line in lines] == ["ECG lead V5", "ECG lead II"]
    assert all(line.count(",") == 10 for line in lines)  # ten values and the unit


def written_in(place):
    return b"".join(path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())


def test_what_is_written_names_no_patient_file_or_date(folder, tmp_path, original):
    keys = KEYS | {"rendering": {"form": "plot", "paper": "ecg"}}
    done = signals_of(tmp_path / "work", table(folder, [row()]), **keys)
    content = written_in(tmp_path / "work").lower()
    for word in (
        "mustermann",
        "erika",
        "MRN 7",
        *str(original.PatientName).split("^"),
        original.PatientID,
        original.StudyDate,
    ):
        assert word and str(word).lower().encode() not in content, word
    assert re.fullmatch(r"/case/[0-9a-f]{16}", done.row().case_id)
    assert done.result.rows[0].source_file.startswith("training/")


def test_a_row_that_repeats_the_patients_name_is_in_quarantine_without_it(folder, tmp_path, original):
    name = str(original.PatientName).split("^")[0]
    rows = [row(question=f"Does {name} have a rhythm?"), row(id="b", answer=9)]
    done = signals_of(tmp_path / "work", table(folder, rows), **KEYS)
    assert done.faults == [("identifier_in_text", "a value of the row holds a name of its own patient's files")]
    assert len(done.result.rows) == 1
    assert name.lower().encode() not in written_in(tmp_path / "work").lower()


def test_nothing_of_a_row_that_cannot_be_used_is_told(folder, tmp_path, original):
    name = str(original.PatientName).split("^")[0]
    rows = [
        row(ward=name),
        row(id="b", file="Mustermann^Max.dcm", question=f"Of {name}?"),
        row(id="b", file="Mustermann^Max.dcm"),
        row(id="c", file="../Mustermann^Max.dcm"),
        row(id="d", split=name),
    ]
    keys = {"subset": {"column": "ward", "otherwise": "other", "values": {name: name}}, "split": {"column": "split"}}
    rows = [{"ward": "x", "split": "training"} | entry for entry in rows]
    done = signals_of(tmp_path / "work", table(folder, rows, f"{name}.jsonl"), **KEYS | keys)
    assert [fault for fault, _ in done.faults] == [
        "identifier_in_text", "missing_series", "duplicate", "missing_series", "unknown_split",
    ]  # fmt: skip
    content = written_in(tmp_path / "work").lower()
    for word in (name, "mustermann"):
        assert word.lower().encode() not in content


def test_one_patients_rows_are_one_case_and_rows_of_two_patients_are_refused(folder, tmp_path):
    other = pydicom.dcmread(ECG)
    other.PatientID = "another"
    other.save_as(folder / "b.dcm")
    shutil.copy(ECG, folder / "c.dcm")
    rows = [
        row(id=name, file=name, question=f"{place}?")
        for place, name in enumerate(("Mustermann^Erika 1954.dcm", "b.dcm", "c.dcm"))
    ]
    done = signals_of(tmp_path / "one", table(folder, rows), **KEYS)
    first, second, third = (entry.case_id for entry in done.result.rows)
    assert first == third != second
    pairs = KEYS | {"series": [{"file": "{file}"}, {"file": {"text": "b.dcm"}}]}
    done = signals_of(tmp_path / "two", table(folder, [row()]), **pairs)
    assert done.faults == [("mixed_series", "the row names DICOM files of 2 patients")]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:400], "unreadable_dicom"),
        (lambda data: data[:-30_000], "unreadable_dicom"),
        (lambda data: b"", "unreadable_dicom"),
    ],
)
def test_damaged_files_are_in_quarantine(folder, tmp_path, damage, reason):
    file = folder / "Mustermann^Erika 1954.dcm"
    file.write_bytes(damage(file.read_bytes()))
    done = signals_of(tmp_path / "work", table(folder, [row()]), **KEYS)
    assert [fault for fault, _ in done.faults] in ([reason], ["no_values"])
    assert "Mustermann" not in done.faults[0][1]


def test_an_image_holds_no_waveform(folder, tmp_path):
    shutil.copy(get_testdata_file("CT_small.dcm"), folder / "ct.dcm")
    done = signals_of(tmp_path / "work", table(folder, [row(file="ct.dcm")]), **KEYS)
    assert done.faults == [("no_values", "the DICOM file holds no waveform")]


def test_plans_see_a_changed_file_by_digests_alone(folder, tmp_path):
    spec = signals(path=str(table(folder, [row()])), **KEYS).root
    seen = tmp_path / "work/seen.json"
    signals_of(tmp_path / "work", folder, **KEYS)
    before = identity_of_source(spec, folder, seen)
    assert identity_of_source(spec, folder, seen) == before
    assert not {"Mustermann", "Erika", "rows"} & set(re.findall(r"\w+", seen.read_text()))
    (folder / "Mustermann^Erika 1954.dcm").touch()
    assert identity_of_source(spec, folder, seen) == before
    (folder / "Mustermann^Erika 1954.dcm").write_bytes(b"other")
    assert identity_of_source(spec, folder, seen) != before
