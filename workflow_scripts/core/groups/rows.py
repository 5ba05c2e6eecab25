"""The rows of the tables by group: a metric of the rows that bear a value, and gaps between values."""

from dataclasses import dataclass

NOT_STATED = ""
"""The value of rows of which the source does not state the group."""


@dataclass(frozen=True, slots=True)
class GroupValue:
    """A system's primary metric on the rows that bear one value of a group, with its interval."""

    group: str  # hospital, scanner, sex, age band: as the source names it
    value: str  # empty: rows of which the source states none
    system: str
    task: str
    subset: str  # a subset, or "macro": mean over subsets that rank all ranked values, or hold an unranked one
    metric: str
    judge: str | None
    direction: str  # higher or lower is better
    score: float | None
    low: float | None
    high: float | None
    rows: int
    clusters: int  # cases
    valid_share: float  # parse rate, as of MetricValue
    valid_low: float | None
    valid_high: float | None
    ranked: bool  # enough cases, and a metric that is defined, to take part in gaps
    joined: int = 0  # values that this line joins, where there are more than are listed; 0: one value
    note: str | None = None  # as of MetricValue


@dataclass(frozen=True, slots=True)
class GroupGap:
    """How far a system's primary metric differs between the ranked values of a group."""

    group: str
    system: str
    task: str
    subset: str  # as of GroupValue
    metric: str
    judge: str | None
    direction: str
    kind: str  # range: largest less smallest; rest: one value less all other ranked ones together
    first: str  # the value with the largest metric, or the one value
    second: str | None  # the value with the smallest; None: all others
    gap: float
    low: float | None  # simultaneous interval over all pairs of values, or over all values
    high: float | None
    p: float | None  # permutation of the group's labels over cases, the largest of all pairs, or of all values
    p_adjusted: float | None  # over all systems, tasks and groups too; None of baselines
    values: int  # ranked values
    rows: int  # of them
    clusters: int
