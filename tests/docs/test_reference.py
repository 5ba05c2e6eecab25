"""The reference pages say what the code says."""

import ast
import dataclasses
import importlib
import importlib.util
import re
import sys

import pytest

from workflow_scripts import ROOT

DOCS = ROOT / "docs"


def module(path):
    """A module of the documents, which is no part of the package."""
    spec = importlib.util.spec_from_file_location(f"documents_{path.stem}", path)
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


reference = module(DOCS / "reference.py")


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.name)
def test_a_generated_page_is_up_to_date(page):
    assert page.read_text(encoding="utf-8") == reference.PAGES[page](), "run: python docs/reference.py"


def test_every_table_has_its_file_and_every_column_its_line():
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in reference.ROWS]
    kinds = {
        name: kind
        for rows in map(importlib.import_module, modules)
        for name, kind in vars(rows).items()
        if dataclasses.is_dataclass(kind)
    }
    assert set(reference.FILES) == set(kinds)
    text = (DOCS / "columns.md").read_text(encoding="utf-8")
    for name, kind in kinds.items():
        section = text.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == [
            field.name for field in dataclasses.fields(kind)
        ]


def test_every_file_of_a_table_is_made_by_a_rule():
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    names = {
        name.rsplit("/", 1)[1].split(".", 1)[-1] for files in reference.FILES.values() for name in files.split(", ")
    }
    assert "parquet" in names
    for files in reference.FILES.values():
        for file in files.split(", "):
            assert file.rsplit("/", 1)[1].rsplit("}", 1)[-1].lstrip(".") in rules, file


def test_a_changed_comment_changes_the_page():
    table = reference.tables('class A:\n    """Docs."""\n\n    b: str | None  # what it is\n')
    assert table == [reference.Table("A", "Docs.", (reference.Column("b", "str | None", "what it is"),))]


def test_every_section_of_the_configuration_has_its_heading():
    keys = re.findall(r"^([a-z_]+):", (ROOT / "config/reference.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    headings = re.findall(r"^## (\w+)$", (DOCS / "configuration.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == keys


def metric_names():
    """Names of metrics: literals of `Metric(…)` and of functions that pass a name on, and the reports' own."""
    from workflow_scripts.tasks.free_response import metrics as responses
    from workflow_scripts.tasks.report import metrics as reports

    names = {*reports.DEFINITIONS, *responses.DEFINITIONS}
    names |= {b.metric for part in (reports, responses) for bounds in part.BOUNDS.values() for b in bounds}
    for file in (ROOT / "workflow_scripts").rglob("metrics.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Metric", "metric") and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    names.add(first.value)
    return names


def test_every_metric_has_its_formula():
    page = (DOCS / "formulas.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (`[^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    explained = {name for names, formula, source in lines for name in re.findall(r"`(\w+)`", names)}
    assert len(metric_names()) > 35
    assert metric_names() - explained == set()


def test_every_module_that_the_formulas_name_exists():
    page = (DOCS / "formulas.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tasks|judges|score|core)/[\w/]*(?:\.py)?)`", page)
    assert len(named) > 8 and [name for name in named if not (ROOT / "workflow_scripts" / name).exists()] == []
