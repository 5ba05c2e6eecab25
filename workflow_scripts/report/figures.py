"""Write the figures of a split as SVG and PDF, and their catalogue.

A figure whose data do not exist is not drawn, and the catalogue has no entry of it. All figures but that of cost follow
from the tables alone; cost is read from the benchmark files that lie below the results at that time: they are no
outputs that a rule could have as inputs.
"""

from collections.abc import Sequence
from pathlib import Path

from altair.utils.schemapi import debug_mode

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.groups.rows import GroupValue
from workflow_scripts.core.rows import Agreement, Comparison, JudgedFinding, JudgedPair, MetricValue, Outcome, Row
from workflow_scripts.core.rubrics.rows import CalibrationPoint
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep
from workflow_scripts.judges.judgements import pairs_of
from workflow_scripts.report.grouping.figure import group_plots
from workflow_scripts.report.lineage import CONFIGURATION, read_configuration, read_object
from workflow_scripts.report.palette import system_colours
from workflow_scripts.report.plots.answers import Answers, answers_of
from workflow_scripts.report.plots.boxes import identity_plots, overlap_plots
from workflow_scripts.report.plots.classes import confusion_matrices, label_plots
from workflow_scripts.report.plots.cost import cost_plot, costs_of
from workflow_scripts.report.plots.findings import finding_plots, judged_reports
from workflow_scripts.report.plots.numbers import scatter_plots
from workflow_scripts.report.plots.overview import forest_plots, outcome_bars, subset_plots
from workflow_scripts.report.plots.render import write_drawings
from workflow_scripts.report.plots.reports import agreement_plots, diversity_plots
from workflow_scripts.report.plots.style import Drawing
from workflow_scripts.report.plots.training import settings_of, sweep_plot, training_curves
from workflow_scripts.report.validity.figure import calibration_plots


def pairs_to_show(systems: Sequence[str], pairs: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of systems whose difference is drawn: `base:tuned` each; without any, the first against each other.

    Raises:
        Refused: a pair names no two systems.
    """
    split = [tuple(pair.split(":")) for pair in pairs]
    for pair in split:
        if len(pair) != 2 or not set(pair) <= set(systems):
            raise Refused(f"--pairs: {':'.join(pair)!r} is not BASE:TUNED with two of {', '.join(systems)}")
    return [(pair[0], pair[1]) for pair in split] or [(systems[0], other) for other in systems[1:]]


def write_figures(
    *,
    systems: list[str],
    split: Path,
    metrics: Path,
    comparisons: Path,
    agreement: Path,
    outcomes: list[Path],
    results: Path,
    out: Path,
    baselines: Sequence[str] = (),
    pairs: Sequence[str] = (),
    findings: Sequence[Path] = (),
    judgements: Sequence[Path] = (),
    calibration: Sequence[Path] = (),
    histories: Sequence[Path] = (),
    samples: Sequence[Path] = (),
    sweeps: Sequence[str] = (),
    selections: Sequence[Path] = (),
    groups: Path | None = None,
    columns: Sequence[str] = (),
) -> str:
    """Write the figures of one split.

    Args:
        systems: the systems in their order.
        split: table of the split's rows.
        metrics: table of metrics.
        comparisons: table of paired comparisons.
        agreement: table of agreement between report metrics.
        outcomes: tables of outcomes, one a system.
        results: results folder, below which benchmark files lie.
        out: folder to write.
        baselines: those of the systems that look at no image; they are drawn where nothing else is, and in cost.
        pairs: a base system and the one tuned from it, BASE:TUNED each.
        findings: tables of the judges' findings, one a system.
        judgements: tables of judged pairs.
        calibration: tables of mean human scores by the score of a judge of rubrics.
        histories: training logs, below a folder that is named after its system each.
        samples: answers to held-out rows, below such a folder each.
        sweeps: a sweep and its settings, SWEEP=SETTING+SETTING each.
        selections: what sweeps chose, below a folder that is named after the sweep each.
        groups: table of values by group; none where none is configured.
        columns: the configured groups, in their order.

    Raises:
        Refused: a pair names no two systems.
        BadFile: a table is missing or damaged.
    """
    shown = [system for system in systems if system not in baselines] or systems
    compared = pairs_to_show(shown, pairs)
    colours = system_colours(systems)
    rows = read_rows(split, Row)
    of_systems = [row for path in outcomes for row in read_rows(path, Outcome)]
    values = read_rows(metrics, MetricValue)
    answers = answers_of(rows, of_systems, shown)

    def of_kind(*kinds: str) -> list[Answers]:
        return [group for group in answers if group.kind in kinds]

    drawings: list[Drawing] = forest_plots(read_rows(comparisons, Comparison), values, compared, colours)
    drawings += subset_plots(values, shown, colours)
    drawings += [] if groups is None else group_plots(read_rows(groups, GroupValue), shown, colours, columns)
    drawings += outcome_bars(of_systems, shown)
    drawings += confusion_matrices(of_kind("class"))
    drawings += label_plots(of_kind("labels"), colours)
    drawings += overlap_plots(of_kind("boxes", "instances"), colours)
    drawings += identity_plots(of_kind("instances"), values, shown, colours)
    drawings += scatter_plots(of_kind("number"), colours)
    drawings += agreement_plots(read_rows(agreement, Agreement), compared, colours)
    drawings += diversity_plots(of_kind("text"), colours)
    texts = {
        system: {row.uid: row.text for row in of_systems if row.system == system and row.text is not None}
        for system in shown
    }
    keys = {
        system: [pair.key for pair in pairs_of(rows, of_system, "reports").values()]
        for system, of_system in texts.items()
    }
    judged = judged_reports(
        keys,
        [pair for path in judgements for pair in read_rows(path, JudgedPair) if "rubric" not in pair.metrics],
        [finding for path in findings for finding in read_rows(path, JudgedFinding)],
    )
    drawings += finding_plots(judged, colours)
    points = [point for path in calibration for point in read_rows(path, CalibrationPoint)]
    drawings += calibration_plots(points, system_colours(sorted({point.judge for point in points})))
    logs = {path.parent.name: read_rows(path, TrainingStep) for path in histories}
    chosen = {path.parent.name: read_object(path) for path in selections}
    for sweep, _, settings in (text.partition("=") for text in sweeps):
        selection = chosen.get(sweep, {})
        read = settings_of(settings.split("+"), logs, selection)
        drawings += sweep_plot(sweep, read, selection.get("metric", "loss"), selection.get("chosen"))
    # A sweep's own system is drawn where the setting that it stands for is not.
    twice = [sweep for sweep, selection in chosen.items() if selection["chosen"] in systems]
    tuned = {system: logs[system] for system in systems if system in logs and system not in twice}
    of_system = {path.parent.name: read_rows(path, SampleAnswer) for path in samples}
    drawings += training_curves(tuned, colours, of_system)
    if (results / CONFIGURATION).is_file():
        costs = costs_of(results, read_configuration(results), split.parent.name, len(rows))
        drawings += cost_plot(costs, colours)
    figures = write_drawings(out, drawings)
    return f"{len(figures)} figures"


if __name__ == "__main__":
    # Altair checks each part of a chart by Vega-Lite's schema: a quarter of the time. The tests do so.
    with debug_mode(False):
        run_step(write_figures)
