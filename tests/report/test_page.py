"""The page says what the tables say, escapes what others wrote, and its colours follow the tasks' metrics."""

import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as Pillow

from tests.conftest import make_row
from tests.report.rows import comparison, filled, metric
from tests.report.splits import HOSTILE, JUDGE, as_flags, scored_split
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.metrics import NOTES, ROW_SCORE
from workflow_scripts.core.pages import inline_svg, render_page, script_json
from workflow_scripts.core.rows import (
    Agreement,
    Box,
    Comparison,
    Image,
    Instance,
    JudgedFinding,
    LeftOutRow,
    MetricValue,
    Outcome,
    Prediction,
    QuarantinedRow,
    Row,
    RowFact,
)
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.report.cases.boxes import row_boxes
from workflow_scripts.report.cases.images import store_images
from workflow_scripts.report.cases.payload import LONGEST, SIGNS
from workflow_scripts.report.cases.scores import level_of
from workflow_scripts.report.page import shown_rows, write_page
from workflow_scripts.report.summary.cautions import (
    differing_conditions,
    is_chest_xray,
    leak_cautions,
    seen_in_training,
)
from workflow_scripts.report.summary.verdict import against_baselines, change_of, verdict_of

EVIL = "<script>alert(1)</script> & \"quoted\" '{{ 7 * 7 }}'"


def page_of(folder, root, comparisons=(), baselines=(), text="x", agreement=(), values=None, facts=(), thought=False):
    """The page of one system with two rows, whose questions, answers and title are `text`."""
    rows = [make_row(root, n, question=text, answer=text) for n in range(2)]
    shared = {"system": "a", "task": "counting", "outcome": "valid", "text": text, "thought": thought}
    outcomes = [filled(Outcome, uid=r.uid, strict=None, **shared) for r in rows]
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
    )
    return page.read_text(encoding="utf-8")


def index_of(page: str) -> dict:
    """The index of the cases."""
    return json.loads(re.search(r'id="case-index">(.*?)</script>', page)[1])


def cases_of(page: str) -> list[dict]:
    """Every case of the chunks."""
    chunks = re.findall(r'id="cases-\d+">(.*?)</script>', page)
    return [case for chunk in chunks for case in json.loads(gzip.decompress(base64.b64decode(chunk)))]


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """The arguments of a page of 35 rows, which is written."""
    arguments = scored_split(tmp_path_factory.mktemp("split"))
    write_page(**arguments)
    return arguments


@pytest.fixture(scope="module")
def page(split) -> str:
    return split["out"].read_text(encoding="utf-8")


def test_cases_are_spread_over_subsets(root):
    rows = [replace(make_row(root, n), subset="ab"[n % 7 == 0]) for n in range(28)]
    assert {row.subset for row in shown_rows(rows, 4)} == {"a", "b"}
    assert len(shown_rows(rows, 4)) == 4 and len(shown_rows(rows, None)) == 28


@pytest.mark.parametrize(
    ("score", "missing", "level"),
    [
        (1.0, False, "right"),
        (0.9996, False, "partly"),
        (0.4, False, "partly"),
        (0.0, False, "wrong"),
        (None, False, "unscored"),
        (None, True, "wrong"),
        (1.0, True, "right"),
    ],
)
def test_the_colour_of_an_answer_follows_its_score_and_a_missing_one_is_never_unscored(score, missing, level):
    assert level_of(score, missing) == level


@pytest.mark.parametrize(("score", "level"), [(1.0, "right"), (0.4, "partly"), (0.0, "wrong"), (None, "unscored")])
def test_the_colour_follows_the_tasks_metric_and_not_the_text(tmp_path, root, score, level):
    """The answers equal the references as texts; what the table counts decides."""
    facts = [] if score is None else [RowFact(f"row/{n}", "a", "counting", ROW_SCORE, score) for n in range(2)]
    index = index_of(page_of(tmp_path, root, facts=facts))
    assert [index["levels"][place] for place in index["answers"][0]["level"]] == [level] * 2
    assert index["answers"][0]["score"] == [-1 if score is None else round(1000 * score)] * 2


def test_every_row_of_a_split_has_the_colour_of_its_facts(split, page):
    facts = {(f.uid, f.system): f.value for f in read_rows(split["facts"], RowFact) if f.fact == ROW_SCORE}
    index = index_of(page)
    stems, tails = index["columns"]["stem"], index["columns"]["tail"]
    uids = [
        f"{stems['values'][stem]}/{tails['values'][tail]}"
        for stem, tail in zip(stems["places"], tails["places"], strict=True)
    ]
    assert len(uids) == 35
    for system, answers in zip(index["systems"], index["answers"], strict=True):
        for uid, level in zip(uids, answers["level"], strict=True):
            score = facts.get((uid, system))
            expected = "unscored" if score is None else "right" if score >= 1 else "partly" if score > 0 else "wrong"
            assert index["levels"][level] == expected, (uid, system)


