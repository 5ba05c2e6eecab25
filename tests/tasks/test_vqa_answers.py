"""Words that training rows show bound no answer, evaluated rows show none, and options are named in any form."""

import pytest

from tests.data.roots import converted, pngs, row, write_subset
from workflow_scripts.core.answers import Conventions, SourceAnswer
from workflow_scripts.core.rows import Convention, ExpectedFormat
from workflow_scripts.tasks.closed_vqa import answers, grammar, reading
from workflow_scripts.tasks.vqa.words import is_bounded

MODALITY = "Which modality?"
LETTERED = "Which side? A) Left B) Right"


def expected_of(question: str, *pairs: tuple[str, object]) -> ExpectedFormat:
    """The form of answer in a subset whose training rows are `pairs`."""
    learned = answers.conventions([SourceAnswer(*pair) for pair in pairs])
    known = Conventions(
        (Convention("s", "closed_vqa", one.field, one.question, "", one.votes, one.rows, "training rows"), one.value)
        for one in learned
    )
    return answers.expected_format(question, known)


@pytest.mark.parametrize("seen", [["CT"], ["CT", "ct"], ["CT", "X-ray"]])
def test_an_answer_that_no_training_row_has_can_be_right(seen):
    expected = expected_of(MODALITY, *((MODALITY, answer) for answer in seen))
    for answer in ("MRI", "CT angiography"):
        assert reading.read_strict(expected, answer) == reading.read_lenient(expected, answer) == answer
    assert reading.read_strict(expected, "ct") in {"CT", "ct"}
    assert "CT" not in grammar.grammar(expected, [], 16)


def test_prose_about_a_learned_word_is_read_leniently_alone():
    expected = expected_of(MODALITY, (MODALITY, "CT"), (MODALITY, "X-ray"))
    for text in ("CT.", "It is CT.", "The image shows CT", "This is an X-ray."):
        assert reading.read_strict(expected, text) is None
        assert reading.read_lenient(expected, text) == ("X-ray" if "X" in text else "CT")
    assert reading.read_strict(expected, "one two three four five six") is None


def test_a_question_that_lists_its_words_bounds_the_answer():
    side = "Is the lesion left or right?"
    for expected in (expected_of(side, (side, "left"), (side, "right")), expected_of("Is there a mass?")):
        assert is_bounded(expected) and reading.read_strict(expected, "both") is None
        assert expected.labels[0] in grammar.grammar(expected, [], 16)


def test_evaluated_rows_show_no_words_of_a_question(tmp_path):
    given = [("CT", MODALITY), ("MRI", MODALITY), ("Yes", "Is it clear?")]
    records = [
        row(f"imagesTr/{place}.png", question, answer, "closed vqa") for place, (answer, question) in enumerate(given)
    ]
    write_subset(tmp_path / "root", records, pngs(3), folder="validation-public", name="rad")
    result = converted(tmp_path / "root", tmp_path)
    assert len(result.rows) == 3 and not [c for c in result.conventions if c.question == MODALITY.lower()]
    assert {r.expected.labels for r in result.rows if r.question == MODALITY} == {()}
    for entry in result.rows:
        read = reading.read_strict(entry.expected, entry.answer)
        assert read is not None and read.lower() == entry.answer.lower()


def test_an_option_with_its_letter_counts_as_a_letter():
    learned = answers.conventions([SourceAnswer(LETTERED, "B) Right"), SourceAnswer(LETTERED, "A) Left")])
    assert [one.value for one in learned if one.field == "answer_by"] == ["letter"]


@pytest.mark.parametrize("usual", ["B", "Right"])
@pytest.mark.parametrize("written", ["B", "b", "B)", "B) Right", "(B) Right", "b. right", "Right"])
def test_every_form_of_an_option_is_a_reference_that_can_be_read(usual, written):
    expected = expected_of(LETTERED, (LETTERED, usual))
    answer = answers.parse(written, expected)
    assert answer.text == usual and answers.fault(answer, expected, 1, 1) is None
    assert reading.read_strict(expected, answer.text) == usual


def test_what_is_no_option_stays_a_fault():
    expected = expected_of(LETTERED, (LETTERED, "B"))
    for wrong in ("C", "C) Both", "B) Both"):
        assert answers.fault(answers.parse(wrong, expected), expected, 1, 1) is not None
