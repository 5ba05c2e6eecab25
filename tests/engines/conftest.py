"""Fixtures of tests of the decoder: small models, prompts, and beginnings that are shared from a few tokens on."""

import pytest
import torch
from transformers import PreTrainedModel

from tests.engines.small_models import MODELS, far_from_the_start
from workflow_scripts.engines.local import decoding


@pytest.fixture(scope="module", params=MODELS)
def model(request) -> PreTrainedModel:
    torch.manual_seed(5)
    return far_from_the_start(MODELS[request.param]())


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 96, (length,), generator=generator).tolist() for length in (19, 5, 12, 19, 7, 1, 16)]


@pytest.fixture
def shared(monkeypatch) -> None:
    """Beginnings of a few tokens are shared already."""
    monkeypatch.setattr(decoding, "SHARED", 4)
