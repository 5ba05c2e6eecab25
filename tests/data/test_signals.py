"""Signals as a source: columns and files become series; what cannot be used is in quarantine with a reason."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.data.signal_tables import INTERVALS, case_row, signals, signals_of, table, wav, wave
from workflow_scripts.data.auditing.remedies import REMEDIES
from workflow_scripts.data.conversion.reasons import REASONS
from workflow_scripts.data.prepare import records_of
from workflow_scripts.data.signals.cells import Reading, series_of
from workflow_scripts.data.signals.files import read_channels
from workflow_scripts.data.signals.series import UNITS, BadSeries, checked, unit_of

PUBLISHED = "Classify the given interbeat interval sequence in ms as either Atrial Fibrillation or Normal."
SHORT = {"form": "text", "template": "{name}: {values}", "decimals": 0}


def test_intervals_between_beats_are_written_as_few_shot_health_learners_ask(tmp_path):
    rows = [{"ibi": [896, 1192, 592.0, 1024.4], "answer": "Normal"}]
    rendering = SHORT | {"layout": "Question: {question}\n{series}\nAnswer:"}
    keys = {"series": INTERVALS, "rendering": rendering, "question": {"text": PUBLISHED}}
    done = signals_of(tmp_path / "work", table(tmp_path / "lab", rows), **keys)
    assert done.row().question == f"Question: {PUBLISHED}\nSinus: 896,1192,592,1024\nAnswer:"
    assert done.row().images == () and done.row().answer == "Normal"


@pytest.mark.parametrize("cell", [[1, 2.5, 3], "1, 2.5, 3", "[1,2.5,3]", "1 2.5 3", "1;2.5;3", "1,2.5,3."])
def test_values_are_a_list_or_a_text_of_numbers(tmp_path, cell):
    keys = {"series": INTERVALS, "rendering": SHORT | {"decimals": 1}}
    done = signals_of(tmp_path / "work", table(tmp_path / "lab", [case_row(ibi=cell)]), **keys)
    assert done.row().question.endswith("\nSinus: 1.0,2.5,3.0")


def test_a_row_holds_several_series_and_objects_say_their_own_name_unit_and_rate(tmp_path):
    record = {"name": "PPG", "unit": "a.u.", "hz": 50, "values": [1, 2]}
    rows = [case_row(one=record, two=[record | {"name": "ECG", "unit": "mV"}, record], steps=[7, 8])]
    series = [{"record": "one"}, {"record": "two"}, {"values": "steps", "unit": "steps"}]
    rendering = {"form": "text", "template": "{name} {unit}: {values}", "decimals": 0}
    done = signals_of(tmp_path / "work", table(tmp_path / "lab", rows), series=series, rendering=rendering)
    assert done.row().question.splitlines()[1:] == ["PPG au: 1,2", "ECG mV: 1,2", "PPG au: 1,2", "steps steps: 7,8"]


def test_parquet_holds_structs_and_lists(tmp_path):
    (tmp_path / "lab").mkdir()
    record = {"name": "PPG", "unit": "au", "hz": 25.0, "values": [0.5, 1.5]}
    rows = [case_row(number, signal=record) for number in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "lab/rows.parquet")
    done = signals_of(tmp_path / "work", tmp_path / "lab", series={"record": "signal"})
    assert [row.question.splitlines()[1] for row in done.result.rows] == ["PPG (au, 25 values a second): 0.50,1.50"] * 3


def test_name_unit_rate_and_part_may_be_columns(tmp_path):
    rows = [case_row(v=list(range(20)), lead="II", u="millivolt", fs=10, begin=0.5, end=1.0)]
    cells = {"name": {"text": "lead {lead}"}, "unit": {"column": "u"}, "hz": "fs", "start": "begin", "stop": "end"}
    done = signals_of(tmp_path / "work", table(tmp_path / "lab", rows), series={"values": "v", **cells})
    assert done.row().question.endswith("lead II (mV, 10 values a second): 5.00,6.00,7.00,8.00,9.00")


VALUES = np.array([0, 16384, -32768, 32767])


def files() -> dict[str, tuple[bytes, dict]]:
    """Files of each form that hold two series or one, with the keys that they need."""
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, np.array([1.0, 2.0, 3.0]))
    np.savez(npz, t=np.array([0.0, 0.1, 0.2]), ppg=np.array([1.0, 2.0, 3.0]))
    csv = "time,ppg,note\n" + "\n".join(f"{100 * n},{n + 1},a" for n in range(3))
    dated = "when,ppg\n" + "\n".join(f"2016-11-24 13:58:58.{100 * n:03d}000,{n + 1}" for n in range(3))
    named = {"unit": "au", "name": "PPG"}
    return {
        "plain.csv": (b"1\n2\n3\n", named | {"hz": 10}),
        "times.csv": (csv.encode(), named | {"times": "time", "times_in": "ms", "channels": ["ppg"]}),
        "dates.csv": (dated.encode(), named | {"times": "when"}),
        "tabs.tsv": (b"ecg\tppg\n9\t1\n9\t2\n9\t3\n", named | {"channels": ["1"], "hz": 10}),
        "one.npy": (npy.getvalue(), named | {"hz": 10}),
        "two.npz": (npz.getvalue(), named | {"times": "t"}),
    }


@pytest.mark.parametrize("name", files())
def test_each_form_of_file_is_read(tmp_path, name):
    data, keys = files()[name]
    folder = table(tmp_path / "lab", [case_row(id=name)])
    (folder / "raw").mkdir()
    (folder / "raw" / name).write_bytes(data)
    done = signals_of(tmp_path / "work", folder, series={"file": "raw/{id}", **keys}, rendering={"form": "text"})
    assert not done.faults
    assert done.row().question.endswith("PPG (au, 10 values a second): 1.00,2.00,3.00")
    assert done.row().case_id == f"/case/{name.partition('.')[0]}"


@pytest.mark.parametrize(("width", "values"), [(2, VALUES), (1, VALUES // 256 + 128), (4, VALUES * 65536)])
def test_sounds_are_parts_of_full_scale(tmp_path, width, values):
    folder = table(tmp_path / "lab", [case_row(id="a")])
    (folder / "a.wav").write_bytes(wav(8000, values, width))
    done = signals_of(tmp_path / "work", folder, series={"file": "{id}.wav", "name": "lung"})
    written = done.row().question.rpartition(" ")[2].split(",")
    assert "lung (FS, 8000 values a second)" in done.row().question
    assert np.allclose([float(text) for text in written], [0, 0.5, -1, 1], atol=0.011)


def test_several_channels_of_a_sound_are_several_series(tmp_path):
    folder = table(tmp_path / "lab", [case_row(id="a")])
    (folder / "a.wav").write_bytes(wav(100, np.stack([VALUES, VALUES], axis=1)))
    done = signals_of(tmp_path / "work", folder, series={"file": "{id}.wav", "name": "lung"}, rendering=SHORT)
    assert [line.partition(":")[0] for line in done.row().question.splitlines()[1:]] == [
        "lung channel 0",
        "lung channel 1",
    ]


IBI = [800.0, 810.0]
BROKEN = {
    "null": ({"ibi": [800, None]}, {}, "not_finite"),
    "a word": ({"ibi": [800, "x"]}, {}, "not_numbers"),
    "a text": ({"ibi": "800,x"}, {}, "not_numbers"),
    "nothing": ({"ibi": None}, {}, "no_values"),
    "an empty list": ({"ibi": []}, {}, "no_values"),
    "lists in a list": ({"ibi": [[1, 2], [3, 4]]}, {}, "not_numbers"),
    "an object": ({"ibi": {"a": 1}}, {}, "not_numbers"),
    "too many": ({"ibi": [1] * 6}, {}, "too_many_values"),
    "no rate": ({"ibi": IBI}, {"hz": "fs"}, None),
    "rate 0": ({"ibi": IBI, "fs": 0}, {"hz": "fs"}, "bad_rate"),
    "rate below 0": ({"ibi": IBI, "fs": -5}, {"hz": "fs"}, "bad_rate"),
    "rate no number": ({"ibi": IBI, "fs": "fast"}, {"hz": "fs"}, "bad_cell"),
    "unit": ({"ibi": IBI}, {"unit": "furlong"}, "unknown_unit"),
    "no unit": ({"ibi": IBI}, {"unit": None}, "unknown_unit"),
    "times fall": ({"ibi": IBI, "t": [1, 0]}, {"times": "t"}, "times_not_rising"),
    "times stand": ({"ibi": IBI, "t": [1, 1]}, {"times": "t"}, "times_not_rising"),
    "times are words": ({"ibi": IBI, "t": "now,then"}, {"times": "t"}, "times_not_rising"),
    "a gap": ({"ibi": [1, 2, 3, 4], "t": [0, 1, 2, 9]}, {"times": "t"}, "uneven_times"),
    "fewer times": ({"ibi": IBI, "t": [1]}, {"times": "t"}, "uneven_times"),
    "part outside": ({"ibi": IBI, "fs": 1}, {"hz": "fs", "start": 5.0}, "no_values"),
    "part without a rate": ({"ibi": IBI}, {"start": 0.0, "stop": 1.0}, "bad_rate"),
    "two units": ({"ibi": {"values": IBI, "unit": "s"}}, {"values": None, "record": "ibi"}, "unknown_unit"),
    "two rates": ({"r": {"values": IBI, "hz": 2}, "fs": 3}, {"values": None, "record": "r", "hz": "fs"}, "bad_rate"),
    "a huge number": ({"ibi": [10**299, 10**299 * 10**99]}, {}, "not_finite"),
    "a huge rate": ({"ibi": {"values": IBI, "hz": 10**299}}, {"values": None, "record": "ibi"}, "bad_rate"),
    "no object": ({"ibi": {"value": IBI}}, {"values": None, "record": "ibi"}, "bad_cell"),
    "missing file": ({"f": "none.wav"}, {"values": None, "file": "{f}"}, "missing_series"),
    "no file named": ({"f": ""}, {"values": None, "file": "{f}"}, "missing_series"),
    "file outside": ({"f": "../x.wav"}, {"values": None, "file": "{f}"}, "missing_series"),
    "cut WAV": ({"f": "cut.wav"}, {"values": None, "file": "{f}"}, "unreadable_series"),
    "WAV of noise": ({"f": "noise.wav"}, {"values": None, "file": "{f}"}, "unreadable_series"),
    "pickled": ({"f": "object.npy"}, {"values": None, "file": "{f}"}, "unreadable_series"),
    "ragged CSV": ({"f": "ragged.csv"}, {"values": None, "file": "{f}"}, "unreadable_series"),
    "no such channel": ({"f": "two.csv"}, {"values": None, "file": "{f}", "channels": ["c"]}, "missing_series"),
    "words in CSV": ({"f": "words.csv"}, {"values": None, "file": "{f}", "channels": ["b"]}, "not_numbers"),
    "unknown form": ({"f": "a.mat"}, {"values": None, "file": "{f}"}, "unreadable_series"),
    "no DICOM": ({"f": "e.dcm"}, {"values": None, "file": "{f}"}, "unreadable_dicom"),
}  # fmt: skip
"""A row's cells, changed keys of its series, and the reason that it goes to quarantine for."""


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    contents = {
        "cut.wav": wav(100, VALUES)[:-4],
        "noise.wav": bytes(range(256)),
        "object.npy": stream.getvalue(),
        "ragged.csv": b"1,2\n3\n",
        "two.csv": b"a,b\n1,2\n3,4\n",
        "words.csv": b"a,b\n1,x\n3,y\n",
        "a.mat": b"MATLAB 5.0",
        "e.dcm": b"no DICOM",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_in_quarantine_with_its_reason(tmp_path, broken, name):
    cells, changes, reason = BROKEN[name]
    (broken / "rows.jsonl").unlink(missing_ok=True)
    table(broken, [case_row(**{"ibi": None, "fs": None, "t": None, "f": None} | cells)])
    keys = {"series": INTERVALS | changes, "most_values": 5, "files": ["rows.jsonl"]}
    done = signals_of(tmp_path / "work", broken, rendering=SHORT, **keys)
    assert [fault for fault, _ in done.faults] == ([] if reason is None else [reason])
    assert reason is None or (reason in REASONS and reason in REMEDIES)


def test_infinity_in_a_table_is_no_value():
    with pytest.raises(BadSeries, match="1 values of x are not finite; the first, 1, is infinite"):
        checked("x", "mV", 1, [0, math.inf], 10)


def test_a_message_names_no_dicom_file(tmp_path):
    folder = table(tmp_path / "lab", [case_row(f="DOE_JOHN.dcm"), case_row(1, f="x.wav")])
    done = signals_of(tmp_path / "work", folder, series={"file": "{f}"})
    assert done.faults == [
        ("missing_series", REASONS["missing_series"]),
        ("missing_series", "x.wav is not in the folders of `images_in`"),
    ]


@given(st.sampled_from(sorted(UNITS)))
def test_every_unit_is_read_as_itself_in_any_of_its_forms(unit):
    for written in (unit, f" {unit} ", *UNITS[unit]):
        assert unit_of(written, "x") == unit


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(st.none(), st.booleans(), st.text(), st.binary(), st.dictionaries(st.text(), st.integers()),
              st.lists(st.one_of(st.none(), st.floats(), st.text(), st.lists(st.integers()))))
)  # fmt: skip
def test_whatever_a_cell_holds_is_a_series_or_a_reason(cell):
    reading = Reading("x", "mV", 1.0, None, None, "cell", values=cell)
    try:
        [series] = series_of(reading, None, 1000)
        assert len(series.values) and np.isfinite(series.values).all()
    except BadSeries as error:
        assert error.reason in REASONS


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"series": {}}, "name one of `values`, `record` and `file`; none is given"),
        ({"series": {"values": "a", "file": "b"}}, "values and file is given"),
        ({"series": {"values": "a", "channels": ["1"]}}, "`channels` are those of a `file`"),
        ({"series": {"values": "a", "times": "t", "hz": 5}}, "`hz` follows from `times`"),
        ({"rendering": {"form": "text", "template": "{name}"}}, "lacks {values}"),
        ({"rendering": {"form": "text", "template": "{values!r}"}}, "allowed: {name}, {unit}, {hz}"),
        ({"rendering": {"form": "text", "template": "{mean}: {values}"}}, "names {mean}"),
        ({"rendering": {"form": "text", "layout": "{question}"}}, "lacks {series}"),
        ({"rendering": {"form": "text", "factor": 2, "points": 5}}, "give one"),
        ({"rendering": {"form": "plot", "layout": "3x4"}}, "set `paper: ecg`"),
        ({"rendering": {"form": "spectrogram", "low": 90, "high": 80}}, "must be above"),
        ({"labels": {"conditions": {"a": "a"}}, "study": "s"}, "`study` joins images"),
        ({"mark_shared_images": True}, "`mark_shared_images` compares"),
    ],
)
def test_a_wrong_entry_is_one_sentence(keys, sentence):
    with pytest.raises(ValidationError) as error:
        signals(**{"series": {"values": "a"}, **keys})
    assert sentence in str(error.value)


