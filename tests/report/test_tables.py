"""The tables keep what they are given, mark what the numbers bear out, and what others wrote stays text."""

import csv
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, fields

import pytest
from markdown_it import MarkdownIt

from tests.report.rows import comparison, metric
from workflow_scripts.cli.explain import explain
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.pages.texts import metric_label, number_text
from workflow_scripts.core.rows import Comparison, MetricValue
from workflow_scripts.core.tables import write_rows
from workflow_scripts.report.escaping import latex_text, markdown_cell, shown, spreadsheet_cell
from workflow_scripts.report.tables import (
    best_of,
    better_than,
    cell_text,
    headline,
    judged_share,
    latex_table,
    markdown_table,
    provenance_of,
    write_tables,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.5, "-0.500"), (12.34, "12.3"), (999.96, "1000.0"), (2.5e253, "2.5e+253")],
)
def test_numbers_have_the_digits_that_their_size_deserves(value, text):
    assert number_text(value) == text


def test_a_missing_value_is_a_dash_and_never_a_zero():
    assert cell_text(None) == cell_text(metric("a", value=None)) == "–"


def test_columns_keep_the_order_of_the_systems_and_their_own_values():
    rows = [metric("b", value=2.0), metric("a", value=1.0)]
    (line,) = headline(rows, ["a", "b"])
    assert [line.cells[system].value for system in ("a", "b")] == [1.0, 2.0]
    assert "| 1.000 [0.400, 0.600] | 2.000 [0.400, 0.600] | 100% | 100% |" in markdown_table(rows, ["a", "b"])


def test_a_system_without_a_metric_has_an_empty_cell():
    (line,) = headline([metric("a")], ["a", "b"])
    assert line.cells["b"] is None


def test_a_judged_metric_is_shown_with_its_judge():
    assert metric_label("crimson", "my_judge") == "crimson (my_judge)"
    rows = [metric("a", task="report", metric="crimson", judge="my_judge", direction="higher")]
    assert "| report | **macro** | crimson (my_judge) ↑ |" in markdown_table(rows, ["a"])


def test_a_note_stands_in_its_line_and_is_explained_below_the_table():
    rows = [
        metric("a", note="few_rows; single_class"),
        metric("b", note="few_rows; unreadable_script"),
        metric("a", "x"),
    ]
    lines = markdown_table(rows, ["a", "b"]).splitlines()
    assert lines[0].endswith("| note |") and lines[2].endswith("| few rows, single class, unreadable script |")
    assert lines[3].endswith("|  |") and lines[4] == ""
    assert [line.split(":")[0] for line in lines[5:]] == ["- few rows", "- single class", "- unreadable script"]
    assert len(markdown_table([metric("a")], ["a"]).splitlines()) == 3


def test_the_valid_share_of_a_judged_metric_names_abstentions_and_invalid_replies():
    assert judged_share(metric("a")) == "100%"
    assert judged_share(metric("a", valid_share=0.5, abstained=4)) == "50% (4 abstained)"
    rows = [metric("a", task="report", judge="lab", value=None, valid_share=0.0, abstained=3, invalid=5)]
    assert "| – | 0% (3 abstained, 5 invalid) |  |" in markdown_table(rows, ["a"])


def test_the_table_counts_missing_judgements_of_judges_that_do_not_head_it():
    def judged(system, name, judge, **changes):
        shared = {"task": "report", "reading": None, "direction": "higher", "primary": False, "value": None}
        return metric(system, metric=name, judge=judge, **(shared | changes))

    rows = [
        metric("base"),
        metric("tuned"),
        judged("base", "crimson", "crimson", invalid=8),
        judged("base", "crimson", "crimson", subset="chest", invalid=4),
        judged("base", "crimson", "crimson", stratum="normal", invalid=3),
        judged("base", "crimson_lowest", "crimson", invalid=8),
        judged("tuned", "crimson", "crimson", abstained=2, invalid=1),
        judged("base", "crimson", "rules"),
        judged("tuned", "crimson", "rules", abstained=3),
        judged("tuned", "green", "rules", abstained=3),
        judged("base", "green", "well"),
    ]
    table, below = markdown_table(rows, ["base", "tuned"]).split("\n\n")
    assert len(table.splitlines()) == 3
    assert below.splitlines() == [
        "- judge crimson (crimson): base 8 of 8 invalid; tuned 2 of 8 abstained, 1 of 8 invalid",
        "- judge rules (crimson, green): tuned 3 of 8 abstained",
    ]
    assert "judge" not in markdown_table([metric("base"), judged("base", "green", "well")], ["base"])


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain name", "plain name"),
        ("a|b", "a\\|b"),
        ("a\\|b", "a\\\\\\|b"),
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("a\u2028b", "a b"),
    ],
)
def test_a_name_stays_in_its_cell_of_the_markdown_table(text, cell):
    assert markdown_cell(text) == cell
    lines = markdown_table([metric("a", subset=text)], ["a"]).splitlines()
    assert len(lines) == 3 and f"| {cell} |" in lines[2]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_starts_a_formula_in_a_spreadsheet(start):
    assert spreadsheet_cell(f"{start}1+1") == f"'{start}1+1"
    assert spreadsheet_cell(f"a{start}1") == f"a{start}1"
    assert spreadsheet_cell("") == ""


