"""The paired test holds its level where hits are few and the systems differ in the number of their boxes."""

import itertools

import numpy as np
import pytest

from workflow_scripts.score.statistics import exchanges_of, halves, influences_of, p_value, paired_p

TRIALS, TIMES, LEVEL = 400, 400, 0.05
MOST = LEVEL + 2.6 * (LEVEL * (1 - LEVEL) / TRIALS) ** 0.5
"""Share of false alarms that a test of that level exceeds once in two hundred simulations."""


def f1_difference(sums: np.ndarray) -> np.ndarray:
    """F1 of the second system less that of the first, from (hits, boxes of both sides) of each."""
    hits, boxes = sums[..., 0::2], sums[..., 1::2]
    f1 = 2 * hits / boxes
    return f1[..., 1] - f1[..., 0]


def p_values(first: np.ndarray, second: np.ndarray, seed: int, times: int = TIMES) -> tuple[float, float, float]:
    """The paired p, that of exchanges and that of influences, of two systems' (hits, boxes of both sides) by case."""
    sums = np.concatenate([first, second], axis=1).astype(float)
    whole = sums.sum(axis=0)
    point = float(f1_difference(whole))
    changes = [exchanges_of(f1_difference, sums, whole), influences_of(f1_difference, sums, whole, len(sums))]
    drawn = halves(np.column_stack(changes), times, seed)
    exchanged, turned = point + drawn[:, 0], changes[1].sum() - 2 * drawn[:, 1]
    return paired_p(point, exchanged, turned), p_value(point, exchanged), p_value(point, turned)


@pytest.mark.parametrize("cases", [8, 12, 40])
def test_one_right_box_is_no_difference_beyond_chance(cases):
    """One system draws a box in one image, and it is right; the other draws a false box in every image.

    Exchanging all answers at once would give 2 / 2^cases: the hit is worth most on the side of few boxes.
    """
    few, many = np.tile([0.0, 1.0], (cases, 1)), np.tile([0.0, 2.0], (cases, 1))
    few[0] += 1
    assert p_values(many, few, seed=1, times=10_000)[0] > 0.2
    few[: cases - 1] = (1, 2)
    assert p_values(many, few, seed=1, times=10_000)[0] < 0.05


def drawn(rng: np.random.Generator, ease: np.ndarray, share: float, boxes: int, rate: float) -> np.ndarray:
    """A system that draws `boxes` in a `share` of the images; at most one is right, `rate` of the time where it draws.

    `ease` scales the rate image by image, for both systems alike.
    """
    draws = rng.random(len(ease)) < share
    hits = draws & (rng.random(len(ease)) < rate * ease)
    return np.column_stack([hits, 1 + boxes * draws])


def alarms(cases: int, one: tuple[float, int], two: tuple[float, int], hits: float) -> np.ndarray:
    """Shares of simulations in which the three p values call two systems of equal F1 different.

    Args:
        cases: images, each with one box of the reference.
        one: the share of images in which the first system draws boxes, and how many.
        two: the same of the second, which has as many more hits as boxes.
        hits: of the first system, in the mean.
    """
    rng = np.random.default_rng([cases, *(int(10 * value) for value in (*one, *two, hits))])
    rates = [hits / cases * (1 + share * boxes) / (1 + one[0] * one[1]) / share for share, boxes in (one, two)]
    assert max(rates) * 1.5 <= 1
    called = np.zeros(3)
    for trial in range(TRIALS):
        ease = rng.choice([0.5, 1.5], size=cases)
        systems = [drawn(rng, ease, *of, rate) for of, rate in zip((one, two), rates, strict=True)]
        called += np.array(p_values(*systems[:: rng.choice([1, -1])], seed=trial)) < LEVEL
    return called / TRIALS


@pytest.mark.parametrize("cases", [10, 30])
@pytest.mark.parametrize(
    ("one", "two", "hits"),
    [
        ((1.0, 1), (1.0, 1), 2.0),
        ((0.3, 1), (1.0, 1), 1.0),
        ((0.3, 1), (1.0, 4), 1.0),
        ((1.0, 1), (1.0, 4), 2.0),
        ((1.0, 1), (1.0, 9), 1.0),
    ],
)
def test_systems_of_equal_f1_and_few_hits_are_rarely_called_different(cases, one, two, hits):
    assert alarms(cases, one, two, hits)[0] <= MOST


def test_neither_half_of_the_test_would_do_alone():
    assert alarms(40, (0.3, 1), (1.0, 1), 0.5)[1] > 0.1  # exchanges, where hits are few and boxes fewer
    assert alarms(10, (1.0, 1), (1.0, 9), 1.0)[2] > 0.2  # influences, where a system has no hit


def test_the_test_of_f1_finds_what_there_is():
    rng = np.random.default_rng(3)
    pairs = [[drawn(rng, np.ones(60), 1.0, 1, rate) for rate in (0.2, 0.6)] for _ in range(40)]
    assert sum(p_values(*pair, seed=place)[0] < LEVEL for place, pair in enumerate(pairs)) >= 36


def test_influences_of_a_mean_are_what_leaving_a_case_out_takes_away():
    sums = np.column_stack([np.random.default_rng(0).exponential(size=9), np.ones(9)])

    def mean(sums: np.ndarray) -> np.ndarray:
        return sums[..., 0] / sums[..., 1]

    whole = sums.sum(axis=0)
    expected = [mean(whole) - mean(whole - sums[place]) for place in range(9)]
    np.testing.assert_allclose(influences_of(mean, sums, whole, 9), expected)


def test_of_equal_denominators_the_p_is_that_of_all_exchanges():
    """Accuracy of two systems on nine cases, against every one of the 512 exchanges."""
    first, second = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0]), np.array([1, 1, 1, 0, 1, 1, 1, 1, 0])
    sides = np.array(list(itertools.product([-1, 1], repeat=9)))
    exact = np.mean(np.abs(sides @ (second - first)) >= abs((second - first).sum()))
    one, two = (np.column_stack([side, np.full(9, 2.0)]) for side in (first, second))
    paired, exchange, _ = p_values(one, two, seed=0, times=40_000)
    assert paired == exchange == pytest.approx(exact, abs=0.01) and 0.1 < exact < 0.2
