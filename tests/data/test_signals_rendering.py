"""Signals as text, curves and spectrograms: filters, formulas, and equal bytes each time."""

import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.signal import decimate

from tests.data.signal_tables import case_row, signals_of, table, wave
from workflow_scripts.core.config.sources.series import SeriesPlot, SeriesSpectrogram, SeriesText
from workflow_scripts.data.signals.decimation import decimated, factor_for
from workflow_scripts.data.signals.drawing import FINER, curve, drawable, ticks
from workflow_scripts.data.signals.mel import decibels, filters, hz_to_mel, mel_to_hz, power_spectrogram
from workflow_scripts.data.signals.plot import LEADS, lead_of, plot
from workflow_scripts.data.signals.series import BadSeries, Series
from workflow_scripts.data.signals.spectrogram import spectrogram
from workflow_scripts.data.signals.text import numbers_text, series_text

VECTORS = Path(__file__).parent / "signals/librosa.json"
"""Log-mel spectrograms and edges of bands by librosa, of `sound`."""


def series(values, hz=100.0, name="PPG", unit="mV"):
    return Series(name, unit, hz, np.asarray(values, dtype=float))


def text(values, hz=100.0, **keys):
    return series_text(series(values, hz), SeriesText(**keys))


def test_the_template_says_what_was_done():
    template = "{name}|{unit}|{hz}|{count}|{total}|{factor}|{seconds}|{filter}|{values}"
    keys = {"template": template, "factor": 4, "decimals": 1}
    assert text(np.ones(10), **keys) == (
        "PPG|mV|25|3|10|4|0.12|every 4th value after a low pass of 81 taps|1.0,1.0,1.0"
    )
    assert text(np.ones(10), **keys, filter="none").split("|")[-2] == "every 4th value, without a filter"
    assert text(np.ones(2), template="{filter}:{values}", decimals=0) == "not decimated:1,1"


def test_points_bound_the_values_by_the_least_factor():
    for count, points in [(10, 10), (11, 10), (1250, 250), (1251, 250), (5, 100)]:
        factor = factor_for(count, points)
        assert -(-count // factor) <= points
        assert factor == 1 or -(-count // (factor - 1)) > points


def test_a_series_that_is_cut_says_so_and_others_do_not():
    written = text(np.arange(10.0), most=4, decimals=0, template="{values}")
    assert written == "0,1,2,3 (The first 4 of 10 values are shown.)"
    assert text(np.arange(4.0), most=4, decimals=0, template="{values}") == "0,1,2,3"
    own = text(np.arange(10.0), most=4, decimals=0, template="{values}", cut="[{seconds} of {of_seconds} s]")
    assert own == "0,1,2,3 [0.04 of 0.1 s]"


def test_a_template_that_names_the_rate_of_what_has_none_is_a_fault():
    with pytest.raises(BadSeries, match=r"the template names \{hz\}, and PPG has no rate"):
        text([1.0], hz=None)


@settings(max_examples=200)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.integers(0, 6))
def test_numbers_are_rounded_as_numpy_rounds_and_no_zero_is_negative(values, decimals):
    written = numbers_text(np.array(values), decimals, ",").split(",")
    rounded = np.round(np.array(values), decimals)
    assert [float(number) for number in written] == pytest.approx(rounded.tolist(), abs=10.0**-decimals / 1e3)
    assert not any(number.startswith("-") and float(number) == 0 for number in written)


def test_separators_may_hold_a_percent_sign():
    assert numbers_text(np.array([1.0, 2.0]), 0, " % ") == "1 % 2"


def test_decimation_is_scipys_away_from_the_ends():
    values = wave(500, 4) + 0.2 * wave(500, 4, 7.0)
    ours, scipys = decimated(values, 5, "fir"), decimate(values, 5, n=100, ftype="fir", zero_phase=True)
    assert len(ours) == len(scipys) == 400
    assert np.allclose(ours[20:-20], scipys[20:-20], atol=1e-9)


def test_the_low_pass_leaves_what_is_slow_and_takes_what_would_show_as_something_slower():
    slow, fast = wave(500, 4, 3.0) + 512, wave(500, 4, 97.0)
    assert np.allclose(decimated(slow + fast, 10, "fir")[3:-3], slow[::10][3:-3], atol=0.02)
    assert np.abs(decimated(slow + fast, 10, "none") - slow[::10]).max() > 0.5
    assert np.abs(decimated(slow, 10, "fir") - slow[::10]).max() < 0.2  # no edge is drawn to zero


def sound(hz, seconds):
    """A chirp with a click, as the vectors were computed of."""
    t = np.arange(round(hz * seconds)) / hz
    click = 0.3 * np.exp(-(((t - 0.15) / 0.01) ** 2)) * np.sin(2 * np.pi * 180 * t)
    return 0.4 * np.sin(2 * np.pi * (30 * t + 400 * t * t)) + click


CASES = json.loads(VECTORS.read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['scale']} {case['hz']}")
def test_log_mel_spectrograms_are_librosas(case):
    bands = (case["bands"], case["low"], case["high"], case["scale"])
    power = power_spectrogram(
        series(sound(case["hz"], case["seconds"]), case["hz"]), case["window"], case["hop"], *bands
    )
    assert power.max() == pytest.approx(case["greatest"], rel=1e-9)
    assert np.allclose(decibels(power, 80), np.array(case["decibels"]), atol=2e-4)
    edges = mel_to_hz(
        np.linspace(*hz_to_mel([case["low"], case["high"]], case["scale"]), case["bands"] + 2), case["scale"]
    )
    assert np.allclose(edges, case["edges"], atol=1e-3)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_go_there_and_back_and_meet_their_fixed_points(scale):
    hz = np.array([0.0, 20, 999.9, 1000, 1000.1, 4000, 20000])
    assert np.allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz)
    assert float(hz_to_mel(1000, scale)) == pytest.approx(15 if scale == "slaney" else 1000, abs=0.02)


