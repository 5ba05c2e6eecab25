"""Answers survive typed: labels with commas, percentages, letters up to K, words, empty sets, both conventions."""

import json

import pytest

from tests.data.roots import OPTIONS, convert_rows, converted, png, row, write_subset
from workflow_scripts.core.rows import Box, Row
from workflow_scripts.core.tasks import normalise_task
from workflow_scripts.tasks.questions import choices_in, convention_in, options_in, separator_in

WHERE = "Where is it? Return the boxes as [x_min, y_min, x_max, y_max]."
SIZES = "Where is it? Return the boxes as [x, y, width, height]."
TEETH = "Caries; Crown; Endodontic Treatment, Restorative Treatment, and Complications"


def one(place, *arguments: object) -> Row:
    """The only row of a dataset, converted."""
    result = convert_rows(place, [row("imagesTr/0.png", *arguments)])
    assert not result.quarantine, result.quarantine
    return result.rows[0]


@pytest.mark.parametrize(
    ("raw", "task"),
    [
        ("Classification", "classification"),
        ("classification", "classification"),
        ("multi-label classification", "multi_label"),
        ("Multi-label Classification", "multi_label"),
        ("Detection", "detection"),
        ("instance_detection", "instance_detection"),
        ("Cell Counting", "counting"),
        ("Counting", "counting"),
        ("regression", "regression"),
        ("Report_Generation", "report"),
        ("Segmentation", None),
        (None, None),
    ],
)
def test_every_spelling_of_a_task_is_known(raw, task):
    assert normalise_task(raw) == task


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("Which? A) Nevus B) Scar", ["Nevus", "Scar"]),
        ("Which?\nA. Nevus\nB. Scar\nAnswer with one letter.", ["Nevus", "Scar"]),
        ("Which? A: Nevus, B: Scar", ["Nevus", "Scar"]),
        ("Which? (A) Nevus (B) Scar", ["Nevus", "Scar"]),
        ("Is vitamin A. good? Options: A. Yes B. No", ["Yes", "No"]),
        ("Which BI-RADS? A) 4A: low B) 4B: high", ["4A: low", "4B: high"]),
        ("Which? A) only one", []),
        ("Count the cells.", []),
    ],
)
def test_options_are_read_in_every_style(question, options):
    assert [text for _, text in options_in(question)] == options


def test_what_a_question_says_of_its_answer_is_read():
    assert choices_in(f"Which? Choose from: {TEETH}. List all.") == tuple(TEETH.split("; "))
    assert choices_in("Which? Choose from: a, b, c") == ("a", "b", "c")
    assert choices_in("Which?") is None
    assert (separator_in("separated by semicolons"), separator_in("by commas"), separator_in("?")) == (";", ",", None)
    assert (convention_in(WHERE), convention_in(SIZES), convention_in("Where?")) == ("xyxy", "xywh", None)
    assert convention_in("Give [xmin, ymin, xmax, ymax]") == convention_in("Give [x1, y1, x2, y2]") == "xyxy"
    assert convention_in("Give [x, y, w, h]") == "xywh"


@pytest.mark.parametrize(
    ("written", "read"), [("K", "K"), ("k", "K"), ("Option 10", "Option 10"), ("K) Option 10", "K"), ("K.", "K")]
)
def test_letters_up_to_k_and_texts_are_options(tmp_path, written, read):
    listed = " ".join(f"{letter}) Option {i}" for i, letter in enumerate("ABCDEFGHIJK"))
    assert one(tmp_path, f"Which? {listed}", written).labels == (read,)


@pytest.mark.parametrize(("usual", "read"), [("B", "B"), ("Right", "Right")])
def test_every_form_of_an_option_is_written_as_its_subset_does(tmp_path, usual, read):
    question = "Which side? A) Left B) Right"
    forms = ["B", "b", "B)", "B) Right", "(B) Right", "Right"]
    answers = enumerate([*[usual] * 9, *forms])
    rows = [row(f"imagesTr/{i % 4}.png", f"Image {i}. {question}", written) for i, written in answers]
    typed = convert_rows(tmp_path, rows)
    assert not typed.quarantine and {entry.answer for entry in typed.rows} == {read}


def test_words_are_answers_as_well(tmp_path):
    question = "Which subtype? A) Luminal A B) Luminal B C) HER2-enriched D) Both"
    assert one(tmp_path, question, "HER2-enriched").answer == "HER2-enriched"


def test_an_option_called_none_is_an_answer(tmp_path):
    assert one(tmp_path, "Which? A) Mass B) None", "None").labels == ("None",)


