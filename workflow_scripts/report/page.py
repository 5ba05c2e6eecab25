"""Write one offline HTML page of a split: verdict, tables, figures, and a browser of every evaluated case.

Everything a model or a dataset wrote is escaped by the template engine, or is JSON that the page's script puts into
text nodes. The page asks no network; images stand inside it while they are small enough, else in a folder beside it.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.config.scoring import Groups, PublishedNumbers, Scoring
from workflow_scripts.core.files import write_text
from workflow_scripts.core.groups.rows import GroupGap, GroupValue
from workflow_scripts.core.pages import inline_svg, render_page
from workflow_scripts.core.pages.texts import metric_label, number_text
from workflow_scripts.core.rows import (
    Agreement,
    AuditFinding,
    Comparison,
    LeftOutRow,
    MetricValue,
    Outcome,
    Prediction,
    QuarantinedRow,
    Row,
)
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report import palette
from workflow_scripts.report.cases.boxes import counted_overlap, has_boxes
from workflow_scripts.report.cases.browser import SCRIPT, STYLES
from workflow_scripts.report.cases.findings import read_report_details
from workflow_scripts.report.cases.images import cores, store_images
from workflow_scripts.report.cases.payload import OUTCOMES, CaseData, image_paths, payload_of
from workflow_scripts.report.cases.scores import read_row_scores
from workflow_scripts.report.grouping.lines import GroupSection, group_sections
from workflow_scripts.report.groups import cell_parts as group_cell
from workflow_scripts.report.groups import how_to_read
from workflow_scripts.report.lineage import read_object
from workflow_scripts.report.plots.catalogue import SECTIONS, read_figures
from workflow_scripts.report.saliency.overlays import case_maps
from workflow_scripts.report.saliency.section import saliency_sections
from workflow_scripts.report.summary.cautions import (
    RESEARCH_USE,
    Caution,
    differing_conditions,
    disagreement,
    is_chest_xray,
    is_loud,
    judge_cautions,
    leak_cautions,
    parse_cautions,
    quarantine_cautions,
)
from workflow_scripts.report.summary.overview import (
    Line,
    judged_scores,
    lines_of,
    modality_lines,
    without_repeated_means,
)
from workflow_scripts.report.summary.published import published_lines
from workflow_scripts.report.summary.samples import sampled_answers
from workflow_scripts.report.summary.seen import SeenRows, seen_cautions, seen_rows
from workflow_scripts.report.summary.verdict import AgainstBaselines, Verdict, against_baselines, verdict_of
from workflow_scripts.report.summary.weakest import weakest_subsets
from workflow_scripts.report.tables import cell_parts, published_parts
from workflow_scripts.report.validity.section import NAMES as MEASURES
from workflow_scripts.report.validity.section import read_validity

TEMPLATE = "page.html.jinja"
PAGE_STYLES = "page.css"
ROUTING = "routing.html.jinja"
GROUPS = "groups.html.jinja"
PUBLISHED = "published.html.jinja"
SALIENCY = "saliency.html.jinja"
SAMPLES = "samples.html.jinja"
VALIDITY = "validity.html.jinja"
NO_GROUPS, USUAL_SCORING, NONE_PUBLISHED = Groups(), Scoring(), PublishedNumbers({})

INKS = {
    palette.INK: "var(--ink)",
    palette.MUTED: "var(--muted)",
    palette.GRID: "var(--grid)",
    palette.PAPER: "var(--paper)",
}
"""What figures' colours become on the page, so that they follow light and dark."""

TITLES = {
    "overview": "Overview",
    "groups": "Groups",
    "tasks": "Tasks",
    "reports": "Reports",
    "validity": "Validity of judges",
    "training": "Training",
    "cost": "Cost",
}
"""Headings of the figures' sections."""


@dataclass(frozen=True)
class ShownFigure:
    """A figure as the page shows it."""

    name: str
    title: str
    caption: str
    description: str
    svg: Markup


