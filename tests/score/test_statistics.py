"""Intervals are clustered and paired, tests hold their level, Holm's correction is the textbook's."""

import numpy as np
import pytest
from scipy import stats

from workflow_scripts.score.statistics import exchanges_of, halves, holm, interval, p_value, resampled, sums_by_cluster


def test_an_interval_of_a_mean_is_scipys_where_each_case_has_one_row():
    rng = np.random.default_rng(0)
    sample = rng.exponential(size=400)
    facts = np.column_stack([sample, np.ones(400)])
    draws = resampled(sums_by_cluster(facts, np.arange(400)), 4000, 1)
    low, high = interval(sample.mean(), draws[:, 0] / draws[:, 1], 0.95)
    expected = stats.bootstrap((sample,), np.mean, n_resamples=4000, rng=2, method="BCa").confidence_interval
    assert low == pytest.approx(expected.low, abs=0.015)
    assert high == pytest.approx(expected.high, abs=0.015)


def test_rows_of_one_case_are_drawn_together():
    """Ten copies of a row in each case tell no more than one: the interval must not shrink."""
    rng = np.random.default_rng(0)
    cases = rng.normal(size=50)
    single = sums_by_cluster(np.column_stack([cases, np.ones(50)]), np.arange(50))
    copies = np.repeat(cases, 10)
    tenfold = sums_by_cluster(np.column_stack([copies, np.ones(500)]), np.repeat(np.arange(50), 10))

    def width(sums):
        draws = resampled(sums, 1000, 3)
        low, high = interval(cases.mean(), draws[:, 0] / draws[:, 1], 0.95)
        return high - low

    assert width(tenfold) == pytest.approx(width(single))


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(5)
    hits = 0
    for trial in range(300):
        sample = rng.binomial(1, 0.7, size=80).astype(float)
        draws = resampled(sample[:, None], 400, trial)
        low, high = interval(sample.mean(), draws[:, 0] / 80, 0.95)
        hits += low <= 0.7 <= high
    assert 0.90 <= hits / 300 <= 0.99


def test_draws_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch):
    sums = np.random.default_rng(0).normal(size=(40, 3))
    whole = resampled(sums, 50, 7)
    monkeypatch.setattr("workflow_scripts.score.statistics.BLOCK", 200)
    np.testing.assert_allclose(resampled(sums, 50, 7), whole)


def test_an_undefined_or_infinite_metric_has_no_interval():
    assert interval(1.0, np.array([np.nan] * 10 + [1.0] * 90), 0.95) == (None, None)
    assert interval(1.0, np.array([np.inf] + [1.0] * 99), 0.95) == (None, None)
    assert interval(1.0, np.ones(100), 0.95) == (1.0, 1.0)


def exchanged(one: np.ndarray, two: np.ndarray, times: int, seed: int) -> np.ndarray:
    """The difference of two systems' sums after exchanges: [times]."""
    changes = exchanges_of(lambda sums: sums[:, 1] - sums[:, 0], np.column_stack([one, two]), np.zeros(2))
    return (two - one).sum() + halves(changes[:, None], times, seed)[:, 0]


def test_the_paired_test_holds_its_level_and_finds_a_difference():
    rng = np.random.default_rng(1)
    false_alarms = 0
    for trial in range(200):
        one, two = rng.normal(size=(2, 40))
        false_alarms += p_value(float((two - one).sum()), exchanged(one, two, 400, trial)) < 0.05
    assert false_alarms / 200 < 0.10
    one = rng.normal(size=40)
    assert p_value(40.0, exchanged(one, one + 1, 999, 0)) == pytest.approx(1 / 1000)


def test_a_system_against_itself_has_p_one():
    one = np.random.default_rng(1).normal(size=20)
    assert p_value(0.0, exchanged(one, one, 100, 0)) == 1.0


def test_holm_is_the_textbooks():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
