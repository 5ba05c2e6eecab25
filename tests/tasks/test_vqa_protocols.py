"""Each published protocol of VQA equals upstream on vectors that upstream's code made: row by row, and over all rows.

`tests/score/vectors/vqa_*.jsonl`: the first line says whose code at which commit made them, then one answer a line.
"""

import json
import math
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from workflow_scripts.core.metrics import Facts, ScoredAnswer
from workflow_scripts.core.tasks import load_part
from workflow_scripts.tasks.vqa import llava_med, medevalkit, squad

VECTORS = Path(__file__).parents[1] / "score" / "vectors"

OPEN, CLOSED = "open_vqa", "closed_vqa"
COLUMNS = {
    ("llava_med", "open"): {
        "exact_match": "llava_med_exact_match_as_published",
        "f1": "llava_med_f1_as_published",
        "precision": "llava_med_precision_as_published",
        "recall": "llava_med_recall_as_published",
        "bleu_1": "llava_med_bleu_1",
        "contained": "llava_med_contained_as_published",
    },
    ("llava_med", "closed"): {
        "closed": "llava_med_closed_accuracy_as_published",
        "contained": "llava_med_closed_contained_as_published",
        "recall": "llava_med_closed_recall_as_published",
    },
    ("llava_med_2023", "closed"): {"closed": "llava_med_closed_accuracy_2023_as_published"},
    ("medevalkit", "open"): {
        "em": "medevalkit_exact_match_as_published",
        "bleu1": "medevalkit_bleu_1_as_published",
        "f1": "medevalkit_f1_as_published",
        "precision": "medevalkit_precision_as_published",
        "recall": "medevalkit_recall_as_published",
    },
    ("medevalkit", "closed"): {
        "yes_no": "medevalkit_yes_no_accuracy_as_published",
        "slake": "medevalkit_slake_closed_accuracy_as_published",
    },
    ("lmms_eval", "open"): {"right": "lmms_eval_slake_accuracy"},
    ("lmms_eval", "closed"): {"right": "lmms_eval_slake_accuracy"},
    ("squad", "open"): {"f1": "token_f1", "exact_match": "exact_match"},
    ("squad", "closed"): {"f1": "token_f1", "exact_match": "exact_match"},
}
"""By vectors and kind of answer: what a line calls a value, and the metric that equals it."""
CASES = [(file, kind, key) for (file, kind), columns in COLUMNS.items() for key in columns]
CHINESE = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]")
"""In texts where words are told apart as SQuAD does not; nor is the reference A, which SQuAD drops as an article."""


@cache
def lines(file: str) -> tuple[dict, ...]:
    return tuple(map(json.loads, (VECTORS / f"vqa_{file}.jsonl").read_text(encoding="utf-8").splitlines()))


def of_kind(file: str, kind: str, key: str) -> list[dict]:
    """The rows of a kind of answer for which upstream gives the value, or raises."""
    rows = [line for line in lines(file)[1:] if line["type"] == kind and (key in line or "raises" in line)]
    if file == "squad":
        rows = [row for row in rows if not CHINESE.search(row["reference"] + row["answer"]) and row["reference"] != "A"]
    return rows


def facts_of(kind: str, pairs: list[tuple[str, str]]) -> Facts:
    """The facts of answers; neither reader read any, since protocols take the text."""
    answers = [
        ScoredAnswer(f"u{n}", "s", f"c{n}", "malformed", None, None, reference, answer)
        for n, (reference, answer) in enumerate(pairs)
    ]
    return load_part(OPEN if kind == "open" else CLOSED, "metrics").facts(answers)


def metric_of(facts: Facts, name: str):
    """The metric of that name; of two readings the strict one."""
    return next(metric for metric in facts.metrics if metric.name == name and metric.reading != "lenient")


def by_row(facts: Facts, name: str) -> np.ndarray:
    """A metric of each row on its own."""
    return np.asarray(metric_of(facts, name).value(facts.unpacked(facts.packed())), dtype=float)


def over_all(facts: Facts, name: str) -> float:
    return float(metric_of(facts, name).value(facts.unpacked(facts.packed().sum(axis=0))))


@cache
def row_facts(file: str, kind: str, key: str) -> Facts:
    return facts_of(kind, [(row["reference"], row["answer"]) for row in of_kind(file, kind, key)])


@pytest.mark.parametrize(("file", "kind", "key"), CASES)
def test_every_answer_scores_as_upstream_scored_it(file, kind, key):
    if file == "llava_med_2023":
        return  # of one row alone it tells nothing: see the next test
    rows = of_kind(file, kind, key)
    assert len(rows) >= 200
    wanted = [math.nan if "raises" in row else row[key] for row in rows]
    got = by_row(row_facts(file, kind, key), COLUMNS[file, kind][key])
    wrong = [
        (row["reference"], row["answer"], value, other)
        for row, value, other in zip(rows, got, wanted, strict=True)
        if value != pytest.approx(other, abs=1e-12, nan_ok=True)
    ]
    assert wrong == []


def test_a_wrong_yes_or_no_was_left_out_of_the_accuracy_until_december_2023():
    rows = of_kind("llava_med_2023", "closed", "closed")
    beside = [tuple(pair) for pair in lines("llava_med_2023")[0]["beside"]]
    assert len(rows) >= 200
    name = COLUMNS["llava_med_2023", "closed"]["closed"]
    for row in rows:
        facts = facts_of("closed", [(row["reference"], row["answer"]), *beside])
        assert over_all(facts, name) == pytest.approx(row["closed"], abs=1e-12), row