@pytest.fixture
def results(tmp_path):
    """A results folder with a configuration and the metrics of one system."""
    configuration = {
        "datasets": {"toy": {"source": "synthetic"}},
        "splits": {"validation": {"dataset": "toy", "folder": "validation-public"}},
        "models": {"tiny": {"source": "synthetic"}},
        "systems": {"a": {"model": "tiny"}},
        "evaluate": ["validation"],
    }
    (tmp_path / "configuration.json").write_text(json.dumps(configuration))
    values = [metric("a", subset="=cmd|'x'!A1", value=-1.5), metric("a", primary=False, reading=None, value=None)]
    write_rows(tmp_path / "scores/validation/metrics.parquet", values, MetricValue)
    write_rows(tmp_path / "scores/validation/comparisons.parquet", [], Comparison)
    return tmp_path


def test_the_csv_holds_every_metric_and_no_formula(results):
    table = tables_of(results)
    first, second = csv.DictReader(table.open())
    assert list(first) == [field.name for field in fields(MetricValue)]
    assert (first["subset"], first["value"], first["reading"]) == ("'=cmd|'x'!A1", "-1.5", "strict")
    assert (second["reading"], second["value"], second["primary"]) == ("", "", "false")
    assert "=cmd\\|'x'!A1" in table.with_suffix(".md").read_text()
    sidecar = json.loads(provenance_of(table).read_text())
    assert list(sidecar["files"]) == ["scores/validation/metrics.parquet"]


def tables_of(results):
    """The CSV of the results folder, with its Markdown and sidecar beside it."""
    scores, folder = results / "scores/validation", results / "report/validation"
    table = folder / "table.csv"
    write_tables(
        metrics=scores / "metrics.parquet",
        comparisons=scores / "comparisons.parquet",
        systems=["a"],
        csv=table,
        markdown=folder / "table.md",
        latex=folder / "table.tex",
        numbers=folder / "results.json",
        methods=folder / "methods.md",
        results=results,
    )
    return table


def test_a_number_is_explained_and_a_changed_file_is_marked(results):
    metrics = results / "scores/validation/metrics.parquet"
    write_rows(metrics, [metric("a", metric="crimson", judge="my_judge", task="multi_label", value=2.0)], MetricValue)
    table = tables_of(results)
    text = explain(table, task="multi label", system="a")
    assert "crimson (my_judge) of a, multi_label on validation (macro): 2.000 [0.400, 0.600]" in text
    assert f"  metrics        {metrics}  sha256 {sha256_of_file(metrics)[:12]}\n" in text and "CHANGED" not in text
    write_rows(metrics, [metric("a", task="multi_label", value=3.0)], MetricValue)
    assert "CHANGED since the table was written" in explain(table, task="multi_label", system="a")
    with pytest.raises(Refused, match="no counting of a on macro; there are multi_label/a/macro"):
        explain(table, task="counting", system="a")


