"""Free responses and what they are graded by, from a source's words to a row."""

import json
from itertools import pairwise

import pytest

from tests.data.roots import convert_rows
from tests.data.roots import row as record
from tests.data.tables import table_of
from tests.score.conftest import row
from workflow_scripts.core.answers import BadAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.core.rubrics.stated import MOST_ITEMS, NAMES, OF_ITEMS, BadRubric, stated
from workflow_scripts.core.tasks import load_part
from workflow_scripts.judges.rubrics.rubric import FILES, Rubric, resolved, shipped

TASK = "free_response"
ITEMS = [{"text": "one", "points": 60}, {"text": "two", "points": 40}]
MANAGED = {"rubric": "management", "items": ITEMS}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("bond", '"bond"'),
        (" likert ", '"likert"'),
        (MANAGED, '{"items":[{"points":60.0,"text":"one"},{"points":40.0,"text":"two"}],"rubric":"management"}'),
        (
            [{"criterion": "x", "points": -2, "tags": ["level:example", "axis:accuracy"]}, ITEMS[0]],
            '{"items":[{"name":"accuracy","points":-2.0,"text":"x"},{"points":60.0,"text":"one"}],"rubric":"item_list"}',
        ),
    ],
)
def test_what_a_row_states_has_one_text_which_states_the_same(given, text):
    assert stated(given).text() == text
    assert stated(text) == stated(given) == stated(json.dumps(given))
    assert stated(text).text() == text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("apgar", "'apgar' is no rubric; expected one of bond, likert"),
        (5, "neither a rubric's name nor items"),
        (None, "neither a rubric's name nor items"),
        ("", "is no rubric"),
        ("{", "is not valid JSON"),
        ({"rubric": ["bond"]}, "is no rubric"),
        ({"items": ITEMS}, "rubric: Field required"),
        ("management", "management and item_list need `items`"),
        ({"rubric": "bond", "items": ITEMS}, "need `items` of the case"),
        ([], "need `items`"),
        ([1], "items.0"),
        ([{"text": "x"}], "items.0.points: Field required"),
        ([{"text": "", "points": 1}], "1 to 4000 characters"),
        ([{"text": "x" * 4001, "points": 1}], "1 to 4000 characters"),
        ([{"text": "x", "points": 0}], "other than 0"),
        ([{"text": "x", "points": float("nan")}], "other than 0"),
        ([{"text": "x", "points": "5"}], "valid number"),
        ([{"text": "x", "points": -1}], "no item has points above zero"),
        ([{"text": "x", "points": 5, "values": [1, 5]}], "0 and all points among them"),
        ([{"text": "x", "points": 5, "values": [0, 5, 7]}], "outside 0 and the item's points"),
        ([{"text": "x", "points": 5, "weight": 1}], "items.0.weight"),
        ({"rubric": "management", "items": ITEMS[:1]}, "make 100 together, found 60"),
        ([ITEMS[0]] * (MOST_ITEMS + 1), f"{MOST_ITEMS + 1} items"),
    ],
)
def test_what_is_no_rubric_is_named(given, said):
    with pytest.raises(BadRubric) as fault:
        stated(given)
    assert said in str(fault.value)


def test_every_rubric_is_shipped_under_its_name_and_with_a_metric_of_its_name():
    assert tuple(FILES) == NAMES
    for name in NAMES:
        rubric = shipped(name)
        assert rubric.name == name and rubric.case_items == (name in OF_ITEMS)
        least, most = load_part(TASK, "metrics").BOUNDS[name]
        assert (least.metric, least.value) == (f"{name}_lowest", rubric.scale.least)
        assert (most.metric, most.value) == (f"{name}_highest", rubric.scale.most)
        assert name in load_part(TASK, "metrics").DEFINITIONS


def test_bond_has_no_1_and_r_idea_makes_10():
    assert shipped("bond").allowed == (5, 4, 3, 2, 0)
    assert {item.name: max(item.levels) for item in shipped("r_idea").items} == {
        "interpretive_summary": 4,
        "differential": 2,
        "explanation": 2,
        "alternatives": 2,
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levels": {}}, "`levels` belong to the formula"),
        ({"scale": {"least": 0, "most": 6}}, "the ends of `scale`"),
        ({"formula": "sum"}, "`levels` belong to the formula"),
        ({"weight": 3}, "Extra inputs"),
        ({"name": "apgar"}, "Input should be"),
    ],
)
def test_a_wrong_rubric_is_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        Rubric.model_validate(shipped("bond").model_dump() | changes)


@pytest.mark.parametrize(
    ("values", "score"), [((1, 1, 0), 1.0), ((1, 0, 1), 1 / 8), ((0, 0, 1), 0.0), ((0, 0, 0), 0.0), ((0, 1, 0), 3 / 8)]
)
def test_an_item_list_is_the_share_of_positive_points_cut_at_zero(values, score):
    points = (5, 3, -4)
    rubric = resolved([{"text": "x", "points": own} for own in points])
    assert rubric.total([own * met for own, met in zip(points, values, strict=True)]) == pytest.approx(score)


