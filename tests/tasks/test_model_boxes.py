"""Boxes in the conventions of model families: to a model's numbers and text, and back to the dataset's, exactly."""

import json
import random
from dataclasses import replace

import pytest
from PIL import Image
from pydantic import ValidationError

from tests.score.conftest import row as any_row
from workflow_scripts.core.config.models import BOX_CONVENTIONS, BoxForm, HubModel
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Box, ExpectedFormat, Instance, Prediction
from workflow_scripts.infer.questions.requests import requests_of
from workflow_scripts.models.images.size import squared
from workflow_scripts.score.outcomes import outcomes_of
from workflow_scripts.tasks.boxes.model_answers import answer_for, native_row
from workflow_scripts.tasks.boxes.model_conventions import CONVENTIONS, axes, from_model, to_model
from workflow_scripts.tasks.boxes.model_questions import question_for
from workflow_scripts.tasks.boxes.model_reading import carried_back, carried_prediction
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes, model_boxes, resized_size
from workflow_scripts.tasks.boxes.parsing import boxes_text, instances_text

FORMS = [ModelBoxes(name) for name in CONVENTIONS] + [
    ModelBoxes("medgemma", padded=True),
    ModelBoxes("medgemma", side=448, padded=True),
    ModelBoxes("qwen2_5_vl", padded=True),
]


def form_name(form):
    return form.convention + (" padded" if form.padded else "") + (f" to {form.side}" if form.side else "")


def detection(*boxes, width=640, height=480, convention="xyxy"):
    listed = tuple(Box(*map(float, box)) for box in boxes)
    expected = ExpectedFormat(box_convention=convention, width=width, height=height)
    answer = boxes_text(listed, convention)
    return any_row(1, "detection", answer, question="Where? [x1, y1, x2, y2]", expected=expected, boxes=listed)


def by_class(*instances, width=640, height=480, labels=("1", "2", "x")):
    listed = tuple(Instance(label, Box(*map(float, box))) for label, box in instances)
    expected = ExpectedFormat(box_convention="xywh", width=width, height=height, labels=labels)
    answer = instances_text(listed, "xywh")
    return any_row(2, "instance_detection", answer, question="Where?", expected=expected, instances=listed)


def outcome(row, text, form, finish_reason="stop"):
    prediction = carried_prediction(row, Prediction(row.uid, "s", text, finish_reason), form)
    return outcomes_of([row], {row.uid: prediction}, "s")[0]


# numbers


