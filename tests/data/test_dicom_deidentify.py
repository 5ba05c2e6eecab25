"""De-identification: nothing of a person is left in a file, pseudonyms are keyed, and the log holds no value."""

import re
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.dicom_files import SECRETS, Patient, dataset_of, radiograph
from workflow_scripts.cache.private_files import identity_of_private, stamps_of, write_look
from workflow_scripts.cache.pseudonyms import ENVIRONMENT, Pseudonyms, key_file, secret_key
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.dicom.deidentify import RETAINED, Profile, age_band, retained_value
from workflow_scripts.data.dicom.identifiers import Known, dates_of, identifiers_of, words_of
from workflow_scripts.data.dicom.reading import BadDicom, items_of, read_header, silent

PATIENT = Patient()
GROUPS = ("PatientSex", "PatientAge", "ManufacturerModelName", "InstitutionName")
WORDS = ("Quastenflosser", "Ottokar", *SECRETS.values(), PATIENT.id, PATIENT.birth)


def applied(dataset, retained=GROUPS, key="a key of the tests"):
    profile = Profile(Pseudonyms(key), retained)
    with silent():
        profile.apply(dataset)
    return profile


def texts_of(dataset):
    """All values of a DICOM dataset and its items, as text."""
    parts = [dataset, dataset.file_meta, *items_of(dataset)]
    return "\n".join(str(element.value) for part in parts for element in part if element.VR not in ("SQ", "OW"))


def test_nothing_that_identifies_a_person_is_left():
    dataset = dataset_of(radiograph(), "DX")
    before = texts_of(dataset)
    uids = [str(dataset[name].value) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    assert [word for word in (*WORDS, *uids) if word not in before] == []
    profile = applied(dataset)
    after = texts_of(dataset)
    assert [word for word in (*WORDS, *uids) if word.lower() in after.lower()] == []
    assert not any(element.tag.is_private for part in (dataset, *items_of(dataset)) for element in part)
    log = "\n".join(map(str, profile.counts))
    assert [word for word in (*WORDS, *uids) if word.lower() in log.lower()] == []
    assert {"PatientName", "StudyDate", "private", "OperatorsName"} <= {done.name for done in profile.counts}
    assert profile.counts.total() == sum(profile.counts.values()) > 25


def test_items_of_sequences_that_the_profile_leaves_are_clean_too():
    dataset = dataset_of(radiograph(), "DX")
    item = pydicom.Dataset()
    item.PatientName, item.InstitutionName, item.OperatorsName = PATIENT.name, "Klinikum", "Schnurrbart^Kunigunde"
    deep = pydicom.Dataset()
    deep.PersonName, deep.SOPInstanceUID = PATIENT.name, "1.2.3.4.5.6.7.8"
    item.AnatomicRegionModifierSequence = [deep]
    dataset.AnatomicRegionSequence = [item]
    applied(dataset)
    items = list(items_of(dataset))
    assert len(items) >= 2 and "Quastenflosser" not in texts_of(dataset) and "Schnurrbart" not in texts_of(dataset)
    assert "1.2.3.4.5.6.7.8" not in texts_of(dataset)


def test_retained_attributes_are_bands_pseudonyms_or_as_they_were_and_no_others_are():
    dataset = dataset_of(radiograph(), "DX")
    applied(dataset)
    values = {keyword: retained_value(dataset, keyword) for keyword in GROUPS}
    assert values["PatientSex"] == "M" and values["PatientAge"] == "60-69"
    assert values["ManufacturerModelName"] == "Ganzkörper 3000"
    assert re.fullmatch(r"[0-9a-f]{16}", values["InstitutionName"])
    other = dataset_of(radiograph(), "DX")
    applied(other, ())
    assert retained_value(other, "PatientSex") == "" and retained_value(other, "PatientAge") == ""


def test_an_age_follows_from_dates_where_it_is_missing():
    dataset = dataset_of(radiograph(), "DX", PatientAge=None, StudyDate="20190202")
    applied(dataset)
    assert retained_value(dataset, "PatientAge") == "60-69"  # 64 years on the day before the birthday
    assert "1954" not in texts_of(dataset) and "064Y" not in texts_of(dataset)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 120), st.sampled_from("YMWD"))
