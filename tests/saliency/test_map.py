"""The steps: which rows are explained, what is stored, and what the tables hold."""

import pandas as pd
import pytest

from tests.conftest import make_row
from workflow_scripts.core.config.report import METHODS, Saliency
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Box, ExpectedFormat, Prediction, Row
from workflow_scripts.core.saliency.rows import SaliencyFact, SaliencyMap, SaliencyValue
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.saliency.map import chosen_rows, write_map
from workflow_scripts.saliency.table import write_table

SPEC = Saliency(system="base", rows=2, steps=2, draws=1, windows=4)


def boxed(root, number, **changes) -> Row:
    expected = ExpectedFormat(width=112, height=96)
    return make_row(root, number, expected=expected, boxes=(Box(5, 10, 40, 50),), **changes)


@pytest.fixture(scope="module")
def explain(tiny, root, tmp_path_factory):
    """A function that explains given answers to rows, and gives maps and facts."""
    store = tmp_path_factory.mktemp("store")

    def run(rows, answers, spec=SPEC):
        folder = tmp_path_factory.mktemp("run")
        write_rows(folder / "rows.parquet", rows, Row)
        predictions = [Prediction(row.uid, "base", text, end) for row, (text, end) in zip(rows, answers, strict=True)]
        write_rows(folder / "predictions.parquet", predictions, Prediction)
        write_map(
            split=folder / "rows.parquet",
            predictions=folder / "predictions.parquet",
            model=tiny,
            root=root,
            spec=spec,
            prompt=Prompt(system="Count."),
            max_new_tokens={"counting": 3},
            batch=8,
            threads=1,
            store=store,
            maps=folder / "maps.parquet",
            facts=folder / "facts.parquet",
        )
        return folder

    return run


@pytest.fixture(scope="module")
def rows(root):
    return [boxed(root, 1), make_row(root, 2)]


@pytest.fixture(scope="module")
def folder(explain, rows):
    return explain(rows, [("17 cells", "stop"), ("many", "length")])


def test_each_image_has_a_map_by_each_method_of_either_network(folder, rows):
    maps = read_rows(folder / "maps.parquet", SaliencyMap)
    present = {(one.uid, one.image, one.method, one.weights) for one in maps}
    methods = [method for method in METHODS if method != "counterfactual"]
    expected = {
        (row.uid, image, method, weights)
        for row in rows
        for image in range(len(row.images))
        for method in methods
        for weights in ("own", "randomised")
    }
    assert present == expected and len(maps) == len(expected)
    assert {one.explained for one in maps} == {"17 cells", "many"}
    assert all(len(one.values) == sum(grid.tokens for grid in one.grids) == 16 for one in maps)


def test_facts_of_boxes_stand_on_the_rows_that_have_any(folder, rows):
    facts = read_rows(folder / "facts.parquet", SaliencyFact)
    of_boxes = {
        fact.uid for fact in facts if fact.measure in ("pointing_game", "mass_in_box", "box_area", "changed_box")
    }
    assert of_boxes == {rows[0].uid}
    (area,) = [fact.value for fact in facts if fact.measure == "box_area"]
    assert area == 35 * 40 / (112 * 96)
    shares = {fact.measure: fact.value for fact in facts if fact.measure.startswith("changed")}
    assert set(shares.values()) <= {0.0, 1.0} and "changed_top_random" in shares


def test_a_second_run_loads_no_model_and_gives_the_same_bytes(folder, explain, rows, monkeypatch):
    monkeypatch.setattr("workflow_scripts.saliency.map.load", lambda *given, **more: pytest.fail("a model is loaded"))
    again = explain(rows, [("17 cells", "stop"), ("many", "length")])
    for name in ("maps.parquet", "facts.parquet"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize(
    ("answers", "spec"),
    [
        ([("18 cells", "stop")], SPEC),
        ([("17 cells", "length")], SPEC),
        ([("17 cells", "stop")], SPEC.model_copy(update={"fill": "blur"})),
    ],
)
def test_another_answer_or_setting_is_computed_anew(folder, explain, rows, monkeypatch, answers, spec):
    monkeypatch.setattr("workflow_scripts.saliency.map.load", lambda *given, **more: (_ for _ in ()).throw(KeyError))
    with pytest.raises(KeyError):
        explain(rows[:1], answers, spec)


def test_rows_with_boxes_come_first_and_the_choice_is_seeded(root):
    rows = [boxed(root, n) if n % 4 == 0 else make_row(root, n) for n in range(16)]
    chosen = chosen_rows(rows, Saliency(system="base", rows=6))
    assert [row.boxes is not None for row in chosen] == [True] * 4 + [False] * 2
    assert chosen == chosen_rows(rows[::-1], Saliency(system="base", rows=6))
    others = {tuple(row.uid for row in chosen_rows(rows, Saliency(system="base", rows=6, seed=s))) for s in range(4)}
    assert len(others) > 1
    assert {len(row.images) for row in chosen_rows(rows, Saliency(system="base", images=1))} == {1}


def test_the_table_has_a_line_for_each_measure(folder, tmp_path):
    table, csv = tmp_path / "values.parquet", tmp_path / "values.csv"
    write_table(names=["why"], facts=[folder / "facts.parquet"], table=table, csv=csv)
    values, frame = read_rows(table, SaliencyValue), pd.read_csv(csv, keep_default_na=False)
    assert len(frame) == len(values) > 20 and set(frame.name) == {"why"} and set(frame.system) == {"base"}
    assert (frame.low <= frame.value).all() and (frame.value <= frame.high).all()
    boxes = frame[frame.measure == "box_area"].iloc[0]
    assert (boxes["rows"], boxes.clusters) == (1, 1)