def test_filters_have_one_area_or_one_height():
    slaney, htk = (filters(8000, 8192, 40, 20, 4000, scale) for scale in ("slaney", "htk"))
    step = 8000 / 8192
    assert np.allclose(slaney.sum(axis=1) * step, 1, atol=0.02)
    assert np.allclose(htk.max(axis=1), 1, atol=0.05)


def test_long_sounds_are_transformed_in_parts_with_the_same_result():
    values = np.random.default_rng(3).normal(size=6000)
    whole = power_spectrogram(series(values, 1000), 0.032, 0.001, 8, 20, 500, "slaney")
    assert whole.shape == (8, 6001)
    part = power_spectrogram(series(values[2000:4000], 1000), 0.032, 0.001, 8, 20, 500, "slaney")
    assert np.allclose(whole[:, 2100:3900], part[:, 100:1900])


@pytest.mark.parametrize(
    ("keys", "hz", "sentence"),
    [
        ({"high": 600}, 1000, "bands from 20 to 600 Hz need a rate of 1200 Hz or more; PPG has 1000"),
        ({}, None, "a spectrogram needs a rate"),
        ({"low": 30}, 50, "need a rate of 60 Hz or more"),
        ({"hop": 0.0001}, 1000, "is none at 1000 Hz"),
        ({"bands": 512, "low": 20.0, "high": 20.1}, 1000, "are too narrow at 1000 Hz"),
    ],
)
def test_what_the_rate_does_not_allow_is_a_fault(keys, hz, sentence):
    with pytest.raises(BadSeries, match=sentence) as error:
        spectrogram(series(wave(1000, 1), hz), SeriesSpectrogram(**keys))
    assert error.value.reason == "bad_rate"


def image_of(data: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(data)).convert("L"), dtype=float)


def test_a_spectrogram_is_bright_where_the_tone_is_and_black_in_silence():
    how = SeriesSpectrogram(axes=False, width=100, height=80, low=0, high=1000, bands=32)
    tone = image_of(spectrogram(series(wave(2000, 2, 250.0), 2000), how))
    assert tone.shape == (80, 100)
    row = int(tone.mean(axis=1).argmax())
    assert 1 - row / 80 == pytest.approx(float(hz_to_mel(250, "slaney") / hz_to_mel(1000, "slaney")), abs=0.05)
    assert image_of(spectrogram(series(np.zeros(4000), 2000), how)).max() == 0


LEADS_12 = [series(wave(250, 10) * (n + 1) / 8, 250.0, f"Lead {lead}") for n, lead in enumerate(LEADS)]


