"""Predicted numbers against reference numbers, with the line of equality and the band that counts as right."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from workflow_scripts.report.palette import GRID, INK, MUTED, PAPER
from workflow_scripts.report.plots.answers import Answers
from workflow_scripts.report.plots.style import (
    WIDTH,
    Drawing,
    Panel,
    anchor,
    chart_data,
    number,
    short_system,
    task_name,
)
from workflow_scripts.tasks.number_metrics import WITHIN

WIDE = 30.0
"""Ratio of large to small references (95th and 5th percentile) from which the axes are logarithmic."""
CELLS = (110, 70, 45, 30)
"""Places of a mark along an axis: answers that fall into one place are one mark."""
MOST_MARKS = 900
"""Of a panel; with more, the places are larger."""
LARGEST = 260.0
"""Area of the largest mark, in square pixels."""


@dataclass(frozen=True)
class Plane:
    """The common range of both axes, and whether they are logarithmic (symlog: linear around zero)."""

    low: float
    high: float
    logarithmic: bool

    def place(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1; beyond them for values outside."""
        start, end, at = (self._scaled(number_) for number_ in (self.low, self.high, value))
        return (at - start) / (end - start)

    def value(self, place: float) -> float:
        """The value at a place."""
        start, end = self._scaled(self.low), self._scaled(self.high)
        scaled = start + place * (end - start)
        return math.copysign(math.expm1(abs(scaled)), scaled) if self.logarithmic else scaled

    def _scaled(self, value: float) -> float:
        return math.copysign(math.log1p(abs(value)), value) if self.logarithmic else value


@dataclass(frozen=True)
class Mark:
    """Answers that fall into one place."""

    reference: float
    predicted: float
    area: float  # square pixels, in proportion to the rows
    outside: bool  # the prediction lies beyond the axis, and the mark at its end


def plane_of(references: Sequence[float]) -> Plane:
    """The range of the references, zero, and a margin."""
    ranked = sorted(references)
    low, high = min(0.0, ranked[0]), ranked[-1]
    span = (high - low) or 1.0
    small, large = (ranked[int(share * (len(ranked) - 1))] for share in (0.05, 0.95))
    if low >= 0 and small > 0 and large / small >= WIDE:
        return Plane(0.0, high * 1.6, True)
    return Plane(low - 0.12 * span if low < 0 else low, high + 0.2 * span, False)


def marks_of(pairs: Sequence[tuple[float, float]], plane: Plane) -> list[Mark]:
    """Pairs of reference and prediction as marks whose areas are in proportion to their rows.

    Pairs that fall into one place are one mark; where there are too many marks, places are larger.
    """
    for cells in CELLS:
        counts: Counter[tuple[int, int, bool]] = Counter()
        for reference, predicted in pairs:
            place = plane.place(predicted)
            outside = not 0 <= place <= 1
            counts[round(plane.place(reference) * cells), round(min(max(place, 0.0), 1.0) * cells), outside] += 1
        if len(counts) <= MOST_MARKS:
            break
    unit = min(22.0, LARGEST / max(counts.values(), default=1))
    return [
        Mark(plane.value(across / cells), plane.value(up / cells), max(5.0, unit * count), outside)
        for (across, up, outside), count in sorted(counts.items())
    ]