@pytest.mark.parametrize("form", FORMS, ids=form_name)
@pytest.mark.parametrize("count", [15_000, pytest.param(100_000, marks=pytest.mark.extended)])
def test_whole_pixels_come_back_exactly_and_from_a_coarser_grid_within_half_of_its_unit(form, count):
    chance = random.Random(form_name(form))
    sides = [1, 27, 28, 29, 99, 100, 101, 512, 896, 999, 1000, 1001, 1022, 1023, 1024, 4032, 8000]
    for turn in range(count // 20):
        width, height = (chance.choice(sides) if turn % 4 == 0 else chance.randint(8, 5000) for _ in "xy")
        if max(width, height) > 200 * min(width, height):
            width = height
        both = axes(form, width, height) * 2
        for _ in range(20):
            x1, y1 = int(chance.random() * width), int(chance.random() * height)
            corners = [
                x1,
                y1,
                x1 + 1 + int(chance.random() * (width - x1)),
                y1 + 1 + int(chance.random() * (height - y1)),
            ]
            numbers = to_model(corners, form, width, height)
            back = from_model(numbers, form, width, height)
            for edge, again, axis in zip(corners, back, both, strict=True):
                # Twice the distance in units, times the length, is at most the length; both sides in thousandths.
                unit_wise = 2 * axis.units * abs(round(1000 * again) - 1000 * edge)
                assert again == edge if axis.units >= axis.length else unit_wise <= 1000 * axis.length + axis.units


@pytest.mark.parametrize("form", FORMS, ids=form_name)
def test_numbers_of_a_model_come_back_exactly_from_pixels_that_are_finer(form):
    chance = random.Random(1)
    for _ in range(3000):
        width, height = chance.randint(1100, 5000), chance.randint(1100, 5000)
        x, y = axes(replace(form, most=1_000_000), width, height)
        for axis in (x, y):
            number = chance.randint(0, axis.units)
            place = axis.place(number)
            if axis.units < axis.length and 0 <= place <= axis.length:
                assert axis.number(place) == number


def test_numbers_by_hand():
    width, height, corners = 640, 480, [64, 48, 320, 480]
    assert to_model(corners, ModelBoxes("paligemma"), width, height) == [102, 102, 1023, 512]  # 511.5 rounds up
    assert to_model(corners, ModelBoxes("medgemma"), width, height) == [100, 100, 1000, 500]
    # 80 rows of padding above: (48 + 80) / 640, (480 + 80) / 640
    assert to_model(corners, ModelBoxes("medgemma", padded=True), width, height) == [200, 100, 875, 500]
    assert to_model(corners, ModelBoxes("qwen3_vl"), width, height) == [100, 100, 500, 1000]
    assert to_model(corners, ModelBoxes("internvl"), width, height) == [100, 100, 500, 1000]
    assert to_model(corners, ModelBoxes("chexagent"), width, height) == [10, 10, 50, 100]
    assert resized_size(ModelBoxes("qwen2_5_vl"), width, height) == (644, 476)
    assert to_model(corners, ModelBoxes("qwen2_5_vl"), width, height) == [64, 48, 322, 476]


def test_an_image_that_is_made_a_square_first_is_counted_as_the_square():
    corners, square = [64, 48, 320, 480], ModelBoxes("qwen2_5_vl", side=448)
    assert to_model(corners, square, 640, 480) == [45, 45, 224, 448]
    assert "in pixels of the image at 448 x 448" in question_for(detection(corners), square)
    stretched = ModelBoxes("medgemma", side=448)
    assert to_model(corners, stretched, 640, 480) == to_model(corners, ModelBoxes("medgemma"), 640, 480)


def test_numbers_of_a_padded_image_are_those_of_the_square_that_the_model_sees():
    """A light box in a dark image, padded by what prepares images: its place there in thousandths, half rounded up."""
    chance, form = random.Random(4), ModelBoxes("medgemma", padded=True)
    for _ in range(400):
        width, height = chance.randint(2, 90), chance.randint(2, 90)
        x1, y1 = chance.randrange(width), chance.randrange(height)
        x2, y2 = chance.randint(x1 + 1, width), chance.randint(y1 + 1, height)
        image = Image.new("RGB", (width, height))
        image.paste((255, 255, 255), (x1, y1, x2, y2))
        square = squared(image, None, True)
        side, (left, top, right, bottom) = square.width, square.getbbox()
        assert square.size == (max(width, height),) * 2
        numbers = to_model([x1, y1, x2, y2], form, width, height)
        assert numbers == [(2000 * edge + side) // (2 * side) for edge in (top, left, bottom, right)]
        assert from_model(numbers, form, width, height) == [x1, y1, x2, y2]


def test_a_box_in_the_padding_lies_outside_the_image():
    form = ModelBoxes("medgemma", padded=True)
    assert from_model([0, 0, 125, 500], form, 640, 480) == [0, -80, 320, 0]


def test_a_box_that_leaves_the_image_is_cut_to_it_when_it_is_written():
    assert to_model([-5, -5, 700, 500], ModelBoxes("paligemma"), 640, 480) == [0, 0, 1023, 1023]


def test_the_size_of_a_resized_image_is_the_librarys():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    chance = random.Random(2)
    for _ in range(20_000):
        width, height = (round(10 ** chance.uniform(1, 3.9)) for _ in "xy")
        least, most = chance.choice([(3136, 12_845_056), (56 * 56, 50_176), (200_704, 1_003_520)])
        form = ModelBoxes("qwen2_5_vl", least=least, most=most)
        if max(width, height) > 200 * min(width, height):
            with pytest.raises(ValueError, match="narrower"):
                resized_size(form, width, height)
        else:
            assert resized_size(form, width, height) == smart_resize(height, width, 28, least, most)[::-1]


@pytest.mark.parametrize(
    "stated",
    [
        {"patch_size": 14, "merge_size": 2, "min_pixels": 3136, "max_pixels": 50_176},
        {"patch_size": 14, "merge_size": 2, "size": {"shortest_edge": 3136, "longest_edge": 50_176}},
        {"image_processor": {"patch_size": 14, "merge_size": 2, "min_pixels": 3136, "max_pixels": 50_176}},
    ],
)
def test_the_checkpoint_says_how_images_are_resized(tmp_path, stated):
    name = "processor_config.json" if "image_processor" in stated else "preprocessor_config.json"
    (tmp_path / name).write_text(json.dumps(stated))
    assert model_boxes(BoxForm(convention="qwen2_5_vl"), tmp_path) == ModelBoxes("qwen2_5_vl", least=3136, most=50_176)


def test_a_checkpoint_that_does_not_say_how_images_are_resized_is_refused(tmp_path):
    with pytest.raises(BadFile, match="does not say how images are resized"):
        model_boxes(BoxForm(convention="qwen2_5_vl"), tmp_path)
    assert model_boxes(BoxForm(convention="qwen3_vl", side=448), tmp_path) == ModelBoxes("qwen3_vl", 448)
    assert model_boxes(BoxForm(), tmp_path) is None


# texts

ROWS = [
    detection((3, 5, 100, 80)),
    detection((3, 5, 100, 80), (0, 0, 640, 480), (101, 7, 103, 9), convention="xywh"),
    detection(),
    by_class(("1", (3, 5, 100, 80)), ("x", (1, 1, 2, 2)), ("1", (600, 400, 640, 480))),
    by_class(("12", (3, 5, 100, 80)), labels=()),
    by_class(),
]
FINE = [form for form in FORMS if form.convention != "chexagent"]


@pytest.mark.parametrize("form", FINE, ids=form_name)
@pytest.mark.parametrize("place", range(len(ROWS)))
def test_what_training_shows_is_read_as_the_row_answers(form, place):
    row = ROWS[place]
    if form.convention == "qwen2_5_vl":
        form = replace(form, least=1_000_000)  # resized to more pixels than it has
    carried = carried_back(row, answer_for(row, form), form)
    assert (json.loads(carried.text), carried.fault) == (json.loads(row.answer), None)
    read = outcome(row, answer_for(row, form), form)
    assert (read.outcome, read.strict) == ("valid", read.reference)


@pytest.mark.parametrize("place", range(len(ROWS)))
def test_a_grid_of_a_hundred_loses_half_of_its_unit_and_no_box(place):
    row, form = ROWS[place], ModelBoxes("chexagent")
    read = outcome(row, answer_for(row, form), form)
    assert read.outcome == "valid"
    strict, reference = json.loads(read.strict), json.loads(read.reference)
    pairs = (
        [(strict, reference)] if isinstance(strict, list) else [(strict[name], reference[name]) for name in reference]
    )
    for boxes, wanted in pairs:
        assert len(boxes) == len(wanted)
        for box, other in zip(boxes, wanted, strict=True):
            assert all(abs(a - b) <= half for a, b, half in zip(box, other, (3.2, 2.4) * 2, strict=True))


WRITTEN = {
    "paligemma": ("<loc0102><loc0102><loc1023><loc0512>", "<loc0102><loc0102><loc1023><loc0512> x"),
    "medgemma": ('[{"box_2d": [100, 100, 1000, 500]}]', '[{"box_2d": [100, 100, 1000, 500], "label": "x"}]'),
    "qwen2_5_vl": ('[{"bbox_2d": [64, 48, 322, 476]}]', '[{"bbox_2d": [64, 48, 322, 476], "label": "x"}]'),
    "qwen3_vl": ('[{"bbox_2d": [100, 100, 500, 1000]}]', '[{"bbox_2d": [100, 100, 500, 1000], "label": "x"}]'),
    "internvl": ("[[100, 100, 500, 1000]]", "x[[100, 100, 500, 1000]]"),
    "chexagent": ("(10,10),(50,100)", "x (10,10),(50,100)"),
}


@pytest.mark.parametrize("convention", WRITTEN)
def test_texts_by_hand(convention):
    form, box = ModelBoxes(convention), (64, 48, 320, 480)
    assert (answer_for(detection(box), form), answer_for(by_class(("x", box)), form)) == WRITTEN[convention]


NATIVE = [
    ("internvl", "<ref>x</ref><box>[[100, 100, 500, 1000], [0, 0, 1000, 1000]]</box>"),
    ("internvl", "x[[100, 100, 500, 1000]]<ref>x</ref>[[0, 0, 1000, 1000]]"),
    ("chexagent", "<|ref|>x<|/ref|><|box|>(10,10),(50,100)<|/box|>\n<|ref|>x<|/ref|><|box|>(0,0),(100,100)<|/box|>"),
    ("paligemma", "<loc0102> <loc0102> <loc1023> <loc0512> x; <loc0000><loc0000><loc1023><loc1023> x "),
    ("medgemma", '[{"label": "x", "box_2d": [100, 100.0, 1e3, 500]}, {"box_2d": [0, 0, 1000, 1000], "label": "x"}]'),
]


@pytest.mark.parametrize(("convention", "text"), NATIVE)
def test_the_tokens_around_boxes_and_the_order_of_keys_make_no_difference(convention, text):
    row = by_class(("x", (64, 48, 320, 480)), ("x", (0, 0, 640, 480)))
    read = outcome(row, text, ModelBoxes(convention))
    assert read.outcome == "valid"
    assert json.loads(read.strict)["x"] == [pytest.approx([64, 48, 320, 480], abs=0.5), [0, 0, 640, 480]]


LENIENT = [
    ("medgemma", '```json\n[{"box_2d": [100, 100, 1000, 500], "label": "x"}]\n```'),
    ("medgemma", 'The lesion: {"box_2d": [100, 100, 1000, 500], "label": "x"}.'),
    ("medgemma", '{"x": [[100, 100, 1000, 500]]}'),
    ("medgemma", '[{"box_2d": [100, 100, 1000, 500], "label": "x"}, {"box_2d": [100, 1'),
    ("qwen3_vl", '{"bbox_2d": [100, 100, 500, 1000], "label": "x"}'),
    ("qwen2_5_vl", '```json\n[\n\t{"bbox_2d": [64, 48, 322, 476], "label": "x"}\n]\n```'),
    ("internvl", "Here they are:\nx[[100, 100, 500, 1000]]\nas asked"),
    ("paligemma", "<loc0102><loc0102><loc1023><loc0512> x ; <loc0102><loc"),
    ("chexagent", "It shows\nx (10,10),(50,100) and nothing else"),
]


@pytest.mark.parametrize(("convention", "text"), LENIENT)
def test_boxes_in_another_form_are_read_leniently_in_the_models_numbers(convention, text):
    row = by_class(("x", (64, 48, 320, 480)))
    read = outcome(row, text, ModelBoxes(convention))
    assert (read.outcome, read.strict, read.text) == ("malformed", None, text)
    assert json.loads(read.lenient) == {"x": [pytest.approx([64, 48, 320, 480], abs=0.5)]}
    alone = outcome(detection((64, 48, 320, 480), convention="xywh"), text, ModelBoxes(convention))
    assert json.loads(alone.lenient) == [pytest.approx([64, 48, 320, 480], abs=0.5)]
    assert alone.outcome == "malformed"


def test_a_bare_list_is_in_the_models_numbers_and_not_in_the_form_that_was_asked_for():
    read = outcome(detection((64, 48, 320, 480)), "[[100, 100, 500, 1000]]", ModelBoxes("qwen3_vl"))
    assert (read.outcome, read.strict, json.loads(read.lenient)) == ("malformed", None, [[64, 48, 320, 480]])


UNREADABLE = [
    ("paligemma", "[[64, 48, 320, 480]]", "'[[64, 48, 320, 480]]' is not four location tokens"),
    ("paligemma", "<loc0102><loc0102><loc1023>", "'<loc0102><loc0102><loc1023>' is not four location tokens"),
    ("medgemma", '[{"box_2d": [100, 100, 1000]}]', "entry 1: [100, 100, 1000] is not four numbers"),
    ("medgemma", '[{"box": "left"}]', "entry 1 has no box_2d"),
    ("qwen3_vl", "[0.5, 0.5]", "entry 1 has no bbox_2d"),
    ("qwen3_vl", "on the left", 'no JSON list of {"bbox_2d": [...]}'),
    ("internvl", "x[[1, 2, 3]]", "'x[[1, 2, 3]]' is not [[x1, y1, x2, y2], ...]"),
    ("chexagent", "[10, 10, 50, 100]", "'[10, 10, 50, 100]' is not (x0,y0),(x1,y1)"),
]


@pytest.mark.parametrize(("convention", "text", "reason"), UNREADABLE)
def test_an_answer_without_boxes_in_the_models_form_is_malformed_with_its_reason(convention, text, reason):
    read = outcome(detection((64, 48, 320, 480)), text, ModelBoxes(convention))
    assert (read.outcome, read.strict, read.lenient, read.text) == ("malformed", None, None, text)
    assert read.box_fault == reason


def test_a_class_that_is_missing_is_named():
    carried = carried_back(
        by_class(("x", (0, 0, 9, 9))), "<loc0000><loc0000><loc0009><loc0009>", ModelBoxes("paligemma")
    )
    assert carried.fault is None
    read = outcome(by_class(("x", (0, 0, 9, 9))), '[{"box_2d": [1, 2, 3, 4]}]', ModelBoxes("medgemma"))
    assert (read.outcome, read.strict) == ("malformed", None)


@pytest.mark.parametrize(
    ("text", "finish_reason", "wanted"),
    [
        ("I am unable to determine where it is.", "stop", "refused"),
        ("<loc0001>" * 60, "length", "looping"),
        ("<loc0001><loc0002><loc0003><loc0004> ; " * 20, "length", "looping"),
        ("<loc0001><loc0002><loc", "length", "truncated"),
        ("<think>the box <loc0001><loc0002><loc0003><loc0004>", "length", "truncated"),
    ],
)
def test_what_became_of_an_answer_is_read_off_the_models_own_text(text, finish_reason, wanted):
    read = outcome(detection((0, 0, 9, 9)), text, ModelBoxes("paligemma"), finish_reason)
    assert (read.outcome, read.text) == (wanted, text)


def test_a_thought_is_cut_before_boxes_are_read():
    text = "<think>first <loc0001><loc0001><loc0009><loc0009></think><loc0000><loc0000><loc1023><loc1023>"
    read = outcome(detection((0, 0, 640, 480)), text, ModelBoxes("paligemma"))
    assert (read.outcome, read.thought, read.answer, read.text) == ("valid", True, "[[0, 0, 640, 480]]", text)


def test_other_answers_are_left_as_they_are():
    row = any_row(3, "counting", "17")
    prediction = Prediction(row.uid, "s", "17", "stop")
    assert carried_prediction(row, prediction, ModelBoxes("paligemma")) == prediction
    assert native_row(row, ModelBoxes("paligemma")) == row
    assert native_row(ROWS[0], None) == ROWS[0]


# prompts


@pytest.mark.parametrize("form", FORMS, ids=form_name)
def test_the_prompt_of_training_is_that_of_inference_and_says_which_form_holds(form):
    rows = [detection((64, 48, 320, 480)), by_class(("x", (64, 48, 320, 480)))]
    requests = requests_of(rows, Prompt(), {"detection": 9, "instance_detection": 9}, form)
    for row, request in zip(rows, requests, strict=True):
        prompt = request.chat[-1]["content"][-1]["text"]
        assert prompt == native_row(row, form).question == question_for(row, form)
        assert prompt.startswith(f"{row.question}\nWhatever is said above of the form of boxes, write ")
    plain, classed = (request.chat[-1]["content"][-1]["text"] for request in requests)
    assert "class" not in plain.removeprefix(rows[0].question)
    assert "class" in classed


def test_a_prompt_names_the_size_that_the_model_sees():
    prompt = question_for(detection((0, 0, 9, 9), width=4000, height=3000), ModelBoxes("qwen2_5_vl", most=50_176))
    assert "in pixels of the image at 252 x 168" in prompt


def test_without_a_form_of_its_own_the_model_is_asked_the_rows_question():
    assert requests_of([ROWS[0]], Prompt(), {"detection": 9}) == requests_of(
        [ROWS[0]], Prompt(), {"detection": 9}, None
    )
    assert question_for(ROWS[0], None) == ROWS[0].question


def test_a_row_of_boxes_without_its_images_size_is_refused():
    row = replace(ROWS[0], expected=ExpectedFormat(box_convention="xyxy"))
    with pytest.raises(BadFile, match="u0001: a row of boxes needs its image's size"):
        answer_for(row, ModelBoxes("paligemma"))


# configuration


def test_every_family_that_has_a_form_of_its_own_has_one_that_is_known():
    assert set(BOX_CONVENTIONS.values()) == set(CONVENTIONS)


def test_a_family_without_a_form_of_its_own_cannot_be_asked_for_it():
    entry = {"family": "gemma3", "checkpoint": "a/b", "revision": "0" * 40}
    assert HubModel(**entry).box_form == BoxForm()
    assert HubModel(**entry, boxes="native", image={"size": 448}).box_form == BoxForm(convention="medgemma", side=448)
    padded = HubModel(**entry, boxes="native", image={"pad": True})
    assert padded.box_form == BoxForm(convention="medgemma", padded=True)
    assert model_boxes(padded.box_form) == ModelBoxes("medgemma", padded=True)
    with pytest.raises(ValidationError, match="family idefics3 has no form of boxes of its own; set dataset"):
        HubModel.model_validate(entry | {"family": "idefics3", "boxes": "native"})