def test_matched_boxes_are_those_that_the_metrics_count(split):
    facts = {(f.uid, f.system, f.fact): f.value for f in read_rows(split["facts"], RowFact)}
    rows = {row.uid: row for row in read_rows(split["split"], Row) if row.boxes or row.instances}
    compared = 0
    for path in split["outcomes"]:
        for outcome in read_rows(path, Outcome):
            if outcome.uid in rows:
                boxes = row_boxes(rows[outcome.uid], outcome)
                hits = [
                    value
                    for name in ("hits strict", "hits 0.3 strict")
                    if (value := facts.get((outcome.uid, outcome.system, name))) is not None
                ]
                assert [sum(bool(box.matched) for box in boxes.predicted)] == hits
                assert sum(bool(box.matched) for box in boxes.reference) == hits[0]
                compared += 1
    assert compared == 30


def test_boxes_of_other_identities_never_match():
    box = Box(0.0, 0.0, 10.0, 10.0)
    row = filled(Row, task="instance_detection", instances=(Instance("1", box),), boxes=None)
    outcome = filled(Outcome, strict=json.dumps({"2": [list(box)], "1": [[1, 0, 10, 10]]}))
    boxes = row_boxes(row, outcome)
    assert [(one.box.identity, one.matched) for one in boxes.predicted] == [("2", False), ("1", True)]
    assert boxes.false == 1 and boxes.missed == 0


def test_a_lost_finding_can_be_looked_up(page):
    index, cases = index_of(page), cases_of(page)
    base = index["systems"].index("base")
    lost = [
        case
        for case, signs in zip(cases, index["answers"][base]["signs"], strict=True)
        if signs & SIGNS["a missing finding"]
    ]
    assert lost
    for case in lost:
        assert "missing" in {finding[4] for finding in case["answers"][base]["findings"]}


def test_the_verdict_counts_tasks_by_direction_and_corrected_p():
    def row(task, difference, p, direction="higher"):
        return comparison("base", "tuned", task=task, difference=difference, p_holm=p, direction=direction)

    rows = [
        row("classification", 0.2, 0.01),
        row("counting", -2.0, 0.04, "lower"),
        row("detection", -0.2, 0.001),
        row("multi_label", 0.3, 0.05),
        row("regression", None, None),
    ]
    assert [change_of(one) for one in rows] == ["better", "better", "worse", "unclear", "untested"]
    verdict = verdict_of([*rows, row("report", 0.9, 0.01)], "base", "tuned", tuning=True)
    assert verdict.sentence == (
        "Tuning helped in 3 of 6 tasks, harmed 1, made no clear difference in 1, and could not be tested in 1."
    )
    turned = verdict_of(rows[:1], "tuned", "base", tuning=False)
    assert turned.sentence == "base is better than tuned in none of 1 task and worse in 1."
    assert verdict_of(rows, "base", "other", tuning=True) is None


def test_a_system_is_compared_with_the_strongest_baseline_of_each_task():
    values = [metric("weak", value=9.0), metric("strong", value=2.0), metric("tuned", value=1.0)]
    rows = [
        comparison("weak", "tuned", difference=-8.0, p_holm=0.001),
        comparison("strong", "tuned", difference=-1.0, p_holm=0.3),
    ]
    standing = against_baselines(rows, values, "tuned", ["weak", "strong"])
    assert standing.tasks == {"unclear": ["counting"]}
    assert standing.sentence.endswith("tuned is not clearly different in 1 (counting).")


def test_the_first_screen_holds_verdict_table_and_cautions(page):
    head, rest = page.split('<section id="results"')
    assert 'class="verdict">Tuning helped in ' in head
    assert f"The judge {JUDGE} is a set of rules" in head
    assert "For research use only" in head and "tuned</bdi> is weakest on" in head
    assert 'href="#system=tuned&amp;shows=a+false+box"' in head.replace("%20", "+").replace("&shows", "&amp;shows")
    assert 'href="#change=harmed&from=base&to=tuned&sort=harmed"' in head
    assert rest.count('<th scope="row"') > 7 and "#task=counting&amp;system=tuned" in rest.replace(
        "&system", "&amp;system"
    )


