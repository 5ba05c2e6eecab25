"""The table of routers and its part of the page: who answers, how often a classifier is right, and the best expert."""

import csv
import json

import jinja2
import pytest

from tests.conftest import make_row
from tests.report.rows import metric
from workflow_scripts import ROOT
from workflow_scripts.core.files import write_json
from workflow_scripts.core.pages.texts import number_text
from workflow_scripts.core.rows import MetricValue, Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.models.routing.rows import RoutedRow, RouterConfusion, RouterScore
from workflow_scripts.report.router import write_router
from workflow_scripts.report.tables import HeadlineRow, best_of

EXPERTS = ["counter", "=general"]


@pytest.fixture(scope="module")
def written(tmp_path_factory, root):
    """Table and JSON of a classifier's routed system, `learned`, and an oracle."""
    folder = tmp_path_factory.mktemp("router")
    rows = [make_row(root, place, uid=f"r{place}", task="counting" if place < 4 else "report") for place in range(6)]
    write_rows(folder / "rows.parquet", rows, Row)
    chosen = ["counting", "counting", "counting", "report", "report", "counting"]
    routes = [
        RoutedRow(row.uid, "learned", name, used, row.task, read, 0.9, "counter" if read == "counting" else "=general")
        for name, used, texts in (("tfidf", True, chosen), ("majority", False, ["counting"] * 6))
        for row, read in zip(rows, texts, strict=True)
    ]
    write_rows(folder / "learned.routes.parquet", routes, RoutedRow)
    oracle = [RoutedRow(row.uid, "oracle", "oracle", True, None, None, None, "counter") for row in rows]
    write_rows(folder / "oracle.routes.parquet", oracle, RoutedRow)
    scores = [
        RouterScore("learned", "tfidf", True, None, 6, 3, 4, 4 / 6, 0.2, 0.9, 1, 120),
        RouterScore("learned", "tfidf", True, "counting", 4, 2, 3, 0.75, None, None, 1, 120),
        RouterScore("learned", "tfidf", True, "report", 2, 1, 1, 0.5, None, None, 0, 120),
        RouterScore("learned", "majority", False, None, 6, 3, 4, 4 / 6, 0.2, 0.9, 0, 0),
    ]
    write_rows(folder / "scores.parquet", scores, RouterScore)
    confusions = [
        RouterConfusion("learned", "tfidf", label, read, count)
        for label, read, count in (
            ("counting", "counting", 3), ("counting", "report", 1), ("report", "report", 1), ("report", "counting", 1),
        )
    ]  # fmt: skip
    write_rows(folder / "confusions.parquet", confusions, RouterConfusion)
    speed = folder / "systems/learned/router/speed.json"
    write_json(speed, {"tfidf": {"seconds": 2.5, "seconds_per_1000_questions": 0.01, "device": "cpu"}})
    values = [
        metric("counter", value=2.0),
        metric("=general", value=5.0),
        metric("learned", value=3.0),
        metric("oracle", value=1.5),
    ]
    write_rows(folder / "metrics.parquet", values, MetricValue)
    write_router(
        split=folder / "rows.parquet",
        routes=[folder / "learned.routes.parquet", folder / "oracle.routes.parquet"],
        experts=["+".join(EXPERTS)] * 2,
        metrics=folder / "metrics.parquet",
        table=folder / "router.csv",
        shown=folder / "router.json",
        scores=[folder / "scores.parquet"],
        confusions=[folder / "confusions.parquet"],
        speeds=[speed, folder / "systems/oracle/router/speed.json"],
    )
    with (folder / "router.csv").open(newline="") as stream:
        lines = {(line["system"], line["router"], line["label"]): line for line in csv.DictReader(stream)}
    return lines, json.loads((folder / "router.json").read_text())["systems"]


def test_the_table_has_accuracy_confusions_experts_and_cost(written):
    lines, _ = written
    every = lines["learned", "tfidf", "all"]
    assert float(every["accuracy"]) == pytest.approx(4 / 6)
    assert (every["rows"], every["unsure"], every["parameters"]) == ("6", "1", "120")
    assert (every["seconds"], every["seconds_per_1000_questions"]) == ("2.5", "0.01")
    counting = lines["learned", "tfidf", "counting"]
    assert (counting["read as counting"], counting["read as report"]) == ("3", "1")
    assert (counting["answered by counter"], counting["answered by =general"]) == ("3", "1")
    assert (every["read as counting"], every["read as report"]) == ("4", "2")
    assert lines["learned", "majority", "all"]["parameters"] == "0"


def test_an_oracle_has_a_line_of_who_answered_and_no_accuracy(written):
    lines, _ = written
    line = lines["oracle", "oracle", "all"]
    assert (line["accuracy"], line["answered by counter"], line["read as counting"]) == ("", "6", "")


def test_each_task_stands_beside_its_best_expert(written):
    _, systems = written
    [line] = systems[0]["tasks"]
    assert (line["value"], line["expert"], line["best"]) == ("3.000", "counter", "2.000")
    assert line["answered_by"] == {"counter": 3, "=general": 1}


def test_the_page_shows_the_same_and_escapes_every_name(written):
    _, systems = written
    systems = json.loads(json.dumps(systems).replace("=general", "<b>general"))
    folder = jinja2.FileSystemLoader(ROOT / "workflow_scripts/report")
    environment = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.get_template("routing.html.jinja")
    html = template.render(routing=systems, names={"counting": "counting"}, number_text=number_text)
    assert "&lt;b&gt;general" in html and "<b>" not in html
    assert "an upper bound, never ranked" in html and "0.667 [0.200, 0.900]" in html and "in use" in html
    assert html.count("<table>") == 4  # tasks, classifiers and confusions of the learned one, tasks of the oracle


def test_an_oracle_is_never_the_best_of_a_line():
    values = {
        "base": metric("base", value=2.0),
        "tuned": metric("tuned", value=1.0),
        "oracle": metric("oracle", value=0.5),
    }
    line = HeadlineRow("counting", "macro", "mae", None, "lower", 4, 4, values)
    assert best_of(line) == {"oracle"} and best_of(line, ["oracle"]) == {"tuned"}
