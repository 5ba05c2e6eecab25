"""Which slices of a volume are shown, and how Hounsfield units become colours."""

from fractions import Fraction

import numpy as np
import pytest

from tests.data.phantom import phantom
from workflow_scripts.data.volumes.sampling import MOST, sampled_places
from workflow_scripts.data.volumes.volume import Volume, hounsfield_fault
from workflow_scripts.data.volumes.windows import PRESETS, grey_windows, windowed


def rounded(value: Fraction) -> int:
    """The nearest whole number, halves to the even one, by whole numbers alone."""
    whole, rest = divmod(value.numerator, value.denominator)
    twice = 2 * rest
    return whole + (twice > value.denominator or (twice == value.denominator and whole % 2 == 1))


def test_all_slices_up_to_85_are_shown():
    for count in range(1, MOST + 1):
        assert sampled_places(count) == list(range(count))


def test_of_more_slices_85_are_shown_by_the_published_rule_for_every_count_up_to_2000():
    for count in range(MOST + 1, 2001):
        exact = [rounded(Fraction(i * (count - 1), MOST)) for i in range(1, MOST + 1)]
        assert sampled_places(count) == exact
        assert exact == sorted(set(exact)) and exact[0] > 0 and exact[-1] == count - 1


def test_another_limit_is_sampled_alike():
    assert sampled_places(9, most=4) == [2, 4, 6, 8]
    assert sampled_places(3, most=1) == [2]


@pytest.mark.parametrize(("count", "most"), [(0, 85), (-1, 85), (10, 0)])
def test_no_slices_are_no_volume(count, most):
    with pytest.raises(ValueError, match="expected slices"):
        sampled_places(count, most)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_hounsfield_unit_becomes_the_level_of_exact_arithmetic(preset):
    units = np.arange(-4096, 4097)
    colours = windowed(units.astype(np.float32), PRESETS[preset])
    for channel, (low, high) in enumerate(PRESETS[preset]):
        a, b = int(low), int(high)
        assert (a, b) == (low, high)
        exact = [rounded(Fraction((min(max(int(unit), a), b) - a) * 255, b - a)) for unit in units]
        assert colours[:, channel].tolist() == exact


def test_the_windows_are_the_published_ones():
    assert PRESETS["medgemma-notebook"] == ((-1024, 1024), (-135, 215), (0, 80))
    widths = [(window.high - window.low, (window.high + window.low) / 2) for window in PRESETS["medgemma-report"]]
    assert widths == [(2250, -100), (350, 40), (80, 40)]


def test_what_is_not_a_number_is_black_and_infinities_are_cut():
    colours = windowed(np.array([np.nan, -np.inf, np.inf]), PRESETS["medgemma-notebook"])
    assert colours.tolist() == [[0, 0, 0], [0, 0, 0], [255, 255, 255]]


def test_values_without_a_unit_are_stretched_between_percentiles():
    values = np.concatenate([np.full(3, 1e6), np.linspace(100, 300, 9997)])
    window, *others = grey_windows(values)
    assert others == [window, window]
    assert window.low == pytest.approx(101, abs=0.1) and window.high == pytest.approx(299, abs=0.1)
    assert windowed(np.array([100, 150, 1e6]), grey_windows(values)).tolist() == [[0] * 3, [63] * 3, [255] * 3]


@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, np.nan), np.full(5, 7.0)])
def test_a_plain_volume_is_black(values):
    assert not windowed(values, grey_windows(values)).any()


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ([-1000, 40, 700], None),
        ([-8192, -1000, 30_710], None),
        ([24, 1064, 1724], "without the air near -1000"),
        ([-32_768, -32_000, 40], "outside -10000 to 35000"),
        ([0, 0, 0], "all its values are 0"),
        ([-2024] * 60 + [-984] * 139 + [-100], "0.5% of its values are above -200, as soft tissue is"),
        ([np.nan, np.inf], "none of its values is finite"),
    ],
)
def test_values_that_are_no_hounsfield_units_are_seen(values, fault):
    said = hounsfield_fault(np.array(values, dtype=np.float32))
    assert said is None if fault is None else fault in said


def test_a_rescale_that_was_forgotten_or_applied_twice_is_seen_of_the_phantom():
    values = phantom().astype(np.float32)
    assert hounsfield_fault(values) is None
    assert "without the air" in hounsfield_fault(values + 1024)
    assert "applied twice" in hounsfield_fault(values - 1024)


@pytest.mark.parametrize("shape", [(3, 4), (0, 4, 4), (5, 4, 4)])
def test_a_volume_has_slices_rows_and_columns(shape):
    with pytest.raises(ValueError, match="slices"):
        Volume(np.zeros(shape, dtype=np.float32), 4)
