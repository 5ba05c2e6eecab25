"""What several answers to one row come to: the commonest reading, or the lower median of numbers.

The agreement of answers that are drawn is self-consistency (Wang et al. 2023, arXiv:2203.11171). A task that has a
rule of its own defines `consensus(expected, texts)` in its module `reading`, which returns the place of a text.
"""

import json
from collections import Counter
from collections.abc import Sequence

from workflow_scripts.core.answers import ReadingPart, Value, final_answer
from workflow_scripts.core.rows import ExpectedFormat


def readings(part: ReadingPart, expected: ExpectedFormat, texts: Sequence[str]) -> list[Value | None]:
    """What each answer is read as: strictly, or else leniently; None where it cannot be read."""
    values: list[Value | None] = []
    for text in texts:
        said = final_answer(text).text
        strict = part.read_strict(expected, said)
        values.append(part.read_lenient(expected, said) if strict is None else strict)
    return values


def consensus_of(part: ReadingPart, expected: ExpectedFormat, texts: Sequence[str]) -> int:
    """The place of the answer that counts among the answers to a row."""
    own = getattr(part, "consensus", None)
    place: int = place_of_consensus(readings(part, expected, texts)) if own is None else own(expected, texts)
    return place


def place_of_consensus(values: Sequence[Value | None]) -> int:
    """The first place of the commonest value, or of the lower median of numbers; values that are None do not count.

    Of equally common values the one that comes first is taken; where there is none at all, the first place.
    """
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    numbers = sorted(value for _, value in known if isinstance(value, float))
    if numbers:
        return values.index(numbers[(len(numbers) - 1) // 2])
    counts = Counter(same(value) for _, value in known)
    return max(known, key=lambda entry: counts[same(entry[1])], default=(0, None))[0]


def share_of_consensus(values: Sequence[Value | None], place: int) -> float:
    """The share of all answers that are read as the one at `place`; 0 where that cannot be read."""
    if (value := values[place]) is None:
        return 0.0
    return sum(other is not None and same(other) == same(value) for other in values) / len(values)


def same(value: Value) -> str:
    """Text that is equal for equal values: labels in whatever order, letter case and spaces aside."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return json.dumps(sorted(_plain(str(item)) for item in value))
    return _plain(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
