"""Splits by hospital: rows are chosen by their groups, and a hospital that is held out shares nothing with training."""

import json

import pytest
import yaml

from tests.data.roots import OPTIONS, converted, png, write_subset
from tests.data.roots import row as record
from workflow_scripts import ROOT
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.config.workflow import Configuration, ConfigurationError, load_configuration
from workflow_scripts.core.groups.holdouts import Holdout, held_out_by, systems_on
from workflow_scripts.core.groups.values import group_value
from workflow_scripts.core.rows import Row
from workflow_scripts.data.case_groups import ties
from workflow_scripts.data.split import EmptySplit, select, split_rows

HOSPITALS = ("St. Mary", "Charité", "C")


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[Row]:
    """Thirty rows of ten cases at three hospitals, a tenth of them at none; two hospitals share a case and an image."""
    records, images = [], {}
    for place in range(30):
        name = f"imagesTr/{place}.png"
        images[name] = png(4 if place == 5 else place)  # rows 4 and 5: one image, two hospitals
        groups = {} if place % 10 == 9 else {"hospital": HOSPITALS[place % 3], "sex": "FM"[place % 2]}
        case = "shared" if place in (12, 13) else f"case {place}"
        question = f"{OPTIONS} ({place})"
        records.append(record(name, question, "ABC"[place % 3]) | {"Groups": groups, "Case": case})
    folder = tmp_path_factory.mktemp("hospitals")
    write_subset(folder / "root", records, images)
    return converted(folder / "root", folder).rows


def split(**changes: object) -> Split:
    return Split(**{"dataset": "lab", "folder": "training"} | changes)


def hospitals(rows: list[Row]) -> set[str]:
    return {group_value(row, "hospital") for row in rows}


def test_where_takes_rows_of_these_values_and_where_not_of_all_others_that_are_stated(rows):
    assert len(rows) == 30 and hospitals(rows) == {*HOSPITALS, ""}
    chosen = select(rows, split(where={"hospital": ["St. Mary", "C"]}), {})
    assert hospitals(chosen) == {"St. Mary", "C"} and len(chosen) == 18
    others = select(rows, split(where_not={"hospital": ["St. Mary"]}), {})
    assert hospitals(others) == {"Charité", "C"} and len(others) == 18
    both = select(rows, split(where={"hospital": ["C"], "sex": ["F"]}), {})
    assert {(group_value(row, "hospital"), group_value(row, "sex")) for row in both} == {("C", "F")}


def test_groups_choose_among_parts_and_move_no_row(rows):
    for part in ({"start": 0.0, "stop": 0.5}, {"start": 0.5, "stop": 1.0}):
        whole = select(rows, split(part=part), {})
        some = select(rows, split(part=part, where={"hospital": ["C"]}), {})
        assert [row.uid for row in some] == [row.uid for row in whole if group_value(row, "hospital") == "C"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"where": {"hospital": ["Charite"]}}, "has hospital 'Charite'; values there: 'C', 'Charité', 'St. Mary'"),
        ({"where_not": {"scanner": ["X"]}}, "has scanner 'X'; no row there states 'scanner' at all"),
    ],
)
def test_a_value_that_no_row_bears_is_named_with_those_there_are(rows, changes, sentence):
    with pytest.raises(EmptySplit) as error:
        select(rows, split(**changes), {})
    assert sentence in str(error.value)


def test_no_case_and_no_image_of_a_held_out_hospital_is_trained_on(rows):
    holdout = Holdout(dataset="lab", folder="training", group="hospital", values=HOSPITALS)
    splits = holdout.splits("by")
    assert list(splits) == [
        "by-St-Mary",
        "by-without-St-Mary",
        "by-Charite",
        "by-without-Charite",
        "by-C",
        "by-without-C",
    ]
    left_out = 0
    for value in holdout.values:
        evaluated, trained = (splits[name] for name in Holdout.names("by", value))
        held = select(rows, evaluated, {})
        chosen, others = split_rows(rows, trained, held, {})
        assert hospitals(held) == {holdout.values[value]} and hospitals(chosen) == {*HOSPITALS} - hospitals(held)
        assert not {tie for row in held for tie in ties(row, {})} & {tie for row in chosen for tie in ties(row, {})}
        left_out += len(others)
        assert {entry.reason for entry in others} <= {"leaked_image", "leaked_case"}
    assert left_out == 4  # each row of the shared case and of the shared image, when the other's hospital is held out


