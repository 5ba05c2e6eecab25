"""Gaps between groups: a planted gap is seen, shuffled labels have none, and intervals hold what they should."""

from dataclasses import replace

import numpy as np
import pytest

from tests.score.grouped import SCORING, answered, excludes_zero, gaps_of
from workflow_scripts.score.grouping import gaps
from workflow_scripts.score.grouping.cuts import cut_by, values_of
from workflow_scripts.score.grouping.estimates import estimates_of, measured
from workflow_scripts.score.grouping.gaps import Estimates, permutations, range_of, simultaneous
from workflow_scripts.score.task_facts import TaskFacts

SEEDS = 80
LEVEL = 0.05
MOST = LEVEL + 2.6 * (LEVEL * (1 - LEVEL) / SEEDS) ** 0.5
"""Share of false alarms that an interval of that level exceeds once in two hundred times."""


def alarms(task: str, sizes: list[int], level: float, rows_of_case: int = 1) -> np.ndarray:
    """Shares of simulations of equal hospitals in which something looks like a gap.

    Of: the range's interval, its p value, some hospital's interval against the rest, and the usual interval of the two
    hospitals that happen to be apart most.
    """
    seen = np.zeros(4)
    for seed in range(SEEDS):
        facts, hospitals = answered(np.random.default_rng(seed), task, sizes, [level] * len(sizes), rows_of_case)
        lines = gaps_of(facts, hospitals, seed)
        seen += (
            excludes_zero(lines[0]),
            lines[0].p < LEVEL,
            any(map(excludes_zero, lines[1:])),
            chosen_pair(facts, hospitals, seed),
        )
    return seen / SEEDS


def chosen_pair(task: TaskFacts, hospitals: list[str], seed: int) -> bool:
    """Whether the percentile interval of the largest less the smallest excludes zero, as if both were named before."""
    values, one = values_of(hospitals), measured("base", task.systems["base"])
    scoring = SCORING.model_copy(update={"seed": seed})
    of_value = estimates_of(task, [one], cut_by(task, values, 10)["ds"], "ds", "hospital", scoring)["base"].estimates
    first, second = np.argmax(of_value.point), np.argmin(of_value.point)
    return bool(np.quantile(of_value.draws[:, first] - of_value.draws[:, second], LEVEL / 2) > 0)


@pytest.mark.parametrize(
    ("task", "sizes", "level", "rows_of_case"),
    [
        ("classification", [20, 40, 20, 60], 0.7, 2),
        ("classification", [20] * 6, 0.8, 1),
        ("counting", [20, 20, 40, 40], 5.0, 1),
    ],
)
def test_equal_hospitals_are_rarely_called_different(task, sizes, level, rows_of_case):
    interval, p, rest, chosen = alarms(task, sizes, level, rows_of_case)
    assert max(interval, p, rest) <= MOST
    assert interval >= 0.01, "an interval that never errs is too wide"
    assert chosen > 2 * MOST, "what is largest by chance is not to be taken for a pair that was named before"


def test_a_planted_gap_is_seen_and_shuffled_labels_have_none():
    """One of four hospitals is read worse; then the same answers with hospitals dealt anew to the cases."""
    planted, shuffled = [], []
    for seed in range(40):
        rng = np.random.default_rng([seed, 1])
        facts, hospitals = answered(rng, "classification", [50, 50, 50, 50], [0.9, 0.9, 0.9, 0.5])
        lines = gaps_of(facts, hospitals, seed)
        worst = next(line for line in lines if line.kind == "rest" and line.first == "D")
        planted.append((excludes_zero(lines[0]), lines[0].second == "D", worst.high is not None and worst.high < 0))
        lines = gaps_of(facts, list(rng.permutation(hospitals)), seed)
        shuffled.append(any(map(excludes_zero, lines)))
    assert np.mean(planted, axis=0).min() >= 0.95
    assert np.mean(shuffled) <= 2 * LEVEL + 2.6 * (2 * LEVEL * 0.9 / 40) ** 0.5  # two sets of intervals


def test_the_interval_of_the_range_holds_the_true_one():
    """Mean errors of 4, 5, 6 and 8: the true range is 4, in cases whose error is their hospital's in the mean."""
    hits = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, 2])
        facts, hospitals = answered(rng, "counting", [40] * 4, [4.0, 5.0, 6.0, 8.0])
        line = gaps_of(facts, hospitals, seed)[0]
        hits += line.low <= 4.0 <= line.high
    assert hits / SEEDS >= 0.95 - 2.6 * (0.95 * 0.05 / SEEDS) ** 0.5


