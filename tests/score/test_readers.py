"""Reading answers: exactly the expected form, what a person would read in it, and what became of it."""

import json
import os
import re
import string
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.score.conftest import box, one_of_each, prediction, row
from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Instance, Option
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.score.outcomes import is_looping, outcome_of, outcomes_of
from workflow_scripts.tasks.language.refusals import REFUSAL


class Form(NamedTuple):
    """A task and the form of answer that a question asks for."""

    task: str
    expected: ExpectedFormat = ExpectedFormat()

    def strict(self, text: str) -> Value | None:
        return load_part(self.task, "reading").read_strict(self.expected, text)

    def lenient(self, text: str) -> Value | None:
        return load_part(self.task, "reading").read_lenient(self.expected, text)

    def outcome(self, text: str, finish_reason: str) -> str:
        free_text = tasks()[self.task].free_text
        return outcome_of(text, finish_reason, self.strict(text), self.lenient(text), free_text=free_text)


def options(*texts: str) -> tuple[Option, ...]:
    return tuple(Option(letter, text) for letter, text in zip(string.ascii_uppercase, texts, strict=False))


LETTER = Form("classification", ExpectedFormat("letter", options("Benign", "Malignant", "No lesion")))
WORDS = Form("classification", ExpectedFormat("words", options("Benign", "HER2-enriched")))
ANY_LETTER = Form("classification", ExpectedFormat("letter"))
LONG = "Endodontic Treatment, Restorative Treatment, and Complications"
LABELS = Form("multi_label", ExpectedFormat(labels=("Caries", "Crown", LONG), separator=";"))
COMMAS = Form("multi_label", ExpectedFormat(labels=("Nodule", LONG), separator=","))
BOXES = Form("detection")
SIZES = Form("detection", ExpectedFormat(box_convention="xywh"))
CHROMOSOMES = Form("instance_detection", ExpectedFormat(box_convention="xywh"))
COUNT = Form("counting")
SHARE = Form("regression")
REPORT = Form("report")


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (LETTER, " b\n", "B"),
        (LETTER, "D", None),
        (LETTER, "B)", None),
        (LETTER, "Malignant", None),
        (WORDS, "her2-ENRICHED", "HER2-enriched"),
        (WORDS, "B", None),
        (LABELS, "Crown; Caries", ["Crown", "Caries"]),
        (LABELS, "", []),
        (LABELS, "Crown, Caries", None),
        (COMMAS, f"{LONG}, Nodule", [LONG, "Nodule"]),
        (BOXES, "[[1, 2, 3, 4]]", [[1, 2, 3, 4]]),
        (BOXES, "[1, 2, 3, 4]", None),
        (BOXES, "[]", []),
        (SIZES, "[[1, 2, 3, 4]]", [[1, 2, 4, 6]]),
        (CHROMOSOMES, '{"X": [[1, 2, 3, 4]], "1": []}', {"x": [[1, 2, 4, 6]], "1": []}),
        (COUNT, "1024", 1024.0),
        (COUNT, "1,024", None),
        (COUNT, "12.0", None),
        (SHARE, "-33.3333333333333", -33.3333333333333),
        (SHARE, "21.67%", 21.67),
        (REPORT, " Heart size is normal. ", "Heart size is normal."),
        (REPORT, "  ", None),
    ],
)  # fmt: skip
def test_the_strict_reader_reads_exactly_the_expected_form(form, text, value):
    assert form.strict(text) == value


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (LETTER, "The answer is B) Malignant", "B"),
        (LETTER, "C\nNo lesion", "C"),
        (LETTER, "It could be A. But the final answer: **B**", "B"),
        (LETTER, "Final Answer: The final answer is $\\boxed{C}$", "C"),
        (LETTER, "This looks malignant to me.", "B"),
        (LETTER, "A mass is seen in the breast.", None),
        (LETTER, "I see Calcification and BACTERIA", None),
        (WORDS, "The subtype is **HER2-enriched**.", "HER2-enriched"),
        (WORDS, "The answer is B.", "HER2-enriched"),
        (LABELS, "FINDINGS:\n* crown\n* caries", ["Crown", "Caries"]),
        (LABELS, "No findings.", []),
        (BOXES, "```json\n[\n [10, 20, 30, 40],\n [1, 2, 3", [[10, 20, 30, 40]]),
        (BOXES, "[343, 163, 442, 226]; [1, 2, 3, 4]", [[343, 163, 442, 226], [1, 2, 3, 4]]),
        (BOXES, "[1, 2, 3, 4, 5, 6, 7, 8]", [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (BOXES, "[[5, 5, 9, 9]]\n" * 50, [[5, 5, 9, 9]]),
        (BOXES, '[{"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}]', [[1, 2, 3, 4]]),
        (CHROMOSOMES, '{"1": [[1, 2, 3, 4], [5, 6, 7, 8]], "x": [[9, 9, 1', {"1": [[1, 2, 4, 6], [5, 6, 12, 14]]}),
        (COUNT, "approximately 1,024 cells", 1024.0),
        (COUNT, "In image 1 the count is 25.", 25.0),
        (COUNT, "15\n```\n15\n```", 15.0),
        (SHARE, "The bone loss is about 21.5 %.", 21.5),
        (COUNT, "no cells", None),
    ],
)
def test_the_lenient_reader_finds_what_a_person_finds(form, text, value):
    assert form.lenient(text) == value


