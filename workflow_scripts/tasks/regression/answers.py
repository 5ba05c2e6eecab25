"""Measured values as a source writes them: a number, or a percentage."""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.options import NOTHING
from workflow_scripts.tasks.source_numbers import source_number


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Percentages, if any answer has a percent sign."""
    signs = []
    for row in rows:
        try:
            signs.append(source_number(row.raw)[1])
        except BadAnswer:
            continue
    return [Learned("percent", any(signs), sum(signs) if any(signs) else len(signs), len(signs))] if signs else []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """A number, with a percent sign where the subset writes one."""
    known = conventions.get("percent")
    if known is None:
        return ExpectedFormat(sources=(FormatSource("percent", "task default"),))
    return ExpectedFormat(percent=bool(known.value), sources=(FormatSource("percent", known.source),))


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A finite number.

    Raises:
        BadAnswer: it is none.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    value, _ = source_number(raw)
    return Answer(f"{value!r}%" if expected.percent else repr(value), number=value)


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """A number fits every question and image; those far out of range are found among all rows (`outliers`)."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer


def outliers(values: Sequence[float], spread: float) -> list[tuple[int, str]]:
    """Places of the values beyond `spread` interquartile ranges from the quartiles, each with a sentence.

    Needs 20 values and a range.
    """
    ordered = sorted(values)
    if len(ordered) < 20:
        return []
    low, high = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
    reach = spread * (high - low)
    return [
        (place, f"{value!r} beside quartiles {low!r} and {high!r}")
        for place, value in enumerate(values)
        if reach > 0 and not low - reach <= value <= high + reach
    ]
