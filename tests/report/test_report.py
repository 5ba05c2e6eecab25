"""The table keeps what it is given, and the page escapes what a model wrote."""

import pytest

from tests.conftest import make_row
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.tables import (
    AGREEMENT,
    COMPARISONS,
    METRICS,
    OUTCOMES,
    PREDICTIONS,
    QUARANTINE,
    ROWS,
    write_table,
)
from workflow_scripts.report.page import chosen_cases, shown_answer, unlike_means, write_page
from workflow_scripts.report.tables import cell_text, headline, markdown, number_text

EVIL = "<script>alert(1)</script> & \"quoted\" '{{ 7 * 7 }}'"


def metric(system, dataset="macro", value=0.5, **changes):
    row = {
        "system": system,
        "task": "counting",
        "dataset": dataset,
        "metric": "mae",
        "better": "lower",
        "value": value,
        "low": 0.4,
        "high": 0.6,
        "rows": 8,
        "clusters": 8,
        "valid_share": 1.0,
        "unread": 0,
        "rule": "2026",
        "primary": True,
    }
    return row | changes


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
    assert [line["cells"][system]["value"] for system in ("a", "b")] == [1.0, 2.0]
    assert "| 1.000 [0.400, 0.600] | 2.000 [0.400, 0.600] | 100% | 100% |" in markdown(rows, ["a", "b"])


def test_a_system_without_a_metric_has_an_empty_cell():
    (line,) = headline([metric("a")], ["a", "b"])
    assert line["cells"]["b"] is None


def test_cases_are_spread_over_data_sets():
    rows = [{"uid": str(n), "task": "counting", "dataset": "ab"[n % 7 == 0]} for n in range(28)]
    assert {row["dataset"] for row in chosen_cases(rows, 4)["counting"]} == {"a", "b"}


def test_a_row_without_an_answer_is_shown_as_missing_and_never_as_right():
    row = {"answer": ""}
    assert shown_answer("a", row, None, "missing") == {"system": "a", "text": "", "outcome": "missing", "right": False}
    assert shown_answer("a", row, " ", "valid")["right"]


def test_systems_that_were_asked_by_unlike_means_are_told():
    def row(engine, constrained=False):
        return {"engine": engine, "settings": "s", "constrained": constrained}

    alike = {("u", "a"): row("transformers"), ("u", "b"): row("transformers"), ("u", "majority"): row(None)}
    assert unlike_means(alike, ["a", "b", "majority"]) == []
    assert unlike_means(alike | {("u", "b"): row("openai")}, ["a", "b"]) == ["engine — a: transformers; b: openai"]
    (told,) = unlike_means(alike | {("u", "b"): row("transformers", True)}, ["a", "b"])
    assert told == "bound by a grammar — a: False; b: True"


def page_of(folder, root, comparisons=(), baselines=(), text="x", agreement=()):
    """The page of one system with two rows, whose questions, answers and title are `text`."""
    rows = [make_row(root, n, question=text, answer=text) for n in range(2)]
    write_table(folder / "rows.parquet", rows, ROWS)
    answers = [{"uid": r["uid"], "system": "a", "text": text, "finish": "stop"} for r in rows]
    write_table(folder / "a.parquet", answers, PREDICTIONS)
    outcomes = [
        {f.name: "x" for f in OUTCOMES if not f.nullable} | {"uid": r["uid"], "system": "a", "task": "counting"}
        for r in rows
    ]
    write_table(folder / "o.parquet", outcomes, OUTCOMES)
    write_table(folder / "m.parquet", [metric("a")], METRICS)
    write_table(folder / "q.parquet", [], QUARANTINE)
    write_table(folder / "c.parquet", comparisons, COMPARISONS)
    write_table(folder / "g.parquet", agreement, AGREEMENT)
    page = folder / "index.html"
    write_page(
        Report(title=text),
        ["a"],
        list(baselines),
        *(folder / f"{name}.parquet" for name in ("m", "c", "g", "rows")),
        root,
        [folder / "o.parquet"],
        [folder / "a.parquet"],
        folder / "q.parquet",
        page,
    )
    return page.read_text()


def test_comparisons_with_base_lines_are_folded_below_those_between_systems(tmp_path, root):
    shared = {"task": "counting", "dataset": "macro", "metric": "mae", "better": "lower", "rows": 2, "clusters": 2}
    pairs = [shared | {"system_a": one, "system_b": two} for one, two in (("base", "tuned"), ("majority", "tuned"))]
    shown, folded = page_of(tmp_path, root, pairs, ["majority"]).split("<details>")
    assert "<td>base</td><td>tuned</td>" in shown and "majority" not in shown
    assert "(1 lines)" in folded and "<td>majority</td><td>tuned</td>" in folded
    assert "<details>" not in page_of(tmp_path, root, pairs[:1], ["majority"])


def test_judges_that_disagree_are_told_loudly_and_other_metrics_below(tmp_path, root):
    def row(one, two, first="base"):
        names = {"metric_1": one, "metric_2": two, "system_a": first, "system_b": "tuned"}
        return names | {"difference_1": 0.1, "difference_2": -0.1, "rows": 2, "opposed": True}

    pairs = [
        {"task": "report", "dataset": "macro", "metric": "m", "better": "higher", "rows": 2, "clusters": 2}
        | {"system_a": "base", "system_b": "tuned"}
    ]
    rows = [row("crimson_x", "green_x"), row("bleu", "chrf"), row("crimson_x", "green_x", first="majority")]
    loud, folded = page_of(tmp_path, root, pairs, ["majority"], agreement=rows).split("<details>")
    assert loud.count("disagree:") == 1 and "crimson_x and green_x disagree: from base" in loud
    assert folded.count("disagree:") == 2 and "(2 lines)" in folded


def test_the_page_escapes_everything_that_was_written(tmp_path, root):
    text = page_of(tmp_path, root, text=EVIL)
    assert "<script" not in text and "&lt;script&gt;" in text and "49" not in text.split("<body>")[1].split("base64")[0]
    assert "http://" not in text and "https://" not in text
