"""Step: the metrics as tables: everything as CSV, and what a reader compares as Markdown.

The Markdown has one line a task with its primary metric, macro-averaged over data sets, and one line a data set
below. A system's cell is `value [low, high]`, and the share of valid answers behind it.
"""

import argparse
import json
from pathlib import Path

import pyarrow.csv as pv

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import atomic, write_text
from workflow_scripts.core.provenance import write_provenance
from workflow_scripts.core.tables import METRICS, read_table
from workflow_scripts.core.tasks import TASKS
from workflow_scripts.report.lineage import lineage


def headline(metrics: list[dict], systems: list[str]) -> list[dict]:
    """Lines of the primary metrics: `macro` first, then each data set, by task.

    Each line has task, dataset, metric, better, rows, clusters and `cells`: the metric row of each system, or None.
    """
    found: dict[tuple, dict] = {}
    for row in metrics:
        if row["primary"] and row["dataset"] != "pooled":
            key = (TASKS.index(row["task"]), row["metric"], row["dataset"] != "macro", row["dataset"])
            line = found.setdefault(key, {**row, "cells": dict.fromkeys(systems)})
            line["cells"][row["system"]] = row
    return [found[key] for key in sorted(found)]


def cell_parts(cell: dict | None) -> tuple[str, str]:
    """Value and `[low, high]` with the digits that their size deserves; a dash where there is no value."""
    if cell is None or cell["value"] is None:
        return "–", ""
    if cell["low"] is None or cell["high"] is None:
        return number_text(cell["value"]), ""
    return number_text(cell["value"]), f"[{number_text(cell['low'])}, {number_text(cell['high'])}]"


def cell_text(cell: dict | None) -> str:
    """Value and interval on one line."""
    return " ".join(cell_parts(cell)).strip()


def number_text(value: float) -> str:
    """Three decimals below ten, one up to ten thousand, powers of ten beyond."""
    if abs(value) >= 1e4:
        return f"{value:.2g}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def markdown(metrics: list[dict], systems: list[str]) -> str:
    """The headline table as Markdown, the better direction of each metric marked with an arrow."""
    head = ["task", "data set", "metric", "n", *systems, *(f"valid {system}" for system in systems)]
    lines = [head, ["---"] * len(head)]
    for line in headline(metrics, systems):
        cells = [line["cells"][system] for system in systems]
        arrow = "↑" if line["better"] == "higher" else "↓"
        dataset = f"**{line['dataset']}**" if line["dataset"] == "macro" else line["dataset"]
        lines.append(
            [
                line["task"].replace("_", " "),
                dataset,
                f"{line['metric']} {arrow}",
                str(line["rows"]),
                *map(cell_text, cells),
                *("–" if cell is None else f"{cell['valid_share']:.0%}" for cell in cells),
            ]
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_tables(source: Path, systems: list[str], csv: Path, target: Path) -> None:
    """Write the CSV of every metric and the Markdown of the primary ones."""
    table = read_table(source, METRICS)
    with atomic(csv) as temporary:
        pv.write_csv(table, temporary)
    write_text(target, markdown(table.to_pylist(), systems))


def provenance_of(table: Path) -> Path:
    """The sidecar of a table."""
    return table.with_name(f"{table.stem}.provenance.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=Path, required=True, help="Parquet of metrics")
    parser.add_argument("--systems", required=True, help="JSON list: the systems in the order of the columns")
    parser.add_argument("--csv", type=Path, required=True, help="CSV to write")
    parser.add_argument("--markdown", type=Path, required=True, help="Markdown to write")
    parser.add_argument("--results", type=Path, help="results folder, to say in a sidecar what the tables stand on")
    given = parser.parse_args()
    systems = json.loads(given.systems)
    write_tables(given.metrics, systems, given.csv, given.markdown)
    if given.results:
        write_provenance(provenance_of(given.csv), lineage(given.results, given.csv.parent.name, systems))


if __name__ == "__main__":
    run_step(main)
