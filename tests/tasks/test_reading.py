"""What an answer states is what its readers read: by cases, by properties, and by public faults where at hand."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.reading_cases import (
    CARE,
    CASES,
    CHEST,
    CHROMOSOMES,
    CORNERS,
    COUNT,
    DENTAL,
    GRADES,
    LETTER,
    NUMBER,
    OPEN,
    PERCENT,
    REPORT,
    SIDES,
    SIZES,
    SUBTYPES,
    WORDS,
    YES_NO,
    Case,
    Form,
    canonical,
)
from workflow_scripts.core.answers import Value, final_answer
from workflow_scripts.core.rows import ExpectedFormat, Option
from workflow_scripts.core.tasks import load_part
from workflow_scripts.tasks.language.text import LONGEST

UNLISTED = [
    Form("classification", ExpectedFormat("letter")),
    Form("classification", ExpectedFormat("words")),
    Form("multi_label", ExpectedFormat(separator=";")),
    Form("detection"),
    Form("instance_detection"),
    Form("closed_vqa", ExpectedFormat(answer_by="words")),
]
"""Formats of questions that list nothing."""
FORMS = [
    *(
        COUNT,
        PERCENT,
        NUMBER,
        LETTER,
        GRADES,
        CARE,
        SUBTYPES,
        WORDS,
        CHEST,
        DENTAL,
        CORNERS,
        SIZES,
        CHROMOSOMES,
        REPORT,
        OPEN,
        YES_NO,
        SIDES,
    ),
    *UNLISTED,
]
BUG_INPUTS = "FLAREBENCH_BUG_INPUTS"
"""Names the folder of public faults, with `reader_cases.jsonl`."""


def strictly(form: Form, text: str) -> Value | None:
    return load_part(form.task, "reading").read_strict(form.expected, text)


def leniently(form: Form, text: str) -> Value | None:
    return load_part(form.task, "reading").read_lenient(form.expected, text)


def readings(form: Form, raw: str) -> tuple[object, object]:
    """Both readings of what a model wrote; an unfinished thought leaves nothing to read."""
    answer = final_answer(raw)
    if answer.unfinished:
        return None, None
    return canonical(strictly(form, answer.text)), canonical(leniently(form, answer.text))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.form.task}: {case.why}: {case.text[:40]!r}")
def test_an_answer_is_read_as_what_it_states(case: Case):
    assert readings(case.form, case.text) == (canonical(case.strict), canonical(case.lenient))


def test_every_task_has_cases_that_are_read_strictly_leniently_and_not_at_all():
    kinds = {(case.form.task, case.strict is not None, case.lenient is not None) for case in CASES}
    tasks = {task for task, _, _ in kinds}
    assert len(tasks) == 9
    assert {(task, True, True) for task in tasks} | {(task, False, False) for task in tasks} <= kinds
    assert {(task, False, True) for task in tasks - {"report"}} <= kinds


PIECES = sorted({piece for case in CASES for piece in case.text.split()} | {case.text for case in CASES})
MARKS = ("\n", ", ", "; ", "\0", "İ", "{", "]", "```", "<think>", "</think>")
answers = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join),
    st.lists(st.sampled_from([*PIECES, *MARKS]), max_size=20).map("".join),
)


@given(st.sampled_from(FORMS), answers)
def test_no_text_makes_a_reader_raise(form: Form, text: str):
    strictly(form, text)
    leniently(form, text)
    strictly(form, final_answer(text).text)


@given(st.sampled_from(FORMS), answers)
def test_what_is_read_strictly_is_read_the_same_leniently(form: Form, text: str):
    strict = strictly(form, text)
    if strict is not None:
        assert leniently(form, text) == strict


@given(st.sampled_from(FORMS), answers)
def test_white_space_at_the_ends_changes_no_reading(form: Form, text: str):
    assert readings(form, f" \n{text}\n ") == readings(form, text.strip())


@given(st.sampled_from(FORMS), answers)
def test_reading_twice_gives_the_same(form: Form, text: str):
    assert readings(form, text) == readings(form, text)


@given(st.text(alphabet=st.characters(exclude_characters="<"), max_size=200))
def test_text_without_marks_is_its_own_final_answer(text: str):
    assert final_answer(text) == (text, False, False, False)


@given(answers)
def test_a_final_answer_is_its_own_final_answer(text: str):
    answer = final_answer(text)
    again = final_answer(answer.text)
    assert again.text == answer.text or "<" in answer.text  # cutting may bring the halves of a mark together


@given(st.sampled_from(CASES), st.sampled_from(CASES))
def test_a_thought_before_an_answer_changes_no_reading(case: Case, other: Case):
    if "<" in case.text + other.text:
        return
    for opening, closing in (("<think>", "</think>"), ("<unused94>thought\n", "<unused95>"), ("", "</think>")):
        assert readings(case.form, f"{opening}{other.text}{closing}{case.text}") == readings(
            case.form, case.text.strip()
        )


@given(st.sampled_from(FORMS), answers)
def test_a_thought_that_never_ends_states_nothing(form: Form, text: str):
    if "<" not in text:
        assert readings(form, f"<think>{text}") == (None, None)


@given(st.sampled_from(FORMS), st.sampled_from(CASES))
def test_what_follows_the_end_of_the_turn_changes_no_reading(form: Form, other: Case):
    if "<" not in other.text:
        assert readings(form, f"{other.text}<end_of_turn>\n<start_of_turn>user\n42 A Mass [[1, 2, 3, 4]]") == readings(
            form, other.text.strip()
        )


@given(
    st.integers(0, 10**8), st.sampled_from(["{} cells", "about {} cells", "Answer: {}", "The count is {}.", "**{}**"])
)
def test_a_count_in_a_phrase_is_the_count(count: int, phrase: str):
    assert leniently(COUNT, phrase.format(count)) == count
    assert leniently(COUNT, phrase.format(f"{count:,}")) == count


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.sampled_from(["{}-{}", "{} to {}", "between {} and {}", "{} or {}", "{}–{} cells"]),
)
def test_two_ends_of_a_range_are_no_count(low: int, high: int, phrase: str):
    assert leniently(COUNT, phrase.format(low, high)) == (low if low == high else None)


@given(st.lists(st.sampled_from(CHEST.expected.labels), min_size=1, max_size=4, unique=True), st.randoms())
def test_denied_labels_are_never_among_the_read_ones(labels: list[str], choice):
    denied = [label for label in CHEST.expected.labels if label not in labels]
    lines = [f"{label}: {'present' if label in labels else 'absent'}" for label in CHEST.expected.labels]
    choice.shuffle(lines)
    marks = {label: label in labels for label in CHEST.expected.labels}
    affirmed = ", ".join(labels)
    for text in ("\n".join(lines), json.dumps(marks), f"No {' or '.join(denied)}. Present: {affirmed}.", str(marks)):
        assert canonical(leniently(CHEST, text)) == sorted(labels), text


@given(st.lists(st.tuples(*[st.integers(0, 500)] * 4), min_size=1, max_size=5, unique=True))
def test_boxes_are_read_in_every_dress(boxes: list[tuple[int, int, int, int]]):
    wanted = [tuple(map(float, box)) for box in boxes]
    plain = [list(box) for box in boxes]
    named = [dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)) for box in boxes]
    for text in (
        f"```json\n{plain}\n```",
        str(boxes),
        json.dumps([plain]),
        json.dumps(named),
        json.dumps([{"bbox": box} for box in plain]),
    ):
        read = leniently(CORNERS, text)
        assert [tuple(box) for box in read] == wanted, text


HOSTILE = [
    *(
        "A) ",
        "no A or ",
        "not ",
        "[1,2,3,4],",
        '{"1": [[1,2,3,4]],',
        "[",
        "1 ",
        "1-",
        "1,",
        "(1, ",
        "x1: 1, ",
        "answer is ",
        "* ",
    ),
    *(
        "\n",
        "a",
        "Mass or ",
        '"',
        '{"id": "1", ',
        "1.1",
        " ",
        "'1'",
        "- - - ",
        "answer ",
        "=",
        "<think>",
        "<unused94>",
        "</think>",
    ),
    *(
        "I cannot ",
        "| ",
        "**",
        "Mass: ",
        "mild to ",
        "Luminal A or ",
        "\n- absent:",
        "1 and ",
        "of ",
        "twenty ",
        "[ ] ",
        "\0",
        "İ",
    ),
    *(
        "x: ",
        "(1,2),",
        "box_2d: [",
        "A\n",
        "or",
        "A. Benign ",
        "12 + ",
        "1,234,",
        "#1 ",
        "findings:",
        '"a":',
        "is be is ",
    ),
]
"""Units that, repeated, made or could make a pattern slow."""


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.task} {form.expected.answer_by or ''}")
def test_a_hostile_text_of_the_longest_length_is_read_within_half_a_second(form: Form):
    for unit in HOSTILE:
        text = (unit * LONGEST)[:LONGEST]
        start = time.process_time()
        leniently(form, text)  # reads strictly first
        final_answer(text)
        assert time.process_time() - start < 0.5, unit


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(FORMS), st.lists(st.sampled_from([*HOSTILE, *PIECES]), min_size=1, max_size=4).map("".join))
def test_a_repeated_text_of_the_longest_length_is_read_within_half_a_second(form: Form, unit: str):
    text = (unit * LONGEST)[:LONGEST]
    start = time.process_time()
    readings(form, text)
    assert time.process_time() - start < 0.5


def public_cases() -> list[dict]:
    if BUG_INPUTS not in os.environ:
        return []
    lines = (Path(os.environ[BUG_INPUTS]) / "reader_cases.jsonl").read_text(encoding="utf-8").splitlines()
    return [case for case in map(json.loads, lines) if "text" in case]


def form_of(case: dict) -> Form:
    """The form of a public case."""
    form = case["format"]
    listed = form.get("options")
    lettered = tuple(Option(letter, text) for letter, text in listed.items()) if isinstance(listed, dict) else ()
    labels = form.get("labels") or form.get("identities") or (listed if isinstance(listed, list) else ())
    return Form(
        case["task"],
        ExpectedFormat(
            answer_by=form.get("answer"),
            options=lettered,
            labels=tuple(labels),
            separator=form.get("separator"),
            percent=form.get("percent", False),
            box_convention=form.get("convention"),
            width=form.get("width"),
            height=form.get("height"),
        ),
    )


def as_corners(value: object, form: Form) -> object:
    """A wanted reading with its boxes as corners."""
    if isinstance(value, dict):
        return {identity: as_corners(boxes, form) for identity, boxes in value.items()}
    if form.expected.box_convention == "xywh" and isinstance(value, list):
        return [[x, y, x + width, y + height] for x, y, width, height in value]
    return value


@pytest.mark.skipif(BUG_INPUTS not in os.environ, reason=f"{BUG_INPUTS} names no folder of public faults")
@pytest.mark.parametrize("case", public_cases(), ids=lambda case: f"line {case['line']}: {case['text'][:40]!r}")
def test_public_faults_are_read_as_they_ask(case: dict):
    form = form_of(case)
    strict, lenient = (canonical(as_corners(case[reading], form)) for reading in ("strict", "lenient"))
    assert readings(form, case["text"]) == (strict, lenient)
