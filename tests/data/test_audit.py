"""The audit finds what was planted and nothing else, and counts what there is."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.data.roots import convert_rows, converted, png, pngs, row, write_converted, write_subset
from workflow_scripts.core.rows import AuditFinding, Box, LabelCount, SubsetSummary
from workflow_scripts.core.tables import read_rows
from workflow_scripts.data.auditing.facts import approximate_tokens, audit_findings, label_counts, summarise
from workflow_scripts.data.conversion.reasons import FINDINGS, REASONS


def audit(result, root, place):
    """Run the step; returns its tables and its page."""
    write_converted(result, place)
    names = ("rows", "quarantine", "images", "conventions", "findings", "summary", "balance")
    files = [part for name in names for part in (f"--{name}", str(place / f"{name}.parquet"))]
    command = [sys.executable, "-m", "workflow_scripts.data.audit", "--root", str(root), *files]
    subprocess.run([*command, "--page", str(place / "audit.html")], check=True)
    kinds = (AuditFinding, SubsetSummary, LabelCount)
    tables = [read_rows(place / f"{name}.parquet", kind) for name, kind in zip(names[4:], kinds, strict=True)]
    return (*tables, (place / "audit.html").read_text(encoding="utf-8"))


def findings_of(result):
    return audit_findings(result.rows, result.quarantine, result.images)


@pytest.fixture(scope="session")
def audited(toy, toy_root, tmp_path_factory):
    return audit(toy, toy_root, tmp_path_factory.mktemp("audit"))


def test_the_audit_finds_every_planted_defect_and_nothing_else(audited, toy_root):
    planted = json.loads((toy_root / "planted.json").read_text())
    findings = sorted((f.kind, f.source_file, f.source_row) for f in audited[0])
    assert findings == sorted((p["kind"], p["file"], p["row"]) for p in planted)
    assert len({p["kind"] for p in planted}) >= 14
    assert {f.kind for f in audited[0]} <= set(REASONS | FINDINGS)


def test_the_real_root_can_be_audited(real_root, tmp_path):
    result = converted(real_root, tmp_path)
    findings, summaries, counts, page = audit(result, real_root, tmp_path)
    assert sum(entry.rows for entry in summaries) + sum(f.action == "quarantined" for f in findings) == 235
    assert counts and "of 235 records can be used" in page


def test_the_summary_counts_every_row_once(audited, toy):
    assert sum(entry.rows for entry in audited[1]) == len(toy.rows)
    cells = next(e for e in audited[1] if (e.subset, e.folder) == ("cells", "training"))
    numbers = [r.number for r in toy.rows if (r.subset, r.folder) == ("cells", "training")]
    assert (cells.least, cells.greatest, cells.rows) == (min(numbers), max(numbers), len(numbers))


def test_the_balance_counts_labels_and_the_empty_set(tmp_path):
    question = "Which? Choose from: a, b."
    rows = [
        row(f"imagesTr/{i}.png", question, a, "multi-label classification") for i, a in enumerate(("a, b", "a", ""))
    ]
    counted = label_counts(convert_rows(tmp_path, rows).rows)
    assert {entry.label: entry.rows for entry in counted} == {"a": 2, "b": 1, "": 1}


def test_a_leak_is_reported_of_the_training_row(tmp_path):
    root = tmp_path / "root"
    write_subset(root, [row("imagesTr/0.png"), row("imagesTr/1.png")], pngs(2))
    write_subset(root, [row("imagesVal/c.png")], {"imagesVal/c.png": png(0)}, folder="validation-public")
    (finding,) = findings_of(converted(root, tmp_path))
    assert (finding.kind, finding.action) == ("leaked_image", "left out")
    assert finding.uid == "training/Xray/ds/ds_questions_train/0"


def test_what_a_policy_let_pass_or_repaired_is_reported(tmp_path):
    result = convert_rows(tmp_path, [row("imagesTr/0.png", answer="T")], answer_not_an_option="keep")
    (finding,) = findings_of(result)
    assert (finding.kind, finding.action) == ("kept_defect", "kept")


def test_lengths_are_near_to_tokens():
    assert approximate_tokens("[[12, 3]]") == 8
    assert approximate_tokens("No acute disease.") == 4
    signs = [chr(code) for code in range(128)]
    for text in ("".join(signs), "a".join(signs), "_a b".join(reversed(signs)), '{"1": [[3.5, 4]]}'):
        assert approximate_tokens(text) == approximate_tokens(f"{text} é") - 1  # counted by a pattern


def test_lengths_can_be_counted_with_a_tokenizer(toy):
    summaries = summarise(toy.rows[:50], lambda text: 3)
    assert {entry.answer_tokens for entry in summaries} == {3.0}


def test_tables_and_page_hold_no_path_of_this_machine(audited, toy_root):
    text = repr(audited[:3]) + audited[3]
    assert str(toy_root) not in text


def test_swapped_boxes_are_seen_by_what_a_row_holds_and_not_by_its_task(tmp_path):
    where = "Locate the {}. [x_min, y_min, x_max, y_max]"
    records = [
        row("imagesTr/0.png", where.format("fetal head"), [[0, 0, 4, 4]], "Detection"),
        row("imagesTr/0.png", where.format("pubic symphysis"), [[0, 0, 9, 9]], "Detection"),
    ]
    rows = [replace(each, task="another") for each in convert_rows(tmp_path, records).rows]
    assert [(f.kind, f.source_row) for f in audit_findings(rows, [], [])] == [
        ("swapped_boxes", 0),
        ("swapped_boxes", 1),
    ]
    assert rows[0].boxes == (Box(0, 0, 4, 4),)
