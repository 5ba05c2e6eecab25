"""Every prediction of a file is that of one row or is listed with a reason; what is exported comes back unchanged."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import make_row
from workflow_scripts.cache.given_files import identity_of_file
from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Prediction, Row, UnmatchedPrediction
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.infer.export import export
from workflow_scripts.infer.imported import flare26_uid, match, write_imported
from workflow_scripts.infer.prediction_files import Entry, challenge_key

OUTPUTS = os.environ.get("FLAREBENCH_MODEL_OUTPUTS")


def key_of(row: Row) -> str:
    return challenge_key(json.loads(row.image_name), row.question)


@pytest.fixture(scope="module")
def rows(root):
    """Rows of two files; the images of row 7 and its question are those of row 6, and one has a single name."""
    rows = [make_row(root, n, question=f"How many, {n}?") for n in range(8)]
    rows[3] = replace(rows[3], image_name='"imagesVal/3 é.png"')
    rows[7] = replace(rows[7], question=rows[6].question, image_name=rows[6].image_name)
    return [replace(row, source_file=f"training/Xray/marks/q{row.source_row % 2}.json") for row in rows]


def test_what_was_read_of_a_file_is_noted_for_later_plans(rows, tmp_path):
    """As the rule calls the step: the plan's name of the file's state, and where to note what was read."""
    source, seen = tmp_path / "theirs.jsonl", tmp_path / "predictions/theirs.seen.json"
    source.write_text(json.dumps({"uid": rows[0].uid, "prediction": "3"}))
    write_rows(tmp_path / "rows.parquet", rows, Row)
    planned = identity_of_file(source, seen)
    write_imported(source=source, split=tmp_path / "rows.parquet", system="theirs", content=planned, seen=seen,
                   out=tmp_path / "o", unmatched=tmp_path / "u")  # fmt: skip
    assert json.loads(seen.read_text())["identity"] == planned == identity_of_file(source, seen)
    source.write_text(json.dumps({"uid": rows[0].uid, "prediction": "4"}))
    os.utime(source, (1, 1))
    assert identity_of_file(source, seen) != planned


def imported(
    rows: list[Row], path: str, content: str | bytes, folder: Path
) -> tuple[dict[str, str], list[UnmatchedPrediction], str]:
    """Texts by uid, unmatched predictions, and the summary."""
    source = folder / path
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    write_rows(folder / "rows.parquet", rows, Row)
    out, unmatched = folder / "out.parquet", folder / "unmatched.parquet"
    summary = write_imported(
        source=source, split=folder / "rows.parquet", system="theirs", out=out, unmatched=unmatched
    )
    predictions = read_rows(out, Prediction)
    assert all(row.finish_reason == "imported" and row.system == "theirs" for row in predictions)
    uids = [row.uid for row in predictions]
    assert uids == [row.uid for row in rows if row.uid in set(uids)]
    return (
        {row.uid: row.text for row in predictions},
        read_rows(unmatched, UnmatchedPrediction),
        summary.removeprefix("import: "),
    )


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv"])
def test_a_uid_and_its_prediction_are_enough(rows, tmp_path, ending):
    records = [{"uid": row.uid, "prediction": f'it is, "so",\n{n}\u2028 é'} for n, row in enumerate(rows)]
    if ending == "csv":
        with (tmp_path / "theirs.csv").open("w", newline="", encoding="utf-8-sig") as stream:
            writer = csv.DictWriter(stream, ["uid", "prediction"])
            writer.writeheader()
            writer.writerows(records)
        content = (tmp_path / "theirs.csv").read_bytes()
    elif ending == "jsonl":
        content = "\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n"
    else:
        content = json.dumps(records)
    texts, unmatched, summary = imported(rows, f"p.{ending}", content, tmp_path)
    assert texts == {record["uid"]: record["prediction"] for record in records} and not unmatched
    assert summary == "8 predictions given, 8 matched to 8 rows, 0 unmatched"


def test_the_challenges_key_names_a_row_and_an_ambiguous_one_is_not_guessed(rows, tmp_path):
    by_key = {key_of(row): row.uid for row in rows}
    assert len(by_key) == 7
    texts, unmatched, _ = imported(rows, "predictions.json", json.dumps(dict.fromkeys(by_key, "5")), tmp_path)
    assert texts == {row.uid: "5" for row in rows[:6]}
    assert [(row.key, row.reason) for row in unmatched] == [(key_of(rows[6]), "ambiguous")]


@pytest.mark.parametrize("field", ["prediction", "Answer"])
def test_image_names_and_question_name_a_row(rows, tmp_path, field):
    records = [
        {"ImageName": json.loads(row.image_name), "Question": row.question, field: row.answer} for row in rows[:6]
    ]
    texts, unmatched, _ = imported(rows, "p.json", json.dumps(records), tmp_path)
    assert texts == {row.uid: row.answer for row in rows[:6]} and not unmatched
    with (tmp_path / "theirs.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["ImageName", "Question", "prediction"])
        writer.writeheader()
        writer.writerows({**record, "prediction": record[field]} if field == "prediction" else
                         {"ImageName": record["ImageName"], "Question": record["Question"], "prediction": record[field]}
                         for record in records)  # fmt: skip
    assert imported(rows, "p.csv", (tmp_path / "theirs.csv").read_bytes(), tmp_path)[0] == texts


def test_a_prediction_beside_the_reference_answer_is_taken(rows, tmp_path):
    record = {"uid": rows[0].uid, "Answer": "the reference", "prediction": "mine"}
    assert imported(rows, "p.jsonl", json.dumps(record), tmp_path)[0] == {rows[0].uid: "mine"}


def test_what_is_no_text_becomes_its_json(rows, tmp_path):
    values = [3, 0.5, [[1, 2, 3, 4]], {"1": [[1, 2, 3, 4]]}, True, int("9" * 300)]
    content = json.dumps({row.uid: value for row, value in zip(rows, values, strict=False)})
    texts, unmatched, _ = imported(rows, "p.json", content, tmp_path)
    assert list(texts.values()) == ["3", "0.5", "[[1, 2, 3, 4]]", '{"1": [[1, 2, 3, 4]]}', "true", "9" * 300]
    assert not unmatched


def test_repeated_answers_count_once_and_contradictory_ones_not_at_all(rows, tmp_path):
    uid = [row.uid for row in rows]
    records = [(uid[0], "1"), (uid[1], "1"), (uid[0], "1"), (uid[1], "2"), (uid[2], "3"), ("elsewhere/9", "4")]
    content = "\n".join(json.dumps({"uid": u, "prediction": p}) for u, p in records)
    texts, unmatched, summary = imported(rows, "p.jsonl", content, tmp_path)
    assert texts == {uid[0]: "1", uid[2]: "3"}
    assert [(r.place, r.reason) for r in unmatched] == [
        (2, "contradictory"), (3, "repeated"), (4, "contradictory"), (6, "not_in_split"),
    ]  # fmt: skip
    assert "4 unmatched, 2 contradictory, 1 not_in_split, 1 repeated; 6 of 8 rows have no" in summary
    twice = f'{{"{uid[0]}": "1", "{uid[1]}": "1", "{uid[0]}": "2"}}'
    texts, unmatched, _ = imported(rows, "p.json", twice, tmp_path)
    assert texts == {uid[1]: "1"} and [r.reason for r in unmatched] == ["contradictory"] * 2


FAULTS = {
    '{"uid": "row/1", "prediction": "cut': "unreadable",
    "[" * 100_000: "unreadable",
    '{"uid": "row/1", "prediction": ' + "[" * 900 + "]" * 900 + "}": None,
    '["row/1", "text"]': "unreadable",
    "null": "unreadable",
    '{"uid": "row/1", "uid": "row/2", "prediction": "1"}': "unreadable",
    '{"uid": "row/1", "prediction": {"1": [], "1": []}}': "unreadable",
    '{"uid": "row/1"}': "no_prediction",
    '{"uid": "row/1", "prediction": null}': "no_prediction",
    '{"prediction": "5"}': "no_key",
    '{"uid": 5, "prediction": "5"}': "no_key",
    '{"ImageName": [["x"]], "Question": "?", "prediction": "5"}': "no_key",
    '{"uid": "row/1", "prediction": "\\ud83d"}': "bad_text",
    '{"uid": "\\ud83d", "prediction": "5"}': "not_in_split",
    '{"uid": "row/1", "prediction": ' + "9" * 5000 + "}": None,
    '{"uid": "row/1", "prediction": NaN}': None,
    '{"uid": "row/1", "prediction": ""}': None,
}


@pytest.mark.parametrize("line", FAULTS, ids=lambda line: line[:40])
def test_a_line_that_cannot_be_used_is_listed_and_costs_no_other(rows, tmp_path, line):
    content = json.dumps({"uid": "row/0", "prediction": "1"}) + "\n" + line + "\n"
    texts, unmatched, _ = imported(rows, "p.jsonl", content, tmp_path)
    assert texts["row/0"] == "1"
    if FAULTS[line] is None:
        assert "row/1" in texts and not unmatched
    else:
        assert [(row.place, row.reason) for row in unmatched] == [(2, FAULTS[line])]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.json", b"{", "is not valid JSON"),
        ("p.json", b'{"uid": "a"}\n{"uid": "b"}', "name JSON lines .jsonl"),
        ("p.json", b"[" * 100_000, "nested too deeply"),
        ("p.json", b"3", "holds int; expected a list of records"),
        ("p.jsonl", b"\xff\xfe", "is not valid UTF-8"),
        ("p.csv", b"", "found none"),
        ("p.csv", b"id,text\n1,2\n", "found id,text"),
        ("p.csv", b"uid,prediction,prediction\n1,2,3\n", "each once"),
        ("p.csv", b'uid,prediction\nrow/1,"open\nrow/2,x\n', "is not valid CSV after line 1"),
        ("p.txt", b"", "ends in .jsonl, .json or .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(rows, tmp_path, name, content, words):
    with pytest.raises(BadFile, match=words) as error:
        imported(rows, name, content, tmp_path)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_csv_lines_of_another_length_are_listed(rows, tmp_path):
    texts, unmatched, _ = imported(rows, "p.csv", "uid,prediction\nrow/0,1\nrow/1\nrow/2,1,2\n", tmp_path)
    assert list(texts) == ["row/0"] and [row.reason for row in unmatched] == ["unreadable"] * 2


def test_a_file_about_other_rows_is_refused(rows, tmp_path):
    with pytest.raises(Refused, match=r"1 predictions given, 0 matched to 8 rows, 1 unmatched.*a row here: row/0"):
        imported(rows, "p.json", '{"elsewhere": "1"}', tmp_path)


def test_the_summary_says_where_the_unmatched_predictions_are(rows, tmp_path):
    content = json.dumps({row.uid: "1" for row in rows} | {"elsewhere": "1"})
    *_, summary = imported(rows, "p.json", content, tmp_path)
    assert summary.endswith(f"1 unmatched, 1 not_in_split; {tmp_path / 'unmatched.parquet'} names the unmatched")


def test_the_step_says_its_counts_and_fails_in_one_sentence(rows, tmp_path):
    imported(rows, "p.json", '{"row/0": "1"}', tmp_path)
    command = [sys.executable, "-m", "workflow_scripts.infer.imported", "--split", tmp_path / "rows.parquet"]
    command += ["--system", "x", "--out", tmp_path / "o", "--unmatched", tmp_path / "u", "--source"]
    done = subprocess.run([*map(str, command), str(tmp_path / "p.json")], capture_output=True, text=True)
    counts = "import: 1 predictions given, 1 matched to 8 rows, 0 unmatched"
    assert done.stdout == f"{counts}; 7 of 8 rows have no prediction and are scored as missing, the first: row/1\n"
    done = subprocess.run([*map(str, command), "none.json"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: none.json cannot be read") and not done.stdout


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_selection_of_predictions_is_matched_or_listed(rows, data):
    """Subsets, orders, repetitions, each of the names, and entries with a fault."""
    names = [(row.uid, {row.uid}) for row in rows]
    names += [(f"{flare26_uid(row).rsplit(':', 1)[0]}:counting:{row.source_row}", {row.uid}) for row in rows]
    names += [(key_of(row), {r.uid for r in rows if key_of(r) == key_of(row)}) for row in rows]
    names += [("elsewhere", set()), ("a:b:c:d:e:f", set())]
    drawn = data.draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(["1", "2", ""]), st.booleans())))
    entries = [
        Entry(place, (name,), text, "bad_text" if fault else None)
        for place, ((name, _), text, fault) in enumerate(drawn, start=1)
    ]
    texts, unmatched = match(rows, entries)
    assert len(texts) + len(unmatched) == len(entries)
    assert [row.place for row in unmatched] == sorted({row.place for row in unmatched})
    said: dict[str, set[str]] = {}
    for (_, uids), text, fault in drawn:
        if len(uids) == 1 and not fault:
            said.setdefault(min(uids), set()).add(text)
    assert texts == {uid: min(answers) for uid, answers in said.items() if len(answers) == 1}


def row_of_foreign_uid(root, number: int, uid: str) -> Row:
    _, subset, file, case, _, place = uid.split(":")
    return make_row(
        root, 1, uid=f"validation-public/Any/{subset}/{file}/{place}", subset=subset, folder="validation-public",
        source_file=f"validation-public/Any/{subset}/{file}.json", source_row=int(place), case_id=case,
        image_name=json.dumps(f"imagesVal/{case}.png" if number % 2 else [f"imagesVal/{case}.png"]),
        question=f"{number}?",
    )  # fmt: skip


@pytest.mark.skipif(not OUTPUTS, reason="FLAREBENCH_MODEL_OUTPUTS does not name a folder of recorded model outputs")
@pytest.mark.parametrize("system", ["base", "tuned"])
@pytest.mark.parametrize("ours", [True, False], ids=["by their uid mapped to our rows", "by equal uids"])
def test_real_outputs_are_imported_without_loss(root, tmp_path, system, ours):
    source = Path(OUTPUTS) / f"medgemma15_{system}_validation_public.jsonl"
    records = [json.loads(line) for line in source.read_text().splitlines()]
    rows = [row_of_foreign_uid(root, n, record["uid"]) for n, record in enumerate(records)]
    if not ours:
        rows = [replace(row, uid=record["uid"]) for row, record in zip(rows, records, strict=True)]
    texts, unmatched, summary = imported(rows, "p.jsonl", source.read_bytes(), tmp_path)
    assert summary == "5577 predictions given, 5577 matched to 5577 rows, 0 unmatched" and not unmatched
    assert [texts[row.uid] for row in rows] == [record["prediction"] for record in records]
    texts, unmatched, _ = imported(rows[::2], "p.jsonl", source.read_bytes(), tmp_path)
    assert Counter(row.reason for row in unmatched) == {"not_in_split": 2788} and len(texts) == 2789


def test_a_foreign_uid_with_another_case_at_its_place_is_not_matched(root):
    uid = "validation:ds:ds_questions_val:case_1:detection:4"
    rows = [row_of_foreign_uid(root, 0, uid)]
    assert match(rows, [Entry(1, (uid,), "x")])[0]
    for other in (uid.replace("case_1", "case_2"), uid.replace(":4", ":5"), uid.replace("validation", "train")):
        assert not match(rows, [Entry(1, (other,), "x")])[0]


@pytest.mark.parametrize("with_uid", [True, False])
def test_an_export_comes_back_as_it_was(rows, tmp_path, with_uid):
    write_rows(tmp_path / "rows.parquet", rows, Row)
    answered = rows[:3] + rows[4:] if with_uid else rows[:3] + rows[4:6]
    predictions = [Prediction(row.uid, "a", f" {n}\n\u2028", "stop") for n, row in enumerate(answered)]
    write_rows(tmp_path / "a.parquet", predictions, Prediction)
    export(split=tmp_path / "rows.parquet", predictions=tmp_path / "a.parquet", out=tmp_path / "a.json")
    records = json.loads((tmp_path / "a.json").read_text())
    assert [f"{r['ImageName']}||{r['Question']}" for r in records] == [key_of(row) for row in answered]
    if not with_uid:
        records = [{key: value for key, value in record.items() if key != "uid"} for record in records]
    texts, unmatched, _ = imported(rows, "a.json", json.dumps(records), tmp_path)
    assert texts == {row.uid: row.text for row in predictions} and not unmatched
