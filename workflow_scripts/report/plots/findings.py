"""What judges find in reports: findings matched, missing and false, errors of attributes, and GREEN's counts."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt

from workflow_scripts.core.config.judges import RuleBasedJudge
from workflow_scripts.core.rows import JudgedFinding, JudgedPair
from workflow_scripts.judges.crimson import ERROR_TYPES, WEIGHTS
from workflow_scripts.judges.green import CATEGORIES, GreenCounts, read_green
from workflow_scripts.judges.rule_based.judge import green_counts
from workflow_scripts.report.palette import FATES, MUTED, ON_LIGHT, ON_SHADE
from workflow_scripts.report.plots.style import (
    SMALL,
    WIDTH,
    Dot,
    Drawing,
    Panel,
    anchor,
    chart_data,
    dot_plot,
    label_axis,
    number,
    plural,
    short_system,
)

SIGNIFICANCES = {
    "urgent": "urgent",
    "actionable_not_urgent": "actionable, not urgent",
    "not_actionable_not_urgent": "not actionable, not urgent",
    "benign_expected": "benign or expected",
}
"""CRIMSON's clinical significances, gravest first."""
GRADES = 166
"""Width of their names, in pixels."""
OTHER = "other"
SIGNIFICANT = "significant"
RULE_BASED = RuleBasedJudge().backend


@dataclass(frozen=True)
class JudgedReports:
    """What one judge said of one system's reports, each row's by itself: equal pairs of reports count each time."""

    judge: str
    system: str
    rows: int  # with a report
    judged: int  # with a valid judgement
    findings: list[JudgedFinding]
    green: list[GreenCounts]


def judged_reports(
    pair_keys: Mapping[str, Sequence[str]], judged: Iterable[JudgedPair], findings: Iterable[JudgedFinding]
) -> list[JudgedReports]:
    """Judgements by judge and system.

    Args:
        pair_keys: of each system, the pair of each row with a report (`judges.judgements.Pair.key`).
        judged: pairs of all judges.
        findings: of all pairs; a pair that several systems share may come several times.
    """
    valid: dict[str, dict[str, JudgedPair]] = {}
    for pair in judged:
        of_judge = valid.setdefault(pair.judge, {})
        if pair.status == "valid":
            of_judge[pair.pair] = pair
    by_pair: dict[tuple[str, str], dict[tuple[str, str], JudgedFinding]] = {}
    for finding in findings:
        by_pair.setdefault((finding.judge, finding.pair), {})[finding.side, finding.id] = finding
    reports = []
    for judge in sorted(valid):
        counts = {key: read for key, pair in valid[judge].items() if (read := _green(pair)) is not None}
        for system, keys in pair_keys.items():
            known = [key for key in keys if key in valid[judge]]
            reports.append(
                JudgedReports(
                    judge,
                    system,
                    len(keys),
                    len(known),
                    [finding for key in known for finding in by_pair.get((judge, key), {}).values()],
                    [counts[key] for key in known if key in counts],
                )
            )
    return reports


def _green(pair: JudgedPair) -> GreenCounts | None:
    if "green" not in pair.metrics:
        return None
    return green_counts(json.loads(pair.reply)) if pair.backend == RULE_BASED else read_green(pair.reply)


def finding_plots(reports: Iterable[JudgedReports], colours: Mapping[str, str]) -> list[Drawing]:
    """For each judge, findings by significance, errors of attributes by type, and GREEN's counts, where it has them."""
    by_judge: dict[str, list[JudgedReports]] = {}
    for report in reports:
        by_judge.setdefault(report.judge, []).append(report)
    drawings = []
    for judge, of_judge in by_judge.items():
        if any(report.findings for report in of_judge):
            drawings.append(_significances(judge, of_judge))
        if any(finding.errors for report in of_judge for finding in report.findings):
            drawings.append(_errors(judge, of_judge, colours))
        if any(report.green for report in of_judge):
            drawings.append(_green_counts(judge, of_judge, colours))
    return drawings


def fates_of(findings: Iterable[JudgedFinding]) -> Counter[tuple[str, str]]:
    """Findings by significance and fate: those of the reference (matched, missing), and false ones of the answer."""
    return Counter(
        (finding.significance if finding.significance in SIGNIFICANCES else OTHER, finding.fate)
        for finding in findings
        if finding.side == "reference" or finding.fate == "false"
    )


def _significances(judge: str, reports: Sequence[JudgedReports]) -> Drawing:
    counts = {report.system: fates_of(report.findings) for report in reports}
    grades = [
        grade for grade in (*SIGNIFICANCES, OTHER) if any(of[grade, fate] for of in counts.values() for fate in FATES)
    ]
    largest = [
        max(sum(of[grade, fate] for fate in fates) for of in counts.values() for grade in grades)
        for fates in (("false",), ("matched", "missing"))
    ]
    domain = [-1.06 * largest[0], 1.06 * max(1, largest[1])]
    panels = [
        _fates(counts[report.system], grades, domain, _title(report), place == len(reports) - 1)
        for place, report in enumerate(reports)
    ]
    totals = {
        report.system: {fate: sum(counts[report.system][grade, fate] for grade in grades) for fate in FATES}
        for report in reports
    }
    return Drawing(
        name=anchor("findings", judge),
        section="reports",
        title=f"Findings that {judge} reads, by clinical significance",
        caption="Right of zero: findings of the reference, matched or missing in the answer; left: findings that the "
        "answer alone has. Each row counts, equal reports too. Significance is the judge's, in CRIMSON's four grades "
        f"(weights {', '.join(f'{weight:g}' for weight in WEIGHTS.values())}).",
        description="; ".join(
            f"{report.system} ({report.judged:,} of {report.rows:,} reports judged): "
            + ", ".join(f"{count:,} {fate}" for fate, count in totals[report.system].items())
            + "".join(
                f"; {grade.replace('_', ' ')}: "
                + ", ".join(f"{counts[report.system][grade, fate]:,} {fate}" for fate in FATES)
                for grade in grades
            )
            for report in reports
        )
        + ".",
        chart=alt.vconcat(*panels, spacing=12),
    )


