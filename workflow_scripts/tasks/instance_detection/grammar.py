"""What boxes by identity may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import bounded, box_rules, literal, tokens_of_answer

MOST_LISTED = 30
"""Identities that a grammar can list, each at most once: their number enters its size squared."""
_CLASS = """CLASS: KEY ": [" BOX (", " BOX)* "]"
KEY: /"[A-Za-z0-9]([A-Za-z0-9 _-]{0,14}[A-Za-z0-9])?"/
"""
"""An identity and its boxes, where no identities are known: any short name is one."""


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """A JSON object of lists of boxes, the empty one among them; known identities once each, in their order."""
    size = tokens_of_answer(max_new_tokens)
    if 0 < len(expected.labels) <= MOST_LISTED:
        return (
            bounded(f'"{{" ({_in_order(expected.labels)})? "}}"', size) + _classes(expected.labels) + box_rules(images)
        )
    return bounded('"{" (CLASS (", " CLASS)*)? "}"', size) + _CLASS + box_rules(images)


def _in_order(labels: tuple[str, ...]) -> str:
    """Some of the identities, at least one: the first, and any of those that follow it."""
    chains = []
    for first in range(len(labels)):
        rest = "".join(f' (", " CLASS{place})?' for place in range(first + 1, len(labels)))
        chains.append(f"CLASS{first}{rest}")
    return " | ".join(chains)


def _classes(labels: tuple[str, ...]) -> str:
    keys = (literal(f"{literal(label)}: [") for label in labels)
    return "".join(f'CLASS{place}: {key} BOX (", " BOX)* "]"\n' for place, key in enumerate(keys))
