"""On images with a known decisive square, maps point at it; those of a network that learned nothing do not."""

import numpy as np
import pytest

from tests.saliency.conftest import explained
from tests.saliency.square import board_rows
from workflow_scripts.core.config.report import Saliency
from workflow_scripts.core.rows import Prediction
from workflow_scripts.core.saliency.rows import SaliencyFact, SaliencyValue
from workflow_scripts.core.tables import read_rows
from workflow_scripts.saliency.table import write_table

pytestmark = pytest.mark.extended  # the network trains for half a minute of CPU, and its maps take another


@pytest.fixture(scope="module")
def values(trained, boards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("boards")
    rows = board_rows(folder, boards)
    spec = Saliency(system="square", rows=len(rows), steps=4, draws=1)
    _, facts = explained(folder, trained, rows, spec)
    texts = {one.uid: one.text for one in read_rows(folder / "predictions.parquet", Prediction)}
    assert np.mean([texts[row.uid] == row.answer for row in rows]) > 0.95
    assert len(read_rows(facts, SaliencyFact)) > 20 * len(rows)
    write_table(names=["boards"], facts=[facts], table=folder / "values.parquet", csv=folder / "values.csv")
    table = read_rows(folder / "values.parquet", SaliencyValue)
    return {(value.method, value.weights, value.measure): value for value in table}


@pytest.mark.parametrize("method", ["occlusion", "chefer"])
def test_the_map_points_at_the_decisive_square(values, method):
    assert values[method, "own", "pointing_game"].value >= 0.9


@pytest.mark.parametrize("method", ["occlusion", "gradient_x_input", "chefer"])
def test_a_network_with_redrawn_weights_points_at_it_as_often_as_chance(values, method):
    share, pointing = values["", "", "box_area"].value, values[method, "randomised", "pointing_game"]
    assert share == 1 / 16 and pointing.low <= share <= pointing.high
    assert values[method, "own", "rank_correlation"].high < 0.5


@pytest.mark.parametrize("method", ["occlusion", "gradient_x_input", "chefer"])
def test_the_map_is_more_faithful_than_those_that_know_nothing(values, method):
    own = {measure: values[method, "own", measure] for measure in ("deletion_auc", "insertion_auc", "mass_in_box")}
    for other in ((method, "randomised"), ("", "centred")):
        assert own["deletion_auc"].high < values[*other, "deletion_auc"].low
        assert own["insertion_auc"].low > values[*other, "insertion_auc"].high
        assert own["mass_in_box"].low > values[*other, "mass_in_box"].high


def test_the_answer_changes_when_the_square_is_filled_and_hardly_elsewhere(values):
    assert values["", "own", "changed_box"].value >= 0.9
    assert values["", "own", "changed_box_difference"].low > 0.7
