"""Rows that share a case or an image lie in one component: SciPy's."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from workflow_scripts.data.case_groups import components, ties

IMAGES = st.lists(st.integers(0, 30), max_size=4)


def rows_of(drawn: list[tuple[int, list[int]]]) -> list[SimpleNamespace]:
    """What `ties` reads of rows: a case, and images by their hashes."""
    return [
        SimpleNamespace(
            case_id=str(case), images=[SimpleNamespace(sha256=str(image), is_slice=False) for image in images]
        )
        for case, images in drawn
    ]


@given(st.lists(st.tuples(st.integers(0, 30), IMAGES), max_size=40))
def test_components_are_scipys(drawn):
    rows = rows_of(drawn)
    numbers = components(rows, {})
    order = {tie: place for place, tie in enumerate(dict.fromkeys(tie for row in rows for tie in ties(row, {})))}
    assert numbers.keys() == order.keys()
    pairs = [(order[ties(row, {})[0]], order[tie]) for row in rows for tie in ties(row, {})]
    starts, ends = zip(*pairs, strict=True) if pairs else ((), ())
    graph = coo_array((np.ones(len(pairs)), (starts, ends)), shape=(len(order),) * 2)
    labels = connected_components(graph, directed=False)[1] if order else []
    partition = {}
    for tie, place in order.items():
        partition.setdefault(int(labels[place]), set()).add(numbers[tie])
    assert all(len(ours) == 1 for ours in partition.values())
    assert len(set(numbers.values())) == len(partition)
