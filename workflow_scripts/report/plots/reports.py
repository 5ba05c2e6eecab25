"""Free-text answers: whether report metrics agree about two systems, and how varied the answers are."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import altair as alt

from workflow_scripts.core.rows import Agreement
from workflow_scripts.report.palette import INK, MUTED, ON_SHADE, REFERENCE, SHADE
from workflow_scripts.report.plots.answers import Answers
from workflow_scripts.report.plots.style import (
    COUNT,
    LABELS,
    SIGNED,
    SMALL,
    WIDTH,
    Dot,
    Drawing,
    Panel,
    anchor,
    chart_data,
    dot_plot,
    label_axis,
    metric_name,
    number,
    short,
    short_system,
    task_name,
)

OPPOSED = "#d55e00"
"""Of cells whose value is negative."""
REFERENCES = "the reference"
"""Name of the references beside the systems: no system's, since it holds a space."""
NAMES = 168
"""Width of the metrics' names, in pixels."""
MOST_BINS = 24
"""Of a histogram."""


def agreement_plots(
    agreement: Iterable[Agreement], pairs: Sequence[tuple[str, str]], colours: Mapping[str, str]
) -> list[Drawing]:
    """For each pair of systems, each report metric's difference, and Kendall's τ between the metrics.

    Args:
        agreement: of the split.
        pairs: base and tuned systems.
        colours: of the systems.
    """
    table = list(agreement)
    drawings = []
    for base, tuned in pairs:
        rows = [_turned(row, base) for row in table if {row.system_a, row.system_b} == {base, tuned}]
        if rows:
            drawings.append(_agreement(rows, base, tuned, colours[tuned]))
    return drawings


def _turned(row: Agreement, first: str) -> Agreement:
    if row.system_a == first:
        return row
    return replace(
        row,
        system_a=row.system_b,
        system_b=row.system_a,
        difference_1=-row.difference_1,
        difference_2=-row.difference_2,
    )


def _agreement(rows: Sequence[Agreement], base: str, tuned: str, colour: str) -> Drawing:
    differences: dict[str, tuple[int, float]] = {}
    for row in rows:
        for name, difference in (
            (metric_name(row.metric_1, row.judge_1), row.difference_1),
            (metric_name(row.metric_2, row.judge_2), row.difference_2),
        ):
            if name not in differences or row.rows > differences[name][0]:
                differences[name] = row.rows, difference
    names = list(differences)
    cells = [
        {
            "row": metric_name(row.metric_2, row.judge_2),
            "column": str(names.index(metric_name(row.metric_1, row.judge_1)) + 1),
            "tau": 0.0 if row.tau is None else row.tau,
            "text": "–" if row.tau is None else number(row.tau),
            "dark": row.tau is not None and abs(row.tau) > 0.55,
            "opposed": row.opposed,
        }
        for row in rows
    ]
    ranked = sorted((row for row in rows if row.tau is not None), key=lambda row: row.tau or 0.0)
    opposed = [row for row in rows if row.opposed]
    least, most = min(row.rows for row in rows), max(row.rows for row in rows)
    spread = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    description = f"n = {spread} rows. From {base} to {tuned}: " + "; ".join(
        f"{name} {number(difference, sign=True)}" for name, (_, difference) in differences.items()
    )
    if ranked:
        description += f". Kendall's τ from {_between(ranked[0])} to {_between(ranked[-1])}"
    description += f". {len(opposed)} of {len(rows)} pairs of metrics disagree about which system is better."
    return Drawing(
        name=anchor("agreement", base, tuned),
        section="reports",
        title=f"Do the report metrics agree about {tuned} and {base}?",
        caption=f"Above: mean difference of each metric, {tuned} minus {base}, over the rows that are scored for "
        f"both (n = {spread}). Below: Kendall's τ between two metrics' differences by row, −1 to 1; blue: they agree, "
        "orange: they contradict each other. Outlined: they disagree about which system is better.",
        description=description,
        chart=alt.vconcat(
            _bars(differences, colour, f"mean difference, {short_system(tuned, 18)} − {short_system(base, 18)}"),
            _matrix(cells, names),
            spacing=22,
        ),
    )


def _numbered(names: Sequence[str]) -> dict[str, str]:
    return {name: f"{place + 1}  {short(name, 26)}" for place, name in enumerate(names)}


def _between(row: Agreement) -> str:
    names = metric_name(row.metric_1, row.judge_1), metric_name(row.metric_2, row.judge_2)
    return f"{number(row.tau or 0.0)} ({' and '.join(names)})"


def _bars(differences: Mapping[str, tuple[int, float]], colour: str, title: str) -> Panel:
    numbered = _numbered(list(differences))
    data = chart_data(
        {"label": numbered[name], "difference": difference, "text": number(difference, sign=True)}
        for name, (_, difference) in differences.items()
    )
    width = WIDTH - NAMES - 50
    base = alt.Chart(data).encode(y=alt.Y("label:N", sort=list(numbered.values()), axis=label_axis(NAMES)))
    bar = base.mark_bar(color=colour, height=9).encode(
        x=alt.X("difference:Q", title=title, axis=alt.Axis(format="+,.3~r", tickCount=5, labelExpr=SIGNED))
    )
    text = base.mark_text(align="left", fontSize=SMALL, color=INK).encode(x=alt.value(width + 8), text="text:N")
    return alt.layer(bar, text).properties(width=width, height=20 * len(differences))


