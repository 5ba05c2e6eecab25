"""The page says what the tables say: verdict, cautions, judges and comparisons."""

import io
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from tests.conftest import make_row
from tests.data.roots import converted, png, write_subset
from tests.data.roots import row as record
from tests.report.pages import cases_of, index_of, page_of
from tests.report.rows import comparison, filled, metric
from tests.report.splits import JUDGE, as_flags
from workflow_scripts.core.metrics import NOTES
from workflow_scripts.core.rows import (
    Agreement,
    AuditFinding,
    Image,
    LeftOutRow,
    Prediction,
    QuarantinedRow,
    Row,
)
from workflow_scripts.core.tables import write_rows
from workflow_scripts.data.auditing.facts import audit_findings
from workflow_scripts.report.page import write_page
from workflow_scripts.report.summary.cautions import (
    differing_conditions,
    is_chest_xray,
    leak_cautions,
    quarantine_cautions,
)
from workflow_scripts.report.summary.seen import alike_in_training, seen_in_training, seen_rows
from workflow_scripts.report.summary.verdict import against_baselines, change_of, verdict_of


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
    # A case that a source names ties a patient's rows over subsets; one read from a file's name bears its subset.
    assert seen_in_training(rows, [replace(rows[2], images=(other,), subset="elsewhere")]) == {"row/2"}
    assert seen_in_training(rows, [replace(rows[2], images=(other,), case_id="elsewhere/2")]) == frozenset()


def photograph(**save) -> bytes:
    """The same shapes in every encoding."""
    coarse = Pillow.fromarray(np.random.default_rng(1).integers(0, 255, (6, 6, 3), dtype=np.uint8))
    stream = io.BytesIO()
    coarse.resize((240, 180), Pillow.Resampling.BICUBIC).save(stream, **save)
    return stream.getvalue()


def test_a_new_encoding_of_a_training_image_is_marked_and_said(tmp_path):
    """From files to the page: the audit lists the pair, and the page marks every row of the evaluated image."""
    root, path = tmp_path / "root", "imagesVal/scan of a looks like b.png"
    write_subset(root, [record("imagesTr/a.jpg")], {"imagesTr/a.jpg": photograph(format="JPEG", quality=50)})
    evaluated = [record(path), record(path, "Which?", "B"), record("imagesVal/c.png")]
    images = {path: photograph(format="PNG"), "imagesVal/c.png": png(3)}
    write_subset(root, evaluated, images, folder="validation-public")
    result = converted(root, tmp_path)
    training = [row for row in result.rows if row.folder == "training"]
    rows = [row for row in result.rows if row.folder != "training"]
    findings = audit_findings(result.rows, [], result.images)
    assert [finding.kind for finding in findings] == ["near_duplicate"] and len(rows) == 3
    write_rows(tmp_path / "audit.parquet", findings, AuditFinding)
    write_rows(tmp_path / "splits/train/rows.parquet", training, Row)
    known = {"training": [tmp_path / "splits/train/rows.parquet"], "trained_on": [("a", "train")]}
    text = page_of(tmp_path, root, rows=rows, audit=tmp_path / "audit.parquet", **known)
    assert "a was trained on images that look like those of 2 of the 3 evaluated rows" in text
    index = index_of(text)
    bit = index["signs"]["a row whose look-alike its training saw"]
    assert [signs & bit for signs in index["answers"][0]["signs"]] == [bit, bit, 0]
    assert "look like those" not in page_of(tmp_path, root, rows=rows, **known)


def test_a_look_alike_that_no_system_was_trained_on_is_not_said(root):
    every = [replace(make_row(root, n), images=(Image(f"{n}.png", f"sha {n}", 1, 1),)) for n in range(4)]
    rows, trained = every[:2], every[2:]
    detail = f"{trained[0].images[0].path} looks like {rows[1].images[0].path} of {rows[1].uid} (3 of 256 bits differ)"
    near = [replace(filled(AuditFinding, uid=trained[0].uid, detail=detail), kind="near_duplicate")]
    assert alike_in_training(rows, trained, near) == {rows[1].uid}
    assert alike_in_training(rows, trained[1:], near) == frozenset()
    both = seen_rows(rows, {"train": [*trained, rows[1]]}, [("tuned", "train"), ("other", "else")], near)
    assert both.same == {"tuned": {rows[1].uid}} and both.alike == {"tuned": frozenset()}


def test_leaked_rows_that_were_left_out_are_counted():
    rows = [LeftOutRow(str(n), "s", "t", reason, "") for n, reason in enumerate(["leaked_image", "no_answer"])]
    (caution,) = leak_cautions({"train": rows})
    assert caution.text.startswith("One training row of the split train shared")


def test_many_unusable_rows_of_what_is_evaluated_are_told_and_few_or_harmless_ones_are_not(root):
    rows = [make_row(root, n) for n in range(19)]
    folder, subset = rows[0].folder, rows[0].subset

    def lost(*reasons: str, folder: str = folder, subset: str = subset, source_row: int | None = 1):
        return [QuarantinedRow("f.json", source_row, subset, reason, "", "", None, folder, ()) for reason in reasons]

    (caution,) = quarantine_cautions(rows, lost("missing_image"))
    assert caution.text.startswith(f"Beside the 19 evaluated rows, 1 source row of the same subsets in {folder}")
    assert "(1 missing image)" in caution.text
    several = lost("no_answer", "missing_image", "missing_image", "superseded")
    assert "3 source rows" in quarantine_cautions(rows, several)[0].text
    assert "(2 missing image, 1 no answer)" in quarantine_cautions(rows, several)[0].text
    others = [*lost("no_answer", folder="elsewhere"), *lost("no_answer", subset="other")]
    others += [*lost("superseded", "duplicate"), *lost("bad_file", source_row=None)]
    assert quarantine_cautions(rows, others) == []
    assert quarantine_cautions([*rows, make_row(root, 19)], lost("missing_image")) == []


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


def test_the_same_split_gives_the_same_page(split, page, tmp_path):
    write_page(**(split | {"out": tmp_path / "index.html", "images": tmp_path / "images"}))
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == page


def test_the_command_line_takes_what_the_function_takes(split, page, tmp_path):
    changed = split | {"out": tmp_path / "index.html", "images": tmp_path / "images"}
    command = [sys.executable, "-m", "workflow_scripts.report.page", *as_flags(changed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == page
