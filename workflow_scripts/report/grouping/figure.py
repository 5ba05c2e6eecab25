"""A figure for each group and task: the primary metric of each value by system, with its interval."""

from collections.abc import Iterable, Mapping, Sequence

from workflow_scripts.core.groups.rows import GroupValue
from workflow_scripts.report.grouping.lines import GroupSection, ValueLine, group_sections
from workflow_scripts.report.plots.style import (
    Dot,
    Drawing,
    anchor,
    dot_plot,
    metric_name,
    number,
    plural,
    short_names,
    task_name,
)

MOST = 16
"""Values in a figure: those of the most cases."""


def group_plots(
    values: Iterable[GroupValue], systems: Sequence[str], colours: Mapping[str, str], columns: Sequence[str]
) -> list[Drawing]:
    """The figures of all groups, in their order; none of a task in which a single value has a score."""
    drawings = []
    for section in group_sections(values, [], systems, columns):
        for task in dict.fromkeys(line.task for line in section.lines):
            for place in dict.fromkeys(line.place for line in section.lines if line.task == task):
                lines = [line for line in section.lines if (line.task, line.place) == (task, place)]
                if (drawing := _drawing(section, lines, systems, colours)) is not None:
                    drawings.append(drawing)
    return drawings


def _drawing(
    section: GroupSection, lines: Sequence[ValueLine], systems: Sequence[str], colours: Mapping[str, str]
) -> Drawing | None:
    most = sorted(lines, key=lambda line: -line.cases)[:MOST]
    drawn = [line for line in lines if line in most]
    names = short_names((line.value for line in drawn), 19)
    dots, sentences = [], []
    for line in drawn:
        size = plural(line.cases, "case") + ("" if line.ranked else ", not ranked")
        for system in systems:
            cell = line.cells.get(system)
            if cell is not None and cell.score is not None:
                dots.append(Dot(f"{names[line.value]}\n{size}", system, cell.score, cell.low, cell.high))
                sentences.append(f"{line.value}, {system} {number(cell.score)} ({size})")
    if len({dot.label for dot in dots}) < 2:
        return None
    cell = next(cell for cell in lines[0].cells.values() if cell is not None)
    metric, arrow = metric_name(cell.metric, cell.judge), f"{'higher' if lines[0].higher else 'lower'} is better"
    ends = [end for dot in dots for end in (dot.value, dot.low, dot.high) if end is not None]
    place = "" if lines[0].place == "macro" else f", {lines[0].place}"
    left_out = "" if len(drawn) == len(lines) else f" The {len(drawn)} values of the most cases, of {len(lines)}."
    return Drawing(
        name=anchor("groups", str(section.number), lines[0].task, "" if lines[0].place == "macro" else lines[0].place),
        section="groups",
        title=f"{task_name(lines[0].task).capitalize()} by {section.name}{place}",
        caption=f"{metric} by {section.name} with its interval by bootstrap over cases; {arrow}. Intervals of single "
        f"values: whether two differ is said by the gaps, whose intervals hold together.{left_out}",
        description=f"{metric} by {section.name}{place}: {'; '.join(sentences)}.",
        chart=dot_plot(
            dots, systems, colours, f"{metric} ({arrow})", domain=[0, 1] if all(0 <= end <= 1 for end in ends) else None
        ),
    )