def test_items_of_one_name_are_scored_together():
    named = [("a", 5), ("a", 3), ("b", -4), ("", 2)]
    rubric = resolved([{"text": "x", "points": points, "name": name} for name, points in named])
    assert rubric.parts((5, 0, -4, 2)) == {"a": 5 / 8}  # `b` has no positive points to be a share of
    whole = resolved({"rubric": "management", "items": [{**ITEMS[0], "name": "a"}, {**ITEMS[1], "name": "b"}]})
    assert whole.parts((60, 0)) == {"a": 60, "b": 0}


@pytest.mark.parametrize(
    ("text", "read"), [("Pneumonia.", "Pneumonia."), ("  7 \n", "7"), ("", None), (" .-\n", None), ("肺炎", "肺炎")]
)
def test_any_text_that_says_something_is_an_answer(text, read):
    reading = load_part(TASK, "reading")
    assert reading.read_strict(ExpectedFormat(), text) == reading.read_lenient(ExpectedFormat(), text) == read


def test_a_reference_is_a_text_or_lines():
    answers = load_part(TASK, "answers")
    assert answers.parse(" PE ", ExpectedFormat()).text == "PE"
    assert answers.parse(["PE", " pneumonia "], ExpectedFormat()).text == "PE\npneumonia"
    for raw in (None, "", "none", [], [1], 1.5, {"a": "b"}):
        with pytest.raises(BadAnswer):
            answers.parse(raw, ExpectedFormat())


def test_baselines_answer_without_a_model():
    baselines = load_part(TASK, "baselines")
    rows = [row(n, TASK, answer) for n, answer in enumerate(["b", "a", "b"])]
    assert [getattr(baselines, name)(rows)(rows[0]) for name in ("majority", "empty", "constant")] == [
        "b",
        "",
        baselines.UNDECIDED,
    ]


def test_question_files_state_rubrics_and_wrong_ones_are_quarantined(tmp_path):
    def posed(name, task="Free response", **more):
        return record(name, "What is it?", "PE", task) | more

    rows = [
        posed("imagesTr/0.png", Rubric="bond"),
        posed("imagesTr/1.png", Rubric=MANAGED),
        posed("imagesTr/2.png"),
        posed("imagesTr/3.png", Rubric="apgar"),
        posed("imagesTr/0.png", "Report Generation", Rubric="bond"),
    ]
    done = convert_rows(tmp_path, rows)
    assert [entry.rubric for entry in done.rows] == ['"bond"', stated(MANAGED).text(), ""]
    assert {entry.task for entry in done.rows} == {TASK}
    assert [entry.reason for entry in done.quarantine] == ["bad_rubric", "bad_rubric"]
    assert "graded by no rubric" in done.quarantine[1].detail


def written(folder, rows):
    folder.mkdir()
    lines = [{"question": f"q{n}", "answer": "PE"} | row for n, row in enumerate(rows)]
    (folder / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


KEYS = {"task": "free response", "images": [], "subset": "texts"}


def test_a_table_names_a_rubric_for_all_rows(tmp_path):
    table = table_of(tmp_path, written(tmp_path / "source", [{}, {}]), rubric="bond", **KEYS)
    assert [entry.rubric for entry in table.result.rows] == ['"bond"', '"bond"']


def test_a_table_has_a_column_of_rubrics_in_each_form(tmp_path):
    rows = [{"r": "likert"}, {"r": MANAGED}, {"r": json.dumps(ITEMS)}, {"r": ""}, {"r": "apgar"}]
    table = table_of(tmp_path, written(tmp_path / "source", rows), rubric={"column": "r"}, **KEYS)
    assert [entry.rubric for entry in table.result.rows] == [
        '"likert"',
        stated(MANAGED).text(),
        stated(ITEMS).text(),
        "",
    ]
    assert [reason for reason, _ in table.faults] == ["bad_rubric"]


def test_a_table_has_a_column_of_items(tmp_path):
    rows = [{"own": ITEMS}, {"own": json.dumps(ITEMS)}, {"own": None}]
    table = table_of(tmp_path, written(tmp_path / "source", rows), rubric="management", rubric_items="own", **KEYS)
    assert [entry.rubric for entry in table.result.rows] == [stated(MANAGED).text()] * 2
    assert [reason for reason, _ in table.faults] == ["bad_rubric"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rubric": "apgar"}, "'apgar' is no rubric; allowed: bond"),
        ({"rubric": "management"}, "`rubric_items` names a column"),
        ({"rubric": "bond", "rubric_items": "own"}, "`rubric_items` does not go with it"),
    ],
)
def test_a_wrong_entry_says_what_is_expected(tmp_path, keys, said):
    with pytest.raises(ValueError, match=said):
        table_of(tmp_path, written(tmp_path / "source", [{}]), **keys, **KEYS)


def test_rows_of_equal_questions_may_have_several_answers(tmp_path):
    rows = [record("imagesTr/0.png", "What is it?", answer, "Free response") for answer in ("PE", "MI", "PE")]
    done = convert_rows(tmp_path, rows)
    assert [entry.answer for entry in done.rows] == ["PE", "MI"]
    assert [entry.reason for entry in done.quarantine] == ["duplicate"]
    assert all(one.uid < other.uid for one, other in pairwise(done.rows))
