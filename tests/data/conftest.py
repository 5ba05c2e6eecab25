"""The made tree, drawn once for all tests of the room, and the real one where a setting names it."""

import os
from pathlib import Path

import pytest

from tests.data.trees import Converted, converted
from workflow_scripts.core.config.datasets import MadeDataset
from workflow_scripts.data.made import draw_tree


@pytest.fixture(scope="session")
def made_tree(tmp_path_factory) -> Path:
    """The made tree at a small scale."""
    tree = tmp_path_factory.mktemp("made") / "tree"
    draw_tree(MadeDataset(scale=0.2), tree)
    return tree


@pytest.fixture(scope="session")
def made(made_tree, tmp_path_factory) -> Converted:
    """The made tree, converted."""
    return converted(made_tree, tmp_path_factory.mktemp("converted"))


@pytest.fixture(scope="session")
def real_tree() -> Path:
    """FLARE-shaped real images, where FLAREBENCH_REAL_MINI names the folder."""
    place = os.environ.get("FLAREBENCH_REAL_MINI")
    if not place:
        pytest.skip("FLAREBENCH_REAL_MINI is not set to a folder of real images")
    return Path(place)
