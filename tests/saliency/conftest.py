"""Fixtures: a network that learned to see a decisive square, boards with one, and the maps of its answers."""

from pathlib import Path

import numpy as np
import pytest

from tests.saliency.square import board, train
from workflow_scripts.core.config.report import Saliency
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import write_rows

BOARDS = 48


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """The record of a network that says which colour the plain square has."""
    return train(tmp_path_factory.mktemp("square") / "square")


@pytest.fixture(scope="session")
def boards(tmp_path_factory):
    """Boards that the network has not seen."""
    rng = np.random.default_rng(77)
    return [board(rng) for _ in range(BOARDS)]


def explained(folder: Path, record: Path, rows: list[Row], spec: Saliency) -> tuple[Path, Path]:
    """Answer rows whose images lie in `folder` and explain the answers: tables of maps and of facts."""
    from workflow_scripts.infer.answer import GroupMember, answer
    from workflow_scripts.saliency.map import write_map

    split, predictions = folder / "rows.parquet", folder / "predictions.parquet"
    write_rows(split, rows, Row)
    shared = {"split": split, "model": record, "root": folder, "max_new_tokens": {"counting": 4}, "threads": 1}
    members = [GroupMember(system=spec.system)]
    answer(**shared, members=members, batch=16, store=folder / "answers", out=predictions)
    maps, facts = folder / "maps.parquet", folder / "facts.parquet"
    write_map(
        **shared,
        predictions=predictions,
        spec=spec,
        prompt=Prompt(),
        batch=17,
        store=folder / "store",
        maps=maps,
        facts=facts,
    )
    return maps, facts
