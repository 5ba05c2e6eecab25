"""The cases escape what others wrote, and their colours, boxes and findings follow the tasks' metrics."""

import json
from dataclasses import replace

import pytest
from PIL import Image as Pillow

from tests.conftest import make_row
from tests.report.pages import cases_of, index_of, page_of
from tests.report.rows import filled
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import (
    Box,
    ExpectedFormat,
    Instance,
    Option,
    Outcome,
    Row,
    RowFact,
)
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.cases.boxes import row_boxes
from workflow_scripts.report.cases.images import store_images
from workflow_scripts.report.cases.payload import LONGEST, LONGEST_NAME, SIGNS
from workflow_scripts.report.cases.scores import level_of
from workflow_scripts.report.page import shown_rows

EVIL = "<script>alert(1)</script> & \"quoted\" '{{ 7 * 7 }}'"


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


def test_boxes_in_a_models_own_form_stand_beside_what_they_are_carried_to(tmp_path, root):
    row = replace(make_row(root, 1), task="detection", boxes=(Box(64, 48, 320, 480),))
    native, carried = '[{"box_2d": [100, 100, 1000, 500]}]', "[[64, 48, 320, 480]]"
    read = {"text": native, "answer": carried, "strict": carried}
    (case,) = cases_of(page_of(tmp_path, root, rows=[row], outcome=read))
    (answer,) = case["answers"]
    assert (answer["text"], answer["final"], answer["cut"]) == (native, carried, False)
    assert answer["boxes"][0][1:5] == [64, 48, 320, 480] and "fault" not in answer
    faulty = {"text": EVIL, "answer": EVIL, "outcome": "malformed", "box_fault": f"{EVIL} is not a box"}
    text = page_of(tmp_path, root, rows=[row], outcome=faulty)
    (answer,) = cases_of(text)[0]["answers"]
    assert answer["fault"] == f"{EVIL} is not a box" and "final" not in answer and "<script>alert" not in text


def test_an_answer_that_is_read_as_it_is_stands_once(tmp_path, root):
    answers = [case["answers"][0] for case in cases_of(page_of(tmp_path, root, text="17"))]
    assert [(answer["text"], "final" in answer) for answer in answers] == [("17", False)] * 2


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


def test_the_page_escapes_everything_that_was_written(tmp_path, root):
    text = page_of(tmp_path, root, text=EVIL)
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text
    assert [case["question"] for case in cases_of(text)] == [EVIL] * 2


def test_a_long_text_is_cut_and_says_how_long_it_is(tmp_path, root):
    text = page_of(tmp_path, root, text="long " * LONGEST)
    assert cases_of(text)[0]["reference"] == {"start": ("long " * LONGEST)[:LONGEST], "length": 5 * LONGEST}
    assert len(text) < 500_000 + 10 * LONGEST


def test_a_long_name_is_cut_and_says_how_long_it_is(tmp_path, root):
    """Options, notes and identities are one line each: none makes the page large."""
    option, identity = "option " * 30_000, "chromosome " * 20_000
    expected = ExpectedFormat(answer_by="letter", options=(Option("A", option),))
    chosen = replace(make_row(root, 0), task="classification", labels=("A",), expected=expected, notes=(option,))
    boxed = replace(make_row(root, 1), task="instance_detection", instances=(Instance(identity, Box(0, 0, 9, 9)),))
    first, second = cases_of(page_of(tmp_path, root, rows=[chosen, boxed]))
    assert first["meant"] == [f"{f'A: {option}'[:LONGEST_NAME]} … ({len(option) + 3:,} characters)"]
    assert first["notes"] == [f"{option[:LONGEST_NAME]} … ({len(option):,} characters)"]
    assert len(second["boxes"][0][0]) < LONGEST_NAME + 30


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
