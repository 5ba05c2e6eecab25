"""Places that the loss is taken at: where the next token is learned."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.train.rows import learned_places

ROW = st.tuples(st.integers(2, 12), st.integers(1, 8))  # tokens of the prompt, and of the answer


@given(st.lists(ROW, min_size=1, max_size=5))
def test_every_place_before_a_learned_token_is_there_once_and_all_others_are_the_first(lengths):
    labels = torch.full((len(lengths), max(map(sum, lengths))), -100)
    for row, (prompt, answer) in enumerate(lengths):
        labels[row, prompt : prompt + answer] = 7
    places = learned_places(labels)
    assert places.shape == (len(lengths), max(answer for _, answer in lengths))
    for row, (prompt, answer) in enumerate(lengths):
        filled = places.shape[1] - answer
        assert places[row].tolist() == [*range(prompt - 1, prompt - 1 + answer), *[0] * filled]