HOLDOUT = {"dataset": "lab", "folder": "training", "group": "hospital", "values": ["St. Mary", "C"]}


def configured(**changes) -> Configuration:
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw["datasets"]["lab"] = {"source": "synthetic"}
    raw["holdouts"] = {"by": HOLDOUT}
    raw["evaluate"] = [*raw["evaluate"], "by"]
    raw["systems"] = {
        "base": {"model": "tiny"},
        "tuned": {"model": "tiny", "recipe": "qlora", "train": "by"},
        "ordinary": {"model": "tiny", "recipe": "qlora", "train": "train"},
        "majority": {"baseline": "majority", "train": "by"},
    }
    return load_configuration(raw | changes, "x")


def test_one_entry_becomes_pairs_of_splits_and_systems_that_train_on_the_others():
    configuration = configured()
    assert list(configuration.systems) == [
        *("base", "tuned-without-St-Mary", "tuned-without-C", "ordinary"),
        *("majority-without-St-Mary", "majority-without-C"),
    ]
    assert configuration.systems["tuned-without-C"].train == "by-without-C"
    assert configuration.splits["by-without-C"].where_not == {"hospital": ("C",)}
    assert configuration.splits["by-C"].where == {"hospital": ("C",)}
    assert configuration.evaluate == ("validation", "by-St-Mary", "by-C")
    assert held_out_by(configuration.holdouts) == {"by-without-St-Mary": "by-St-Mary", "by-without-C": "by-C"}


def test_a_system_is_evaluated_on_the_hospital_that_it_did_not_see_and_others_on_every_split():
    configuration = configured()
    on = {split: systems_on(split, configuration.systems, configuration.holdouts) for split in configuration.evaluate}
    assert on["validation"] == ["base", "ordinary"]
    assert on["by-C"] == ["base", "tuned-without-C", "ordinary", "majority-without-C"]


def test_letters_with_marks_stay_letters_in_a_name():
    configuration = configured(holdouts={"by": HOLDOUT | {"values": ["Charité", "C"]}})
    assert [*configuration.evaluate] == ["validation", "by-Charite", "by-C"]


def test_a_configuration_that_was_written_down_is_read_as_itself():
    configuration = configured()
    again = Configuration.model_validate(json.loads(json.dumps(configuration.model_dump(mode="json"))))
    assert again == configuration


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"evaluate": ["validation"]}, "holdouts.by: 'by-St-Mary' is not evaluated; add 'by' to `evaluate`"),
        ({"holdouts": {"by": HOLDOUT | {"values": ["A b", "A-b"]}}}, "'A-b' would be called 'A-b' too; give names"),
        (
            {"holdouts": {"by": HOLDOUT | {"values": ["東京", "C"]}}},
            "'東京' has no letter or digit that a name may hold",
        ),
        ({"holdouts": {"by": HOLDOUT | {"values": ["C"]}}}, "holdouts.by.values"),
        ({"holdouts": {"validation": HOLDOUT}}, "holdouts.validation: a split has that name too"),
        (
            {"inference": {"together": [["base", "tuned-without-C"]]}},
            "base, tuned-without-C: those of a held-out value answer for it alone; part them",
        ),
        ({"splits": {"by-C": {"dataset": "lab", "folder": "testing"}}}, "splits.by-C: holdouts.by gives that name too"),
    ],
)
def test_a_wrong_holdout_is_one_sentence(changes, sentence):
    if "splits" in changes:
        raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
        changes = {"splits": raw["splits"] | changes["splits"]}
    with pytest.raises(ConfigurationError) as error:
        configured(**changes)
    assert sentence in str(error.value)


def test_values_may_have_names_of_their_own():
    configuration = configured(holdouts={"by": HOLDOUT | {"values": {"tokyo": "東京", "c": "C"}}})
    assert configuration.evaluate[1:] == ("by-tokyo", "by-c")
    assert configuration.splits["by-tokyo"].where == {"hospital": ("東京",)}


@pytest.mark.parametrize("where", [{"hospital": []}, {"hospital": "A"}])
def test_values_are_a_list(where):
    with pytest.raises(ValueError, match="where"):
        split(where=where)