def _matrix(cells: Sequence[dict[str, object]], names: Sequence[str]) -> Panel:
    """The lower triangle; the columns are numbered as the rows are named."""
    numbered = _numbered(names)
    data = chart_data({**cell, "row": numbered[str(cell["row"])]} for cell in cells)
    side = min(44.0, (WIDTH - NAMES - 10) / max(1, len(names) - 1))
    base = alt.Chart(data).encode(
        x=alt.X(
            "column:N",
            sort=[str(place + 1) for place in range(len(names))],
            title="Kendall's τ with the metric of that number",
            axis=alt.Axis(labelAngle=0, labelColor=INK, domain=False, ticks=False),
        ),
        y=alt.Y("row:N", sort=list(numbered.values()), axis=label_axis(NAMES)),
    )
    cell = (
        base.mark_rect()
        .encode(
            opacity=alt.Opacity("size:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 1]), legend=None),
            color=alt.Color("agrees:N", scale=alt.Scale(domain=[True, False], range=[SHADE, OPPOSED]), legend=None),
        )
        .transform_calculate(size="abs(datum.tau)", agrees="datum.tau >= 0")
    )
    outline = base.mark_rect(fillOpacity=0, stroke=INK, strokeWidth=1.5).transform_filter("datum.opposed")
    text = base.mark_text(fontSize=SMALL if side >= 32 else 9).encode(
        text="text:N",
        color=alt.Color("dark:N", scale=alt.Scale(domain=[True, False], range=[ON_SHADE, INK]), legend=None),
    )
    return (
        alt.layer(cell, outline, text)
        .resolve_scale(color="independent")
        .properties(width=side * max(1, len(names) - 1), height=22 * max(1, len(names) - 1))
    )


@dataclass(frozen=True)
class Variety:
    """How varied the reports of one source are."""

    rows: int
    distinct: float  # share of distinct reports
    commonest: float  # share of the rows that bear the most frequent report
    report: str  # that report
    words: list[int]  # of each report


def variety_of(texts: Sequence[str]) -> Variety:
    """Counts over reports that are compared as they are, outer spaces aside."""
    counts = Counter(text.strip() for text in texts)
    report, most = counts.most_common(1)[0]
    return Variety(
        len(texts), len(counts) / len(texts), most / len(texts), report, [len(text.split()) for text in texts]
    )


def diversity_plots(answers: Iterable[Answers], colours: Mapping[str, str]) -> list[Drawing]:
    """For each subset of free text, distinct reports, the most frequent one's share, and lengths, by system."""
    drawings = []
    for group in answers:
        sources = {REFERENCES: variety_of([row.answer for row in group.rows])}
        for system, outcomes in group.outcomes.items():
            sources[system] = variety_of([outcome.answer or "" for outcome in outcomes])
        palette = {REFERENCES: REFERENCE, **colours}
        dots = [
            Dot(label, name, value)
            for label, field in (("distinct reports", "distinct"), ("most frequent report", "commonest"))
            for name, variety in sources.items()
            for value in (getattr(variety, field),)
        ]
        drawings.append(
            Drawing(
                name=anchor("diversity", group.task, group.subset),
                section="reports",
                title=f"{task_name(group.task).capitalize()}, {group.subset}: how varied the answers are",
                caption="Above: distinct reports, and rows that bear the most frequent one, as shares of all rows. A "
                "system that gives most images one report scores well wherever most images are normal. Below: "
                "lengths in words.",
                description=f"n = {len(group.rows):,}. "
                + "; ".join(
                    f"{name}: {variety.distinct:.0%} distinct, the most frequent (“{short(variety.report, 80)}”) "
                    f"{variety.commonest:.0%}, median length {median(variety.words):,.0f} words"
                    for name, variety in sources.items()
                )
                + ".",
                chart=alt.vconcat(
                    dot_plot(dots, list(sources), palette, "share of the rows", domain=[0, 1], number_format="%"),
                    _lengths(sources, palette),
                    spacing=24,
                ),
            )
        )
    return drawings


def _lengths(sources: Mapping[str, Variety], colours: Mapping[str, str]) -> alt.VConcatChart:
    longest = max(max(variety.words) for variety in sources.values())
    step = max(1, -(-(longest + 1) // MOST_BINS))
    panels = []
    for place, (name, variety) in enumerate(sources.items()):
        counts = Counter(words // step * step for words in variety.words)
        data = chart_data(
            {"start": start, "end": start + step, "share": count / variety.rows}
            for start, count in sorted(counts.items())
        )
        last = place == len(sources) - 1
        panels.append(
            alt.Chart(data)
            .mark_bar(color=colours[name], stroke=None)
            .encode(
                x=alt.X(
                    "start:Q",
                    title="words of a report" if last else None,
                    scale=alt.Scale(domain=[0, longest + step], nice=False),
                    axis=alt.Axis(format=COUNT, grid=False, tickCount=6, labels=last, ticks=last, domainColor=MUTED),
                ),
                x2="end:Q",
                y2=alt.datum(0),
                y=alt.Y(
                    "share:Q",
                    title=None,
                    scale=alt.Scale(domain=[0, 1]),
                    axis=alt.Axis(format="%", tickCount=2, minExtent=36, maxExtent=36),
                ),
            )
            .properties(
                width=WIDTH - LABELS - 14,
                height=46,
                title=f"{short_system(name)}: median {median(variety.words):,.0f} words",
            )
        )
    return alt.vconcat(*panels, spacing=6).resolve_scale(x="shared")
