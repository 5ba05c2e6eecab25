"""What the baselines of tasks share: rules that answer from training rows without looking at an image.

A rule summarises training rows of one task, then answers rows of it. Boxes are written in the convention of the row
that asks.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence

from workflow_scripts.core.rows import Box, Row

Answer = Callable[[Row], str]
"""From a row that asks to the text of an answer."""


def always(text: str) -> Answer:
    """The same answer to every row."""
    return lambda row: text


def commonest(rows: Sequence[Row]) -> str:
    """The commonest answer; ties go to the text that sorts first."""
    counted = Counter(row.answer for row in rows)
    return min(counted, key=lambda answer: (-counted[answer], answer))


def commonest_answer(rows: Sequence[Row]) -> Answer:
    """The commonest answer, to every row."""
    return always(commonest(rows))


def no_text(rows: Sequence[Row]) -> Answer:
    """An empty answer."""
    return always("")


def own_answer(row: Row, asking: Row) -> str:
    """The answer of a training row, as it is, as the answer to another row."""
    return row.answer


def median_number(rows: Sequence[Row]) -> float:
    """The median of the rows' numbers."""
    return statistics.median(row.number for row in rows if row.number is not None)


def median_box(boxes: Sequence[Box]) -> Box:
    """The box of the rounded medians of each edge."""
    return Box(*(round(statistics.median(edges)) for edges in zip(*boxes, strict=True)))


def whole_image(row: Row) -> Box:
    """The box around the row's first image."""
    return Box(0, 0, row.images[0].width, row.images[0].height)
