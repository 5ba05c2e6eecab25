"""What a label list may be."""

from collections.abc import Sequence
from itertools import accumulate

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import bounded, distinct, literal, tokens_of_answer

BYTES_A_TOKEN = 3
"""Bytes of a listed label that a token covers at least, on average: after the bytes that tell it from the other
labels llguidance allows the tokenizer's own tokens alone."""
COUNTED = 64
"""Labels of which a grammar can know which are used: one bit each."""


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """Listed labels, each at most once, in any order; or none, as an empty answer or the word None."""
    size = tokens_of_answer(max_new_tokens)
    labels = distinct(expected.labels)
    separator = expected.separator or ","
    if not labels:
        label = f"/[^\\s{separator}]([ -~--{separator}]{{0,98}}[^\\s{separator}])?/"
        return bounded(f'(LABEL ("{separator} " LABEL)*)?', size) + f"LABEL: {label}\n"
    most = _most(labels, size)
    if len(labels) > COUNTED:
        listed = " | ".join(map(literal, labels))
        return f'start: "" | "None" | label ("{separator} " label){{0,{most - 1}}}\nlabel: {listed}\n'
    rules = [f"{literal(label)} more::set_bit({bit}) %if bit_clear({bit})" for bit, label in enumerate(labels)]
    return (
        'start: "" | "None" | label::0\n'
        f"label::_: {' | '.join(rules)}\n"
        f'more::_: "" | "{separator} " label::_ %if bit_count_lt(_, {most})\n'
    )


def _most(labels: list[str], size: int) -> int:
    """How many of `labels` fit into `size` tokens, however they are chosen; at least one."""
    costs = sorted((len(label.encode()) // BYTES_A_TOKEN + 2 for label in labels), reverse=True)
    return max(1, sum(spent <= size for spent in accumulate(costs)))
