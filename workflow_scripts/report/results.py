"""Every number of a split as JSON, each with what it stands on, for scripts and for the supplement of a paper."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workflow_scripts.core.provenance import circumstances
from workflow_scripts.core.rows import Comparison, MetricValue
from workflow_scripts.report.lineage import origins

FORM = 1
"""Raised when a key changes its meaning or goes."""


def results_of(
    split: str,
    systems: Sequence[str],
    values: Iterable[MetricValue],
    comparisons: Iterable[Comparison],
    folder: Path,
    stands_on: Mapping[str, Any],
) -> dict[str, Any]:
    """All metrics and comparisons of a split with their provenance, ready for `write_json`.

    A number that is not finite is null: JSON has none. No time enters, so that equal results are equal files.

    Args:
        split: name of the split.
        systems: the systems in their order.
        values: every metric.
        comparisons: every paired comparison.
        folder: results folder, which the paths of files start from.
        stands_on: what `lineage` says of them.
    """
    configuration = stands_on["configuration"]
    here = circumstances()
    models = {name: entry.get("model") for name, entry in configuration["systems"].items()}
    return {
        "form": FORM,
        "split": split,
        "systems": {
            name: {
                "configuration": configuration["systems"].get(name),
                "model": configuration.get("models", {}).get(models.get(name)),
                "revision": stands_on["revisions"].get(models.get(name)),
                "files": origins(folder, configuration, split, name),
            }
            for name in systems
        },
        "metrics": [finite(asdict(value)) for value in values],
        "comparisons": [finite(asdict(comparison)) for comparison in comparisons],
        "statistics": configuration.get("scoring"),
        "judges": configuration.get("judges"),
        "provenance": {
            "configuration_sha256": stands_on["configuration_sha256"],
            "revisions": stands_on["revisions"],
            "files_sha256": stands_on["files"],
            "workflow": here["workflow"],
            "git": here["git"],
            "packages": here["packages"],
        },
    }


def finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with null for what JSON cannot say: infinities and what is no number."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