@pytest.mark.parametrize(
    ("drawn", "size"),
    [
        (lambda: plot(LEADS_12[:2], SeriesPlot(width=400, height=90)), (400, 254)),
        (lambda: plot(LEADS_12, SeriesPlot(paper="ecg")), (1061, 1341)),
        (lambda: plot(LEADS_12, SeriesPlot(paper="ecg", layout="3x4", pixels_a_millimetre=2)), (531, 271)),
        (
            lambda: spectrogram(LEADS_12[0], SeriesSpectrogram(low=0.5, window=1, hop=0.1, width=128, height=64)),
            (200, 130),
        ),
    ],
    ids=["plain", "ECG paper", "3x4", "spectrogram"],
)
def test_a_drawing_has_the_same_bytes_each_time(drawn, size):
    first, second = drawn(), drawn()
    assert first == second
    assert PIL.Image.open(io.BytesIO(first)).size == size


def test_ecg_paper_has_its_scale():
    """A step of one millivolt is ten millimetres high, and a second is 25 long."""
    values = np.where(np.arange(500) % 250 < 50, 1.0, 0.0)
    dark = image_of(plot([series(values, 250.0)], SeriesPlot(paper="ecg", pixels_a_millimetre=8))) < 140
    traced = np.argwhere(dark[5 * 8 :, 10 * 8 + 4 : 40 * 8])  # right of the mark of a millivolt, below the name
    assert np.ptp(traced[:, 0]) / 8 == pytest.approx(10, abs=0.4)
    steep = np.flatnonzero(dark[:, 80:].sum(axis=0) > 25) / 8
    falls = steep[np.diff(steep, prepend=-1.0) > 1]
    assert [round(float(two - one)) for one, two in itertools.pairwise(falls)] == [20, 5]


def test_microvolts_are_drawn_as_millivolts_and_other_units_are_refused():
    paper = SeriesPlot(paper="ecg")
    micro = plot([series(wave(250, 2) * 1000, 250.0, unit="µV")], paper)
    assert micro == plot([series(wave(250, 2), 250.0)], paper)
    with pytest.raises(BadSeries, match="ECG paper shows millivolts, and the unit of PPG is au"):
        plot([series([1.0, 2.0], unit="au")], paper)
    with pytest.raises(BadSeries, match="V6 are not among them"):
        plot(LEADS_12[:-1], SeriesPlot(paper="ecg", layout="3x4"))
    with pytest.raises(BadSeries, match="is too large; show a part"):
        plot([series(np.zeros(100_000), 10.0)], paper)


def test_leads_are_known_by_their_names():
    names = {
        "Lead I (Einthoven)": "I",
        "ECG lead II": "II",
        "aVR, augmented": "aVR",
        "avf": "aVF",
        "V12": None,
        "Via": None,
    }
    assert {name: lead_of(name) for name in names} == names


def test_a_long_curve_spans_what_its_values_span():
    values = np.random.default_rng(0).normal(size=50_000)
    values[12_345] = 99.0
    points = curve(values, np.linspace(0, 300, len(values)), values)
    assert len(points) <= 2 * 300 * FINER + 4
    assert max(y for _, y in points) == 99.0 and min(y for _, y in points) == values.min()


@example(879609.9999999999, 1e-06, 6)
@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 9))
def test_ticks_are_few_and_inside(low, span, most):
    marks = ticks(low, low + span, most)
    assert len(marks) <= most + 1
    slack = span * 1e-6 + 4 * math.ulp(abs(low) + span)  # numbers of that size are no finer
    assert all(low - slack <= mark <= low + span + slack for mark in marks)


def test_a_drawing_writes_what_its_font_has():
    assert [drawable(text) for text in ("5 µV", "°C", "m/s²", "Dépôt", "心")] == ["5 uV", "deg C", "m/s2", "Depot", "?"]


def test_drawings_are_images_of_their_rows_with_the_series_as_roles(tmp_path):
    rows = [case_row(a=wave(500, 1).tolist(), b=wave(500, 1, 60.0).tolist())]
    parts = [{"values": name, "name": f"heart_{name}", "unit": "au", "hz": 500} for name in "ab"]
    small = {"width": 128, "height": 64}
    folder = table(tmp_path / "lab", rows)
    one = signals_of(tmp_path / "plot", folder, series=parts, rendering={"form": "plot", **small})
    assert [image.role for image in one.row().images] == [""]
    assert one.row().question == rows[0]["question"]
    two = signals_of(tmp_path / "mel", folder, series=parts, rendering={"form": "spectrogram", "bands": 16, **small})
    assert [image.role for image in two.row().images] == ["heart a", "heart b"]
    assert all((image.width, image.height) == (200, 130) for image in two.row().images)