def scatter_plots(answers: Iterable[Answers], colours: Mapping[str, str]) -> list[Drawing]:
    """For each subset whose answers are numbers, predictions against references, a panel for each system."""
    drawings = []
    for group in answers:
        known = [value if isinstance(value, int | float) else None for value in group.references]
        references = [float(value) for value in known if value is not None]
        if not references:
            continue
        plane = plane_of(references)
        percent = all(row.expected.percent for row in group.rows)
        lines: dict[str, list[str]] = {}
        marks: dict[str, list[Mark]] = {}
        sentences = []
        side = (WIDTH - 110) / 2 if len(group.strict) > 1 else 300
        for system, values in group.strict.items():
            pairs = [
                (float(reference), float(value))
                for reference, value in zip(known, values, strict=True)
                if reference is not None and isinstance(value, int | float) and not math.isnan(value)
            ]
            unread = len(references) - len(pairs)
            right = sum(abs(predicted - reference) <= WITHIN for reference, predicted in pairs)
            beyond = sum(not 0 <= plane.place(predicted) <= 1 for _, predicted in pairs)
            error = sum(abs(predicted - reference) for reference, predicted in pairs) / len(pairs) if pairs else None
            facts = f"{right:,} of {len(references):,} within ±{WITHIN:g}"
            facts += f"; {unread:,} not read" * (unread > 0) + f"; {beyond:,} beyond the axis" * (beyond > 0)
            sentences.append(
                f"{system}: {facts}" + ("" if error is None else f", mean absolute error of those read {number(error)}")
            )
            lines[system] = facts.split("; ")
            marks[system] = marks_of(pairs, plane)
        most = max(map(len, lines.values()))
        panels = [
            _panel(
                marks[system],
                plane,
                colours[system],
                [short_system(system, 26), *lines[system], *[" "] * (most - len(lines[system]))],
                side,
                percent,
                place,
            )
            for place, system in enumerate(group.strict)
        ]
        drawings.append(
            Drawing(
                name=anchor("scatter", group.task, group.subset),
                section="tasks",
                title=f"{task_name(group.task).capitalize()}, {group.subset}: answer against reference",
                caption="Each mark is one answer or several equal ones (area: their number). Line: equality; band: "
                f"±{WITHIN:g} around it, which counts as right. Triangles lie at the edge and beyond it. "
                + ("Both axes are logarithmic above 1. " if plane.logarithmic else "")
                + "Answers as the strict reader reads them.",
                description=f"n = {len(references):,}, references from {number(min(references))} to "
                f"{number(max(references))}. " + "; ".join(sentences) + ".",
                chart=alt.concat(*panels, columns=2, spacing={"row": 18, "column": 26}),
            )
        )
    return drawings


def _panel(
    marks: Sequence[Mark], plane: Plane, colour: str, title: list[str], side: float, percent: bool, place: int
) -> Panel:
    kind = alt.Scale(domain=[plane.low, plane.high], nice=False, zero=False)
    if plane.logarithmic:
        kind = alt.Scale(type="symlog", domain=[plane.low, plane.high], nice=False)
    unit = ", %" if percent else ""
    ticks = [0, *(10**power for power in range(9) if 10**power <= plane.high)] if plane.logarithmic else alt.Undefined
    axis = alt.Axis(format=",.4~r", tickCount=4, values=ticks)
    x = alt.X("reference:Q", title=f"reference{unit}", scale=kind, axis=axis)
    y_title = f"answer{unit}" if place % 2 == 0 else None
    y = alt.Y("predicted:Q", title=y_title, scale=kind, axis=axis)
    steps = [plane.value(step / 60) for step in range(61)]
    ends = [max(plane.low, min(plane.high, value)) for value in steps]
    band = [
        {"reference": value, "low": max(value - WITHIN, plane.low), "high": min(value + WITHIN, plane.high)}
        for value in ends
    ]
    line = [{"reference": value, "predicted": value} for value in ends]
    base = alt.Chart(chart_data(marks))
    return alt.layer(
        alt.Chart(chart_data(band))
        .mark_area(color=GRID, opacity=0.75)
        .encode(x=x, y=alt.Y("low:Q", title=y_title, scale=kind, axis=axis), y2="high:Q"),
        alt.Chart(chart_data(line)).mark_line(color=MUTED, strokeWidth=1).encode(x=x, y=y),
        base.mark_point(filled=True, fill=colour, opacity=0.85, stroke=PAPER, strokeWidth=0.5)
        .encode(x=x, y=y, size=alt.Size("area:Q", scale=None))
        .transform_filter("!datum.outside"),
        base.mark_point(shape="triangle-up", filled=False, stroke=colour, size=60, opacity=1)
        .encode(x=x, y=y)
        .transform_filter("datum.outside"),
    ).properties(
        width=side,
        height=side,
        title=alt.TitleParams(title[0], subtitle=title[1:], subtitleColor=INK, subtitleFontSize=11),
    )
