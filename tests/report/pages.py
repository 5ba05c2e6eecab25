"""Small pages for tests, and what stands in a page."""

import base64
import gzip
import json
import re
from dataclasses import replace

from tests.conftest import make_row
from tests.report.rows import filled, metric
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.rows import (
    Agreement,
    Comparison,
    JudgedFinding,
    MetricValue,
    Outcome,
    Prediction,
    QuarantinedRow,
    Row,
    RowFact,
)
from workflow_scripts.core.tables import write_rows
from workflow_scripts.report.page import write_page


def page_of(
    folder,
    root,
    comparisons=(),
    baselines=(),
    text="x",
    agreement=(),
    values=None,
    facts=(),
    thought=False,
    rows=None,
    outcome=None,
    **more,
):
    """The page of one system, by default with two rows, whose questions, answers and title are `text`.

    `outcome` are fields of every outcome, `more` further arguments of `write_page`.
    """
    rows = rows or [make_row(root, n, question=text, answer=text) for n in range(2)]
    shared = {"system": "a", "outcome": "valid", "text": text, "answer": text, "strict": None, "thought": thought}
    shared |= outcome or {}
    outcomes = [filled(Outcome, uid=r.uid, task=r.task, **shared) for r in rows]
    systems = ["a", *baselines]
    for name, table, kind in (
        ("rows", rows, Row),
        ("m", [metric("a")] if values is None else values, MetricValue),
        ("f", facts, RowFact),
        ("q", [], QuarantinedRow),
        ("c", comparisons, Comparison),
        ("g", agreement, Agreement),
        ("j", [], JudgedFinding),
        *((f"{system}.p", [Prediction(r.uid, system, text, "stop") for r in rows], Prediction) for system in systems),
        *((f"{system}.o", [replace(o, system=system) for o in outcomes], Outcome) for system in systems),
    ):
        write_rows(folder / f"{name}.parquet", table, kind)
    page = folder / "page/index.html"
    write_page(
        report=Report(title=text),
        systems=systems,
        baselines=list(baselines),
        metrics=folder / "m.parquet",
        facts=folder / "f.parquet",
        comparisons=folder / "c.parquet",
        agreement=folder / "g.parquet",
        split=folder / "rows.parquet",
        root=root,
        outcomes=[folder / f"{system}.o.parquet" for system in systems],
        predictions=[folder / f"{system}.p.parquet" for system in systems],
        findings=[folder / "j.parquet"] * len(systems),
        quarantine=folder / "q.parquet",
        out=page,
        images=page.parent / "images",
        workers=1,
        **more,
    )
    return page.read_text(encoding="utf-8")


def index_of(page: str) -> dict:
    """The index of the cases."""
    return json.loads(re.search(r'id="case-index">(.*?)</script>', page)[1])


def cases_of(page: str) -> list[dict]:
    """Every case of the chunks."""
    chunks = re.findall(r'id="cases-\d+">(.*?)</script>', page)
    return [case for chunk in chunks for case in json.loads(gzip.decompress(base64.b64decode(chunk)))]
