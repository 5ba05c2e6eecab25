"""Write the tables by group: every number as CSV, and what a reader compares as Markdown and LaTeX.

A line is a value of a group (a hospital, a sex) in a task, with each system's primary metric, its interval, and the
share of valid answers. Below stand the gaps between the values. Nothing here is ranked: gaps say how a system differs
between groups, not which system is better.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.csv as pv

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import Groups, Scoring
from workflow_scripts.core.files import atomic, write_text
from workflow_scripts.core.groups.rows import GroupGap, GroupValue
from workflow_scripts.core.pages.texts import number_text
from workflow_scripts.core.tables import read_table, rows_of
from workflow_scripts.report.escaping import markdown_cell
from workflow_scripts.report.grouping.lines import NAME, GapLine, GroupSection, ValueLine, group_sections
from workflow_scripts.report.latex import TexCaption, TexCell, TexLine, gap_table, group_table
from workflow_scripts.report.tables import without_formulas


def cell_parts(line: ValueLine, system: str) -> tuple[str, str, str]:
    """A system's value, its interval, and its share of valid answers with the interval; a dash where there is none."""
    cell = line.cells[system]
    if cell is None:
        return "–", "", ""
    valid = f"{cell.valid_share:.0%}"
    if cell.valid_low is not None and cell.valid_high is not None and cell.valid_low < 1:
        valid += f" [{cell.valid_low:.0%}, {cell.valid_high:.0%}]"
    if cell.score is None or cell.low is None or cell.high is None:
        return "–" if cell.score is None else number_text(cell.score), "", valid
    return number_text(cell.score), f"[{number_text(cell.low)}, {number_text(cell.high)}]", valid


def markdown(sections: Sequence[GroupSection], systems: Sequence[str], groups: Groups, scoring: Scoring) -> str:
    """All groups as Markdown: values, then gaps."""
    if not sections:
        return "No row of this split states a group.\n"
    parts = []
    for section in sections:
        head = ["task", "subset", "metric", "value", "n", "cases", *systems, *(f"valid {name}" for name in systems)]
        rows = [
            [
                markdown_cell(line.task.replace("_", " ")),
                markdown_cell(line.place),
                markdown_cell(line.label),
                markdown_cell(line.value, NAME) + ("" if line.ranked else " (not ranked)"),
                str(line.rows),
                str(line.cases),
                *(" ".join(cell_parts(line, name)[:2]).strip() for name in systems),
                *(cell_parts(line, name)[2] or "–" for name in systems),
            ]
            for line in section.lines
        ]
        parts.append(f"## By {markdown_cell(section.name)}\n\n{_table(head, rows)}")
        if gaps := [*section.ranges, *section.rest]:
            head = ["task", "subset", "metric", "system", "difference", "gap", "interval", "p, corrected"]
            parts.append(_table(head, [_gap_cells(line) for line in gaps]))
        else:
            parts.append("No two values have enough cases and a defined metric: there are no gaps.\n")
    return "\n".join([*parts, how_to_read(groups, scoring)]) + "\n"


def how_to_read(groups: Groups, scoring: Scoring) -> str:
    """What the tables by group mean, in sentences."""
    percent = f"{100 * scoring.confidence:g}"
    return (
        f"Values of fewer than {groups.least_cases} cases are shown and not ranked: they take no part in gaps, nor "
        "does a value of which a system's metric is undefined. "
        f"Intervals of values are bootstrap intervals over cases. Intervals of gaps hold together at {percent}%: over "
        "all pairs of values for largest less smallest, and over all values for each against all others. p values "
        "permute labels over cases and are corrected for the number of values, systems, tasks and groups; baselines, "
        "whose gaps show what the answers' distribution alone does, are not tested. A gap says that a metric differs, "
        "not why."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[markdown_cell(name) for name in head], ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _gap_cells(line: GapLine) -> list[str]:
    texts = [line.task.replace("_", " "), line.place, line.label, line.system, line.between]
    gap = f"**{line.gap}**" if line.clear else line.gap
    return [*(markdown_cell(text, 3 * NAME) for text in texts), gap, line.interval or "–", line.p.replace("<", "&lt;")]


def _place(line: ValueLine | GapLine) -> str:
    """The task, with the subset where the line is of one."""
    return line.task if line.place == "macro" else f"{line.task}, {line.place}"


def latex(sections: Sequence[GroupSection], systems: Sequence[str], caption: TexCaption) -> str:
    """All groups as LaTeX: a long table of values and one of gaps each."""
    parts = ["% Written by flarebench; needs \\usepackage{booktabs,longtable}. Every text is escaped.\n"]
    for section in sections:
        lines = []
        for line in section.lines:
            cells = []
            for system in systems:
                value, interval, valid = cell_parts(line, system)
                cells.append(TexCell(value, interval, valid=f"{valid} valid" if valid and valid != "100%" else ""))
            name = line.value if line.ranked else f"{line.value} (not ranked)"
            lines.append(TexLine(_place(line), name, line.metric, line.higher, line.rows, tuple(cells)))
        parts.append(group_table(lines, systems, caption, section.name, section.number))
        if gaps := [*section.ranges, *section.rest]:
            rows = [
                (_place(line).replace("_", " "), line.system, line.between, line.gap, line.interval or "–", line.p)
                for line in gaps
            ]
            parts.append(gap_table(rows, caption, section.name, section.number))
    return "\n".join(parts)


def write_groups(
    *,
    values: Path,
    gaps: Path,
    systems: list[str],
    groups: Groups,
    scoring: Scoring,
    csv: Path,
    gaps_csv: Path,
    markdown_table: Path,
    latex_table: Path,
) -> None:
    """Write the tables by group of one split.

    Args:
        values: table of values by group.
        gaps: table of gaps.
        systems: the systems in the order of the columns.
        groups: the configuration's `groups` as JSON.
        scoring: the configuration's `scoring` as JSON.
        csv: CSV of every value to write.
        gaps_csv: CSV of every gap to write.
        markdown_table: Markdown to write.
        latex_table: LaTeX to write.
    """
    of_values, of_gaps = read_table(values, GroupValue), read_table(gaps, GroupGap)
    for table, path in ((of_values, csv), (of_gaps, gaps_csv)):
        with atomic(path) as temporary:
            pv.write_csv(without_formulas(table), temporary)
    sections = group_sections(rows_of(of_values, GroupValue), rows_of(of_gaps, GroupGap), systems, groups.columns)
    write_text(markdown_table, markdown(sections, systems, groups, scoring))
    caption = TexCaption(csv.parent.name, scoring.confidence, scoring.resamples)
    write_text(latex_table, latex(sections, systems, caption))


if __name__ == "__main__":
    run_step(write_groups)