def test_a_number_is_explained_from_the_command_line(results):
    command = [sys.executable, "-m", "workflow_scripts.cli.explain", str(tables_of(results)), "--task", "counting"]
    ended = subprocess.run([*command, "--system", "a", "--subset", "=cmd|'x'!A1"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("mae of a, counting on validation (=cmd|'x'!A1): -1.500")
    refused = subprocess.run([*command, "--system", "nobody"], capture_output=True, text=True)
    assert refused.returncode == 1 and "has no counting of nobody on macro; there are" in refused.stderr


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\u202egnp.exe\u202c",
    "=cmd|'/c calc'!A1",
    "[a](https://b.example) ![c](d) <e@f.example> www.g.example",
    "**b** _i_ ~~s~~ `c` # h &lt; $x$",
    r"\input{/etc/passwd} \end{document} ^^5c {unbalanced & % #",
    "}unbalanced\x00\x1b[31m\nline",
    "中文 🙂 é ½",
    "x" * 200_000,
    "]]> --> \u2028 \u2066 &amp; </svg onload=alert(1)>",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_a_hostile_text_is_text_once_markdown_is_rendered(text):
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = renderer.parse(markdown_table([metric("a", subset=text)], ["a"]))
    (cell,) = [token for token in tokens if token.type == "inline" and token.map == [2, 3]][1:2]
    assert {token.type for token in cell.children} <= {"text", "text_special"}
    read = "".join(token.content for token in cell.children)
    assert read == shown(text) and "\n" not in read and "\u202e" not in read
    assert not re.search(r"://|www\.|<[a-z]", markdown_cell(text))


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_a_hostile_text_is_whole_in_the_csv_and_no_formula(results, text):
    write_rows(results / "scores/validation/metrics.parquet", [metric("a", subset=text, stratum=text)], MetricValue)
    csv.field_size_limit(10**6)
    with tables_of(results).open(newline="", encoding="utf-8") as lines:
        (row,) = csv.DictReader(lines)
    assert row["subset"] == row["stratum"] == spreadsheet_cell(text) and not row["subset"].startswith(
        ("=", "+", "-", "@")
    )


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:12]))
def test_a_hostile_text_runs_no_command_of_latex(text):
    """Outside what the escaping writes itself, no sign is left that TeX takes for more than text."""
    escaped = latex_text(text)
    own = r"\\(text\w+\{\}|texttt\{U\+[0-9A-F]+\}|allowbreak\{\}|ldots\{\}|[{}$&#_%]|['`^~\"]\{\\?[A-Za-z]\})"
    own += r"|\{\\ttfamily\\char[0-9]+\}|-\{\}"
    rest = re.sub(own, "", escaped)
    assert escaped.isascii() and not set(rest) & set("\\{}$&#_%^~\n\x00") and len(escaped) < 6_000


PDFLATEX = shutil.which("pdflatex")
needs_tex = pytest.mark.skipif(
    PDFLATEX is None,
    reason="pdflatex is not here: apt-get install --no-install-recommends texlive-latex-base texlive-latex-recommended",
)