def test_two_values_have_one_interval_and_it_is_that_of_their_difference():
    facts, hospitals = answered(np.random.default_rng(4), "counting", [120, 120], [4.0, 9.0])
    (line,) = gaps_of(facts, hospitals, 0)
    assert (line.kind, line.first, line.second, line.values) == ("range", "B", "A", 2)
    assert line.low < line.gap < line.high and line.low == pytest.approx(2 * line.gap - line.high)


def test_the_range_follows_from_the_pairs():
    rng = np.random.default_rng(0)
    estimates = Estimates(
        np.array([0.2, 0.9, 0.5]), rng.normal([0.2, 0.9, 0.5], 0.05, (500, 3)), rng.normal(0, 0.05, (900, 3))
    )
    pairs = simultaneous(estimates.pairs(), 0.95)
    extent = range_of(estimates, 0.95)
    assert (extent.first, extent.second, extent.gap) == (1, 0, pytest.approx(0.7))
    assert extent.low == pytest.approx(max(pairs.low[0], pairs.low[1], -pairs.high[2]))
    assert extent.p == pairs.p.min() == pytest.approx(1 / 901)


def test_what_never_varies_has_no_gap_and_p_one():
    same = Estimates(np.ones(3), np.ones((100, 3)), np.ones((200, 3)))
    extent = range_of(same, 0.95)
    assert (extent.gap, extent.low, extent.high, extent.p) == (0.0, 0.0, 0.0, 1.0)


def test_an_undefined_metric_has_no_interval():
    draws = np.ones((100, 2))
    draws[:10] = np.nan
    assert simultaneous(Estimates(np.ones(2), draws, np.ones((100, 2))), 0.95) is None
    assert range_of(Estimates(np.ones(2), draws, np.ones((100, 2))), 0.95).low is None


def test_labels_move_within_their_stratum_alone():
    labels, strata = np.array([0, 0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 0, 5, 5, -1])
    blocks = np.concatenate(list(permutations(labels, strata, 300, 1)))
    assert blocks.shape == (300, 7) and (blocks[:, 6] == 2).all()
    assert (np.sort(blocks[:, :4]) == [0, 0, 1, 2]).all() and (np.sort(blocks[:, 4:6]) == [0, 1]).all()
    assert len(np.unique(blocks[:, :4], axis=0)) == 12 and set(blocks[:, 4]) == {0, 1}


def test_equal_values_are_two_values():
    for size in (2, 3):
        extent = range_of(Estimates(np.ones(size), np.ones((100, size)), np.ones((200, size))), 0.95)
        assert {extent.first, extent.second} == {0, 1} and extent.gap == 0


def test_blocks_of_permutations_are_bounded_by_what_is_computed_of_them(monkeypatch):
    blocks = list(permutations(np.arange(10), np.zeros(10, dtype=int), 25, 1, numbers=gaps.BLOCK // 4))
    assert [len(block) for block in blocks] == [4] * 6 + [1]
    facts, hospitals = answered(np.random.default_rng(0), "counting", [12] * 4, [5.0] * 4)
    values, one = values_of(hospitals), measured("base", facts.systems["base"])
    columns = one.facts.packed().shape[1]
    sizes = []
    monkeypatch.setattr(gaps, "BLOCK", 48 * 10)
    value = type(one).value
    monkeypatch.setattr(type(one), "value", lambda self, sums: sizes.append(sums.shape) or value(self, sums))
    estimates_of(facts, [one], cut_by(facts, values, 10)["ds"], "ds", "hospital", SCORING)
    permuted = [shape for shape in sizes if len(shape) == 3 and len(shape) and shape[0] != SCORING.resamples]
    assert permuted and max(np.prod(shape) for shape in permuted) <= max(48 * 10, 4 * columns)
    assert sum(shape[0] for shape in permuted) == 2 * 10 * SCORING.resamples


def test_rare_values_share_a_line_that_is_not_ranked():
    texts = [f"site {place:03}" for place in range(60)] + ["site 003"] * 5 + [""]
    values = values_of(texts, most=50)
    assert len(values.names) == 52 and values.joined == 10 and values.names[50:] == ("10 others", "")
    assert "site 003" in values.names and sum(values.labels == 50) == 10 and sum(values.labels == 51) == 1


def test_a_case_in_several_hospitals_counts_in_each():
    facts, hospitals = answered(np.random.default_rng(0), "classification", [40], [0.7], rows_of_case=2)
    hospitals = ["AB"[place % 2] for place in range(80)]
    (line,) = gaps_of(facts, hospitals, 0)
    assert line.clusters == 40 and line.rows == 80
    swapped = gaps_of(replace(facts), ["BA"[place % 2] for place in range(80)], 0)[0]
    assert swapped.gap == line.gap and {swapped.first, swapped.second} == {"A", "B"}
