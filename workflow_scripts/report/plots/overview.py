"""The first look: each task's difference (forest plot), each subset's values, and what became of the answers."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import altair as alt

from workflow_scripts.core.rows import Comparison, MetricValue, Outcome
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report.palette import INK, MUTED, OUTCOMES, PAPER
from workflow_scripts.report.plots.style import (
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
    interval,
    label_axis,
    listed,
    metric_name,
    nice_domain,
    number,
    p_text,
    plural,
    short_names,
    short_system,
    task_name,
)
from workflow_scripts.report.summary.verdict import LEVEL

NUMBERS = 142
"""Width of the numbers at the right of a forest plot, in pixels."""
SHARES = 146
"""Width of the text at the right, in pixels."""
Key = tuple[str, str, str | None]
"""Task, metric and judge."""


@dataclass(frozen=True)
class Line:
    """One line of a forest plot: the second system minus the first."""

    task: str
    label: str
    numbers: str
    difference: float
    low: float
    high: float
    significant: bool
    better: int  # 1, -1 or 0: whether the interval lies on the better side of zero, on the worse, or holds zero


def forest_plots(
    comparisons: Iterable[Comparison],
    values: Iterable[MetricValue],
    pairs: Sequence[tuple[str, str]],
    colours: Mapping[str, str],
) -> list[Drawing]:
    """A forest plot for each pair of systems that was compared: one line a task.

    Args:
        comparisons: of the split.
        values: its metrics.
        pairs: base and tuned systems.
        colours: of the systems.
    """
    macro = [row for row in comparisons if row.subset == "macro" and row.difference is not None]
    primary = {
        (row.task, row.metric, row.judge, row.system): row for row in values if row.primary and row.subset == "macro"
    }
    drawings = []
    for base, tuned in pairs:
        compared = [turned(row, base) for row in macro if {row.system_a, row.system_b} == {base, tuned}]
        if compared:
            drawings.append(_forest(compared, primary, (base, tuned), colours[tuned]))
    return drawings


def turned(row: Comparison, first: str) -> Comparison:
    """A comparison as the other system minus `first`."""
    if row.system_a == first or row.difference is None:
        return row
    return replace(
        row,
        system_a=row.system_b,
        system_b=row.system_a,
        difference=-row.difference,
        low=None if row.high is None else -row.high,
        high=None if row.low is None else -row.low,
    )


def _forest(
    compared: Sequence[Comparison],
    primary: Mapping[tuple[str, str, str | None, str], MetricValue],
    pair: tuple[str, str],
    colour: str,
) -> Drawing:
    base, tuned = pair
    panels: dict[tuple[str, ...], list[Line]] = {}
    metrics: dict[tuple[str, ...], str] = {}
    for row in compared:
        cells = [primary.get((row.task, row.metric, row.judge, system)) for system in pair]
        line = _line(row, cells)
        limits = [end for cell in cells if cell is not None for end in (cell.value, cell.low, cell.high)]
        bounded = row.direction == "higher" and all(end is None or abs(end) <= 1 for end in limits)
        key: tuple[str, ...] = ("bounded",) if bounded else (row.task, row.metric, row.direction)
        panels.setdefault(key, []).append(line)
        metrics[key] = metric_name(row.metric, row.judge)
    lines = [line for panel in panels.values() for line in panel]
    charts = []
    for key, panel in sorted(panels.items(), key=lambda entry: entry[0] != ("bounded",)):
        lower = key[-1] == "lower"
        what = "score" if key == ("bounded",) else metrics[key]
        title = f"{what}, {short_system(tuned, 18)} − {short_system(base, 18)}" + (" (reversed axis)" if lower else "")
        charts.append(_panel(panel, colour, title, lower))
    helped, harmed = ([line for line in lines if line.better == sign] for sign in (1, -1))
    sure = [line for line in lines if line.significant]
    description = (
        f"{tuned} against {base}, {plural(len(lines), 'task')}: the interval of the difference lies on the better "
        f"side of zero in {len(helped)} ({listed([task_name(line.task) for line in helped])}), on the worse in "
        f"{len(harmed)} ({listed([task_name(line.task) for line in harmed])}). Beyond chance after Holm's correction: "
        f"{listed([task_name(line.task) for line in sure])}. "
        + "; ".join(f"{task_name(line.task)} {line.numbers.replace(chr(10), ', ')}" for line in lines)
        + "."
    )
    return Drawing(
        name=anchor("forest", base, tuned),
        section="overview",
        title=f"{tuned} against {base}, by task",
        caption=(
            "Difference of the primary metric (mean over subsets) with its interval by bootstrap over cases; right "
            "of zero, the second system is better on every axis. Scores between −1 and 1 share an axis, errors have "
            "their own, in the answers' unit. Filled and marked *: p < 0.05 by the paired randomisation test after "
            "Holm's correction over all tasks and pairs of systems."
        ),
        description=description,
        chart=alt.vconcat(*charts, spacing=14, bounds="full"),
    )


def _line(row: Comparison, cells: Sequence[MetricValue | None]) -> Line:
    assert row.difference is not None
    low, high = (row.difference if end is None else end for end in (row.low, row.high))
    sign = 1 if row.direction == "higher" else -1
    known = row.low is not None and row.high is not None
    better = sign if known and low > 0 else -sign if known and high < 0 else 0
    significant = row.p_holm is not None and row.p_holm < LEVEL
    first, second = ("–" if cell is None or cell.value is None else number(cell.value) for cell in cells)
    return Line(
        task=row.task,
        label=f"{task_name(row.task)}\n{metric_name(row.metric, row.judge)}\n{_size(row)}",
        numbers=f"{number(row.difference, sign=True)} {interval(row.low, row.high)}\n{first} → {second}\n"
        f"{p_text(row.p_holm)}{' *' if significant else ''}",
        difference=row.difference,
        low=low,
        high=high,
        significant=significant,
        better=better,
    )


def _size(row: Comparison) -> str:
    return f"n = {row.rows:,}" + (f", {plural(row.clusters, 'case')}" if row.clusters != row.rows else "")


def _panel(lines: Sequence[Line], colour: str, title: str, lower: bool) -> Panel:
    width = WIDTH - LABELS - NUMBERS
    domain = nice_domain([end for line in lines for end in (line.low, line.high)], 0.0)
    scale = alt.Scale(domain=domain, nice=True, zero=False, reverse=lower)
    axis = alt.Axis(tickCount=4, format="+,.3~r", labelExpr=SIGNED, labelFlush=True)
    x = alt.X("difference:Q", title=title, scale=scale, axis=axis)
    base = alt.Chart(chart_data(lines)).encode(
        y=alt.Y("label:N", sort=[line.label for line in lines], axis=label_axis(lines=3))
    )
    zero = alt.Chart(chart_data([{"zero": 0.0}])).mark_rule(color=MUTED, strokeDash=[3, 3]).encode(x=alt.X("zero:Q"))
    bar = base.mark_rule(color=colour, strokeWidth=2.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    point = base.mark_point(filled=True, size=90, opacity=1, stroke=colour, strokeWidth=2.5).encode(
        x=x,
        color=alt.Color("significant:N", legend=None, scale=alt.Scale(domain=[True, False], range=[colour, PAPER])),
    )
    text = base.mark_text(align="left", lineBreak="\n", lineHeight=15, dy=-15, fontSize=SMALL, color=INK).encode(
        x=alt.value(width + 10), text="numbers:N"
    )
    return alt.layer(zero, bar, point, text).properties(width=width, height=56 * len(lines))


def subset_plots(values: Iterable[MetricValue], systems: Sequence[str], colours: Mapping[str, str]) -> list[Drawing]:
    """For each task of several subsets, the primary metric of each subset by system, with its interval."""
    by_task: dict[Key, list[MetricValue]] = {}
    for row in values:
        if row.primary and row.subset not in ("macro", "pooled") and row.value is not None and row.system in systems:
            by_task.setdefault((row.task, row.metric, row.judge), []).append(row)
    drawings = []
    for (task, metric, judge), rows in by_task.items():
        if len({row.subset for row in rows}) < 2:
            continue
        names = short_names((row.subset for row in rows), 20)
        dots = [
            Dot(f"{names[row.subset]}\nn = {row.rows:,}", row.system, row.value or 0.0, row.low, row.high)
            for row in rows
        ]
        arrow = "higher is better" if rows[0].direction == "higher" else "lower is better"
        ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
        share = all(0 <= end <= 1 for end in ends)
        drawings.append(
            Drawing(
                name=anchor("subsets", task),
                section="overview",
                title=f"{task_name(task).capitalize()} by subset",
                caption=f"{metric_name(metric, judge)} of each subset with its interval; {arrow}.",
                description=f"{metric_name(metric, judge)} by subset: "
                + "; ".join(f"{row.subset}, {row.system} {number(row.value or 0.0)} (n = {row.rows:,})" for row in rows)
                + ".",
                chart=dot_plot(
                    dots, systems, colours, f"{metric_name(metric, judge)} ({arrow})", domain=[0, 1] if share else None
                ),
            )
        )
    return drawings


def outcome_bars(outcomes: Iterable[Outcome], systems: Sequence[str]) -> list[Drawing]:
    """Shares of what became of the answers, a bar for each system and task; none without answers.

    Args:
        outcomes: of all systems; those of others are left out.
        systems: in the order of display.
    """
    counts: Counter[tuple[str, str, str]] = Counter((row.task, row.system, row.outcome) for row in outcomes)
    present = {(task, system) for task, system, _ in counts}
    order = [task for task in tasks() if any((task, system) in present for system in systems)]
    if not order:
        return []
    names = {system: short_system(system, 12) for system in systems}
    bars, ends, sentences = [], [], []
    for task in order:
        rows = max(sum(counts[task, system, outcome] for outcome in OUTCOMES) for system in systems)
        label = f"{task_name(task)}\nn = {rows:,}"
        for system in systems:
            of_system = {outcome: counts[task, system, outcome] for outcome in OUTCOMES}
            total, start = sum(of_system.values()), 0
            if not total:
                continue
            for outcome, count in of_system.items():
                if count:
                    part = {"start": start / total, "end": (start + count) / total, "outcome": outcome}
                    bars.append({"label": label, "system": system, **part})
                    start += count
            share = "all valid" if of_system["valid"] == total else f"{of_system['valid'] / total:.1%} valid"
            ends.append({"label": label, "system": system, "text": f"{names[system]}: {share}"})
            rest = ", ".join(f"{count:,} {outcome}" for outcome, count in of_system.items() if count)
            sentences.append(f"{task_name(task)}, {system}: {rest}")
    occurring = [outcome for outcome in OUTCOMES if any(bar["outcome"] == outcome for bar in bars)]
    labels = list(dict.fromkeys(end["label"] for end in ends))
    y = alt.Y("label:N", sort=labels, scale=alt.Scale(paddingInner=0.3, paddingOuter=0.1), axis=label_axis(lines=2))
    offset = alt.YOffset("system:N", sort=list(systems), scale=alt.Scale(domain=list(systems)))
    bar = (
        alt.Chart(chart_data(bars))
        .mark_bar(stroke=PAPER, strokeWidth=0.5, height=11)
        .encode(
            y=y,
            yOffset=offset,
            x=alt.X("start:Q", title="share of the answers", axis=alt.Axis(format="%", tickCount=4, grid=False)),
            x2="end:Q",
            color=alt.Color(
                "outcome:N",
                scale=alt.Scale(domain=occurring, range=[OUTCOMES[name] for name in occurring]),
                legend=alt.Legend(title=None, orient="top", columns=3, symbolType="square", symbolStrokeWidth=0),
            ),
        )
    )
    text = (
        alt.Chart(chart_data(ends))
        .mark_text(align="left", fontSize=SMALL, color=INK)
        .encode(y=y, yOffset=offset, x=alt.value(WIDTH - LABELS - SHARES + 8), text="text:N")
    )
    chart = alt.layer(bar, text).properties(
        width=WIDTH - LABELS - SHARES, height=len(labels) * max(34, 16 * len(systems) + 8)
    )
    answers = sum(count for (_, system, _), count in counts.items() if system in systems)
    return [
        Drawing(
            name="outcomes",
            section="tasks",
            title="What became of the answers",
            caption="Share of the answers that the strict reader could read, and why it could not read the others, by "
            "task and system.",
            description=f"Outcomes of {plural(answers, 'answer')}. " + "; ".join(sentences) + ".",
            chart=chart,
        )
    ]
