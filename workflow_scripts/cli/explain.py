"""Where a number of a table came from: `python -m workflow_scripts.cli.explain TABLE --task TASK --system SYSTEM`.

TABLE is `report/{split}/table.csv` below a results folder. Prints the value, then every file that it comes from down to
the manifest of the data, with its hash; a file that changed since the table was written is marked.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.pages.texts import metric_label
from workflow_scripts.core.rows import MetricValue, Outcome
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.lineage import origins, read_object
from workflow_scripts.report.tables import cell_text, provenance_of


def explain(table: Path, /, *, task: str, system: str, subset: str = "macro") -> str:
    """Say where a number of a table came from.

    Args:
        table: results/report/SPLIT/table.csv
        task: as in the table: counting, report, …
        system: name of the system.
        subset: a subset; by default the mean over them.

    Raises:
        Refused: the table has no such number.
    """
    task = task.replace(" ", "_")
    split, results = table.parent.name, table.parents[2]
    provenance = read_object(provenance_of(table))
    configuration, files = provenance["configuration"], provenance["files"]
    cell = _cell(table, task, system, subset)
    entry = configuration["systems"].get(system)
    if entry is None:
        raise Refused(
            f"{table}: its configuration has no system {system}; there are {', '.join(configuration['systems'])}"
        )
    about: dict[str, Callable[[Path], str]] = {
        "outcomes": lambda path: _outcomes(path, task, subset),
        "adapter": lambda path: _adapter(path, configuration["recipes"][entry["recipe"]]),
        "published adapter": lambda path: f"{entry['adapter']} at {provenance['revisions'][f'adapters/{system}']}",
        "model": lambda path: f"{entry['model']} at {provenance['revisions'][entry['model']]}",
        "data": _source,
        "training data": _source,
    }
    lines = [
        f"{metric_label(cell.metric, cell.judge)} of {system}, {task} on {split} ({subset}): {cell_text(cell)}, "
        f"{cell.direction} is better; {cell.rows} rows, {cell.valid_share:.0%} of the answers valid"
    ]
    for name, path in origins(results, configuration, split, system).items():
        now = sha256_of_file(results / path)
        state = "" if now == files.get(path) else "  CHANGED since the table was written"
        lines.append(f"  {name:14} {results / path}  sha256 {now[:12]}{state}")
        if name in about:
            lines.append(f"  {'':14} {about[name](results / path)}")
    git = provenance["git"]
    at = f" at {git['commit'][:12]}{' with changes' if git['dirty'] else ''}" if git else ", outside git"
    lines.append(
        f"  {'configuration':14} sha256 {provenance['configuration_sha256'][:12]}; system {canonical_json(entry)}"
    )
    lines.append(f"  {'workflow':14} {provenance['workflow']}{at}; table written {provenance['written']}")
    packages = ", ".join(f"{name} {version}" for name, version in provenance["packages"].items())
    lines.append(f"  {'packages':14} {packages}")
    return "\n".join(lines)


def _cell(table: Path, task: str, system: str, subset: str) -> MetricValue:
    """The number itself; raises Refused where the table has none."""
    values = read_rows(table.parents[2] / f"scores/{table.parent.name}/metrics.parquet", MetricValue)
    primary = {(value.task, value.system, value.subset): value for value in values if value.primary}
    if (task, system, subset) not in primary:
        known = ", ".join("/".join(place) for place in sorted(primary))
        raise Refused(f"{table} has no {task} of {system} on {subset}; there are {known}")
    return primary[task, system, subset]


def _outcomes(path: Path, task: str, subset: str) -> str:
    rows = [row for row in read_rows(path, Outcome) if row.task == task]
    if subset not in ("macro", "pooled"):
        rows = [row for row in rows if row.subset == subset]
    counts = Counter(row.outcome for row in rows)
    return f"{len(rows)} rows: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _adapter(path: Path, recipe: dict[str, Any]) -> str:
    provenance = read_object(path.parent / "provenance.json")
    where = ", ".join(provenance["gpus"]) or "CPU"
    return f"trained until {provenance['written']} on {where} by the recipe {json.dumps(recipe, sort_keys=True)}"


def _source(path: Path) -> str:
    manifest = read_object(path)
    return f"{len(manifest['files'])} files of {canonical_json(manifest['source'])}"


if __name__ == "__main__":
    run_step(explain)
