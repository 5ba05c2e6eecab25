"""The audit finds what was planted and nothing else, counts what there is, and its page is safe and whole."""

import html.parser
import json
import subprocess
import sys

import pytest

from tests.data.roots import OPTIONS, convert_rows, converted, image, images, row, write_set
from workflow_scripts.core.tables import AUDIT, BALANCE, QUARANTINE, ROWS, SUMMARY, read_table, write_table
from workflow_scripts.data.auditing.facts import approximate_tokens, balance, findings, summary
from workflow_scripts.data.conversion.reasons import FINDINGS, REASONS


def audit(result, root, place):
    """Run the step; returns its tables and its page."""
    write_table(place / "rows.parquet", result.rows, ROWS)
    write_table(place / "quarantine.parquet", result.quarantine, QUARANTINE)
    names = ("rows", "quarantine", "findings", "summary", "balance")
    files = [part for name in names for part in (f"--{name}", str(place / f"{name}.parquet"))]
    command = [sys.executable, "-m", "workflow_scripts.data.audit", "--root", str(root), *files]
    subprocess.run([*command, "--page", str(place / "audit.html")], check=True)
    tables = [read_table(place / f"{n}.parquet", s) for n, s in zip(names[2:], (AUDIT, SUMMARY, BALANCE), strict=True)]
    return (*(table.to_pylist() for table in tables), (place / "audit.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def audited(made, toy_root, tmp_path_factory):
    return audit(made, toy_root, tmp_path_factory.mktemp("audit"))


def test_the_audit_finds_every_planted_defect_and_nothing_else(audited, toy_root):
    planted = json.loads((toy_root / "planted.json").read_text())
    found = sorted((f["kind"], f["source_file"], f["source_row"]) for f in audited[0])
    assert found == sorted((p["kind"], p["file"], p["row"]) for p in planted)
    assert len({p["kind"] for p in planted}) >= 14
    assert {f["kind"] for f in audited[0]} <= set(REASONS | FINDINGS)


def test_the_real_tree_can_be_audited(real_tree, tmp_path):
    result = converted(real_tree, tmp_path)
    found, told, counted, page = audit(result, real_tree, tmp_path)
    assert sum(entry["rows"] for entry in told) + len(found) == 235
    assert counted and "235 rows in" in page


def test_the_summary_counts_every_kept_row_once(audited, made):
    assert sum(entry["rows"] for entry in audited[1]) == len(made.rows)
    cells = next(e for e in audited[1] if (e["dataset"], e["folder"]) == ("cells", "training"))
    numbers = [r["number"] for r in made.rows if (r["dataset"], r["folder"]) == ("cells", "training")]
    assert (cells["least"], cells["greatest"], cells["rows"]) == (min(numbers), max(numbers), len(numbers))


def test_the_balance_counts_labels_and_the_empty_set(tmp_path):
    question = "Which? Choose from: a, b."
    rows = [
        row(f"imagesTr/{i}.png", question, a, "multi-label classification") for i, a in enumerate(("a, b", "a", ""))
    ]
    counted = balance(convert_rows(tmp_path, rows).rows)
    assert {entry["label"]: entry["rows"] for entry in counted} == {"a": 2, "b": 1, "": 1}


def test_a_leak_is_told_of_the_training_row(tmp_path):
    root = tmp_path / "tree"
    write_set(root, [row("imagesTr/0.png"), row("imagesTr/1.png")], images(2))
    write_set(root, [row("imagesVal/c.png")], {"imagesVal/c.png": image(0)}, folder="validation-public")
    (found,) = findings(converted(root, tmp_path).rows, [])
    assert (found["kind"], found["action"]) == ("leaked_image", "left out")
    assert found["uid"] == "training/Xray/ds/ds_questions_train/0"


def test_what_a_policy_kept_or_repaired_is_told(tmp_path):
    result = convert_rows(tmp_path, [row("imagesTr/0.png", answer="T")], answer_not_an_option="keep")
    (found,) = findings(result.rows, result.quarantine)
    assert (found["kind"], found["action"]) == ("kept_defect", "kept")


def test_lengths_are_near_to_tokens():
    assert approximate_tokens("[[12, 3]]") == 8
    assert approximate_tokens("No acute disease.") == 4


def test_lengths_can_be_counted_with_a_tokenizer(made):
    told = summary(made.rows[:50], lambda text: 3)
    assert {entry["answer_tokens"] for entry in told} == {3.0}


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources |= {value or "" for name, value in attrs if name in ("src", "href")}


def test_the_page_needs_no_network_and_shows_pictures(audited):
    links = _Links()
    links.feed(audited[3])
    assert {s.split(":")[0] for s in links.sources if not s.startswith("#")} == {"data"}
    assert audited[3].count("data:image/jpeg;base64,") >= 10
    assert "script" not in links.tags
    for kind in {f["kind"] for f in audited[0]}:
        assert f'id="{kind}"' in audited[3]


def test_whatever_a_row_says_is_escaped(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    rows = [row("imagesTr/0.png", OPTIONS + evil, evil), row(evil), row("imagesTr/1.png", task=evil)]
    root = tmp_path / "tree"
    result = convert_rows(tmp_path, rows)
    page = audit(result, root, tmp_path)[3]
    links = _Links()
    links.feed(page)
    assert len(result.quarantine) == 3
    assert "script" not in links.tags
    assert "&lt;script&gt;" in page
    assert "onerror=alert(2)>" not in page


def test_tables_and_page_hold_no_path_of_this_machine(audited, toy_root):
    text = json.dumps(audited[:3]) + audited[3]
    assert str(toy_root) not in text