def test_a_band_holds_ten_years_and_the_oldest_are_one(count, unit):
    years = int(count / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[unit])
    band = age_band(f"{count:03d}{unit}")
    if years >= 90:
        assert band == "90+"
    else:
        low, high = map(int, band.split("-"))
        assert low <= years <= high and high - low == 9 and low % 10 == 0


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=40), st.text(min_size=16, max_size=40), st.text(min_size=16, max_size=40))
def test_pseudonyms_are_stable_under_one_key_and_others_under_another(value, key, other):
    one, same = Pseudonyms(key), Pseudonyms(key)
    assert one.of("patient", value) == same.of("patient", value) != one.of("series", value)
    assert key == other or one.of("patient", value) != Pseudonyms(other).of("patient", value)
    assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", one.uid(value)) and len(one.uid(value)) <= 64


def test_examinations_of_one_patient_have_one_pseudonym_and_references_still_fit():
    one, other = (dataset_of(radiograph(), "DX", StudyInstanceUID="1.2.3") for _ in range(2))
    applied(one), applied(other)
    assert one.PatientID == other.PatientID and one.StudyInstanceUID == other.StudyInstanceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID
    third = dataset_of(radiograph(), "DX", StudyInstanceUID="1.2.3")
    applied(third, key="another key of the tests")
    assert third.StudyInstanceUID != one.StudyInstanceUID


@pytest.mark.parametrize(
    "folder", [Path(pydicom.__file__).parent / "data/test_files", Path(data_store.__file__).parent / "data"]
)
def test_no_name_or_identifier_of_real_files_is_left(folder):
    checked = 0
    for path in sorted(folder.glob("*.dcm")):
        try:
            dataset, _ = read_header(path)
        except BadDicom:
            continue
        with silent():
            known = identifiers_of(dataset)
            applied(dataset)
            after = texts_of(dataset).casefold()
        tokens = set(re.findall(r"[^\W_]+", after))
        # Names that are words of the trade, in files that were de-identified before.
        words = {word for name in known.names for word in name} - {"anonymized", "test", "perfusion", "pancreas"}
        texts = {text for text in known.texts if re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", after)}
        assert (path.name, words & tokens, texts) == (path.name, set(), set())
        checked += bool(known.names)
    assert checked > 30


def test_an_element_that_cannot_be_read_or_is_of_unknown_kind_is_removed():
    dataset = dataset_of(radiograph(), "DX")
    dataset.add_new(0x00189999, "UN", b"Quastenflosser")
    raw = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(0x00181000), "FD", 3, b"abc", 0, False, True)
    dataset._dict[pydicom.tag.Tag(0x00181000)] = raw
    profile = applied(dataset)
    assert 0x00189999 not in dataset and 0x00181000 not in dataset
    assert sum(done.action == "removed, of unknown kind" for done in profile.counts) == 2


def known_of(*patients):
    known = Known()
    for patient in patients:
        with silent():
            known.add(patient.id, identifiers_of(dataset_of(radiograph(), "DX", patient)))
    return known


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("Is Mr Quastenflosser's heart enlarged?", True),
        ("OTTOKAR has a nodule.", True),
        ("As Dr. Zwiebelfisch saw.", True),
        ("Compare PID-4711-77.", True),
        ("Compare (ACC-2019-5551).", True),
        ("Born 03.02.1954?", True),
        ("Study of 2019-03-07.", True),
        ("1.2.840.113619.2.55.3.604688119.971.1.1", True),
        ("Nebelgasse 13, 99999 Nirgendwo", True),
        ("Is there a small effusion of 3.5 cm?", False),
        ("No acute findings. 0123", False),
        ("The ottoman empire.", False),
    ],
)
def test_a_text_that_names_its_patient_is_seen_and_another_is_not(text, held):
    fault = known_of(PATIENT).fault(text, {PATIENT.id})
    assert (fault is not None) == held
    assert fault is None or not any(word in fault for word in text.split() if len(word) > 5)


