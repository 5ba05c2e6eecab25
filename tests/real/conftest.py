"""A real language model as a checkpoint and behind a real server; both once for all tests of this package."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.chat_process import ServedModel
from tests.real.checkpoint import INSTALL, absent_modules, converted
from workflow_scripts.judges import upstream


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct."""
    if absent := absent_modules():
        pytest.skip(f"needs {', '.join(absent)}: {INSTALL}")
    for package in ("CRIMSON", "radeval"):
        if upstream.importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}: pip install --no-deps -r envs/requirements-judges.txt")
    return converted()


@pytest.fixture(scope="session")
def served(smollm2, tmp_path_factory) -> Iterator[ServedModel]:
    """The same model behind `transformers serve`."""
    with ServedModel(smollm2, tmp_path_factory.mktemp("server") / "server.log") as server:
        yield server
