"""What the figures share: sizes, fonts, words, and the dot plot of values by line and system.

A figure is 460 pixels wide, so that its text can be read on a screen of 390 and in a column of a paper.
"""

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import altair as alt

from workflow_scripts.report.palette import GRID, INK, MUTED

WIDTH = 460
"""Of a figure, in pixels."""
LABELS = 138
"""Width of the labels at the left of a figure, in pixels."""
FONT = "Arial, Liberation Sans, Helvetica, sans-serif"
"""Fonts of equal widths, since the layout is measured by one of them."""
SIZE, SMALL = 12, 11
"""Of text, in pixels."""

LONGEST_ANCHOR = 120
"""Characters of a figure's name; file systems allow 255 bytes with what is added to it."""
STATED_NAME = 80
"""Characters of a class, a label or an identity in a description."""

LINES = "split(datum.label, '\\n')"
"""Vega's expression for labels of several lines."""
SIGNED = "datum.value == 0 ? '0' : datum.label"
"""Vega's expression for the labels of a signed or scientific axis: zero has neither sign nor exponent."""
COUNT = ",.0f"
"""Vega's format of whole numbers."""

METRICS = {
    "mae": "mean absolute error",
    "f1_50": "F1 at IoU > 0.5",
    "f1_30": "F1 at IoU > 0.3",
    "micro_f1": "micro F1",
    "crimson": "CRIMSON",
    "green": "GREEN",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "bleu": "BLEU",
    "meteor": "METEOR",
    "meteor_stem": "METEOR (stems)",
    "bertscore": "BERTScore",
    "rule_green_2025": "rule-GREEN",
    "temporal_f1": "temporal F1",
}
"""Names as they are written in papers."""


Panel: TypeAlias = alt.LayerChart | alt.FacetChart
"""What `alt.layer` makes."""


@dataclass(frozen=True)
class Drawing:
    """A chart, and what the catalogue says of it; see `catalogue.Figure`."""

    name: str
    section: str
    title: str
    caption: str
    description: str
    chart: alt.TopLevelMixin


@dataclass(frozen=True)
class Dot:
    """A value of a system in a line of a dot plot, with its interval where there is one."""

    label: str
    system: str
    value: float
    low: float | None = None
    high: float | None = None


def chart_data(rows: Iterable[Any]) -> alt.InlineData:
    """Dataclasses or dictionaries as the values of a chart."""
    return alt.InlineData(values=[row if isinstance(row, dict) else asdict(row) for row in rows])


def metric_name(metric: str, judge: str | None = None) -> str:
    """A metric as papers write it, with its judge: `CRIMSON (lab)`."""
    name = METRICS.get(metric, metric.replace("_", " "))
    return name if judge is None else f"{name} ({judge})"


def task_name(task: str) -> str:
    """A task in words."""
    return task.replace("_", " ")


def anchor(*parts: str) -> str:
    """A figure's name from words: lower case, digits and hyphens, short enough for a file beside its endings."""
    text = "-".join(parts).lower()
    name = "-".join("".join(sign if sign.isascii() and sign.isalnum() else " " for sign in text).split())
    return name[:LONGEST_ANCHOR].rstrip("-")


def number(value: float, sign: bool = False) -> str:
    """A number with the digits that its size deserves and thousands' separators; `sign`: with + too."""
    size = abs(value)
    if size >= 1e7:
        return f"{value:{'+' if sign else ''}.2g}"
    digits = 2 if size < 10 else 1 if size < 100 else 0
    value = round(value, digits) or 0.0  # no minus before zero
    return f"{value:{'+' if sign and value else ''},.{digits}f}".replace("-", "−")


def interval(low: float | None, high: float | None) -> str:
    """`[0.10, 0.20]`; nothing where there is none."""
    return "" if low is None or high is None else f"[{number(low)}, {number(high)}]"


def p_text(p: float | None) -> str:
    """A p value: `p < 0.001`, or with three digits."""
    if p is None:
        return "no test"
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def plain(text: str) -> str:
    """Text of others on one line, without signs that no file or no reader can show: controls, turns of direction."""
    signs = (" " if sign.isspace() else sign for sign in text)
    return " ".join("".join(sign for sign in signs if unicodedata.category(sign)[0] != "C").split())


def short(text: str, most: int, middle: bool = False) -> str:
    """`plain` text of at most so many signs; an ellipsis stands for what is cut: the end, or the middle."""
    if len(text) > 40 * most:  # a text may be 200 kB, of which a few words are shown
        text = f"{text[: 20 * most]} {text[-20 * most :]}"
    text = plain(text)
    if len(text) <= most:
        return text
    tail = (most - 1) // 2 if middle else 0
    return text[: most - 1 - tail].rstrip() + "…" + text[len(text) - tail :].lstrip()


def short_system(system: str, most: int = 34) -> str:
    """A system's name; what is cut is the middle: names differ at their ends."""
    return short(system, most, middle=True)


def short_names(texts: Iterable[str], most: int) -> dict[str, str]:
    """Distinct texts with a short name each that no other has: those of one beginning lose their middles."""
    distinct = list(dict.fromkeys(texts))
    ends = Counter(short(text, most) for text in distinct)
    names: dict[str, str] = {}
    for text in distinct:
        name, count = short(text, most, middle=ends[short(text, most)] > 1) or "(empty)", 1
        while name in names.values():
            count += 1
            name = f"{short(text, most - len(str(count)) - 1)} {count}"
        names[text] = name
    return names