def _title(report: JudgedReports) -> str:
    return f"{short_system(report.system)}, {plural(report.judged, 'report')}"


def _fates(
    counts: Counter[tuple[str, str]], grades: Sequence[str], domain: list[float], title: str, last: bool
) -> Panel:
    bars: list[dict[str, object]] = []
    for grade in grades:
        matched = counts[grade, "matched"]
        for fate, start, end in (
            ("false", -counts[grade, "false"], 0),
            ("matched", 0, matched),
            ("missing", matched, matched + counts[grade, "missing"]),
        ):
            wide = (end - start) / (domain[1] - domain[0]) > 0.05
            if end > start:
                bars.append(
                    {
                        "label": SIGNIFICANCES.get(grade, OTHER),
                        "fate": fate,
                        "start": start,
                        "end": end,
                        "middle": (start + end) / 2,
                        "text": f"{end - start:,}" if wide else "",
                        "dark": fate == "matched",
                    }
                )
    labels = [SIGNIFICANCES.get(grade, OTHER) for grade in grades]
    width = WIDTH - GRADES - 16
    y = alt.Y("label:N", sort=labels, scale=alt.Scale(domain=labels), axis=label_axis(GRADES))
    base = alt.Chart(chart_data(bars))
    bar = base.mark_bar(height=18).encode(
        y=y,
        x=alt.X(
            "start:Q",
            title="findings (left of zero: false)" if last else None,
            scale=alt.Scale(domain=domain, nice=False),
            axis=alt.Axis(labelExpr="format(abs(datum.value), ',')", tickCount=6, tickMinStep=1, labels=last),
        ),
        x2="end:Q",
        color=alt.Color(
            "fate:N",
            scale=alt.Scale(domain=list(FATES), range=list(FATES.values())),
            legend=alt.Legend(title=None, orient="top", symbolType="square", symbolStrokeWidth=0),
        ),
    )
    text = base.mark_text(fontSize=SMALL).encode(
        y=y, x="middle:Q", text="text:N", color=alt.condition("datum.dark", alt.value(ON_SHADE), alt.value(ON_LIGHT))
    )
    zero = alt.Chart(chart_data([{"zero": 0}])).mark_rule(color=MUTED).encode(x="zero:Q")
    return alt.layer(bar, text, zero).properties(width=width, height=26 * len(labels), title=title)


def _errors(judge: str, reports: Sequence[JudgedReports], colours: Mapping[str, str]) -> Drawing:
    counts = {
        report.system: Counter(_known(error) for finding in report.findings for error in finding.errors)
        for report in reports
    }
    kinds = {kind for of in counts.values() for kind, _ in of}
    ordered = [kind for kind in (*ERROR_TYPES, OTHER) if kind in kinds]
    weighty = {system: {kind: of[kind, SIGNIFICANT] for kind in ordered} for system, of in counts.items()}
    every = {
        system: {kind: sum(count for (name, _), count in of.items() if name == kind) for kind in ordered}
        for system, of in counts.items()
    }
    dots = [
        Dot(
            kind,
            report.system,
            weighty[report.system][kind],
            weighty[report.system][kind],
            every[report.system][kind],
        )
        for kind in ordered
        for report in reports
    ]
    return Drawing(
        name=anchor("attribute-errors", judge),
        section="reports",
        title=f"Errors of attributes in matched findings, by {judge}",
        caption="Findings of the reference that the answer has, with an error of that type. Dot and number: "
        "significant errors; the line reaches to all, negligible ones too.",
        description="; ".join(
            f"{report.system} (n = {report.judged:,} reports): "
            + ", ".join(
                f"{kind} {every[report.system][kind]:,} ({weighty[report.system][kind]:,} significant)"
                for kind in ordered
            )
            for report in reports
        )
        + ".",
        chart=dot_plot(
            dots, [report.system for report in reports], colours, "errors, count", number_format=",.0f", whole=True
        ),
    )


def _known(error: str) -> tuple[str, str]:
    """Type and severity of an error, `location (significant)`; a type that CRIMSON does not have is `other`."""
    kind, _, severity = error.rpartition(" (")
    return kind if kind in ERROR_TYPES else OTHER, severity.rstrip(")")


def _green_counts(judge: str, reports: Sequence[JudgedReports], colours: Mapping[str, str]) -> Drawing:
    judged = [report for report in reports if report.green]
    names = ["matched findings", *CATEGORIES]
    means = {
        report.system: [
            sum(values) / len(report.green)
            for values in zip(*((counts.matched, *counts.significant) for counts in report.green), strict=True)
        ]
        for report in judged
    }
    dots = [
        Dot(name, system, of_system[place]) for place, name in enumerate(names) for system, of_system in means.items()
    ]
    return Drawing(
        name=anchor("green", judge),
        section="reports",
        title=f"GREEN's counts by {judge}",
        caption="Mean count a report: matched findings (more is better), and clinically significant errors in GREEN's "
        "six categories. GREEN of a report is matched / (matched + significant errors), 0 where nothing is matched.",
        description="; ".join(
            f"{report.system} (n = {len(report.green):,}): "
            + ", ".join(f"{name} {number(value)}" for name, value in zip(names, means[report.system], strict=True))
            for report in judged
        )
        + ".",
        chart=dot_plot(dots, [report.system for report in judged], colours, "count a report, mean"),
    )
