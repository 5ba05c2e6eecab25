"""Balanced epochs: shares by formula, every row of a group in turn, and the same order for the same seed and epoch."""

from collections import Counter
from dataclasses import replace

import pytest

from tests.conftest import make_row
from workflow_scripts.core.config.recipes import Sampling
from workflow_scripts.train.sampling import Balanced, groups_of, shares, summary

SUBSETS = {"large": 60, "middle": 20, "small": 4}


@pytest.fixture(scope="module")
def rows(root):
    """84 rows of three subsets; those of one task answer with the label `a` three times of four, else with `b`."""
    plain = make_row(root, 0)
    listed = [(subset, number) for subset, count in SUBSETS.items() for number in range(count)]
    return [
        replace(plain, uid=f"{subset}/{number}", subset=subset, labels=("b" if number % 4 == 3 else "a",))
        for subset, number in listed
    ]


def counted(rows, sampling):
    return {group.name: group.share for group in groups_of(rows, sampling)}


def test_without_temperature_groups_share_an_epoch_equally(rows):
    assert counted(rows, Sampling(balance="subset")) == {("large",): 28, ("middle",): 28, ("small",): 28}


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_shares_go_with_the_rows_to_the_power_of_one_over_the_temperature(rows, temperature):
    powers = {name: count ** (1 / temperature) for name, count in SUBSETS.items()}
    for (name,), count in counted(rows, Sampling(balance="subset", temperature=temperature)).items():
        assert abs(count - 84 * powers[name] / sum(powers.values())) < 1
    if temperature == 1.0:
        assert counted(rows, Sampling(balance="subset", temperature=1.0)) == {(name,): n for name, n in SUBSETS.items()}


def test_a_cap_bounds_what_an_epoch_draws_of_a_group(rows):
    assert counted(rows, Sampling(balance="subset", cap=10, temperature=1.0)) == {
        ("large",): 10, ("middle",): 10, ("small",): 4,
    }  # fmt: skip
    assert max(counted(rows, Sampling(balance="subset", cap=10, temperature=3.0)).values()) <= 10


def test_classes_share_what_their_subset_has_and_change_no_subset(rows):
    by_class = counted(rows, Sampling(balance="class"))
    task = rows[0].task
    assert by_class["large", task, "a"] == by_class["large", task, "b"] == 30
    assert by_class["small", task, "a"] == by_class["small", task, "b"] == 2


@pytest.mark.parametrize("counts", [[1], [3, 3], [100, 1, 1], [7, 5, 2, 1, 1]])
@pytest.mark.parametrize("temperature", [None, 1.0, 1.7, 50.0])
def test_shares_are_whole_and_add_up(counts, temperature):
    given = shares(counts, temperature)
    assert min(given) >= 1 and sum(given) == sum(counts)


def test_every_row_of_a_group_is_drawn_before_any_is_drawn_again(rows):
    groups = groups_of(rows, Sampling(balance="subset"))
    sampler = Balanced(groups, [5] * len(rows), 8, seed=3)
    seen = {name: Counter() for name in SUBSETS}
    for epoch in range(30):
        sampler.set_epoch(epoch)
        order = list(sampler)
        assert len(order) == len(sampler) == 84
        of_epoch = Counter(order)
        for place, count in of_epoch.items():
            seen[rows[place].subset][place] += count
        for group in groups:
            counts = [of_epoch[place] for place in group.places]
            assert sum(counts) == group.share and max(counts) - min(counts) <= 1
    for name, count in SUBSETS.items():
        assert len(seen[name]) == count, "each row is shown in some epoch"


def test_an_epochs_rows_follow_from_seed_and_epoch_alone(rows):
    groups = groups_of(rows, Sampling(balance="subset", cap=10))
    lengths = [1 + number % 7 for number in range(len(rows))]

    def order(seed, epoch):
        sampler = Balanced(groups, lengths, 8, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(1, 4) == order(1, 4)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_the_summary_names_counts(rows):
    said = summary(groups_of(rows, Sampling(balance="subset", cap=10)))
    assert said.startswith(
        "an epoch draws 24 rows from 84, in 3 groups: large: 8 of 60; middle: 8 of 20; small: 8 of 4"
    )