@pytest.mark.parametrize("form", [COUNT, SHARE])
@pytest.mark.parametrize("text", ["9" * 256, "1" + "0" * 5000, "1e999", "nan", "1_000", "１２", "--5", "0x10"])
def test_numbers_are_bounded_and_plain(form, text):
    assert form.strict(text) is None
    value = form.lenient(text)
    assert value is None or abs(value) < 1e9


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 50_000, "[[" + "9" * 5000 + ",1,2,3]]", "[[NaN,1,2,3]]", '{"\\ud83d": [[1,2,3,4]]}',
     "[[1e400,0,1,1]]", "[[true,false,1,1]]"],
)  # fmt: skip
@pytest.mark.parametrize("form", [BOXES, CHROMOSOMES])
def test_json_traps_raise_nothing(form, text):
    for value in (form.strict(text), form.lenient(text)):
        json.dumps(value).encode("utf-8")
    assert BOXES.strict(text) is None


@pytest.mark.parametrize(
    "form", [LETTER, WORDS, LABELS, BOXES, CHROMOSOMES, COUNT, SHARE, REPORT], ids=lambda form: form.task
)
@pytest.mark.parametrize("unit", ["a", "1,", "[1,2,", "B) ", "\n", "answer is ", "10 "])
def test_megabytes_of_text_are_read_in_linear_time(form, unit):
    text = unit * (4_000_000 // len(unit))
    start = time.process_time()
    form.outcome(text, "length")
    # Milliseconds where it is linear; a pattern that goes back over the text would take hours on any machine.
    assert time.process_time() - start < 10


words = st.text(alphabet=string.ascii_letters + "'’-", min_size=2, max_size=12)


@given(st.lists(words, max_size=12).map(" ".join))
def test_a_letter_is_never_taken_from_inside_a_word(text):
    value = ANY_LETTER.lenient(text)
    # Two signs beside each other end a word, as in A-'A.
    tokens = {token.strip("'’-") for token in re.split(r"\s|['’-]{2,}", text)}
    assert value is None or value in tokens or value.lower() in tokens


@given(
    st.sampled_from("ABCDEFGHIJK"),
    st.sampled_from(["The answer is {}.", "{}", "**{}**", "({})", "Answer: {}", "{}) x"]),
)
def test_a_marked_letter_is_found(letter, sentence):
    assert ANY_LETTER.lenient(sentence.format(letter)) == letter


@settings(max_examples=200)
@given(
    st.text(max_size=400),
    st.sampled_from([LETTER, WORDS, LABELS, COMMAS, BOXES, SIZES, CHROMOSOMES, COUNT, SHARE, REPORT]),
)
def test_no_text_breaks_a_reader_and_strict_values_are_lenient_values(text, form):
    strict, lenient = form.strict(text), form.lenient(text)
    json.dumps([strict, lenient], allow_nan=False)
    assert strict is None or lenient == strict


def test_every_row_has_one_outcome_and_none_is_dropped():
    rows = one_of_each()
    answers = {r.uid: prediction(r.uid, r.answer) for r in rows}
    outcomes = outcomes_of(rows, answers, "base")
    assert [outcome.uid for outcome in outcomes] == [r.uid for r in rows]
    assert {outcome.outcome for outcome in outcomes} == {"valid"}
    alike = [outcome for outcome in outcomes if outcome.task not in OTHER_REFERENCE]
    assert all(json.loads(outcome.strict) == json.loads(outcome.reference) for outcome in alike)
    assert {outcome.outcome for outcome in outcomes_of(rows, {}, "base")} == {"missing"}


OTHER_REFERENCE = {
    "span_qa": '"aspirin"',
    "probability": '"1-2%"',
    "clinical_decision": '{"pathology": "pancreatitis"}',
}
"""Tasks whose reference is of another form than an answer, and another reference of each."""


@pytest.mark.parametrize(
    "text",
    ["B", "It is benign", "Luminal B", "crown", "[1, 2, 3, 4]", '{"x": [[1, 2, 3, 4]]}', "12", "about 7 %", "", "A"],
)
def test_readings_do_not_depend_on_the_reference_answer(text):
    rows = [
        *one_of_each(),
        row(7, "classification", "Luminal B", expected=ExpectedFormat("words", labels=("Luminal B",))),
    ]
    unreadable = [
        replace(
            r,
            answer="none" if r.expected.text is not None else "\x00",  # of entities and relations it is read
            answer_raw=OTHER_REFERENCE.get(r.task, "null"),
            labels=None if r.labels is None else ("\x00",),
            number=None if r.number is None else -1e300,
            boxes=None if r.boxes is None else (box(-9, -9, -9, -9),),
            instances=None if r.instances is None else (Instance("\x00", box(-9, -9, -9, -9)),),
        )
        for r in rows
    ]
    answers = {r.uid: prediction(r.uid, text) for r in rows}
    with_answers, without = (outcomes_of(given, answers, "base") for given in (rows, unreadable))
    assert [replace(outcome, reference="", reference_raw="") for outcome in with_answers] == [
        replace(outcome, reference="", reference_raw="") for outcome in without
    ]
    assert all(one.reference != other.reference for one, other in zip(with_answers, without, strict=True))


@pytest.mark.parametrize(
    ("text", "finish_reason", "outcome"),
    [
        ("B", "length", "valid"),
        ("B) Malignant", "stop", "malformed"),
        ("I am unable to determine this from the image.", "stop", "refused"),
        ("I cannot say. Final answer: B", "stop", "malformed"),
        ("no idea\n```\n" + "```\n" * 30, "length", "looping"),
        ("The lesion has an irregular border and", "length", "truncated"),
    ],
)
def test_outcomes_say_what_became_of_an_answer(text, finish_reason, outcome):
    assert LETTER.outcome(text, finish_reason) == outcome


def test_a_report_that_loops_is_no_valid_report():
    text = "The lungs are clear. " * 10
    assert REPORT.outcome(text, "length") == "looping"
    assert not is_looping("The lungs are clear. The heart is normal. No effusion. No pneumothorax. Bones are intact.")


def test_admissible_words_come_from_the_expected_format_where_the_question_lists_no_options():
    words = ExpectedFormat("words", labels=("Luminal A", "Luminal B"))
    outcomes = outcomes_of(
        [row(0, "classification", "Luminal A", expected=words)],
        {"u0000": prediction("u0000", "It is luminal b, I think")},
        "base",
    )
    assert json.loads(outcomes[0].lenient) == "Luminal B"


OUTPUTS = os.environ.get("FLAREBENCH_MODEL_OUTPUTS")
CMMD = ("Benign", "Malignant", "Both", "Mass", "Calcification", "Luminal A", "Luminal B", "HER2-enriched",
        "triple negative")  # fmt: skip
TASKS = {
    "disease_diagnosis_classification": "classification",
    "cell_counting": "counting",
    "detection": "detection",
    "report_generation": "report",
    "multi_label_classification": "multi_label",
}


@pytest.mark.skipif(not OUTPUTS, reason="FLAREBENCH_MODEL_OUTPUTS does not name a folder of recorded model outputs")
@pytest.mark.parametrize("system", ["base", "tuned"])
def test_real_outputs_are_read_fast_and_without_an_exception(system):
    times, letters, cmmd = [], Counter(), Counter()
    for line in (Path(OUTPUTS) / f"medgemma15_{system}_validation_public.jsonl").read_text().splitlines():
        record = json.loads(line)
        dataset, task = record["uid"].split(":")[1], TASKS[record["task_type"]]
        form = Form(task)
        if task == "classification":
            form = Form(task, ExpectedFormat("letter", options(*[f"text of option {place}" for place in range(8)])))
        if dataset == "CMMD":
            form = Form(task, ExpectedFormat("words", labels=CMMD))
        start = time.process_time()
        strict = form.strict(record["prediction"])
        lenient = form.lenient(record["prediction"])
        free_text = tasks()[task].free_text
        outcome_of(record["prediction"], "stop", strict, lenient, free_text=free_text)
        times.append(time.process_time() - start)
        if dataset == "CMMD":
            named = any(re.search(rf"\b{word}\b", record["prediction"], re.IGNORECASE) for word in CMMD)
            named = named and not REFUSAL.search(record["prediction"])
            cmmd[named, lenient is not None] += 1
        elif task == "classification":
            letters[lenient is not None] += 1
    # Under a millisecond on an idle machine of 2024; machines that other work keeps busy are several times slower.
    assert sorted(times)[int(0.99 * len(times))] < 0.005
    if system == "base":
        assert letters[True] / letters.total() >= 0.99
    assert cmmd[True, False] == 0
