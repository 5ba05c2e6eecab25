"""Finished answers keep the number of shards that they were made with."""

import pytest

from workflow_scripts.infer.shards import shards_behind


@pytest.fixture
def predictions(tmp_path):
    (tmp_path / "base").mkdir()
    for name in ("base/1-of-2.parquet", "base/2-of-2.parquet", "base.parquet"):
        (tmp_path / name).touch()
    return tmp_path / "base.parquet"


def test_finished_answers_name_their_shards(predictions):
    assert shards_behind(predictions, predictions.with_suffix("")) == ["1-of-2", "2-of-2"]


def test_unfinished_answers_name_none(predictions):
    predictions.unlink()
    assert shards_behind(predictions, predictions.with_suffix("")) == []


def test_a_lost_shard_leaves_the_number_to_the_configuration(predictions):
    (predictions.with_suffix("") / "2-of-2.parquet").unlink()
    assert shards_behind(predictions, predictions.with_suffix("")) == []


def test_a_shard_of_another_number_does_not_confuse(predictions):
    (predictions.with_suffix("") / "3-of-16.parquet").touch()
    assert shards_behind(predictions, predictions.with_suffix("")) == ["1-of-2", "2-of-2"]
