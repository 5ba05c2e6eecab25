"""Writes two pages: docs/columns.md from the rows in core/, docs/configuration.md from config/reference.yaml.

`python docs/reference.py` writes both after a change; a test fails while they drift.
"""

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROWS = sorted((ROOT / "workflow_scripts/core").rglob("*rows.py"))
REFERENCE = ROOT / "config/reference.yaml"
COLUMNS_PAGE = ROOT / "docs/columns.md"
CONFIGURATION_PAGE = ROOT / "docs/configuration.md"

FILES = {
    "Row": "data/{dataset}/rows.parquet, splits/{split}/rows.parquet",
    "QuarantinedRow": "data/{dataset}/quarantine.parquet",
    "ImageFacts": "data/{dataset}/images.parquet",
    "Convention": "data/{dataset}/conventions.parquet",
    "AuditFinding": "data/{dataset}/audit/findings.parquet",
    "SubsetSummary": "data/{dataset}/audit/summary.parquet",
    "LabelCount": "data/{dataset}/audit/balance.parquet",
    "LeftOutRow": "splits/{split}/left_out.parquet",
    "Prediction": "predictions/{split}/{system}.parquet",
    "UnmatchedPrediction": "predictions/{split}/{system}.unmatched.parquet",
    "Outcome": "scores/{split}/{system}/outcomes.parquet",
    "MetricValue": "scores/{split}/metrics.parquet",
    "RowFact": "scores/{split}/facts.parquet",
    "Comparison": "scores/{split}/comparisons.parquet",
    "GroupValue": "scores/{split}/groups.parquet",
    "GroupGap": "scores/{split}/group_gaps.parquet",
    "Agreement": "scores/{split}/agreement.parquet",
    "JudgedPair": "scores/{split}/judgements/{judge}.{shard}.parquet",
    "JudgedFinding": "scores/{split}/{system}/findings.parquet",
    "ValidityScore": "validity/{judge}/scores.parquet",
    "ValidityMeasure": "validity/{judge}/measures.parquet",
    "CalibrationPoint": "validity/{judge}/calibration.parquet",
    "ReportScore": "scores/{split}/{system}/report_scores.parquet",
    "SaliencyMap": "saliency/{split}/{system}/{saliency}/maps.parquet",
    "SaliencyFact": "saliency/{split}/{system}/{saliency}/facts.parquet",
    "SaliencyValue": "saliency/{split}/values.parquet",
    "FeaturePlace": "features/{model}/{split}/index.parquet",
    "TrainingStep": "systems/{system}/history.parquet",
    "SampleAnswer": "systems/{system}/samples.parquet",
}
"""Where a table lies below the results folder. What has no file is a part of a column of others."""

EXPLAINED = {"MetricValue": "Each with its values: [glossary](glossary.md), [metrics](metrics.md)."}


@dataclass(frozen=True)
class Column:
    """One field of a row's dataclass."""

    name: str
    kind: str
    meaning: str  # the comment beside it; empty where the name says it


@dataclass(frozen=True)
class Table:
    """One dataclass, or named tuple, of a module of rows."""

    name: str
    description: str  # first sentence of the docstring
    columns: tuple[Column, ...]


def tables(source: str) -> list[Table]:
    """The tables of a module of rows, in its order."""
    lines = source.splitlines()
    listed = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            columns = [
                Column(item.target.id, ast.unparse(item.annotation), _comment(lines[(item.end_lineno or 1) - 1]))
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            ]
            listed.append(Table(node.name, " ".join((ast.get_docstring(node) or "").split()), tuple(columns)))
    return listed


def _comment(line: str) -> str:
    """What a line's comment says; no default of a row holds a number sign."""
    return line.partition("#")[2].strip()


def columns_text() -> str:
    """The page of all tables and their columns."""
    listed = [table for file in ROWS for table in tables(file.read_text(encoding="utf-8"))]
    lines = [
        "# Columns",
        "",
        "<!-- Generated from the rows in workflow_scripts/core by docs/reference.py: do not edit. -->",
        "",
        "Every table of a run is Parquet, one typed row a line; `| None` means that a cell may be empty. Paths are",
        "below the results folder. `pandas.read_parquet` opens each of them.",
        "",
        "| table | file |",
        "| --- | --- |",
        *(
            f"| [{table.name}](#{table.name.lower()}) | `" + FILES[table.name].replace(", ", "`, `") + "` |"
            for table in listed
            if table.name in FILES
        ),
        "",
        "Parts of columns: "
        + ", ".join(f"[{table.name}](#{table.name.lower()})" for table in listed if table.name not in FILES)
        + ".",
    ]
    for table in listed:
        lines += ["", f"## {table.name}", "", " ".join([table.description, EXPLAINED.get(table.name, "")]).strip(), ""]
        if table.name in FILES:
            lines += ["`" + FILES[table.name].replace(", ", "`, `") + "`", ""]
        lines += ["| column | type | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{c.name}` | `{_cell(c.kind)}` | {_cell(c.meaning)} |" for c in table.columns]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def configuration_text() -> str:
    """The page of all keys of a configuration, a section each."""
    sections = re.findall(
        r"^# (.+)\n((?:[a-z_]+:.*\n)(?:[ ].*\n)*)", REFERENCE.read_text(encoding="utf-8"), re.MULTILINE
    )
    lines = [
        "# Configuration",
        "",
        "<!-- Generated from config/reference.yaml by docs/reference.py: do not edit. -->",
        "",
        "Every key with its default, by section. The names of entries (`a_hub_dataset`, …) are yours to choose; `…`",
        "marks what has no default. An unknown key or name stops the plan with the place and the allowed values.",
        "[`config/reference.yaml`](../config/reference.yaml) is the same in one file, and `config/schema.json` serves",
        "editors. Which change runs what again: [what runs again](reruns.md).",
    ]
    for description, text in sections:
        name = text.partition(":")[0]
        lines += ["", f"## {name}", "", description, "", "```yaml", text.rstrip("\n"), "```"]
    return "\n".join(lines) + "\n"


PAGES = {COLUMNS_PAGE: columns_text, CONFIGURATION_PAGE: configuration_text}


def main() -> None:
    for page, text in PAGES.items():
        page.write_text(text(), encoding="utf-8")
        sys.stdout.write(f"wrote {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
