"""Rows without images: a table says that there are none, and all steps of the data stage take them."""

import json
from collections import Counter

from tests.data.roots import write_converted
from tests.data.tables import lab, plain, table_of
from tests.data.test_audit import audit
from workflow_scripts.data.sft import write_sft

KEYS = {"subset": {"text": "notes"}, "split": {"column": "split"}, "task": {"column": "task"}}


def question(number, **changes):
    row = {
        "task": "closed vqa",
        "question": f"Note {number}: no fever. Is there fever?",
        "answer": "no",
        "patient": "p",
    }
    return {"id": str(number), "split": "training" if number % 2 else "testing", **row, **changes}


def notes(folder, rows, **keys):
    """A table of these questions, prepared and converted."""
    return table_of(folder / "work", lab(folder / "lab", rows, "notes.jsonl"), **KEYS, **keys)


def test_a_table_without_images_gives_rows_without_images(tmp_path):
    table = notes(tmp_path, [question(n) for n in range(6)], images=[], case={"column": "patient"})
    assert table.faults == [] and len(table.result.rows) == 6
    assert {(row.images, row.image_name, row.case_id) for row in table.result.rows} == {((), "[]", "/case/p")}


def test_a_row_that_names_neither_case_nor_image_is_a_case_of_its_own(tmp_path):
    rows = notes(tmp_path, [question(n) for n in range(6)], images=[]).result.rows
    assert len({row.case_id for row in rows}) == 6 and all(row.case_id == row.uid for row in rows)


def test_optional_images_give_rows_of_both_kinds(tmp_path):
    rows = [question(n, image=plain(n)["image"] if n < 2 else None) for n in range(6)]
    table = notes(tmp_path, rows, images=[{"column": "image", "optional": True}])
    assert Counter(len(row.images) for row in table.result.rows) == {0: 4, 1: 2} and table.faults == []


def test_boxes_need_an_image(tmp_path):
    rows = [question(0), question(1, task="detection", question="Where is it?", answer=[[1, 2, 3, 4]])]
    table = notes(tmp_path, rows, images=[])
    assert len(table.result.rows) == 1
    assert table.faults == [("no_image_named", "boxes lie in an image, and the row has none")]


def test_equal_texts_are_duplicates_and_other_answers_to_them_contradict(tmp_path):
    same = {"question": "Is it?", "split": "training"}
    rows = [question(0, **same), question(1, **same), question(2), question(3, question="Was it?", split="training")]
    rows.append(question(4, question="Was it?", split="training", answer="yes"))
    table = notes(tmp_path, rows, images=[])
    assert Counter(reason for reason, _ in table.faults) == {"duplicate": 1, "contradiction": 2}
    assert len(table.result.rows) == 2


def test_the_audit_and_conversations_take_rows_without_images(tmp_path):
    table = notes(tmp_path, [question(n, answer=("no", "yes")[n // 2 % 2]) for n in range(40)], images=[])
    write_converted(table.result, tmp_path)
    findings, summaries, _, page = audit(table.result, table.root, tmp_path)
    assert findings == [] and "40 of 40 records can be used" in page
    assert {(entry.rows, entry.images, entry.images_a_row) for entry in summaries} == {(20, 0, 0)}
    write_sft(
        split=tmp_path / "rows.parquet", root=table.root, out=tmp_path / "a.jsonl", parquet=tmp_path / "a.parquet"
    )
    items = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(items) == 40 and all(item["images"] == [] for item in items)
    assert all(part["type"] == "text" for item in items for turn in item["messages"] for part in turn["content"])
