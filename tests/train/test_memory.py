"""Rows at once follow the card and divide the batch; held-back rows are whole cases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import make_row
from workflow_scripts.train.memory import micro_batch, token_parts
from workflow_scripts.train.rows import hold_back


@pytest.mark.parametrize(
    ("batch", "processes", "gib", "rows"),
    [(16, 1, None, 16), (64, 1, 16, 4), (64, 1, 24, 8), (64, 1, 39.5, 16), (64, 1, 79, 32), (64, 1, 140, 64)]
    + [(64, 2, 140, 32), (48, 1, 79, 24), (6, 1, 16, 3), (16, 1, 8, 2)],
)
def test_rows_at_once_follow_the_card(batch, processes, gib, rows):
    assert micro_batch(None, batch, processes, gib) == rows


def test_what_a_recipe_allows_is_never_exceeded_and_shared_by_processes():
    assert micro_batch(4, 16, 2, 140) == 4
    assert micro_batch(16, 16, 2, 140) == 8
    assert micro_batch(5, 16, 2, None) == 4
    with pytest.raises(ValueError, match="cannot be shared by 3 processes"):
        micro_batch(None, 16, 3, None)


def test_held_back_rows_are_whole_cases_of_every_subset(root):
    rows = [make_row(root, n, subset="ab"[n % 2], case_id=str(n // 4)) for n in range(80)]
    train, held = hold_back(rows, 10, seed=1)
    assert sorted(train + held) == list(range(80))
    assert 10 <= len(held) <= 12
    cases = {(rows[place].subset, rows[place].case_id) for place in held}
    assert not cases & {(rows[place].subset, rows[place].case_id) for place in train}
    assert {subset for subset, _ in cases} == {"a", "b"}
    assert hold_back(rows, 0, seed=1) == (list(range(80)), [])


def test_held_back_cases_stay_when_rows_are_added(root):
    rows = [make_row(root, n, case_id=f"{n // 4}") for n in range(80)]
    more = [*rows, make_row(root, 0, subset="other", case_id="new")]
    assert hold_back(more, 10, seed=1)[1] == hold_back(rows, 10, seed=1)[1]


def test_parts_keep_every_row_within_the_budget():
    lengths = [400, 2000, 380, 90, 400, 1200, 100]
    parts = token_parts(lengths, 1300)
    assert sorted(place for part in parts for place in part) == list(range(7))
    assert all(len(part) * max(lengths[place] for place in part) <= 1300 or len(part) == 1 for part in parts)
    assert token_parts([10, 20, 30], 1300) == [[2, 1, 0]]


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=40), st.integers(100, 4000), st.data())
def test_processes_with_other_rows_get_as_many_parts_of_every_row_once(lengths, budget, data):
    least = data.draw(st.integers(1, len(lengths)))
    parts = token_parts(lengths, budget, least)
    assert len(parts) == max(least, len(token_parts(lengths, budget))) and all(parts)
    assert sorted(place for part in parts for place in part) == list(range(len(lengths)))
    assert all(len(part) * max(lengths[place] for place in part) <= budget or len(part) == 1 for part in parts)


def test_fewer_rows_than_parts_are_refused():
    with pytest.raises(ValueError, match="2 rows cannot be 3 parts"):
        token_parts([1, 2], 100, 3)
