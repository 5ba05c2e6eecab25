"""What a head says of windows, as outputs of examples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workflow_scripts.encoders.inputs import Window
from workflow_scripts.tasks.encodings import Head
from workflow_scripts.tasks.entities.bio import spans_of
from workflow_scripts.tasks.entities.examples import Output

LONGEST_SPAN = 30
"""Tokens of an answer that is a place in a text."""
BEST = 20
"""First and last tokens that are looked at, the likeliest."""


def outputs_of(
    head: Head,
    labels: Sequence[str],
    windows: Sequence[Window],
    logits: Sequence[Any],
    examples: int,
    may_be_unanswerable: bool = True,
) -> list[Output]:
    """The output of each example.

    Args:
        head: what the network ends in.
        labels: its tags or classes.
        windows: of the examples, in their order.
        logits: of each window: (tokens, labels), (labels,), (1,), or first and last (2, tokens).
        examples: how many there are.
        may_be_unanswerable: whether a place in a text may be none.
    """
    grouped: list[list[tuple[Window, Any]]] = [[] for _ in range(examples)]
    for window, scores in zip(windows, logits, strict=True):
        grouped[window.example].append((window, scores))
    if head == "tokens":
        return [_typed_spans(group, labels) for group in grouped]
    if head == "span":
        return [_best_span(group, may_be_unanswerable) for group in grouped]
    if head == "number":
        return [float(group[0][1][0]) for group in grouped]
    return [labels[int(np.argmax(group[0][1]))] for group in grouped]


def _typed_spans(group: Sequence[tuple[Window, Any]], labels: Sequence[str]) -> Output:
    """Entities of one text: of a word in two windows the tag counts that has more of the text around it."""
    chosen: dict[tuple[int, int], tuple[int, str]] = {}
    for window, scores in group:
        for token, start, end in window.words:
            context = min(token, len(window) - 1 - token)
            if (start, end) not in chosen or context > chosen[start, end][0]:
                chosen[start, end] = context, labels[int(np.argmax(scores[token]))]
    words = sorted(chosen)
    spans = spans_of([chosen[word][1] for word in words]) if words else []
    return [(words[first][0], words[after - 1][1], kind) for first, after, kind in spans]


def _best_span(group: Sequence[tuple[Window, Any]], may_be_unanswerable: bool) -> Output:
    """The likeliest place over all windows; None where the windows' first token is likelier (Devlin et al. 2019)."""
    best: tuple[float, tuple[int, int]] | None = None
    nothing = -np.inf
    for window, scores in group:
        first, last = np.asarray(scores[0]), np.asarray(scores[1])
        nothing = max(nothing, float(first[0] + last[0]))
        places: Mapping[int, tuple[int, int]] = {token: (start, end) for token, start, end in window.places}
        starts = [token for token in np.argsort(-first) if token in places][:BEST]
        ends = [token for token in np.argsort(-last) if token in places][:BEST]
        for start in starts:
            for end in ends:
                score = float(first[start] + last[end])
                if start <= end < start + LONGEST_SPAN and (best is None or score > best[0]):
                    best = score, (places[start][0], places[end][1])
    if best is None or (may_be_unanswerable and nothing >= best[0]):
        return None
    return best[1]
