"""Conventions are learned from training rows, recorded with their votes, and never from an answer that is scored."""

import json

import pytest

from tests.data.roots import converted, pngs, row, write_subset
from workflow_scripts.core.rows import FormatSource

WORDS = "Is the lesion benign or malignant?"
LABELS = "Which findings are visible? Choose from: Caries; Crown; Bone loss, mild."


def convert_both(tmp_path, training, validation, **policies):
    """Convert one subset with training and validation rows; returns it with the validation rows by image."""
    root = tmp_path / "root"
    pixels = pngs(len(training) + len(validation))
    names = list(pixels)
    write_subset(root, [row(name, *rest) for name, rest in zip(names, training, strict=False)], pixels)
    later = names[len(training) :]
    records = [row(name, *rest) for name, rest in zip(later, validation, strict=True)]
    write_subset(root, records, pixels, folder="validation-public", file="ds_questions_val.json")
    (tmp_path / "work").mkdir(exist_ok=True)
    result = converted(root, tmp_path, **policies)
    return result, [r for r in result.rows if r.folder == "validation-public"]


def test_the_words_of_a_question_without_options_are_those_of_the_training_rows(tmp_path):
    training = [(WORDS, "Benign"), (WORDS, "Malignant"), (WORDS, "Benign")]
    result, [scored] = convert_both(tmp_path, training, [(WORDS, "Carcinoma")])
    assert scored.expected.answer_by == "words"
    assert scored.expected.labels == ("Benign", "Malignant")  # and not the answer that is scored
    assert FormatSource("labels", "training rows") in scored.expected.sources
    [learned] = [c for c in result.conventions if c.field == "labels"]
    assert json.loads(learned.value) == ["Benign", "Malignant"] and learned.votes == learned.rows == 3


def test_letter_or_words_is_a_vote_that_is_recorded(tmp_path):
    training = [("Which? A) Nevus B) Scar", answer) for answer in ("Nevus", "Scar", "A", "Nevus")]
    result, [scored] = convert_both(tmp_path, training, [("Which? A) Nevus B) Scar", "B")])
    assert scored.expected.answer_by == "words"
    [learned] = [c for c in result.conventions if c.field == "answer_by"]
    assert (learned.value, learned.votes, learned.rows, learned.source) == ('"words"', 3, 4, "training rows")


def test_where_a_task_has_no_training_row_the_others_are_asked_and_it_is_said(tmp_path):
    result, scored = convert_both(
        tmp_path,
        [("How many?", "3", "Counting")],
        [(LABELS, "Crown", "Multi-label Classification")] * 2,
        duplicate="keep",
    )
    assert {c.source for c in result.conventions} == {"other rows"}
    assert scored[0].expected.separator == ","


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        ({"separator": ";"}, "separator", ";"),
        ({"answer_by": "words"}, "answer_by", "words"),
        ({"percent": True}, "percent", True),
        ({"box_convention": "xywh"}, "box_convention", "xywh"),
    ],
)
def test_what_the_configuration_sets_is_not_learned(tmp_path, setting, field, value):
    questions = {
        "separator": (LABELS, "Crown", "Multi-label Classification"),
        "answer_by": ("Which? A) Nevus B) Scar", "A", "Classification"),
        "percent": ("How much?", "2.5", "Regression"),
        "box_convention": ("Where as [x_min, y_min, x_max, y_max]?", "[[1, 2, 3, 4]]", "Detection"),
    }
    result, [scored] = convert_both(
        tmp_path, [questions[field]], [questions[field]], conventions={"ds": setting}, duplicate="keep"
    )
    assert getattr(scored.expected, field) == value
    assert FormatSource(field, "configuration") in scored.expected.sources
    assert {c.source for c in result.conventions if c.field == field} == {"configuration"}


def test_a_question_that_says_its_box_convention_goes_before_what_the_subset_does(tmp_path):
    corners, sizes = "Where as [x_min, y_min, x_max, y_max]?", "Where as [x, y, width, height]?"
    training = [(corners, "[[1, 2, 3, 4]]", "Detection")] * 3
    _, [scored] = convert_both(tmp_path, training, [(sizes, "[[1, 2, 3, 4]]", "Detection")])
    assert scored.expected.box_convention == "xywh" and scored.boxes[0] == (1, 2, 4, 6)
    assert FormatSource("box_convention", "question") in scored.expected.sources


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Bone loss, mild; Caries", ["Bone loss, mild", "Caries"]),
        ("Bone loss,mild; Caries;", ["Bone loss, mild", "Caries"]),
        ("Crown;", ["Crown"]),
    ],
)
def test_source_and_answer_are_split_by_one_splitter(tmp_path, text, labels):
    from workflow_scripts.core.tasks import load_part
    from workflow_scripts.tasks.language.labels import label_key

    _, [scored] = convert_both(tmp_path, [(LABELS, "Crown; Caries", "Multi-label Classification")],
                               [(LABELS, text, "Multi-label Classification")])  # fmt: skip
    read = load_part("multi_label", "reading").read_strict(scored.expected, text)
    assert [label_key(label) for label in scored.labels] == [label_key(label) for label in read]
    assert read == labels == list(scored.labels)


def test_a_subset_in_two_modality_folders_or_of_a_reserved_name_is_refused(tmp_path):
    from workflow_scripts.core.files import BadFile

    for number, (places, sentence) in enumerate(
        [
            (
                [{"modality": "Xray"}, {"modality": "CT"}],
                "training/CT/ds and training/Xray/ds are two subsets of one name",
            ),
            ([{"name": "Macro"}], "a subset cannot be called 'Macro'"),
            ([{"folder": "validation-public"}, {"folder": "validation_public"}], "are one split folder"),
        ]
    ):
        folder = tmp_path / str(number)
        for place in places:
            write_subset(folder / "root", [row("imagesTr/0.png")], pngs(1), **place)
        with pytest.raises(BadFile, match=sentence):
            converted(folder / "root", folder)
