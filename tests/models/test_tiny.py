"""The made model is a function of its entry alone."""

import pytest
import torch

from workflow_scripts.core.config.models import MadeModel
from workflow_scripts.models.tiny import make


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_cores_of_a_run_change_no_bit_of_the_made_model(threads, tmp_path):
    spec = MadeModel(width=64, layers=2, vocabulary=600, sight_steps=2, steps=2)
    weights = []
    for count in (1, 4):
        torch.set_num_threads(count)
        make(spec, tmp_path / f"{count}.json")
        weights.append((tmp_path / str(count) / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
