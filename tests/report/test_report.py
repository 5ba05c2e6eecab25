"""The table keeps what it is given, and the page escapes what a model wrote."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from types import UnionType
from typing import get_type_hints

import pytest

from tests.conftest import make_row
from workflow_scripts.cli.explain import explain
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.metrics import NOTES
from workflow_scripts.core.rows import (
    Agreement,
    Comparison,
    MetricValue,
    Outcome,
    Prediction,
    QuarantinedRow,
    Row,
    RowFact,
)
from workflow_scripts.core.tables import write_rows
from workflow_scripts.report.page import chosen_rows, differing_conditions, shown_answer, write_page
from workflow_scripts.report.tables import (
    cell_text,
    headline,
    judged_share,
    markdown_cell,
    markdown_table,
    metric_label,
    number_text,
    provenance_of,
    spreadsheet_cell,
    write_tables,
)

EVIL = "<script>alert(1)</script> & \"quoted\" '{{ 7 * 7 }}'"


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
    (tmp_path / "configuration.json").write_text(
        json.dumps({"systems": {"a": {}}, "splits": {"validation": {"dataset": "toy"}}})
    )
    values = [metric("a", subset="=cmd|'x'!A1", value=-1.5), metric("a", primary=False, reading=None, value=None)]
    write_rows(tmp_path / "scores/validation/metrics.parquet", values, MetricValue)
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
    metrics, folder = results / "scores/validation/metrics.parquet", results / "report/validation"
    table = folder / "table.csv"
    write_tables(metrics=metrics, systems=["a"], csv=table, markdown=folder / "table.md", results=results)
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


def test_cases_are_spread_over_subsets(root):
    rows = [replace(make_row(root, n), subset="ab"[n % 7 == 0]) for n in range(28)]
    assert {row.subset for row in chosen_rows(rows, 4)["counting"]} == {"a", "b"}


def test_a_row_without_an_answer_is_shown_as_missing_and_never_as_right():
    missing = shown_answer(filled(Outcome, system="a", outcome="missing"), None)
    assert (missing.system, missing.text, missing.outcome, missing.verdict) == ("a", "", "missing", "wrong")
    assert shown_answer(filled(Outcome, text=" "), 1.0).verdict == "right"


@pytest.mark.parametrize(("score", "verdict"), [(1.0, "right"), (0.4, "partly"), (0.0, "wrong"), (None, "")])
def test_the_colour_of_an_answer_follows_the_tasks_metric_and_not_its_text(tmp_path, root, score, verdict):
    """The answers of the page equal the references as texts; what the table counts decides."""
    facts = [] if score is None else [RowFact(f"row/{n}", "a", "counting", "row_score", score) for n in range(2)]
    page = page_of(tmp_path, root, facts=facts)
    assert re.findall(r'<dd class="(.*?)">x <small>\((.*?)\)', page) == [(verdict, verdict or "not scored")] * 2


def test_the_page_says_how_many_thoughts_were_cut_and_what_a_note_means(tmp_path, root):
    values = [metric("a", note="few_rows; mixed_units"), metric("a", "years", note=None)]
    page = page_of(tmp_path, root, values=values, thought=True)
    assert "<td>8<small>few rows</small><small>mixed units</small></td>" in page and "<td>8</td>" in page
    assert f"few rows: {NOTES['few_rows']}" in page and "single class" not in page
    assert "which is cut</th>" in page and "<td>2</td></tr>" in page and "thought cut" in page


def test_the_page_shows_each_judges_scores_with_its_abstentions_and_invalid_replies(tmp_path, root):
    def judged(name, judge, value, **changes):
        shared = {"task": "report", "reading": None, "direction": "higher", "primary": False}
        return metric("a", metric=name, judge=judge, value=value, low=None, high=None, **(shared | changes))

    values = [
        judged("crimson", "lab", 0.5, abstained=3, invalid=2, valid_share=0.375, primary=True),
        judged("crimson_lowest", "lab", -0.125),
        judged("crimson_highest", "lab", 0.875),
        judged("green", "other", None, abstained=8, valid_share=0.0),
        judged("green", "other", 0.1, stratum="normal"),
    ]
    page = page_of(tmp_path, root, values=values)
    line = "<td>crimson (lab)</td><td>a</td><td>0.500 </td><td>-0.125</td><td>0.875</td><td>8</td><td>3</td><td>2</td>"
    assert line in page and "38 % valid (3 abstained, 2 invalid)" in page
    assert "<td>green (other)</td><td>a</td><td>– </td><td>–</td><td>–</td><td>8</td><td>8</td><td>0</td>" in page
    assert "<h2>Judges</h2>" not in page_of(tmp_path, root)


def test_systems_that_answered_under_different_conditions_are_named():
    def row(engine, constrained=False):
        return Prediction("u", "s", "x", "stop", engine=engine, settings="s", constrained=constrained)

    alike = {("u", "a"): row("transformers"), ("u", "b"): row("transformers"), ("u", "majority"): row(None)}
    assert differing_conditions(alike, ["a", "b", "majority"]) == []
    assert differing_conditions(alike | {("u", "b"): row("openai")}, ["a", "b"]) == [
        "engine — a: transformers; b: openai"
    ]
    (sentence,) = differing_conditions(alike | {("u", "b"): row("transformers", True)}, ["a", "b"])
    assert sentence == "bound by a grammar — a: False; b: True"


def page_of(folder, root, comparisons=(), baselines=(), text="x", agreement=(), values=None, facts=(), thought=False):
    """The page of one system with two rows, whose questions, answers and title are `text`."""
    rows = [make_row(root, n, question=text, answer=text) for n in range(2)]
    shared = {"system": "a", "task": "counting", "outcome": "valid", "text": text, "thought": thought}
    outcomes = [filled(Outcome, uid=r.uid, **shared) for r in rows]
    for name, table, kind in (
        ("rows", rows, Row),
        ("a", [Prediction(r.uid, "a", text, "stop") for r in rows], Prediction),
        ("o", outcomes, Outcome),
        ("m", [metric("a")] if values is None else values, MetricValue),
        ("f", facts, RowFact),
        ("q", [], QuarantinedRow),
        ("c", comparisons, Comparison),
        ("g", agreement, Agreement),
    ):
        write_rows(folder / f"{name}.parquet", table, kind)
    page = folder / "index.html"
    write_page(
        report=Report(title=text),
        systems=["a"],
        baselines=list(baselines),
        metrics=folder / "m.parquet",
        facts=folder / "f.parquet",
        comparisons=folder / "c.parquet",
        agreement=folder / "g.parquet",
        split=folder / "rows.parquet",
        root=root,
        outcomes=[folder / "o.parquet"],
        predictions=[folder / "a.parquet"],
        quarantine=folder / "q.parquet",
        out=page,
    )
    return page.read_text()


def test_comparisons_with_baselines_are_folded_below_those_between_systems(tmp_path, root):
    pairs = [comparison("base", "tuned"), comparison("majority", "tuned")]
    shown, folded = page_of(tmp_path, root, pairs, ["majority"]).split("<details>")
    assert "<td>base</td><td>tuned</td>" in shown and "majority" not in shown
    assert "(1 lines)" in folded and "<td>majority</td><td>tuned</td>" in folded
    assert "<details>" not in page_of(tmp_path, root, pairs[:1], ["majority"])


def test_judges_that_disagree_are_called_out_loudly_and_other_metrics_below(tmp_path, root):
    def row(one, two, first="base"):
        (metric_1, judge_1), (metric_2, judge_2) = one, two
        return Agreement(first, "tuned", metric_1, judge_1, metric_2, judge_2, 0.1, -0.1, None, 2, True)

    pairs = [comparison("base", "tuned", task="report", metric="m", direction="higher")]
    judged = ("crimson", "my_judge"), ("green", "my_judge")
    rows = [row(*judged), row(("bleu", None), ("chrf", None)), row(*judged, first="majority")]
    loud, folded = page_of(tmp_path, root, pairs, ["majority"], agreement=rows).split("<details>")
    sentence = "crimson (my_judge) and green (my_judge) disagree: from base"
    assert loud.count("disagree:") == 1 and sentence in loud
    assert folded.count("disagree:") == 2 and "(2 lines)" in folded


def test_the_page_escapes_everything_that_was_written(tmp_path, root):
    text = page_of(tmp_path, root, text=EVIL)
    assert "<script" not in text and "&lt;script&gt;" in text and "49" not in text.split("<body>")[1].split("base64")[0]
    assert "http://" not in text and "https://" not in text