def test_a_word_of_another_patients_name_is_a_word_and_both_are_a_name():
    known = known_of(Patient("Small", "Grace", "PID-9001"), Patient("Gross", "Karla", "PID-9002"))
    assert known.fault("A small effusion, no gross change.", {"PID-77"}) is None
    assert known.fault("A small effusion.", {"PID-9001"}) is not None
    assert known.fault("As in Grace Small.", {"PID-77"}) is not None
    assert known.fault("As in PID-9002.", {"PID-77"}) is not None


def test_names_and_dates_are_taken_apart():
    assert words_of("Müller-Lüdenscheidt^Hans^^Dr.=山田^太郎") >= {"muller", "ludenscheidt", "hans"}
    assert dates_of("19540203")[1:3] == ["1954-02-03", "03.02.1954"] and dates_of("0000") == []


def test_the_configuration_retains_what_the_profile_can():
    from typing import get_args

    from workflow_scripts.core.config.sources.dicom import Attribute

    assert set(get_args(Attribute)) == set(RETAINED)


@pytest.fixture
def own_settings(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path


def test_a_key_is_drawn_once_for_its_owner_alone_and_the_environment_goes_first(own_settings, monkeypatch):
    key = secret_key()
    assert len(key) == 64 and secret_key() == key
    assert key_file().stat().st_mode & 0o777 == 0o600 and len(list(key_file().parent.iterdir())) == 1
    monkeypatch.setenv(ENVIRONMENT, "another key of the tests")
    assert secret_key() == "another key of the tests"
    monkeypatch.setenv(ENVIRONMENT, "short")
    with pytest.raises(BadFile, match="expected 16 or more"):
        secret_key()


def test_a_plan_remembers_a_folder_by_digests_alone_and_sees_every_change(own_settings):
    root, record = own_settings / "files", own_settings / "seen.json"
    root.mkdir()
    for name in ("Quastenflosser.dcm", "b.dcm"):
        (root / name).write_bytes(name.encode())

    def files():
        return {name: (root / name, stamp) for name, stamp in stamps_of(root).items()}

    first = identity_of_private(files(), record)
    write_look(files(), record, first)
    assert identity_of_private(files(), record) == first
    assert re.fullmatch(r"[0-9a-f]{16}", first)
    text = record.read_text()
    assert not re.search(r"Quasten|dcm|\b\d{5,}\b", text) and len(re.findall(r'"[0-9a-f]{16}"', text)) == 7
    (root / "b.dcm").touch()
    assert identity_of_private(files(), record) == first
    (root / "b.dcm").write_bytes(b"other")
    changed = identity_of_private(files(), record)
    assert changed != first
    (root / "b.dcm").write_bytes(b"b.dcm")
    assert identity_of_private(files(), record) == first
    (root / "b.dcm").rename(root / "c.dcm")
    assert identity_of_private(files(), record) != first


def test_a_folder_that_changes_while_it_is_read_is_not_recorded(own_settings):
    root = own_settings / "files"
    root.mkdir()
    (root / "Quastenflosser.dcm").write_bytes(b"one")
    files = {name: (root / name, stamp) for name, stamp in stamps_of(root).items()}
    (root / "Quastenflosser.dcm").write_bytes(b"another")
    with pytest.raises(BadFile, match="changed while it was read") as caught:
        write_look(files, own_settings / "seen.json", "x")
    assert "Quasten" not in str(caught.value)


def test_pixels_are_untouched():
    values = radiograph()
    dataset = dataset_of(values, "DX")
    applied(dataset)
    assert np.array_equal(dataset.pixel_array, values)
