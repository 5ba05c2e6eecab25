"""Shards part the rows, and finished answers keep the number of shards that they were written with."""

import pytest

from workflow_scripts.core.command import Refused
from workflow_scripts.infer.shards import finished_shards, part_of


@pytest.fixture
def predictions(tmp_path):
    (tmp_path / "base").mkdir()
    for name in ("base/1-of-2.parquet", "base/2-of-2.parquet", "base.parquet"):
        (tmp_path / name).touch()
    return tmp_path / "base.parquet"


def test_finished_answers_name_their_shards(predictions):
    assert finished_shards(predictions, predictions.with_suffix("")) == ["1-of-2", "2-of-2"]


def test_unfinished_answers_name_none(predictions):
    predictions.unlink()
    assert finished_shards(predictions, predictions.with_suffix("")) == []


def test_a_lost_shard_leaves_the_number_to_the_configuration(predictions):
    (predictions.with_suffix("") / "2-of-2.parquet").unlink()
    assert finished_shards(predictions, predictions.with_suffix("")) == []


def test_a_shard_of_another_number_does_not_confuse(predictions):
    (predictions.with_suffix("") / "3-of-16.parquet").touch()
    assert finished_shards(predictions, predictions.with_suffix("")) == ["1-of-2", "2-of-2"]


def test_shards_part_the_rows():
    rows = list(range(7))
    assert part_of(rows, "1-of-1") == rows
    assert sorted(part_of(rows, "1-of-3") + part_of(rows, "2-of-3") + part_of(rows, "3-of-3")) == rows
    assert part_of(rows, "2-of-3") == [1, 4]


@pytest.mark.parametrize("name", ["", "3", "0-of-2", "3-of-2", "1-of-0", "1-of-2-of-3", "a-of-b"])
def test_what_names_no_shard_is_refused(name):
    with pytest.raises(Refused, match="names no shard; expected NUMBER-of-COUNT"):
        part_of([1, 2], name)