def plural(count: int, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def nice_domain(values: Iterable[float], *more: float) -> list[float]:
    """The range of finite values and `more`, a little widened."""
    finite = [value for value in [*values, *more] if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    margin = 0.04 * (high - low or abs(high) or 1.0)
    return [low - margin if low < 0 else low, high + margin if high > 0 else high]


def label_axis(width: int = LABELS, lines: int = 1) -> alt.Axis:
    """The axis of labels at the left, as wide in all panels of a figure; each label has so many lines."""
    return alt.Axis(
        title=None,
        labelExpr=LINES if lines > 1 else alt.Undefined,
        labelLimit=width - 16,
        labelColor=INK,
        minExtent=width,
        maxExtent=width,
        ticks=False,
        domain=False,
        grid=False,
        labelPadding=6,
        labelLineHeight=15,
        labelOffset=-7.5 * (lines - 1),  # Vega centres the first line
    )


def system_scale(systems: Sequence[str], colours: Mapping[str, str]) -> alt.Scale:
    """The colours of some systems."""
    return alt.Scale(domain=list(systems), range=[colours[system] for system in systems])


def system_key(systems: Sequence[str]) -> alt.Legend | None:
    """Which colour is which system, above the chart; none for a single one, which the title names."""
    if len(systems) < 2:
        return None
    names = {system: short_system(system) for system in systems}
    widest = 46 + 6.6 * max(map(len, names.values()))
    return alt.Legend(
        title=None,
        orient="top",
        symbolType="circle",
        symbolSize=70,
        columns=max(1, min(len(systems), int((WIDTH + 20) // widest))),
        labelExpr=f"{json.dumps(names)}[datum.label]",  # strings of JSON are Vega's too
        labelLimit=WIDTH,
    )


def dot_plot(
    dots: Sequence[Dot],
    systems: Sequence[str],
    colours: Mapping[str, str],
    title: str,
    *,
    domain: Sequence[float] | None = None,
    labels: int = LABELS,
    number_format: str = ".2~f",
    whole: bool = False,
) -> Panel:
    """Values by line (downwards, in their order) and system (colour), each with its interval and its number.

    Args:
        dots: the values.
        systems: in the order of display; each has a place in every line.
        colours: of the systems.
        title: of the axis, with its unit.
        domain: of the axis; None: the values' and zero.
        labels: width of the labels, in pixels.
        number_format: of the axis.
        whole: the values are counts.
    """
    limits = [limit for dot in dots for limit in (dot.value, dot.low, dot.high) if limit is not None]
    names = list(dict.fromkeys(dot.label for dot in dots))
    data = chart_data({**asdict(dot), "text": _written(dot.value, number_format, whole)} for dot in dots)
    y = alt.Y(
        "label:N",
        sort=names,
        scale=alt.Scale(paddingInner=0.3, paddingOuter=0.2),
        axis=label_axis(labels, max(name.count("\n") for name in names) + 1),
    )
    x = alt.X(
        "value:Q",
        title=title,
        scale=alt.Scale(domain=list(domain or nice_domain(limits, 0.0)), nice=domain is None, zero=False),
        axis=alt.Axis(format=number_format, tickCount=5),
    )
    base = alt.Chart(data).encode(
        y=y,
        yOffset=alt.YOffset("system:N", sort=list(systems), scale=alt.Scale(domain=list(systems))),
        color=alt.Color(
            "system:N", scale=system_scale(systems, colours), legend=system_key(systems), sort=list(systems)
        ),
    )
    layers: list[alt.Chart] = []
    if any(dot.low is not None for dot in dots):
        layers.append(base.mark_rule(strokeWidth=2).encode(x=x, x2="high:Q").transform_calculate(value="datum.low"))
    layers.append(base.mark_point(filled=True, size=55, opacity=1).encode(x=x))
    step = 22 if len(systems) == 1 else 15 if len(names) <= 12 else 12
    text = base.mark_text(align="left", fontSize=min(SMALL, step - 2)).encode(
        x=alt.value(WIDTH - labels - 34), text="text:N", color=alt.value(INK)
    )
    return alt.layer(*layers, text).properties(
        width=WIDTH - labels - 42, height=max(1, len(names)) * (step * len(systems) + 7)
    )


def _written(value: float, number_format: str, whole: bool) -> str:
    if whole:
        return f"{value:,.0f}"
    return f"{value:.0%}" if number_format == "%" else number(value)


def configured(chart: Any) -> Any:
    """A chart under the figures' style."""
    return chart.configure(
        background="transparent",
        font=FONT,
        padding={"left": 6, "right": 14, "top": 4, "bottom": 4},  # other fonts are up to 15% wider
        aria=False,
        axis=alt.AxisConfig(
            labelColor=MUTED,
            titleColor=INK,
            gridColor=GRID,
            domainColor=MUTED,
            tickColor=MUTED,
            labelFontSize=SMALL,
            titleFontSize=SIZE,
            titleFontWeight="normal",
            labelFontWeight="normal",
        ),
        view=alt.ViewConfig(stroke=None),
        title=alt.TitleConfig(color=INK, fontSize=SIZE, fontWeight="bold", anchor="start", offset=6, frame="bounds"),
        header=alt.HeaderConfig(
            labelColor=INK, labelFontSize=SIZE, labelFontWeight="bold", labelAnchor="start", title=None, labelPadding=4
        ),
        legend=alt.LegendConfig(
            labelColor=INK,
            labelFontSize=SIZE,
            titleColor=INK,
            titleFontSize=SIZE,
            titleFontWeight="normal",
            offset=8,
            columnPadding=22,
        ),
        text=alt.MarkConfig(color=INK, fontSize=SMALL),
    )
