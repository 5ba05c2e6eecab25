"""The toy dataset, drawn and converted once for all tests of the data stage, and real images where there are any."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.roots import Converted, converted
from workflow_scripts.cache.pseudonyms import ENVIRONMENT
from workflow_scripts.core.config.datasets import SyntheticDataset
from workflow_scripts.synthetic.dataset import draw_dataset


@pytest.fixture(scope="session")
def toy_root(tmp_path_factory) -> Path:
    """The toy dataset at a small scale."""
    root = tmp_path_factory.mktemp("toy") / "root"
    draw_dataset(SyntheticDataset(scale=0.2), root)
    return root


@pytest.fixture(scope="session")
def toy(toy_root, tmp_path_factory) -> Converted:
    """The toy dataset, converted."""
    return converted(toy_root, tmp_path_factory.mktemp("converted"))


@pytest.fixture(scope="session")
def real_root() -> Path:
    """FLARE-shaped real images, where FLAREBENCH_REAL_MINI names the folder."""
    place = os.environ.get("FLAREBENCH_REAL_MINI")
    if not place:
        pytest.skip("FLAREBENCH_REAL_MINI is not set to a folder of real images")
    return Path(place)


@pytest.fixture(scope="module")
def pseudonym_key() -> Iterator[None]:
    """A key of pseudonyms in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, "a key of the tests")
        yield