def compiled(folder, table, options=""):
    """The log of a paper that holds the table, set by pdfLaTeX; its text is returned where pdftotext is here."""
    (folder / "table.tex").write_text(table, encoding="ascii")
    (folder / "paper.tex").write_text(
        f"\\documentclass[{options}]{{article}}"
        "\\usepackage{booktabs,graphicx,longtable}\n"
        "\\begin{document}\nBefore.\n\\input{table.tex}\nAfter.\n\\end{document}\n"
    )
    command = [PDFLATEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    if shutil.which("pdftotext") is None:
        return None
    return subprocess.run(["pdftotext", "-layout", "paper.pdf", "-"], cwd=folder, capture_output=True, text=True).stdout


@needs_tex
def test_hostile_names_of_everything_compile_and_stay_text(tmp_path):
    systems = ["base", r"\input{evil}", "x_y%"]
    values = [
        metric(system, subset=text, judge=text[:80], task="report", value=-1.5, valid_share=0.5, note="few_rows")
        for text in [*HOSTILE, "macro"]
        for system in systems
    ]
    pairs = [comparison("base", r"\input{evil}", task="report", difference=-1.0, p_holm=0.001)]
    text = compiled(tmp_path, latex_table(values, systems, pairs, r"s_1&\foo", Scoring()))
    assert text is None or all(part in text for part in (r"\input{evil}", "Before.", "After.", "<script>", r"&\foo"))


@needs_tex
@pytest.mark.parametrize("options", ["", "twocolumn"])
def test_the_table_of_many_systems_and_subsets_compiles_over_pages(tmp_path, options):
    systems = [f"system-{number}" for number in range(9)]
    values = [metric(system, subset=f"subset{number}") for system in systems for number in range(40)]
    text = compiled(tmp_path, latex_table(values, systems, [], "validation", Scoring()), options)
    assert text is None or ("subset39" in text and "continued on the next page" in text)


def test_the_best_value_of_a_line_is_marked_in_its_direction_and_no_other():
    def best(direction, *values):
        rows = [metric(name, value=value, direction=direction) for name, value in zip("abc", values, strict=False)]
        return best_of(headline(rows, [row.system for row in rows])[0])

    assert best("higher", 0.1, 0.9) == {"b"} and best("lower", 0.1, 0.9) == {"a"}
    assert best("higher", 0.90001, 0.90002, 0.1) == {"a", "b"}, "equal as they are shown"
    assert best("lower", 0.5, 0.5) == set() and best("higher", 0.5) == set() and best("higher", None, 0.5) == set()
    assert best("lower", -2.0, 2.5e253) == {"a"}


@pytest.mark.parametrize(
    ("direction", "difference", "p", "winner"),
    [
        ("higher", 0.1, 0.01, "tuned"),
        ("higher", -0.1, 0.01, "base"),
        ("lower", -0.1, 0.01, "tuned"),
        ("lower", 0.1, 0.01, "base"),
        ("higher", 0.1, 0.05, None),
        ("higher", 0.1, None, None),
        ("higher", 0.0, 0.01, None),
        ("higher", None, 0.01, None),
    ],
)
def test_a_system_is_better_than_another_by_the_corrected_test_alone(direction, difference, p, winner):
    pair = comparison("base", "tuned", direction=direction, difference=difference, p=1e-4, p_holm=p)
    better = better_than([pair], 0.05)
    loser = {"base": "tuned", "tuned": "base"}.get(winner)
    assert better == ({("counting", "macro", "mae", None, winner): {loser}} if winner else {})


def test_the_latex_marks_best_and_significant_values_on_macro_and_subsets():
    systems = ["base", "tuned"]
    values = [
        metric(system, subset, value=value, note=note)
        for subset, note in (("macro", None), ("cells", "few_rows"))
        for system, value in (("base", 5.0), ("tuned", 1.25))
    ]
    pairs = [
        comparison("base", "tuned", subset=subset, difference=-3.75, p_holm=p)
        for subset, p in (("macro", 0.01), ("cells", 0.2))
    ]
    macro, subsets = latex_table(values, systems, pairs, "validation", Scoring()).split("\\end{table*}")
    assert "5.000 & \\textbf{1.250}\\textsuperscript{a} \\\\*" in macro and "{\\tiny [0.400, 0.600]}" in macro
    assert "5.000 & \\textbf{1.250} \\\\*" in subsets and "{cells} & {8}" in subsets
    assert "\\toprule" in macro and "\\bottomrule" in subsets and "$p < 0.05$" in macro
    assert "Few rows (fewer than 20 rows: the number says little): counting of cells." in subsets
    assert "Few rows" not in macro


def test_results_json_has_every_number_with_what_it_stands_on(results):
    values = [
        metric("a"),
        metric("a", "cells", value=float("inf"), note="few_rows"),
        metric("a", judge="lab", low=None),
    ]
    pairs = [comparison("a", "b", difference=0.5, p=0.1, p_holm=0.2)]
    write_rows(results / "scores/validation/metrics.parquet", values, MetricValue)
    write_rows(results / "scores/validation/comparisons.parquet", pairs, Comparison)
    table = tables_of(results)
    everything = json.loads((table.parent / "results.json").read_text(), parse_constant=pytest.fail)
    assert everything["metrics"] == [asdict(values[0]), asdict(values[1]) | {"value": None}, asdict(values[2])]
    assert everything["comparisons"] == [asdict(pairs[0])]
    provenance, sidecar = everything["provenance"], json.loads(provenance_of(table).read_text())
    assert provenance["files_sha256"] == sidecar["files"] and provenance["files_sha256"]
    assert provenance["configuration_sha256"] == sidecar["configuration_sha256"]
    assert everything["systems"]["a"]["files"] == {"metrics": "scores/validation/metrics.parquet"}
    before = (table.parent / "results.json").read_bytes()
    assert (tables_of(results).parent / "results.json").read_bytes() == before