def test_the_page_says_how_many_thoughts_were_cut_and_what_a_note_means(tmp_path, root):
    values = [metric("a", note="few_rows; mixed_units"), metric("a", "years", note=None)]
    text = page_of(tmp_path, root, values=values, thought=True)
    assert "⚠ few rows</small>" in text and "⚠ mixed units</small>" in text
    assert f"few rows: {NOTES['few_rows']}" in text and "single class" not in text
    assert "which is cut</th>" in text and '<td class="number">2</td></tr>' in text
    assert all("final" in case["answers"][0] for case in cases_of(text))


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
    text = page_of(tmp_path, root, values=values)
    number = '<td class="number">'
    line = f"<td>crimson (lab)</td><td>a</td><td>0.500 </td><td>-0.125</td><td>0.875</td>{number}8</td>{number}3</td>"
    assert line in text and "38 % (3 abstained, 2 invalid) valid" in text
    assert "Shares of valid ones: report: a 38%." in text
    assert "<td>green (other)</td><td>a</td><td>– </td><td>–</td><td>–</td>" in text
    assert ">Judges</h2>" not in page_of(tmp_path, root)


def test_systems_that_answered_under_different_conditions_are_named():
    def row(engine, constrained=False):
        return Prediction("u", "s", "x", "stop", engine=engine, settings="s", constrained=constrained)

    alike = {"a": [row("transformers")], "b": [row("transformers")], "majority": [row(None)]}
    assert differing_conditions(alike) == []
    assert differing_conditions(alike | {"b": [row("openai")]}) == ["engine — a: transformers; b: openai"]
    (sentence,) = differing_conditions(alike | {"b": [row("transformers", True)]})
    assert sentence == "bound by a grammar — a: False; b: True"
    worded = {name: [replace(row("transformers"), prompt_hash=name)] for name in ("a", "b")}
    (sentence,) = differing_conditions(worded, [("a", "b")])
    assert sentence == "prompt — a and b were asked in different words"
    assert differing_conditions(worded | {"b": worded["a"]}, [("a", "b")]) == differing_conditions(worded) == []


@pytest.mark.parametrize(("modality", "chest"), [("Xray", True), ("X-ray", True), ("CXR", True), ("CT", False)])
def test_reports_outside_chest_xray_are_told_from_others(modality, chest):
    assert is_chest_xray(modality) == chest


def test_rows_that_training_saw_are_counted_by_image_and_by_case(root):
    rows = [make_row(root, n) for n in range(4)]
    other = Image("x.png", "other", 1, 1)
    assert seen_in_training(rows, [replace(rows[1], case_id="else", images=rows[1].images)]) >= {"row/1"}
    assert seen_in_training(rows, [replace(rows[2], images=(other,))]) == {"row/2"}
    assert seen_in_training(rows, [replace(rows[2], images=(other,), subset="elsewhere")]) == frozenset()


def test_leaked_rows_that_were_left_out_are_counted():
    rows = [LeftOutRow(str(n), "s", "t", reason, "") for n, reason in enumerate(["leaked_image", "no_answer"])]
    (caution,) = leak_cautions({"train": rows})
    assert caution.text.startswith("One training row of the split train shared")


def test_comparisons_with_baselines_are_folded_below(tmp_path, root):
    pairs = [comparison("majority", "a", difference=-0.5, p_holm=0.2)]
    text = page_of(tmp_path, root, pairs, ["majority"])
    folded = text.split("All comparisons of systems (1)")[1]
    assert "<td>majority</td><td>a</td><td>-0.500" in folded
    assert "All comparisons" not in page_of(tmp_path, root, [], ["majority"])


def test_judges_that_disagree_are_called_out_loudly_and_other_metrics_below(tmp_path, root):
    def row(one, two, first="base"):
        (metric_1, judge_1), (metric_2, judge_2) = one, two
        return Agreement(first, "tuned", metric_1, judge_1, metric_2, judge_2, 0.1, -0.1, None, 2, True)

    judged = ("crimson", "my_judge"), ("green", "my_judge")
    rows = [row(*judged), row(("bleu", None), ("chrf", None)), row(*judged, first="majority")]
    text = page_of(tmp_path, root, (), ["majority"], agreement=rows)
    loud, folded = text.split("Other metrics of reports that disagree, and baselines (2)")
    assert loud.count("disagree: from") == 1 and "crimson (my_judge) and green (my_judge) disagree: from base" in loud
    assert folded.split("</details>")[0].count("disagree: from") == 2


def test_the_page_escapes_everything_that_was_written(tmp_path, root):
    text = page_of(tmp_path, root, text=EVIL)
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text
    assert [case["question"] for case in cases_of(text)] == [EVIL] * 2


