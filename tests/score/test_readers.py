"""Reading answers: exactly the asked form, what a person would read in it, and what became of it."""

import json
import os
import re
import string
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.score.conftest import one_of_each, prediction, row
from workflow_scripts.score.outcomes import is_looping, outcome_of, outcome_rows
from workflow_scripts.tasks.expected import Asked, asked_of
from workflow_scripts.tasks.lenient import REFUSAL, read_lenient
from workflow_scripts.tasks.strict import read_strict

LETTER = Asked("classification", letters=("A", "B", "C"), words=("Benign", "Malignant", "No lesion"))
WORDS = Asked("classification", letters=("A", "B"), words=("Benign", "HER2-enriched"), by_letter=False)
LONG = "Endodontic Treatment, Restorative Treatment, and Complications"
LABELS = Asked("multi_label", choices=("Caries", "Crown", LONG), separator=";")
COMMAS = Asked("multi_label", choices=("Nodule", LONG), separator=",")
BOXES = Asked("detection")
SIZES = Asked("detection", convention="xywh")
CHROMOSOMES = Asked("instance_detection", convention="xywh")
COUNT = Asked("counting")
SHARE = Asked("regression")
REPORT = Asked("report")


@pytest.mark.parametrize(
    ("asked", "text", "value"),
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
def test_the_strict_reader_reads_exactly_the_asked_form(asked, text, value):
    assert read_strict(asked, text) == value


@pytest.mark.parametrize(
    ("asked", "text", "value"),
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
def test_the_lenient_reader_finds_what_a_person_finds(asked, text, value):
    assert read_lenient(asked, text) == value


@pytest.mark.parametrize("asked", [COUNT, SHARE])
@pytest.mark.parametrize("text", ["9" * 256, "1" + "0" * 5000, "1e999", "nan", "1_000", "１２", "--5", "0x10"])
def test_numbers_are_bounded_and_plain(asked, text):
    assert read_strict(asked, text) is None
    value = read_lenient(asked, text)
    assert value is None or abs(value) < 1e9


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 50_000, "[[" + "9" * 5000 + ",1,2,3]]", "[[NaN,1,2,3]]", '{"\\ud83d": [[1,2,3,4]]}',
     "[[1e400,0,1,1]]", "[[true,false,1,1]]"],
)  # fmt: skip
@pytest.mark.parametrize("asked", [BOXES, CHROMOSOMES])
def test_json_traps_raise_nothing(asked, text):
    for value in (read_strict(asked, text), read_lenient(asked, text)):
        json.dumps(value).encode("utf-8")
    assert read_strict(BOXES, text) is None


@pytest.mark.parametrize(
    "asked", [LETTER, WORDS, LABELS, BOXES, CHROMOSOMES, COUNT, SHARE, REPORT], ids=lambda a: a.task
)
@pytest.mark.parametrize("unit", ["a", "1,", "[1,2,", "B) ", "\n", "answer is ", "10 "])
def test_megabytes_of_text_are_read_in_linear_time(asked, unit):
    text = unit * (4_000_000 // len(unit))
    start = time.process_time()
    strict = read_strict(asked, text)
    outcome_of(asked, text, "length", strict, read_lenient(asked, text))
    # Milliseconds where it is linear; a pattern that goes back over the text would take hours on any machine.
    assert time.process_time() - start < 10


words = st.text(alphabet=string.ascii_letters + "'’-", min_size=2, max_size=12)


@given(st.lists(words, max_size=12).map(" ".join))
def test_a_letter_is_never_taken_from_inside_a_word(text):
    asked = Asked("classification", letters=tuple("ABCDEFGHIJK"))
    value = read_lenient(asked, text)
    tokens = {token.strip("'’-") for token in text.split()}
    assert value is None or value in tokens or value.lower() in tokens


@given(
    st.sampled_from("ABCDEFGHIJK"),
    st.sampled_from(["The answer is {}.", "{}", "**{}**", "({})", "Answer: {}", "{}) x"]),
)
def test_a_marked_letter_is_found(letter, form):
    asked = Asked("classification", letters=tuple("ABCDEFGHIJK"))
    assert read_lenient(asked, form.format(letter)) == letter


@settings(max_examples=200)
@given(
    st.text(max_size=400),
    st.sampled_from([LETTER, WORDS, LABELS, COMMAS, BOXES, SIZES, CHROMOSOMES, COUNT, SHARE, REPORT]),
)
def test_no_text_breaks_a_reader_and_strict_values_are_lenient_values(text, asked):
    strict, lenient = read_strict(asked, text), read_lenient(asked, text)
    json.dumps([strict, lenient], allow_nan=False)
    assert strict is None or lenient == strict


def test_every_row_has_one_outcome_and_none_is_dropped():
    rows = one_of_each()
    answers = {r["uid"]: prediction(r["uid"], r["answer"]) for r in rows}
    found = outcome_rows(rows, answers, "base")
    assert [entry["uid"] for entry in found] == [r["uid"] for r in rows]
    assert {entry["outcome"] for entry in found} == {"valid"}
    assert all(json.loads(entry["strict"]) == json.loads(entry["gold"]) for entry in found)
    nothing = outcome_rows(rows, {}, "base")
    assert {entry["outcome"] for entry in nothing} == {"missing"}


@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("B", "length", "valid"),
        ("B) Malignant", "stop", "malformed"),
        ("I am unable to determine this from the image.", "stop", "refused"),
        ("I cannot say. Final answer: B", "stop", "malformed"),
        ("no idea\n```\n" + "```\n" * 30, "length", "looping"),
        ("The lesion has an irregular border and", "length", "truncated"),
    ],
)
def test_outcomes_say_what_became_of_an_answer(text, finish, outcome):
    strict = read_strict(LETTER, text)
    assert outcome_of(LETTER, text, finish, strict, read_lenient(LETTER, text)) == outcome


def test_a_report_that_loops_is_no_valid_report():
    text = "The lungs are clear. " * 10
    assert outcome_of(REPORT, text, "length", text, text) == "looping"
    assert not is_looping("The lungs are clear. The heart is normal. No effusion. No pneumothorax. Bones are intact.")


def test_admissible_words_come_from_the_questions_own_answers_where_it_lists_no_options():
    rows = [row(0, "classification", "Luminal A"), row(1, "classification", "Luminal B")]
    found = outcome_rows(rows, {"u0000": prediction("u0000", "It is luminal b, I think")}, "base")
    assert json.loads(found[0]["lenient"]) == "Luminal B"
    assert asked_of(rows[0]).by_letter is False


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
        asked = Asked(task, letters=tuple("ABCDEFGH") if task == "classification" else ())
        if dataset == "CMMD":
            asked = Asked(task, words=CMMD, by_letter=False)
        start = time.process_time()
        strict = read_strict(asked, record["prediction"])
        lenient = read_lenient(asked, record["prediction"])
        outcome_of(asked, record["prediction"], "stop", strict, lenient)
        times.append(time.process_time() - start)
        if dataset == "CMMD":
            named = any(re.search(rf"\b{word}\b", record["prediction"], re.IGNORECASE) for word in CMMD)
            named = named and not REFUSAL.search(record["prediction"])
            cmmd[named, lenient is not None] += 1
        elif task == "classification":
            letters[lenient is not None] += 1
    assert sorted(times)[int(0.99 * len(times))] < 0.001
    if system == "base":
        assert letters[True] / letters.total() >= 0.99
    assert cmmd[True, False] == 0
