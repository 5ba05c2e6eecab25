"""What an answer of relations may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.entities.mentions import NONE
from workflow_scripts.tasks.grammars import distinct, literal, tokens_of_answer
from workflow_scripts.tasks.relations.documents import entities_in


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """The word none, or lines of a listed type and two different entities of the question: as many as fit."""
    names = list(entities_in(expected.text or ""))
    labels = distinct(expected.labels)
    if len(names) < 2:
        return f'start: "{NONE}"\n'
    types = " | ".join(map(literal, labels)) or r"/[A-Za-z][A-Za-z0-9_-]{0,30}/"
    longest = max((len(label.encode()) for label in labels), default=31) + 2 * max(map(len, names)) + 7
    most = tokens_of_answer(max_new_tokens) // longest
    if not most:
        return f'start: "{NONE}"\n'
    pairs = (
        f"{literal(name + ' -> ')} ({' | '.join(literal(other) for other in names if other != name)})" for name in names
    )
    more = f' ("\\n" line){{0,{most - 1}}}' if most > 1 else ""
    return f'start: "{NONE}" | line{more}\nline: type ": " pair\ntype: {types}\npair: {" | ".join(pairs)}\n'
