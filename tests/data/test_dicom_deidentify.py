"""De-identification: nothing of a person is left in a file, pseudonyms are keyed, and the log holds no value."""

import re
from datetime import date
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
from workflow_scripts.data.dicom.identifiers import Known, date_of, dates_in, identifiers_of, names_of, words_of
from workflow_scripts.data.dicom.reading import BadDicom, items_of, read_header, silent

PATIENT = Patient()
GROUPS = ("PatientSex", "PatientAge", "ManufacturerModelName", "InstitutionName")
WORDS = ("Quastenflosser", "Ottokar", *SECRETS.values(), PATIENT.id, PATIENT.birth)


FORMS = (
    *("{0:%Y%m%d}", "{0:%Y-%m-%d}", "{0.day}.{0.month}.{0.year}", "{0:%m/%d/%Y}", "{0.year}/{0.month}/{0.day}"),
    *("{0:%B} {0.day}, {0.year}", "{0.day} {0:%b} {0.year}"),
)


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
        words = known.words - {"anonymized", "test", "perfusion", "pancreas"}
        texts = {text for text in known.texts if re.search(rf"(?<![\w.]){re.escape(text)}(?![\w.])", after)}
        dates = known.dates & set(dates_in(after))
        assert (path.name, words & tokens, texts, dates) == (path.name, set(), set(), set())
        checked += bool(known.words)
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
        ("MRN:PID-4711-77", True),
        ("ID=PID-4711-77?", True),
        ("PID-4711-77-1", True),
        ("see ACC-2019-5551/2", True),
        ("_PID-4711-77_", True),
        ("PID-4711-778", False),
        ("Of 3.2.1954", True),
        ("Of 1954/02/03, 1954.02.03", True),
        ("2/3/1954", True),
        ("03-02-1954T12:00", True),
        ("Feb 3, 1954", True),
        ("Feb. 3rd 1954", True),
        ("3-Feb-1954", True),
        ("3. Februar 1954", True),
        ("19190307 and 20190308", False),
        ("3.5 x 2.1954 cm", False),
        ("As 1.2.840.113619.2.55.3.604688119.971.1.1.", True),
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


@pytest.mark.parametrize(
    ("name", "text", "own", "held"),
    [
        ("Li^Na", "As in Li Na.", False, True),
        ("Li^Na", "NA, LI: no change", False, True),
        ("Li^Na", "Li-Na", False, True),
        ("Li^Na", "Na 140, Li 0.8", True, False),
        ("Wu^X", "Wu X", True, False),
        ("de la Cruz^Ana", "Ana de la Cruz", False, True),
        ("山田^太郎", "山田太郎の胸部", False, True),
        ("山田^太郎", "太郎 山田", False, True),
        ("山田^太郎", "山田さん", True, True),
        ("山田^太郎", "山田さん", False, False),
        ("Yamada^Tarou=山田^太郎", "Tarou Yamada", False, True),
        ("Yamada^Tarou=山田^太郎", "山田・太郎", False, True),
        ("김^철수", "김철수 환자", False, True),
        ("Müller^Hans Peter^^Prof", "Hans Muller", False, True),
        ("Müller^Hans Peter^^Prof", "Peter Hans", False, False),
    ],
)
def test_short_names_and_those_of_other_scripts_are_seen_whole(name, text, own, held):
    known = Known()
    with silent():
        dataset = pydicom.Dataset()
        dataset.PatientName = name
        known.add("own", identifiers_of(dataset))
    assert (known.fault(text, {"own"} if own else {"other"}) is not None) == held


@pytest.mark.parametrize(
    ("number", "text", "held"),
    [
        ("12345678", "MRN:12345678", True),
        ("12345678", "ID=12345678,", True),
        ("12345678", "12345678-1", True),
        ("12345678", "患者12345678", True),
        ("12345678", "123456789", False),
        ("A987654", "A987654/2", True),
        ("ZZTOPQ", "Patient ZZTOPQ", True),
        ("ZZTOPQ", "Patient zztopqr", False),
        ("#4711-A", "of 4711-a", True),
        ("123", "123", False),
    ],
)
def test_an_identifier_is_seen_whatever_touches_it_but_letters_and_digits(number, text, held):
    known, dataset = Known(), pydicom.Dataset()
    dataset.PatientID = number
    known.add("own", identifiers_of(dataset))
    assert (known.fault(text, ()) is not None) == held


@settings(max_examples=100, deadline=None)
@given(st.dates(date(1900, 1, 1)), st.sampled_from(FORMS))
def test_every_form_of_a_date_is_read(day, form):
    assert day in dates_in(f"seen ({form.format(day)}).".lower())


def test_the_forms_of_a_date_that_the_how_to_names_are_read():
    text = (Path(__file__).parents[2] / "docs/howto/dicom.md").read_text(encoding="utf-8")
    listed = re.findall("`([^`]+)`", text[text.index("- days of the files' dates") : text.index("Not seen are")])
    assert len(listed) == 11 and all(date(2024, 1, 5) in dates_in(form.lower()) for form in listed)


def test_names_and_dates_are_taken_apart():
    assert words_of("Müller-Lüdenscheidt^Hans^^Dr.=山田^太郎") == {"muller", "ludenscheidt", "hans", "山田", "太郎"}
    assert names_of("Small^Grace Ann^B=山田^太郎") == {("small", "grace", "ann"), ("small", "grace"), ("山田", "太郎")}
    assert date_of("19540203120000") == date(1954, 2, 3) and date_of("0000") is None


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


def test_a_plan_draws_the_key_that_its_digests_are_under(own_settings):
    (own_settings / "a.dcm").write_bytes(b"one")
    files = {"a.dcm": (own_settings / "a.dcm", stamps_of(own_settings)["a.dcm"])}
    assert not key_file().exists()
    first = identity_of_private(files, own_settings.parent / "seen.json")
    assert key_file().exists() and identity_of_private(files, own_settings.parent / "seen.json") == first


def test_a_folder_that_holds_the_results_is_refused_and_one_beside_them_is_not(own_settings):
    root = own_settings / "files"
    (root / "deep").mkdir(parents=True)
    (root / "deep/a.dcm").write_bytes(b"one")
    table = own_settings / "questions.csv"
    table.write_text("uid")
    files = {name: (root / name, stamp) for name, stamp in stamps_of(root).items()}
    files["table 0"] = (table, stamps_of(own_settings)["questions.csv"])
    assert identity_of_private(files, own_settings / "results/data/x/seen.json")
    with pytest.raises(BadFile, match="holds the results as well"):
        identity_of_private(files, root / "results/data/x/seen.json")


def test_pixels_are_untouched():
    values = radiograph()
    dataset = dataset_of(values, "DX")
    applied(dataset)
    assert np.array_equal(dataset.pixel_array, values)