def write_page(
    *,
    report: Report,
    systems: list[str],
    metrics: Path,
    facts: Path,
    comparisons: Path,
    agreement: Path,
    split: Path,
    root: Path,
    outcomes: list[Path],
    predictions: list[Path],
    findings: list[Path],
    quarantine: Path,
    out: Path,
    images: Path,
    figures: Path | None = None,
    report_scores: Sequence[Path] = (),
    training: Sequence[Path] = (),
    left_out: Sequence[Path] = (),
    audit: Path | None = None,
    tuned: Sequence[tuple[str, str]] = (),
    trained_on: Sequence[tuple[str, str]] = (),
    baselines: Sequence[str] = (),
    oracles: Sequence[str] = (),
    routed: Sequence[tuple[str, str]] = (),
    router: Path | None = None,
    rule_based_judges: Sequence[str] = (),
    groups: Groups = NO_GROUPS,
    scoring: Scoring = USUAL_SCORING,
    group_tables: tuple[Path, Path] | None = None,
    validity: Sequence[Path] = (),
    calibration: Sequence[Path] = (),
    published: PublishedNumbers = NONE_PUBLISHED,
    saliency: Path | None = None,
    saliency_maps: Sequence[Path] = (),
    saliency_facts: Sequence[Path] = (),
    workers: int = 0,
) -> None:
    """Write the page of one split.

    Args:
        report: the configuration's `report` as JSON.
        systems: the systems in their order.
        metrics: table of metrics.
        facts: table of what each row adds to the sums that metrics are made of.
        comparisons: table of paired comparisons.
        agreement: table of agreement between report metrics.
        split: table of the split's rows.
        root: folder that the image paths start from.
        outcomes: tables of outcomes, one a system.
        predictions: tables of answers, one a system, in the order of the systems.
        findings: tables of judges' findings, one a system, in the order of the systems.
        quarantine: table of source rows that cannot be used.
        out: page to write.
        images: folder beside the page for images that are too many to stand inside it.
        figures: folder of the figures and their list; without it the page has none.
        report_scores: tables of report scores.
        training: tables of the rows of training splits.
        left_out: tables of the rows that training splits leave out.
        audit: table of the audit's findings, which knows of images that look alike.
        tuned: base system and tuned system, pair by pair.
        trained_on: tuned system and the name of its training split, pair by pair.
        baselines: those of the systems that look at no image.
        oracles: those that have read the scores; they are never the best of a line.
        routed: untuned base of a router's experts, and routed system, pair by pair.
        router: what `report.router` wrote of routed systems; none where there are none.
        rule_based_judges: judges that are rules and no models.
        groups: the configuration's `groups` as JSON.
        scoring: its `scoring` as JSON; for the words of the tables by group.
        group_tables: tables of values by group and of gaps; none where no group is configured.
        validity: tables of how far judges of rubrics agree with human scores.
        calibration: tables of mean human scores by such a judge's score.
        published: the configuration's `published` as JSON.
        saliency: table of what explanation maps measure; none where there are no maps.
        saliency_maps: tables of maps, one an entry of the configuration's `saliency`.
        saliency_facts: tables of measures of rows, in the same order.
        workers: processes that scale images; 0: one a core.
    """
    every_row = read_rows(split, Row)
    rows = shown_rows(every_row, report.cases)
    budget = round(report.embedded_megabytes * 1e6)
    with ThreadPoolExecutor(1) as beside:
        # Processes scale the images while the tables are read and the texts are packed.
        stored = beside.submit(store_images, root, image_paths(rows), images, budget, workers or cores())
        values = read_rows(metrics, MetricValue)
        every_comparison = read_rows(comparisons, Comparison)
        compared = [row for row in every_comparison if row.subset == "macro"]
        answers = {system: read_rows(path, Prediction) for system, path in zip(systems, predictions, strict=True)}
        seen = _seen(every_row, training, trained_on, audit)
        outcome_of = {(row.uid, row.system): row for path in outcomes for row in read_rows(path, Outcome)}
        findings_of = dict(zip(systems, findings, strict=True))
        details = read_report_details(rows, answers, findings_of, report_scores)
        explained = case_maps(saliency_maps, saliency_facts)
        data = CaseData(rows, systems, outcome_of, read_row_scores(facts), details, seen, explained)
        conditions = differing_conditions(answers, [*tuned, *routed])
        del answers
        pairs = [(first, second) for first, second in (*tuned, *routed) if {first, second} <= set(systems)]
        ranked = [system for system in systems if system not in oracles]
        lines = lines_of(values, every_comparison, systems, pairs, [*baselines, *oracles])
        payload = payload_of(data, stored, _browser_facts(data, pairs, baselines, lines, rule_based_judges))
    unusable = read_rows(quarantine, QuarantinedRow)
    leaks = leak_cautions({path.parent.name: read_rows(path, LeftOutRow) for path in left_out})
    opposed = [row for row in read_rows(agreement, Agreement) if row.opposed]
    by_group = _by_group(group_tables, systems, groups)
    page = render_page(
        Path(__file__).parent,
        TEMPLATE,
        script=SCRIPT,
        styles=(Path(__file__).parent / PAGE_STYLES).read_text(encoding="utf-8") + STYLES,
        report=report,
        systems=systems,
        baselines=baselines,
        colours=palette.system_colours(systems),
        split=split.parent.name,
        rows=len(every_row),
        shown=len(rows),
        verdicts=_verdicts(compared, pairs, ranked, baselines, routed),
        standings=_standings(compared, values, ranked, pairs, baselines),
        weakest=[weakest_subsets(data, every_row, system) for system in _shown_first(ranked, pairs, baselines)],
        shown_first=_shown_first(ranked, pairs, baselines),
        pairs=pairs,
        row_changes={pair: Counter(data.scores.change(row.uid, *pair) for row in every_row) for pair in pairs},
        models=[system for system in systems if system not in baselines],
        lines=lines,
        routing_template=ROUTING,
        routing=[] if router is None else read_object(router)["systems"],
        published_template=PUBLISHED,
        published=published_lines(published.root, values, systems),
        published_parts=published_parts,
        validity_template=VALIDITY,
        validity=read_validity(values, validity, calibration),
        validity_names=list(MEASURES.values()),
        saliency_template=SALIENCY,
        saliency=saliency_sections(saliency),
        samples_template=SAMPLES,
        sampled=sampled_answers(data, every_row),
        groups_template=GROUPS,
        groups=by_group,
        unstated=[name for place, name in enumerate(groups.columns, 1) if place not in {s.number for s in by_group}],
        groups_note=how_to_read(groups, scoring),
        group_cell=group_cell,
        subset_lines=without_repeated_means(lines),
        modalities=modality_lines(values, systems, every_row),
        judged=judged_scores(values, systems),
        comparisons=compared,
        cautions=[
            *parse_cautions(values, baselines),
            *judge_cautions(values, every_row, rule_based_judges),
            *(Caution(disagreement(row)) for row in opposed if is_loud(row, baselines)),
            *(Caution(f"Systems answered under different conditions: {line}.") for line in conditions),
            *seen_cautions(seen, len(every_row)),
            *quarantine_cautions(every_row, unusable),
            *leaks,
        ],
        research_use=RESEARCH_USE,
        opposed_besides=[disagreement(row) for row in opposed if not is_loud(row, baselines)],
        outcome_names=OUTCOMES,
        outcomes={
            system: Counter(row.outcome for row in outcome_of.values() if row.system == system) for system in systems
        },
        thoughts=Counter(row.system for row in outcome_of.values() if row.thought),
        quarantined=sorted(Counter(row.reason for row in unusable).items()),
        sections=_sections(figures),
        section_titles=TITLES,
        payload=payload,
        cell_parts=cell_parts,
        metric_label=metric_label,
        number_text=number_text,
        names={task: task.replace("_", " ") for task in tasks()},
    )
    write_text(out, page)