@pytest.mark.parametrize(("file", "kind", "key"), [case for case in CASES if case[0] != "squad"])
def test_all_answers_together_score_as_upstream_scored_their_file(file, kind, key):
    (whole,) = [line for line in lines(file) if line.get("type") == f"{kind} file"]
    pairs = [(row["reference"], row["answer"]) for row in of_kind(file, kind, key) if "raises" not in row]
    assert over_all(facts_of(kind, pairs), COLUMNS[file, kind][key]) == pytest.approx(whole[key], abs=1e-12)


def test_the_vectors_say_whose_code_made_them():
    for file in {file for file, _ in COLUMNS}:
        head = lines(file)[0]
        assert re.fullmatch(r"[\w-]+/[\w-]+", head["repository"]) and re.fullmatch(r"[0-9a-f]{40}", head["commit"])
        assert head["paths"] and head["made"]


def test_the_vectors_hold_the_faults_that_are_published():
    """Each fault that a definition names makes another value than what is mended, on some vector."""
    open_rows = [(row["reference"], row["answer"]) for row in of_kind("llava_med", "open", "f1")]
    closed_rows = [(row["reference"], row["answer"]) for row in of_kind("llava_med", "closed", "closed")]
    for kind, pairs in (("open", open_rows), ("closed", closed_rows)):
        facts = facts_of(kind, pairs)
        names = {metric.name for metric in facts.metrics}
        published = [name for name in names if name.endswith("_as_published") and name[:-13] in names]
        assert len(published) >= 3
        for name in published:
            first, second = by_row(facts, name), by_row(facts, name.removesuffix("_as_published"))
            # nothing stops what is mended, so that a stopped evaluation differs too
            assert (np.nan_to_num(first, nan=-1) != second).any(), name


def test_upstreams_raises_are_rows_without_words():
    raised = [row for row in of_kind("medevalkit", "open", "em") if "raises" in row]
    assert len(raised) >= 10 and {row["raises"] for row in raised} <= {"ValueError", "TypeError"}
    good = next(row for row in of_kind("medevalkit", "open", "em") if row.get("em"))
    facts = facts_of("open", [(row["reference"], row["answer"]) for row in (good, raised[0])])
    assert math.isnan(over_all(facts, "medevalkit_f1_as_published"))
    assert over_all(facts, "medevalkit_f1") == 0.5


@pytest.mark.parametrize(
    ("reference", "answer", "published", "mended"),
    [
        ("left lung", "left lung", 1, 1),
        ("left lung", "it is in the left lung of this patient", 2 / 8, 0),
        ("left lung", "lung", 1, 0),
        ("two", "2", 1, 1),
        ("the liver", "Liver.", 1, 1),
        ("left lung", "", 0, 0),
    ],
)
def test_llava_meds_exact_match_is_the_share_of_the_answers_words(reference, answer, published, mended):
    texts = llava_med.compared(reference, answer)
    assert llava_med.exact_match_as_published(texts) == pytest.approx(published)
    assert llava_med.exact_match(texts) == mended


def test_a_repeated_word_raises_llava_meds_published_recall_and_not_the_mended_one():
    texts = llava_med.compared("left lung mass", "left left left left")
    assert llava_med.overlap_as_published(texts).recall == pytest.approx(4 / 6)
    assert llava_med.overlap(texts).recall == pytest.approx(1 / 3)
    assert llava_med.recall_of_different_words(texts) == pytest.approx(1 / 3)


def test_medevalkits_columns_stand_under_each_others_names():
    facts = facts_of("open", [("left lung", "left lung mass seen")])
    right = {"precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    assert {name: over_all(facts, f"medevalkit_{name}") for name in right} == pytest.approx(right)
    assert over_all(facts, "medevalkit_precision_as_published") == pytest.approx(right["f1"])
    assert over_all(facts, "medevalkit_recall_as_published") == pytest.approx(right["precision"])
    assert over_all(facts, "medevalkit_f1_as_published") == pytest.approx(right["recall"])


@pytest.mark.parametrize("judge", [medevalkit.yes_no_as_published, medevalkit.slake_closed_as_published])
def test_no_is_found_in_normal(judge):
    assert judge("no", "The lungs are normal.") == 1 and medevalkit.yes_no("no", "The lungs are normal.") == 0


def test_yes_in_capitals_is_no_yes_for_slakes_published_accuracy():
    assert medevalkit.slake_closed_as_published("Yes", "Yes, there is.") == 0
    assert medevalkit.slake_closed("Yes", "Yes, there is.") == 1


@pytest.mark.parametrize(
    ("answer", "right", "f1"),
    [("A", 1, 1), ("a", 1, 1), ("A.", 1, 1), ("A) Left", 1, 2 / 3), ("The answer is A", 1, 1 / 2), ("B", 0, 0),
     ("", 0, 0), ("A mass", 0, 0)],
)  # fmt: skip
def test_the_letter_a_is_no_article_in_the_mended_columns(answer, right, f1):
    facts = facts_of("closed", [("A", answer)])
    assert over_all(facts, "token_f1") == pytest.approx(f1) and over_all(facts, "exact_match") == (f1 == 1)
    assert over_all(facts, "llava_med_closed_accuracy") == right
    assert over_all(facts_of("open", [("A", answer)]), "llava_med_exact_match") == (f1 == 1)
    assert over_all(facts, "llava_med_closed_accuracy_as_published") == 0  # no answer says yes or no


def test_an_article_is_one_where_the_reference_is_no_letter():
    assert squad.exact_match("a mass", "Mass") == squad.exact_match("mass", "A mass") == 1


def test_tokens_of_chinese_are_its_characters():
    assert squad.token_f1("左肺", "左肺") == 1.0
    assert squad.token_f1("左肺", "右肺") == 0.5
    assert squad.token_f1("CT扫描", "CT 扫描。") == 1.0