def test_labels_with_commas_inside_survive(tmp_path):
    label = "Endodontic Treatment, Restorative Treatment, and Complications"
    question = f"Which? Choose from: {TEETH}."
    rows = [
        row("imagesTr/0.png", question, f"Crown;{label}", "multi-label classification"),
        row("imagesTr/1.png", question, label, "multi-label classification"),
        row("imagesTr/2.png", question, ["Caries", label], "multi-label classification"),
    ]
    typed = convert_rows(tmp_path, rows).rows
    assert [r.labels for r in typed] == [("Crown", label), (label,), ("Caries", label)]
    assert [r.answer for r in typed] == [f"Crown; {label}", label, f"Caries; {label}"]
    assert {r.expected.separator for r in typed} == {";"}


@pytest.mark.parametrize(("raw", "text"), [("", ""), ("None", "None"), ([], "")])
def test_an_empty_label_set_is_an_answer(tmp_path, raw, text):
    typed = one(tmp_path, "Which? Choose from: a, b.", raw, "multi-label classification")
    assert (typed.labels, typed.answer, typed.expected.separator) == ((), text, ",")


def test_a_label_that_is_no_choice_is_quarantined(tmp_path):
    record = row("imagesTr/0.png", "Which? Choose from: a, b.", "a, c", "multi-label classification")
    assert set(convert_rows(tmp_path, [record]).reasons.values()) == {"answer_not_an_option"}


def test_percentages_hold_for_the_whole_subset(tmp_path):
    raw = ["21.67%", 33.3333333333333, "12", "8 %"]
    rows = [row(f"imagesTr/{i}.png", "How much?", value, "regression") for i, value in enumerate(raw)]
    typed = convert_rows(tmp_path, rows).rows
    assert [r.answer for r in typed] == ["21.67%", "33.3333333333333%", "12.0%", "8.0%"]
    assert [r.number for r in typed] == [21.67, 33.3333333333333, 12.0, 8.0]
    assert json.loads(typed[0].answer_raw) == "21.67%"


def test_without_percentages_there_are_none(tmp_path):
    assert one(tmp_path, "How old?", 33.0, "regression").answer == "33.0"


@pytest.mark.parametrize("raw", [7, "7", " 7 ", 7.0])
def test_counts_are_whole_numbers(tmp_path, raw):
    typed = one(tmp_path, "How many cells?", raw, "Cell Counting")
    assert (typed.answer, typed.number) == ("7", 7.0)


@pytest.mark.parametrize("raw", [[[1, 2, 5, 8]], [1, 2, 5, 8], "[[1, 2, 5, 8]]", "[1, 2, 5, 8]", [[1.0, 2, 5, 8]]])
def test_boxes_are_read_in_every_shape(tmp_path, raw):
    typed = one(tmp_path, WHERE, raw, "Detection")
    assert typed.boxes == (Box(1.0, 2.0, 5.0, 8.0),)
    assert (typed.answer, typed.expected.box_convention) == ("[[1, 2, 5, 8]]", "xyxy")


def test_the_question_decides_the_convention_of_its_row(tmp_path):
    rows = [
        row("imagesTr/0.png", WHERE, [[1, 2, 5, 8]], "Detection"),
        row("imagesTr/1.png", SIZES, [[1, 2, 4, 6]], "Detection"),
    ]
    typed = convert_rows(tmp_path, rows).rows
    assert typed[0].boxes == typed[1].boxes
    assert [r.answer for r in typed] == ["[[1, 2, 5, 8]]", "[[1, 2, 4, 6]]"]


def test_the_subset_decides_where_a_question_is_silent(tmp_path):
    silent = [row(f"imagesTr/{i}.png", "Where?", [[8, 7, 4, 3]], "Detection") for i in range(3)]
    assert {r.expected.box_convention for r in convert_rows(tmp_path / "a", silent).rows} == {"xywh"}
    corners = [row(f"imagesTr/{i}.png", "Where?", [[1, 2, 5, 8]], "Detection") for i in range(3)]
    assert {r.expected.box_convention for r in convert_rows(tmp_path / "b", corners).rows} == {"xyxy"}
    assert {
        r.expected.box_convention
        for r in convert_rows(tmp_path / "c", corners, conventions={"ds": {"box_convention": "xywh"}}).rows
    } == {"xywh"}


def test_instances_keep_their_identities(tmp_path):
    raw = json.dumps({"1": [[0, 0, 4, 4], [5, 5, 4, 4]], "x": [[8, 0, 4, 4]]})
    typed = one(tmp_path, SIZES, raw, "instance_detection")
    assert typed.answer == raw
    assert [(i.identity, i.box.x1, i.box.x2) for i in typed.instances] == [
        ("1", 0.0, 4.0), ("1", 5.0, 9.0), ("x", 8.0, 12.0),
    ]  # fmt: skip


def test_the_folder_is_the_modality(tmp_path):
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], {"imagesTr/0.png": png(0)}, modality="Retinography")
    assert converted(tmp_path / "root", tmp_path).rows[0].modality == "Retinography"


def test_a_question_stays_as_it_is(tmp_path):
    assert one(tmp_path, f"  {OPTIONS}\n", "A").question == f"  {OPTIONS}\n"