def shown_rows(rows: Sequence[Row], count: int | None) -> list[Row]:
    """The rows of the case browser by task: all, or `count` of each task, spread over its subsets, always the same."""
    by_task = [[row for row in rows if row.task == task] for task in tasks()]
    if count is None:
        return [row for of_task in by_task for row in of_task]
    chosen = []
    for of_task in by_task:
        turns: Counter[str] = Counter()
        ranked = []
        for row in sorted(of_task, key=lambda row: hashlib.sha256(row.uid.encode()).hexdigest()):
            ranked.append((turns[row.subset], row.subset, row))
            turns[row.subset] += 1
        chosen += [row for _, _, row in sorted(ranked, key=lambda entry: entry[:2])[:count]]
    return chosen


def _seen(
    rows: Sequence[Row], training: Sequence[Path], trained_on: Sequence[tuple[str, str]], audit: Path | None
) -> SeenRows:
    """What each tuned system's training saw of the evaluated rows."""
    used = {split for _, split in trained_on}
    of_splits = {path.parent.name: read_rows(path, Row) for path in training if path.parent.name in used}
    return seen_rows(rows, of_splits, trained_on, read_rows(audit, AuditFinding) if audit is not None else ())


def _verdicts(
    compared: Sequence[Comparison],
    pairs: Sequence[tuple[str, str]],
    systems: Sequence[str],
    baselines: Sequence[str],
    routed: Sequence[tuple[str, str]] = (),
) -> list[Verdict]:
    """Tuned and routed systems against their bases; else the systems that look at images against the first."""
    others = [system for system in systems if system not in baselines]
    compared_pairs = [(pair, pair not in routed) for pair in pairs] or [
        ((others[0], other), False) for other in others[1:]
    ]
    verdicts = [verdict_of(compared, *pair, tuning) for pair, tuning in compared_pairs]
    return [verdict for verdict in verdicts if verdict is not None]