def test_an_entry_survives_its_own_json():
    spec = signals(series=INTERVALS, rendering="plot")
    assert type(spec).model_validate_json(spec.model_dump_json()) == spec
    assert json.loads(spec.root.source_spec())["rendering"]["form"] == "plot"


@pytest.mark.slow
def test_one_process_or_two_yield_the_same(tmp_path):
    rows = [case_row(number, v=wave(50, 2).tolist()) for number in range(130)]
    folder = table(tmp_path / "lab", rows)
    spec = signals(path=str(folder), series={"values": "v", "unit": "mV", "hz": 50}, subset="pulse")
    one, two = (list(records_of(spec, folder, jobs)) for jobs in (1, 2))
    assert one == two and len(one) == 130


RECORDS = json.loads((Path(__file__).parent / "signals/wfdb.json").read_text())["records"]
"""Records of two signals by wfdb, in several formats, and the values that it reads back."""


@pytest.mark.parametrize("form", [*RECORDS, "61"])
def test_wfdb_records_have_the_values_that_wfdb_reads(tmp_path, form):
    entry = RECORDS["16" if form == "61" else form]
    data, header = bytes.fromhex(entry["data"]), entry["header"]
    if form == "61":  # the bytes of each sample the other way round
        data, header = np.frombuffer(data, "<i2").astype(">i2").tobytes(), header.replace(".dat 16 ", ".dat 61 ")
    (tmp_path / header.split()[4]).write_bytes(data)
    (tmp_path / "r.hea").write_text(header)
    read = read_channels(tmp_path / "r.hea", (), None, "s")
    assert [(channel.name, channel.unit, channel.hz) for channel in read] == [
        ("II", "mV", 50.0),
        ("skin temperature", "degC", 50.0),
    ]
    assert np.allclose([channel.values for channel in read], entry["values"], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda header, data: (header, data[:-3]), "another checksum"),
        (lambda header, data: (header.replace(" 16 ", " 16x2 ", 1), data), "format 16x2 is not read"),
        (lambda header, data: (header.replace(" 16 ", " 310 ", 1), data), "format 310 is not read"),
        (lambda header, data: (header.replace("r16 2", "r16/3 2"), data), "no header of a record of one segment"),
        (lambda header, data: (header.replace("r16 2", "r16 5"), data), "describes 2 signals of 5"),
        (lambda header, data: (header.replace("r16.dat", "../r16.dat"), data), "a line is not read"),
        (lambda header, data: ("", data), "no header"),
    ],
)
def test_a_damaged_wfdb_record_is_refused(tmp_path, change, sentence):
    header, data = change(RECORDS["16"]["header"], bytes.fromhex(RECORDS["16"]["data"]))
    (tmp_path / "r16.dat").write_bytes(data)
    (tmp_path / "r.hea").write_text(header)
    with pytest.raises(BadSeries, match=sentence) as error:
        read_channels(tmp_path / "r.hea", (), None, "s")
    assert error.value.reason == "unreadable_series"
