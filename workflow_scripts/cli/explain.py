"""Where a number of a table came from: `python -m workflow_scripts.cli.explain TABLE --task TASK --system SYSTEM`.

TABLE is `report/{split}/table.csv` below a results folder. Prints the value, then every file behind it down to the
manifest of the data, with its hash; a file that changed since the table was written is marked.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import read_json, sha256_of_file
from workflow_scripts.core.tables import METRICS, OUTCOMES, read_table
from workflow_scripts.report.lineage import behind
from workflow_scripts.report.tables import cell_text, provenance_of


def explain(table: Path, task: str, system: str, dataset: str) -> list[str]:
    """The lines to print.

    Raises:
        Refused: the table has no such number.
    """
    split, results = table.parent.name, table.parents[2]
    told = read_json(provenance_of(table))
    configuration, files = told["configuration"], told["files"]
    rows = read_table(results / f"scores/{split}/metrics.parquet", METRICS).to_pylist()
    cells = [row for row in rows if row["primary"] and row["task"] == task and row["system"] == system]
    cell = next((row for row in cells if row["dataset"] == dataset), None)
    if cell is None or system not in configuration["systems"]:
        known = sorted({(row["task"], row["system"], row["dataset"]) for row in rows if row["primary"]})
        raise Refused(f"{table} has no {task} of {system} on {dataset}; there are {', '.join(map('/'.join, known))}")
    entry = configuration["systems"][system]
    about = {
        "outcomes": lambda path: _outcomes(path, task, dataset),
        "adapter": lambda path: _adapter(path, configuration["recipes"][entry["recipe"]]),
        "model": lambda path: f"{entry['model']} at {told['revisions'][entry['model']]}",
        "data": lambda path: _source(path),
        "training data": lambda path: _source(path),
    }
    lines = [
        f"{cell['metric']} of {system}, {task} on {split} ({dataset}): {cell_text(cell)}, {cell['better']} is better; "
        f"{cell['rows']} rows, {cell['valid_share']:.0%} of the answers valid"
    ]
    for name, path in behind(results, configuration, split, system).items():
        now = sha256_of_file(results / path)
        state = "" if now == files.get(path) else "  CHANGED since the table was written"
        lines.append(f"  {name:14} {results / path}  sha256 {now[:12]}{state}")
        if name in about:
            lines.append(f"  {'':14} {about[name](results / path)}")
    git = told["git"]
    at = f" at {git['commit'][:12]}{' with changes' if git['dirty'] else ''}" if git else ", outside git"
    lines.append(f"  {'configuration':14} sha256 {told['configuration_sha256'][:12]}; system {canonical_json(entry)}")
    lines.append(f"  {'workflow':14} {told['workflow']}{at}; table written {told['written']}")
    lines.append(f"  {'packages':14} {', '.join(f'{name} {found}' for name, found in told['packages'].items())}")
    return lines


def _outcomes(path: Path, task: str, dataset: str) -> str:
    rows = [row for row in read_table(path, OUTCOMES).to_pylist() if row["task"] == task]
    if dataset not in ("macro", "pooled"):
        rows = [row for row in rows if row["dataset"] == dataset]
    counts = Counter(row["outcome"] for row in rows)
    return f"{len(rows)} rows: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _adapter(path: Path, recipe: dict) -> str:
    told = read_json(path.parent / "provenance.json")
    where = ", ".join(told["gpus"]) or "CPU"
    return f"trained until {told['written']} on {where} by the recipe {json.dumps(recipe, sort_keys=True)}"


def _source(path: Path) -> str:
    manifest = read_json(path)
    return f"{len(manifest['files'])} files of {canonical_json(manifest['source'])}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="results/report/SPLIT/table.csv")
    parser.add_argument("--task", required=True, help="as in the table: counting, report, …")
    parser.add_argument("--system", required=True, help="name of the system")
    parser.add_argument("--dataset", default="macro", help="a data set; by default the mean over them")
    given = parser.parse_args()
    print("\n".join(explain(given.table, given.task.replace(" ", "_"), given.system, given.dataset)))


if __name__ == "__main__":
    run_step(main)
