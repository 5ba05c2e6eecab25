"""Numbers of others beside this run's own: imported, with their source, and never ranked, compared or tested."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workflow_scripts.core.config.scoring import Published, PublishedNumber
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.report.escaping import shown

HEADING = "Numbers of others"
CAUTION = (
    "Imported from the sources that stand beside them, and not computed here: other code, other prompts, perhaps other "
    "rows. They are in no ranking, comparison or verdict."
)


@dataclass(frozen=True)
class PublishedLine:
    """One number of others, with this run's own on the same task, subset and metric. Texts are a configuration's."""

    name: str
    task: str
    subset: str
    metric: str
    value: float
    limits: tuple[float, float] | None
    rows: int | None
    own: tuple[MetricValue | None, ...]  # of each system, in their order
    source: str  # with its address


def published_lines(
    published: Mapping[str, Published], values: Iterable[MetricValue], systems: Sequence[str]
) -> list[PublishedLine]:
    """A line for each published number, in the order of the configuration."""
    values = list(values)
    lines = []
    for name, entry in published.items():
        scale = 0.01 if entry.percent else 1.0
        for number in entry.numbers:
            ends = (number.low, number.high)
            lines.append(
                PublishedLine(
                    name=f"{shown(name)} (imported)",
                    task=shown(number.task.replace("_", " ")),
                    subset=shown(number.subset),
                    metric=shown(number.metric),
                    value=number.value * scale,
                    limits=None if ends[0] is None or ends[1] is None else (ends[0] * scale, ends[1] * scale),
                    rows=number.rows,
                    own=tuple(_own(number, values, system) for system in systems),
                    source=shown(entry.source if entry.link is None else f"{entry.source}, {entry.link}"),
                )
            )
    return lines


def _own(number: PublishedNumber, values: Sequence[MetricValue], system: str) -> MetricValue | None:
    """The run's number of that name: the primary one, or the only one that is not a lenient reading or a stratum."""
    sought = (system, number.task, number.subset, number.metric, None)
    named = [
        value
        for value in values
        if (value.system, value.task, value.subset, value.metric, value.stratum) == sought
        and value.reading != "lenient"
    ]
    primary = [value for value in named if value.primary]
    return primary[0] if primary else named[0] if len(named) == 1 else None