def test_a_long_text_is_cut_and_says_how_long_it_is(tmp_path, root):
    text = page_of(tmp_path, root, text="long " * LONGEST)
    assert cases_of(text)[0]["reference"] == {"start": ("long " * LONGEST)[:LONGEST], "length": 5 * LONGEST}
    assert len(text) < 500_000 + 10 * LONGEST


def test_an_image_is_scaled_once_and_stands_inside_the_page_while_it_is_small(tmp_path):
    for name, size in (("a.png", (1280, 640)), ("b.png", (64, 32))):
        Pillow.new("RGB", size, (9, 99, 9)).save(tmp_path / name)
    paths = {"aaa": "a.png", "bbb": "b.png"}
    inside = store_images(tmp_path, paths, tmp_path / "images", 10**6, 1)
    assert [kind for kind, _ in inside.inside.values()] == ["image/jpeg", "image/png"] and not inside.files
    beside = store_images(tmp_path, paths, tmp_path / "images", 100, 1)
    assert not beside.inside and list(beside.files.values()) == ["images/aaa.jpg", "images/bbb.png"]
    assert Pillow.open(tmp_path / "images/aaa.jpg").size == (640, 320)
    store_images(tmp_path, paths, tmp_path / "images", 10**6, 1)
    assert list((tmp_path / "images").iterdir()) == []


def test_several_processes_scale_images_alike(tmp_path):
    for number in range(20):
        Pillow.new("RGB", (900, 300), (number, 99, 9)).save(tmp_path / f"{number}.png")
    paths = {str(number): f"{number}.png" for number in range(20)}
    alone = store_images(tmp_path, paths, tmp_path / "images", 10**7, 1)
    assert store_images(tmp_path, paths, tmp_path / "images", 10**7, 2) == alone


def test_the_same_split_gives_the_same_page(split, page, tmp_path):
    write_page(**(split | {"out": tmp_path / "index.html", "images": tmp_path / "images"}))
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == page


def test_the_command_line_takes_what_the_function_takes(split, page, tmp_path):
    changed = split | {"out": tmp_path / "index.html", "images": tmp_path / "images"}
    command = [sys.executable, "-m", "workflow_scripts.report.page", *as_flags(changed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == page


@pytest.fixture
def template(tmp_path) -> Path:
    (tmp_path / "t.jinja").write_text(
        '{% extends "base.html.jinja" %}{% block title %}{{ title }}{% endblock %}'
        '{% block content %}<p>{{ title }}</p><script type="application/json">{{ value | script_json }}</script>'
        "{% endblock %}"
    )
    return tmp_path


def test_a_page_forbids_every_script_but_its_own(template):
    text = render_page(template, "t.jinja", script="run();", title=HOSTILE, value=[HOSTILE])
    digest = base64.b64encode(hashlib.sha256(b"run();").digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "unsafe-eval" not in policy and "http" not in policy
    assert text.count("<script") == 2 and "<script>run();</script>" in text
    assert json.loads(re.search(r'json">(.*?)</script>', text)[1]) == [HOSTILE]
    without = render_page(template, "t.jinja", title="", value=1)
    assert "script-src &#39;none&#39;;" in without


def test_a_control_of_direction_is_shown_and_turns_nothing(template):
    text = render_page(template, "t.jinja", title="a\u202eb\u2066c", value=1)
    assert "<p>a[U+202E]b[U+2066]c</p>" in text


def test_a_script_that_would_end_its_element_is_an_error(template):
    with pytest.raises(ValueError, match="would end its element"):
        render_page(template, "t.jinja", script="'</SCRIPT>'", title="", value=1)


def test_data_in_a_page_hold_no_character_that_ends_or_breaks_a_script():
    text = script_json({"a": HOSTILE, "b": "\u2028\u2029"})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": HOSTILE, "b": "\u2028\u2029"}


def test_a_drawing_brings_no_script_and_its_names_are_its_own():
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" onload="run()">'
        '<script>run()</script><foreignObject/><clipPath id="c"/><g clip-path="url(#c)" fill="#1B1F24"/>'
        '<a xlink:href="javascript:run()"><use xlink:href="#c"/></a><text>&lt;b&gt;</text></svg>'
    )
    svg = inline_svg(drawing, name="one", title='"<words>"', colours={"#1b1f24": "var(--ink)"})
    assert "run()" not in svg and "foreignObject" not in svg
    assert 'id="one-c"' in svg and "url(#one-c)" in svg and '"#one-c"' in svg
    assert 'fill="var(--ink)"' in svg and "&lt;b&gt;" in svg and 'role="img"' in svg
    with pytest.raises(ValueError, match="is not SVG"):
        inline_svg("<p>", name="two", title="")