def _standings(
    compared: Sequence[Comparison],
    values: Sequence[MetricValue],
    systems: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    baselines: Sequence[str],
) -> list[AgainstBaselines]:
    """The tuned systems against the strongest baselines; without tuned ones, every system that looks at images."""
    named = _shown_first(systems, pairs, baselines)
    standings = [against_baselines(compared, values, system, baselines) for system in named]
    return [standing for standing in standings if standing is not None]


def _shown_first(systems: Sequence[str], pairs: Sequence[tuple[str, str]], baselines: Sequence[str]) -> list[str]:
    """The systems that the first screen is about: the tuned ones, or all that look at images."""
    return list(dict.fromkeys(second for _, second in pairs)) or [name for name in systems if name not in baselines]


def _browser_facts(
    data: CaseData,
    pairs: Sequence[tuple[str, str]],
    baselines: Sequence[str],
    lines: Sequence[Line],
    rule_based_judges: Sequence[str],
) -> dict[str, Any]:
    """What the case browser's script knows besides the cases."""
    systems = list(data.systems)
    others = [system for system in systems if system not in baselines] or systems
    first, second = pairs[0] if pairs else (others[0], others[-1])
    overlaps = {row.task: counted_overlap(row.task) for row in data.rows if has_boxes(row)}
    return {
        "baselines": list(baselines),
        "colours": palette.system_colours(systems),
        "referenceColour": palette.REFERENCE,
        "pair": [systems.index(first), systems.index(second)],
        "metrics": {line.task: line.label for line in lines},
        "overlaps": overlaps,
        "ruleBased": list(rule_based_judges),
        "exploratory": sorted({row.modality for row in data.rows if not is_chest_xray(row.modality)}),
    }


def _by_group(tables: tuple[Path, Path] | None, systems: Sequence[str], groups: Groups) -> list[GroupSection]:
    """What is shown of each configured group."""
    if tables is None:
        return []
    values, gaps = tables
    return group_sections(read_rows(values, GroupValue), read_rows(gaps, GroupGap), systems, groups.columns)


def _sections(figures: Path | None) -> Mapping[str, list[ShownFigure]]:
    """The figures by section, in the order of display."""
    shown: dict[str, list[ShownFigure]] = {section: [] for section in SECTIONS}
    for figure in read_figures(figures) if figures is not None else []:
        text = (figures / figure.svg).read_text(encoding="utf-8") if figures is not None else ""
        svg = inline_svg(text, name=f"figure-{figure.name}", title=figure.description, colours=INKS)
        shown[figure.section].append(ShownFigure(figure.name, figure.title, figure.caption, figure.description, svg))
    return shown


if __name__ == "__main__":
    run_step(write_page)
