"""Rows that tests of the report start from."""

from dataclasses import fields, replace
from types import UnionType
from typing import get_type_hints

from workflow_scripts.core.rows import Comparison, MetricValue


def metric(system, subset="macro", value=0.5, **changes) -> MetricValue:
    row = MetricValue(
        system=system,
        task="counting",
        subset=subset,
        metric="mae",
        reading="strict",
        judge=None,
        stratum=None,
        direction="lower",
        value=value,
        low=0.4,
        high=0.6,
        rows=8,
        clusters=8,
        valid_share=1.0,
        unread=0,
        definition="flarebench",
        primary=True,
    )
    return replace(row, **changes)


def comparison(first, second, **changes) -> Comparison:
    row = Comparison("counting", "macro", "mae", None, "lower", first, second, None, None, None, None, None, 2, 2)
    return replace(row, **changes)


def filled(kind, **values):
    """A row whose other fields are empty: None where that may be, `x` or nothing of the type elsewhere."""
    empty = {str: "x", int: 0, float: 0.0, bool: False}
    hints = get_type_hints(kind)
    rest = {
        f.name: None if isinstance(hints[f.name], UnionType) else empty.get(hints[f.name], ()) for f in fields(kind)
    }
    return kind(**(rest | values))
